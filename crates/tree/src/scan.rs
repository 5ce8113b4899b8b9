//! Finds out what is in the files and folders that somebody wants to send.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use pilot_files::{MAX_DEPTH, Manifest, ManifestError};
use pilot_proto::Component;
use pilot_proto::manifest::{Entry, EntryKind, LinkTarget, MAX_ENTRIES, Mode, Modified};
use rustix::fs::Access;

use crate::ignored::Ignored;
use crate::source::Source;

/// Things that are told to have been passed over; more are counted.
const MAX_SKIPPED: usize = 100;

/// What stays behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// Globs as lines of a `.gitignore` at the top of what is sent: `*.o`
    /// leaves out all such files, `auth/tmp/` one folder.
    pub exclude: Vec<String>,
    /// Leaves out what the `.gitignore` files say, and `.git` itself.
    pub gitignore: bool,
}

/// What was passed over, for the user to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The first 100 things that cannot be sent.
    pub skipped: Vec<(PathBuf, Special)>,
    /// How many more there were.
    pub more: usize,
}

/// What does not travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// A block or character device.
    Device,
    /// A socket.
    Socket,
    /// A named pipe, or what else this system has.
    Pipe,
}

/// Why something cannot be sent. Paths are shown in quotes and escaped.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// It is not there, or may not be read.
    #[error("cannot read {path:?}")]
    Read {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Two of the paths that were given would get the same name.
    #[error("{first:?} and {second:?} would both arrive as {:?}", name_of(first))]
    SameName {
        /// The first, resolved.
        first: PathBuf,
        /// The second, resolved.
        second: PathBuf,
    },
    /// It has no name that it could be sent under, as `/` has none.
    #[error("{path:?} has no name to arrive under")]
    NoName {
        /// What.
        path: PathBuf,
    },
    /// It is in too many folders.
    #[error("{path:?} is deeper than {MAX_DEPTH} folders")]
    TooDeep {
        /// What.
        path: PathBuf,
    },
    /// What should be left out cannot be understood.
    #[error("{glob:?} is no pattern of names")]
    Glob {
        /// What was given.
        glob: String,
        /// What is wrong.
        #[source]
        source: ignore::Error,
    },
    /// It is too much, or nothing.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl Source {
    /// Lists files, symbolic links (which are not followed) and folders with
    /// all that is in them, in the order of their names' bytes.
    ///
    /// Each path arrives under its last component. One with a slash at its end
    /// is the folder itself, even if it is a link to one; `.` and `..` are
    /// what they stand for. Relative paths are relative to the working
    /// directory of this process.
    ///
    /// # Errors
    ///
    /// [`ScanError`], at the first thing that cannot be sent as it is.
    pub fn scan(paths: &[PathBuf], options: &ScanOptions) -> Result<(Self, Scanned), ScanError> {
        let ignored = Ignored::by(&options.exclude, options.gitignore)
            .map_err(|(glob, source)| ScanError::Glob { glob, source })?;
        let mut scan = Scan::over(ignored);
        for (name, path) in tops(paths)? {
            let folder = path.parent().unwrap_or(&path);
            scan.ignored.stand_in(&path).map_err(|source| unreadable(folder, source))?;
            let number = scan.next()?;
            if scan.add(0, name, &path, Path::new(""))? {
                scan.tops.insert(number, path);
            }
        }
        let manifest = Manifest::new(scan.entries)?;
        Ok((Self::new(manifest.into(), scan.tops, scan.inodes), scan.told))
    }
}

/// The paths that were given, made absolute, by the names that they get.
fn tops(paths: &[PathBuf]) -> Result<BTreeMap<Component, PathBuf>, ScanError> {
    let mut tops: BTreeMap<Component, PathBuf> = BTreeMap::new();
    for path in paths {
        let (name, path) = top(path)?;
        if let Some(first) = tops.get(&name) {
            return Err(ScanError::SameName { first: first.clone(), second: path });
        }
        tops.insert(name, path);
    }
    Ok(tops)
}

fn top(path: &Path) -> Result<(Component, PathBuf), ScanError> {
    let real = |path: &Path| fs::canonicalize(path).map_err(|source| unreadable(path, source));
    let bytes = path.as_os_str().as_encoded_bytes();
    let is_inside = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
    let (named, path) = match path.file_name() {
        Some(name) if is_inside => (name.into(), real(path)?),
        Some(name) => {
            let parent = path.parent().filter(|parent| *parent != Path::new(""));
            (name.into(), real(parent.unwrap_or_else(|| Path::new(".")))?.join(name))
        }
        None => {
            let path = real(path)?;
            (name_of(&path).to_owned(), path)
        }
    };
    let name =
        component(Path::new(&named)).ok_or_else(|| ScanError::NoName { path: path.clone() })?;
    Ok((name, path))
}

