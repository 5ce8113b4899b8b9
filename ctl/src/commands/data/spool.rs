//! What stdin has, as a file that the daemon takes over.
//!
//! It lies in a folder of its own in the daemon's home, on the file system of
//! what the daemon sends, and is never in memory. The folder is removed once
//! [`Spooled`] is dropped; one whose program was killed, by the first that
//! comes a day later.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pilot_local_api::proto::Component;
use pilot_local_api::transfers::PathText;
use pilot_local_api::{ApiError, CallError, ErrorCode, quoted};
use tempfile::{Builder, TempDir};

use super::progress::{Reading, Wanted};
use crate::Ctl;
use crate::failure::Failure;
use crate::payload::code_of;
use crate::size;

/// Where the folders are in a home.
const SPOOL: &str = "spool";

/// The file in such a folder, and the folder beside it that has it once more,
/// under the name it is sent with.
const CONTENT: &str = "content";
const OFFERED: &str = "offered";

/// Who may look into such a folder.
const MODE: u32 = 0o700;

/// Age of a folder that nobody fills any more, after which it is removed.
const LEFTOVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes of free disk that are left to others, as a transfer that comes in leaves them.
const LEFT: u64 = 64 << 20;

/// Bytes between two looks at the disk; far fewer than [`LEFT`].
const STEP: u64 = 1 << 20;

/// Everything that stdin had, until this is dropped.
#[derive(Debug)]
pub(super) struct Spooled {
    folder: TempDir,
    name: Component,
}

/// Reads stdin to its end, to be sent under this name.
pub(super) async fn read(ctl: &Ctl, name: Component, wanted: Wanted) -> Result<Spooled, Failure> {
    // The daemon knows better than this program which home it has.
    let home = PathBuf::from(ctl.client.whoami().await?.home);
    let (spooled, file) = Spooled::begin(&home, name).map_err(|error| {
        let shown = home.join(SPOOL).display().to_string();
        let message = format!("cannot keep stdin in {shown}: {error}; nothing was sent");
        ApiError::new(code_of(&error), message).with_hint(format!("ls -ld {}", quoted(&shown)))
    })?;
    let shown = Reading::new(wanted, &ctl.ui);
    let bar = shown.bar();
    // On a thread of its own, so that a signal is heard meanwhile.
    let reading = tokio::task::spawn_blocking(move || {
        let stdin = io::stdin().as_fd().try_clone_to_owned().map(File::from);
        let stdin = stdin.map_err(|error| unread(&error))?;
        fill(stdin, &file, LEFT, |bytes| bar.set_position(bytes))
    });
    let read = reading.await.map_err(|error| {
        ApiError::new(ErrorCode::Internal, format!("the reading of stdin broke off: {error}"))
    })?;
    read.map_err(|error| {
        let home = quoted(&home.display().to_string());
        if error.code == ErrorCode::DiskFull {
            error.with_hint(format!("df -h {home}  # make room"))
        } else {
            error
        }
    })?;
    Ok(spooled)
}

impl Spooled {
    /// Makes the folder, and removes what others have left; the file is to be
    /// filled, and is locked as long as it is open.
    fn begin(home: &Path, name: Component) -> io::Result<(Self, File)> {
        let owner = fs::metadata(home)?;
        let spool = home.join(SPOOL);
        match make_folder(&spool, &owner) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made?,
        }
        remove_leftovers(&spool);
        let mut builder = Builder::new();
        let folder = builder.permissions(Permissions::from_mode(MODE)).tempdir_in(&spool)?;
        give(folder.path(), &owner)?;
        make_folder(&folder.path().join(OFFERED), &owner)?;
        let path = folder.path().join(CONTENT);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o666).open(&path)?;
        give(&path, &owner)?;
        file.lock()?;
        Ok((Self { folder, name }, file))
    }

    /// Where the daemon takes it from. Asked for again, it is there again, as
    /// a daemon that took it may have been stopped before it knew of it.
    pub(super) fn offer(&self) -> Result<(), CallError> {
        let linked = fs::hard_link(self.folder.path().join(CONTENT), self.path());
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                let message = format!("cannot hand stdin to the daemon: {error}; nothing was sent");
                Err(CallError::Unsent(ApiError::new(code_of(&error), message)))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(OFFERED).join(OsStr::from_bytes(self.name.as_bytes()))
    }

    /// Where it is [offered](Self::offer).
    pub(super) fn to_send(&self) -> PathText {
        self.path().into()
    }
}

/// Copies everything of `from`, as long as so many bytes of the disk are
/// `left`; blocks. `read` hears how much it was.
fn fill(from: impl Read, to: &File, left: u64, read: impl Fn(u64)) -> Result<(), ApiError> {
    let (mut from, mut total) = (from, 0);
    loop {
        let stat = rustix::fs::fstatvfs(to).map_err(|error| unread(&error.into()))?;
        if stat.f_bavail.saturating_mul(stat.f_frsize) < left {
            let (read, left) = (size::bytes(total), size::bytes(left));
            let message = format!(
                "the disk has less than {left} left after {read} of stdin; nothing was sent, and \
                 what was read is removed"
            );
            return Err(ApiError::new(ErrorCode::DiskFull, message));
        }
        let copied = io::copy(&mut from.by_ref().take(STEP), &mut &*to);
        let copied = copied.map_err(|error| unread(&error))?;
        total += copied;
        read(total);
        if copied < STEP {
            return Ok(());
        }
    }
}

