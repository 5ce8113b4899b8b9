//! An open folder: whatever is done in it takes one name and follows no link.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use pilot_proto::manifest::{Mode, Modified};
use rustix::fs::{AtFlags, Dir, FileType, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

/// Opened by descriptor, so that it stays the same folder whatever happens to
/// the path that led there. Clones are the same descriptor.
#[derive(Debug, Clone)]
pub(crate) struct Folder(Arc<OwnedFd>);

/// What something in a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thing {
    pub(crate) kind: FileType,
    /// The nine bits of its mode.
    pub(crate) mode: u32,
    /// In bytes.
    pub(crate) size: u64,
    /// How many names it has.
    pub(crate) names: u64,
    /// Its device and number: what tells two names of one thing.
    identity: (u64, u64),
}

const OPEN_FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A pipe that stands in the way must not block whoever opens it.
const OPEN_FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const PRIVATE_FOLDER: u16 = 0o700;
const PRIVATE_FILE: u16 = 0o600;

impl Folder {
    /// The folder at a path of our own, whose last component is no link.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OPEN_FOLDER, bits(0))?;
        Ok(Self(Arc::new(fd)))
    }

    /// The number of the device that it is on.
    pub(crate) fn device(&self) -> io::Result<u64> {
        Ok(Thing::of(&rustix::fs::fstat(&self.0)?).identity.0)
    }

    /// A folder in it.
    pub(crate) fn open(&self, name: &[u8]) -> io::Result<Self> {
        let fd = rustix::fs::openat(&self.0, name, OPEN_FOLDER, bits(0))?;
        Ok(Self(Arc::new(fd)))
    }

    /// Makes a folder that is only this user's.
    pub(crate) fn make(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.0, name, bits(PRIVATE_FOLDER))?)
    }

    /// Opens a regular file to read it.
    pub(crate) fn read(&self, name: &[u8]) -> io::Result<File> {
        self.file(name, OFlags::RDONLY)
    }

    /// Opens a regular file to read and write it.
    pub(crate) fn write(&self, name: &[u8]) -> io::Result<File> {
        self.file(name, OFlags::RDWR)
    }

    /// Makes a file that is only this user's and opens it to read and write.
    pub(crate) fn create(&self, name: &[u8]) -> io::Result<File> {
        self.file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    fn file(&self, name: &[u8], how: OFlags) -> io::Result<File> {
        let fd = rustix::fs::openat(&self.0, name, OPEN_FILE | how, bits(PRIVATE_FILE))?;
        Ok(File::from(fd))
    }

    /// Makes a symbolic link.
    pub(crate) fn link(&self, name: &[u8], target: &[u8], modified: Modified) -> io::Result<()> {
        rustix::fs::symlinkat(target, &self.0, name)?;
        let times = times(modified);
        Ok(rustix::fs::utimensat(&self.0, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// What a link says.
    pub(crate) fn target(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.0, name, Vec::new())?.into_bytes())
    }

    /// When something in it changed last.
    pub(crate) fn modified(&self, name: &[u8]) -> io::Result<Modified> {
        let stat = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        Modified::new(stat.st_mtime, nanos).ok_or_else(|| Errno::RANGE.into())
    }

    /// What has this name; none if nothing has.
    pub(crate) fn thing(&self, name: &[u8]) -> io::Result<Option<Thing>> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Thing::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All names in it, in the order of their bytes.
    pub(crate) fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => names.push(name.to_vec()),
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Gives this user all rights to what is no link, if some are missing:
    /// an end that was interrupted may have taken them.
    pub(crate) fn unlock(&self, name: &[u8], thing: &Thing) -> io::Result<()> {
        let wanted = if thing.kind == FileType::Directory { PRIVATE_FOLDER } else { PRIVATE_FILE };
        if thing.kind != FileType::Symlink && thing.mode & u32::from(wanted) != u32::from(wanted) {
            rustix::fs::chmodat(&self.0, name, bits(wanted), AtFlags::empty())?;
        }
        Ok(())
    }

    /// Gives something a name in another folder of the file system that
    /// nothing has there, or fails with [`io::ErrorKind::AlreadyExists`].
    pub(crate) fn rename_to(&self, name: &[u8], to: &Self, new: &[u8]) -> io::Result<()> {
        match rustix::fs::renameat_with(&self.0, name, &to.0, new, RenameFlags::NOREPLACE) {
            // Not every file system can refuse by itself.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match to.thing(new)? {
                Some(_) => Err(Errno::EXIST.into()),
                None => Ok(rustix::fs::renameat(&self.0, name, &to.0, new)?),
            },
            other => Ok(other?),
        }
    }

    /// Gives something in it another name here, in place of what has that.
    pub(crate) fn replace(&self, name: &[u8], new: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, name, &self.0, new)?)
    }

    /// Removes a name that is no folder's.
    pub(crate) fn unlink(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes whatever has this name, and everything in it if that is a
    /// folder, whatever the modes; nothing if nothing has. Each level of
    /// folders takes a descriptor, which bounds the recursion.
    pub(crate) fn remove(&self, name: &[u8]) -> io::Result<()> {
        let Some(thing) = self.thing(name)? else { return Ok(()) };
        if thing.kind != FileType::Directory {
            return self.unlink(name);
        }
        self.unlock(name, &thing)?;
        let folder = self.open(name)?;
        for inner in folder.names()? {
            folder.remove(&inner)?;
        }
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Thing {
    #[allow(
        clippy::useless_conversion,
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        reason = "the types of these fields differ between systems"
    )]
    fn of(stat: &rustix::fs::Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: u32::from(stat.st_mode) & 0o777,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            names: u64::from(stat.st_nlink),
            identity: (stat.st_dev as u64, stat.st_ino),
        }
    }

    /// Whether both are one thing under two names.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// What all names of a thing have in common, and no other thing has.
    pub(crate) const fn identity(&self) -> (u64, u64) {
        self.identity
    }
}

/// Gives an open file or folder its mode and the time of its last change.
pub(crate) fn dress(fd: impl AsFd, mode: Mode, modified: Modified) -> io::Result<()> {
    rustix::fs::fchmod(&fd, bits(mode.bits()))?;
    Ok(rustix::fs::futimens(&fd, &times(modified))?)
}

fn bits(mode: u16) -> rustix::fs::Mode {
    rustix::fs::Mode::from_bits_truncate(mode as rustix::fs::RawMode)
}

fn times(modified: Modified) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: modified.seconds(),
            tv_nsec: modified.nanos().into(),
        },
    }
}