/// What is being listed.
struct Scan {
    ignored: Ignored,
    entries: Vec<Entry>,
    /// Of each entry, 0 if it is no file.
    inodes: Vec<u64>,
    tops: BTreeMap<u32, PathBuf>,
    told: Scanned,
    depth: u32,
}

impl Scan {
    fn over(ignored: Ignored) -> Self {
        Self {
            ignored,
            entries: Vec::new(),
            inodes: Vec::new(),
            tops: BTreeMap::new(),
            told: Scanned::default(),
            depth: 0,
        }
    }

    /// The number of the next entry.
    fn next(&self) -> Result<u32, ScanError> {
        match u32::try_from(self.entries.len()) {
            Ok(number) if self.entries.len() < MAX_ENTRIES => Ok(number),
            Ok(_) | Err(_) => {
                Err(ManifestError::TooMany { entries: self.entries.len().saturating_add(1) }.into())
            }
        }
    }

    /// Adds what is at `path` and all that is in it; false if it stays behind.
    /// `within` is the path of its folder as it is sent.
    fn add(
        &mut self,
        parent: u32,
        name: Component,
        path: &Path,
        within: &Path,
    ) -> Result<bool, ScanError> {
        let read = |source| unreadable(path, source);
        let metadata = fs::symlink_metadata(path).map_err(read)?;
        let sent = within.join(crate::os_path(name.as_bytes()));
        if self.ignored.has(path, &sent, metadata.is_dir()) {
            return Ok(false);
        }
        let Some(kind) = self.kind(path, &metadata)? else { return Ok(false) };
        let number = self.next()?;
        let inode = if metadata.is_file() { metadata.ino() } else { 0 };
        self.inodes.push(inode);
        let (mode, modified) = (Mode::of(metadata.mode()), modified(&metadata).map_err(read)?);
        self.entries.push(Entry { parent, name, kind, mode, modified });
        if metadata.is_dir() {
            self.enter(number + 1, path, &sent)?;
        }
        Ok(true)
    }

    fn enter(&mut self, parent: u32, path: &Path, sent: &Path) -> Result<(), ScanError> {
        if self.depth >= MAX_DEPTH {
            return Err(ScanError::TooDeep { path: path.to_owned() });
        }
        self.depth += 1;
        let read = |source| unreadable(path, source);
        self.ignored.enter(path).map_err(read)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(read)? {
            names.push(entry.map_err(read)?.file_name());
        }
        names.sort_unstable();
        for name in names {
            let path = path.join(&name);
            let Some(name) = component(Path::new(&name)) else {
                return Err(ScanError::NoName { path });
            };
            self.add(parent, name, &path, sent)?;
        }
        self.ignored.leave();
        self.depth -= 1;
        Ok(())
    }

    /// What is at this path; none, and told, if it does not travel.
    fn kind(&mut self, path: &Path, metadata: &Metadata) -> Result<Option<EntryKind>, ScanError> {
        let read = |source| unreadable(path, source);
        let kind = metadata.file_type();
        if kind.is_dir() {
            return Ok(Some(EntryKind::Folder));
        }
        if kind.is_file() {
            // Better said now than when the peer waits for it.
            rustix::fs::access(path, Access::READ_OK).map_err(|error| read(error.into()))?;
            return Ok(Some(EntryKind::File { size: metadata.len() }));
        }
        if kind.is_symlink() {
            let target = fs::read_link(path).map_err(read)?;
            let target = LinkTarget::new(target.as_os_str().as_encoded_bytes());
            let target = target.ok_or_else(|| read(io::ErrorKind::InvalidFilename.into()))?;
            return Ok(Some(EntryKind::Link { target }));
        }
        if self.told.skipped.len() < MAX_SKIPPED {
            self.told.skipped.push((path.to_owned(), Special::of(kind)));
        } else {
            self.told.more += 1;
        }
        Ok(None)
    }
}

impl Special {
    fn of(kind: FileType) -> Self {
        if kind.is_block_device() || kind.is_char_device() {
            Self::Device
        } else if kind.is_socket() {
            Self::Socket
        } else {
            Self::Pipe
        }
    }
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "a device",
            Self::Socket => "a socket",
            Self::Pipe => "a pipe",
        })
    }
}

/// When something changed last.
pub(crate) fn modified(metadata: &Metadata) -> io::Result<Modified> {
    let nanos = u32::try_from(metadata.mtime_nsec()).ok();
    nanos
        .and_then(|nanos| Modified::new(metadata.mtime(), nanos))
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn component(name: &Path) -> Option<Component> {
    Component::new(name.as_os_str().as_encoded_bytes()).ok()
}

fn name_of(path: &Path) -> &std::ffi::OsStr {
    path.file_name().unwrap_or_default()
}

fn unreadable(path: &Path, source: io::Error) -> ScanError {
    ScanError::Read { path: path.to_owned(), source }
}