fn unread(error: &io::Error) -> ApiError {
    let message = format!("cannot read stdin into a file: {error}; nothing was sent");
    ApiError::new(code_of(error), message)
}

fn make_folder(path: &Path, owner: &Metadata) -> io::Result<()> {
    DirBuilder::new().mode(MODE).create(path)?;
    give(path, owner)
}

/// What root makes for the daemon of another user is that user's.
fn give(path: &Path, owner: &Metadata) -> io::Result<()> {
    if rustix::process::geteuid().as_raw() == owner.uid() {
        return Ok(());
    }
    chown(path, Some(owner.uid()), Some(owner.gid()))
}

/// Removes folders that are old and that nobody fills. What cannot be removed
/// is left to the next one.
fn remove_leftovers(spool: &Path) {
    let Ok(entries) = fs::read_dir(spool) else { return };
    for entry in entries.flatten() {
        if is_left(&entry.path()).unwrap_or(false) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn is_left(folder: &Path) -> io::Result<bool> {
    let is_old = |metadata: &Metadata| {
        let age = SystemTime::now().duration_since(metadata.modified()?);
        Ok::<_, io::Error>(age.is_ok_and(|age| age > LEFTOVER))
    };
    match File::open(folder.join(CONTENT)) {
        Ok(content) => Ok(is_old(&content.metadata()?)? && content.try_lock().is_ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => is_old(&fs::symlink_metadata(folder)?),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(home: &Path) -> (Spooled, File) {
        Spooled::begin(home, Component::new(b"out.tar").unwrap()).unwrap()
    }

    fn spooled(home: &Path) -> usize {
        fs::read_dir(home.join(SPOOL)).unwrap().count()
    }

    #[test]
    fn what_was_read_is_offered_under_its_name_until_it_is_dropped() {
        let home = tempfile::tempdir().unwrap();
        let (spooled_one, file) = begun(home.path());
        let content: Vec<u8> = (0..=250).cycle().take(3 * 1024 * 1024).collect();
        let told = std::cell::Cell::new(0);

        fill(content.as_slice(), &file, 0, |bytes| told.set(bytes)).unwrap();
        spooled_one.offer().unwrap();

        let path: PathBuf = spooled_one.to_send().into();
        assert_eq!(path.file_name(), Some(OsStr::new("out.tar")));
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(told.get(), 3 * 1024 * 1024);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&home.path().join(SPOOL)), 0o700);
        assert_eq!(mode(spooled_one.folder.path()), 0o700);
        drop(spooled_one);
        assert_eq!(spooled(home.path()), 0);
    }

    #[test]
    fn what_was_taken_is_offered_again() {
        let home = tempfile::tempdir().unwrap();
        let (spooled, file) = begun(home.path());
        fill(&b"content"[..], &file, 0, |_| {}).unwrap();
        let path: PathBuf = spooled.to_send().into();
        spooled.offer().unwrap();
        spooled.offer().unwrap();
        fs::rename(&path, home.path().join("taken")).unwrap();

        spooled.offer().unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"content");
        drop(spooled);
        assert_eq!(fs::read(home.path().join("taken")).unwrap(), b"content");
    }

    #[test]
    fn the_disk_is_not_filled() {
        let home = tempfile::tempdir().unwrap();
        let (_spooled, file) = begun(home.path());

        let error = fill(io::repeat(7), &file, u64::MAX, |_| {}).unwrap_err();

        assert_eq!(error.code, ErrorCode::DiskFull);
        assert!(error.message.contains("nothing was sent"), "{}", error.message);
        assert_eq!(file.metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_read_that_fails_is_told() {
        let home = tempfile::tempdir().unwrap();
        let (_spooled, file) = begun(home.path());
        let folder = File::open(home.path()).unwrap();

        let error = fill(folder, &file, 0, |_| {}).unwrap_err();

        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.starts_with("cannot read stdin"), "{}", error.message);
    }

    #[test]
    fn what_a_killed_program_left_is_removed_a_day_later_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let aged = SystemTime::now() - LEFTOVER - Duration::from_secs(60);
        let (left, file) = begun(home.path());
        file.set_modified(aged).unwrap();
        drop(file);
        let left = left.folder.keep();
        let (in_use, file) = begun(home.path());
        file.set_modified(aged).unwrap();
        let empty = home.path().join(SPOOL).join("empty");
        fs::create_dir(&empty).unwrap();
        File::open(&empty).unwrap().set_modified(aged).unwrap();
        let (young, _) = begun(home.path());

        let (_new, _) = begun(home.path());

        assert!(!left.exists() && !empty.exists());
        assert!(in_use.folder.path().exists() && young.folder.path().exists());
    }
}
