//! Copies of what is to be sent, which stay as they are whatever becomes of the
//! originals.
//!
//! What a scan listed is copied, and nothing else; a file counts only if it is
//! still what was listed after it has been read. Copies are made as received
//! files are: beneath one new folder, a name at a time, and no link is
//! followed. Two files share their bytes where the file system can.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilot_files::Manifest;
use pilot_proto::manifest::{EntryKind, Mode};

use crate::folder::Folder;
use crate::growing::Growing;
use crate::scan::{self, ScanError, ScanOptions, Scanned};
use crate::{DiskError, ReadError, Source, discard, durable};

/// What this user needs to read a file, and to go through a folder.
const READ_FILE: u16 = 0o400;
const READ_FOLDER: u16 = 0o500;

/// Why nothing was kept: then nothing of it is left in the new folder.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It cannot be listed.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// Something changed or went away after it was listed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something is where the new folder should be.
    #[error("{path:?} is there already")]
    Exists {
        /// The place of the new folder.
        path: PathBuf,
    },
    /// The disk did not take it.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Copies what [`Source::scan`] lists at `paths` into the folder `into`, which
/// is made, and so are those it is in. All of it is on the disk then, and what
/// is returned reads the copies.
///
/// Copies have the modes and times of the originals, save that this user may
/// read all of them, and that times are as exact as that file system has them.
/// What is sent has the modes of the originals.
///
/// # Errors
///
/// [`KeepError`]; the originals are as they were.
pub fn keep(
    paths: &[PathBuf],
    options: &ScanOptions,
    into: &Path,
) -> Result<(Source, Scanned), KeepError> {
    let (source, scanned) = Source::scan(paths, options)?;
    Ok((keep_listed(&source, into)?, scanned))
}

/// Moves `paths` into the folder `into`, which is made, and so are those it is
/// in: for what is this node's own, on one file system. All of it is on the
/// disk then, and what is returned reads it there.
///
/// What does not travel and is in a folder goes along with it; by itself it
/// stays. A crash may leave some paths moved and others not.
///
/// # Errors
///
/// [`KeepError`]; everything is where it was, if the disk lets it be put back.
pub fn take(paths: &[PathBuf], into: &Path) -> Result<(Source, Scanned), KeepError> {
    let (source, scanned) = Source::scan(paths, &ScanOptions::default())?;
    let new = NewFolder::make(into)?;
    let mut moves = Vec::new();
    match move_listed(&source, &new, &mut moves) {
        Ok(source) => Ok((source, scanned)),
        Err(error) => {
            // What went wrong first is what is to be told. A folder that is not
            // empty by then stays, as that is all there is of what is in it.
            for Move { from, old, new: name } in moves.into_iter().rev() {
                drop(new.folder.rename_to(&name, &from, &old));
            }
            drop(std::fs::remove_dir(&new.path));
            Err(error)
        }
    }
}

/// Copies what was listed.
pub(crate) fn keep_listed(source: &Source, into: &Path) -> Result<Source, KeepError> {
    let new = NewFolder::make(into)?;
    copy_listed(source, &new).inspect_err(|_| drop(discard(&new.path)))
}

/// Where things are kept.
struct NewFolder {
    /// Absolute.
    path: PathBuf,
    folder: Folder,
}

impl NewFolder {
    fn make(path: &Path) -> Result<Self, KeepError> {
        let path = std::path::absolute(path).map_err(|error| DiskError::at(path, error))?;
        let disk = |error| DiskError::at(&path, error);
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        if let Some(parent) = path.parent() {
            builder.recursive(true).create(parent).map_err(disk)?;
        }
        match builder.recursive(false).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(KeepError::Exists { path });
            }
            other => other.map_err(disk)?,
        }
        let folder = Folder::at(&path).map_err(disk)?;
        Ok(Self { path, folder })
    }

    /// Brings its name onto the disk, once what is in it is there.
    fn sync_name(&self) -> Result<(), DiskError> {
        let parent = self.path.parent().unwrap_or(&self.path);
        let synced = Folder::at(parent).and_then(durable::each);
        synced.map_err(|error| DiskError::at(parent, error))
    }
}

fn copy_listed(source: &Source, new: &NewFolder) -> Result<Source, KeepError> {
    let mut entries = source.manifest().entries().to_vec();
    let mut inodes = vec![0; entries.len()];
    let mut growing = Growing::empty(new.folder.clone(), readable(source.manifest())?);
    for ((entry, inode), number) in entries.iter_mut().zip(&mut inodes).zip(0..) {
        if !matches!(entry.kind, EntryKind::File { .. }) {
            continue;
        }
        let original = source.open(number)?;
        let copy = growing.file(number, false)?;
        let disk = |error| DiskError::at(new.path.join(growing.path(number)), error);
        let copied = io::copy(&mut original.content(), &mut &*copy).map_err(disk)?;
        original.check_read(copied)?;
        growing.dress(number, &copy)?;
        let disk = |error| DiskError::at(new.path.join(growing.path(number)), error);
        let metadata = copy.metadata().map_err(disk)?;
        *inode = metadata.ino();
        entry.modified = scan::modified(&metadata).map_err(disk)?;
    }
    growing.complete()?;
    new.sync_name()?;
    let manifest = Manifest::new(entries).map_err(ScanError::from)?;
    Ok(Source::within(&new.path, manifest.into(), inodes))
}

/// The same with modes that let this user read everything: who owns the
/// original may be another one, whom its mode keeps out.
fn readable(manifest: &Arc<Manifest>) -> Result<Arc<Manifest>, ScanError> {
    let mut entries = manifest.entries().to_vec();
    for entry in &mut entries {
        let needed = match entry.kind {
            EntryKind::Folder => READ_FOLDER,
            EntryKind::File { .. } => READ_FILE,
            EntryKind::Link { .. } => 0,
        };
        entry.mode = Mode::of((entry.mode.bits() | needed).into());
    }
    Ok(Manifest::new(entries)?.into())
}

/// Something that was moved.
struct Move {
    from: Folder,
    /// Its name there.
    old: Vec<u8>,
    /// Its name in the new folder.
    new: Vec<u8>,
}

fn move_listed(
    source: &Source,
    new: &NewFolder,
    moves: &mut Vec<Move>,
) -> Result<Source, KeepError> {
    for (name, path) in source.tops() {
        let disk = |error| DiskError::at(path, error);
        let from = Folder::at(path.parent().unwrap_or(path)).map_err(disk)?;
        let old = path.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default().to_vec();
        from.rename_to(&old, &new.folder, name).map_err(disk)?;
        moves.push(Move { from: from.clone(), old, new: name.to_vec() });
        durable::each(&from).map_err(disk)?;
    }
    let source = source.moved_to(&new.path);
    for (entry, number) in source.manifest().entries().iter().zip(0..) {
        let path = source.path(number).unwrap_or_default();
        let disk = |error| DiskError::at(&path, error);
        match entry.kind {
            // That it opens says that it is what was listed.
            EntryKind::File { .. } => source.open(number)?.sync_each().map_err(disk)?,
            EntryKind::Folder => Folder::at(&path).and_then(durable::each).map_err(disk)?,
            EntryKind::Link { .. } => {}
        }
    }
    durable::each(&new.folder)
        .and_then(|()| durable::all(&new.folder))
        .map_err(|error| DiskError::at(&new.path, error))?;
    new.sync_name()?;
    Ok(source)
}
