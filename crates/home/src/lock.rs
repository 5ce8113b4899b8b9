//! One process a home.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use super::OpenHomeError;

const NAME: &str = "lock";

/// Held as long as this lives; the kernel lets go when the process ends,
/// however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn acquire(home: &Path) -> Result<Self, OpenHomeError> {
        let access = |source| OpenHomeError::Access { path: home.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(home.join(NAME))
            .map_err(access)?;
        match file.try_lock() {
            Ok(()) => {
                write_pid(&mut file).map_err(access)?;
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                Err(OpenHomeError::AlreadyRunning { path: home.to_owned(), pid: read_pid(&file) })
            }
            Err(TryLockError::Error(source)) => Err(access(source)),
        }
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

/// The process id in the file, which its owner may not have written yet.
fn read_pid(file: &File) -> Option<u32> {
    let mut text = String::new();
    // Ten digits and a line end.
    file.take(11).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}
