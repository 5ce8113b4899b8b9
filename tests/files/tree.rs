//! Trees of files: planting one with everything odd, and comparing two.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Everything in a folder by its path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tree(BTreeMap<PathBuf, Thing>);

#[derive(Debug, PartialEq, Eq)]
enum Thing {
    Folder { mode: u32, modified: (i64, i64) },
    File { mode: u32, modified: (i64, i64), content: Vec<u8> },
    Link { target: PathBuf },
}

impl Tree {
    pub(super) fn of(folder: &Path) -> anyhow::Result<Self> {
        let mut things = BTreeMap::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(within) = folders.pop() {
            let path = folder.join(&within);
            let meta = fs::symlink_metadata(&path)?;
            let (mode, modified) = (meta.mode() & 0o777, (meta.mtime(), meta.mtime_nsec()));
            let thing = if meta.is_dir() {
                for entry in fs::read_dir(&path)? {
                    folders.push(within.join(entry?.file_name()));
                }
                Thing::Folder { mode, modified }
            } else if meta.is_symlink() {
                Thing::Link { target: fs::read_link(&path)? }
            } else {
                Thing::File { mode, modified, content: fs::read(&path)? }
            };
            things.insert(within, thing);
        }
        Ok(Self(things))
    }
}

/// Makes a folder with links, empty folders and files, names and modes of all
/// kinds, and times of its own.
pub(super) fn plant(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder.join("empty/inside"))?;
    let long = "x".repeat(255);
    let names: [&[u8]; 8] = [
        b"plain",
        b"with space",
        b"line\nfeed",
        b"\xff\xfe",
        b"dot.",
        b"-rf",
        b"\x1b[2J",
        long.as_bytes(),
    ];
    for (name, number) in names.iter().zip(0_u32..) {
        let path = folder.join(OsStr::from_bytes(name));
        fs::write(&path, vec![7; usize::try_from(number)? * 700_000])?;
        fs::set_permissions(&path, Permissions::from_mode(0o400 + number))?;
        let age = Duration::new(1_000_000 * u64::from(number), 123_456_789);
        File::open(&path)?.set_modified(SystemTime::UNIX_EPOCH + age)?;
    }
    symlink("plain", folder.join("link"))?;
    symlink("/etc/passwd", folder.join("absolute"))?;
    symlink("../../nowhere", folder.join("dangling"))?;
    fs::create_dir(folder.join("closed"))?;
    fs::write(folder.join("closed/file"), b"inside")?;
    fs::set_permissions(folder.join("closed"), Permissions::from_mode(0o500))?;
    Ok(())
}
