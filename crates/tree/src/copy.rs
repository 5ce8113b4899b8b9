//! Copies what was received to where its user wants it.
//!
//! A file or link appears whole, by a rename from a name of its own beside it.
//! Links below the destination are never followed: one that stands where a
//! folder belongs counts as something else of that name. All of it is on the
//! disk before it is said to be there: what is in the inbox may go then.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pilot_proto::manifest::Mode;
use rustix::fs::FileType;

use crate::folder::{self, Folder, Thing};
use crate::{DiskError, durable, os_path};

/// Names that are tried for one thing, before it is given up.
const MAX_TRIES: u32 = 10_000;

/// Bytes of a name, as everywhere.
const MAX_NAME: usize = 255;

/// What happens when something has the name of what is to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// Nothing at all is copied if a name at the top is taken.
    Fail,
    /// What is there stays. Folders that are there get what is missing.
    Skip,
    /// Files and links are replaced. Folders that are there stay, with what is
    /// in them and not here; a folder is never replaced by a file.
    Overwrite,
    /// What is new gets a number: `notes-2.txt`. Of names at the top only, as
    /// everything below is in new folders then.
    Rename,
}

/// Something that was copied or not: all there is at the top, and below that
/// what met something of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Where it is.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is there, with all that is in it.
    Written,
    /// It is there, under another name.
    Renamed,
    /// It is there in place of what had its name.
    Replaced,
    /// It is a folder that was there, and what is in it was copied into that.
    Merged,
    /// It was not copied, for something has its name.
    Skipped,
}

/// Why not everything was copied; what was before that stays, whole.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A name is taken, and [`Conflict`] does not say what then, or a folder
    /// would be replaced by a file.
    #[error("{path:?} is there already")]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// The destination is in what is to be copied.
    #[error("{path:?} is in the folder that is to be copied")]
    Inside {
        /// The destination.
        path: PathBuf,
    },
    /// The disk did not give or take it.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Copies what is in the folder `from` into the folder `to`, which is made if
/// it is not there, with modes, times and links, and brings it onto the disk.
/// The paths that are told are absolute.
///
/// # Errors
///
/// [`CopyError`].
pub fn copy_out(from: &Path, to: &Path, conflict: Conflict) -> Result<Vec<Copied>, CopyError> {
    let source = Folder::at(from).map_err(|error| DiskError::at(from, error))?;
    let to = &std::path::absolute(to).map_err(|error| DiskError::at(to, error))?;
    let disk = |error| DiskError::at(to, error);
    let existing = to.ancestors().find_map(|folder| folder.canonicalize().ok());
    let whole = from.canonicalize().map_err(|error| DiskError::at(from, error))?;
    if existing.is_some_and(|folder| folder.starts_with(&whole)) {
        return Err(CopyError::Inside { path: to.to_owned() });
    }
    fs::create_dir_all(to).map_err(disk)?;
    let target = to.canonicalize().and_then(|real| Folder::at(&real)).map_err(disk)?;
    if conflict == Conflict::Fail {
        for name in source.names().map_err(|error| DiskError::at(from, error))? {
            if target.thing(&name).map_err(disk)?.is_some() {
                return Err(CopyError::Exists { path: to.join(os_path(&name)) });
            }
        }
    }
    let mut copy = Copy { conflict, told: Vec::new(), made: 0 };
    let place = Place { folder: target, path: to.to_owned(), is_top: true };
    copy.all(&source, &place)?;
    durable::each(&place.folder).and_then(|()| durable::all(&place.folder)).map_err(disk)?;
    Ok(copy.told)
}

struct Copy {
    conflict: Conflict,
    told: Vec<Copied>,
    /// How many names of their own were used.
    made: u64,
}

/// A folder that is copied into.
struct Place {
    folder: Folder,
    path: PathBuf,
    is_top: bool,
}

/// What is copied next.
struct Item<'a> {
    from: &'a Folder,
    name: &'a [u8],
    thing: Thing,
    /// What it is to be called.
    new: Vec<u8>,
    /// What has that name.
    there: Option<Thing>,
}

impl Copy {
    fn all(&mut self, from: &Folder, to: &Place) -> Result<(), CopyError> {
        // What was copied into this folder: names that its file system takes
        // for one must not replace each other.
        let mut copied: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
        for name in from.names().map_err(|error| DiskError::at(&to.path, error))? {
            let disk = |error| DiskError::at(to.path.join(os_path(&name)), error);
            let Some(thing) = from.thing(&name).map_err(disk)? else { continue };
            let there = to.folder.thing(&name).map_err(disk)?;
            if let Some(other) = there.and_then(|there| copied.get(&there.identity())) {
                let [path, other] = [&name, other].map(|name| to.path.join(os_path(name)));
                return Err(DiskError::NamesCollide { path, other }.into());
            }
            let mut item = Item { from, name: &name, thing, new: name.clone(), there };
            if there.is_some() && to.is_top && self.conflict == Conflict::Rename {
                item.new = free_name(to, &name, thing.kind)?;
                item.there = None;
            }
            let outcome = self.item(&item, to)?;
            if outcome != Outcome::Skipped
                && let Some(there) = to.folder.thing(&item.new).map_err(disk)?
            {
                copied.insert(there.identity(), name.clone());
            }
            let outcome = if item.new == name { outcome } else { Outcome::Renamed };
            if to.is_top || matches!(outcome, Outcome::Replaced | Outcome::Skipped) {
                self.told.push(Copied { path: to.path.join(os_path(&item.new)), outcome });
            }
        }
        Ok(())
    }

    fn item(&mut self, item: &Item<'_>, to: &Place) -> Result<Outcome, CopyError> {
        let path = to.path.join(os_path(&item.new));
        let is_folder = item.thing.kind == FileType::Directory;
        let meets_folder = item.there.is_some_and(|there| there.kind == FileType::Directory);
        match (item.there, self.conflict) {
            (None, _) => {}
            (Some(_), Conflict::Skip | Conflict::Overwrite) if is_folder && meets_folder => {}
            (Some(_), Conflict::Skip) => return Ok(Outcome::Skipped),
            (Some(_), Conflict::Overwrite) if !meets_folder => {}
            (Some(_), Conflict::Overwrite | Conflict::Fail | Conflict::Rename) => {
                return Err(CopyError::Exists { path });
            }
        }
        if is_folder { self.folder(item, to, path) } else { self.leaf(item, to, path) }
    }

    fn folder(&mut self, item: &Item<'_>, to: &Place, path: PathBuf) -> Result<Outcome, CopyError> {
        let disk = |error| DiskError::at(&path, error);
        let from = item.from.open(item.name).map_err(disk)?;
        let outcome = match item.there {
            Some(there) if there.kind == FileType::Directory => Outcome::Merged,
            Some(_) => {
                to.folder.unlink(&item.new).map_err(disk)?;
                Outcome::Replaced
            }
            None => Outcome::Written,
        };
        if outcome != Outcome::Merged {
            to.folder.make(&item.new).map_err(disk)?;
        }
        let folder = to.folder.open(&item.new).map_err(disk)?;
        let place = Place { folder, path: path.clone(), is_top: false };
        self.all(&from, &place)?;
        if outcome != Outcome::Merged {
            let modified = item.from.modified(item.name).map_err(disk)?;
            folder::dress(&place.folder, Mode::of(item.thing.mode), modified).map_err(disk)?;
        } else if place.folder.device().map_err(disk)? != to.folder.device().map_err(disk)? {
            // The sync at the end does not reach what is mounted here.
            durable::all(&place.folder).map_err(disk)?;
        }
        durable::each(&place.folder).map_err(disk)?;
        Ok(outcome)
    }

    /// A file or a link.
    fn leaf(&mut self, item: &Item<'_>, to: &Place, path: PathBuf) -> Result<Outcome, CopyError> {
        let disk = |error| DiskError::at(&path, error);
        let own = self.write(item, &to.folder).map_err(disk)?;
        let placed = match item.there {
            Some(_) => to.folder.replace(&own, &item.new).map(|()| Outcome::Replaced),
            None => to.folder.rename_to(&own, &to.folder, &item.new).map(|()| Outcome::Written),
        };
        let Err(error) = placed else { return Ok(placed.map_err(disk)?) };
        to.folder.unlink(&own).map_err(disk)?;
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(disk(error).into());
        }
        // It appeared just now.
        match self.conflict {
            Conflict::Skip => Ok(Outcome::Skipped),
            Conflict::Fail | Conflict::Overwrite | Conflict::Rename => {
                Err(CopyError::Exists { path })
            }
        }
    }

    /// Writes a file or link under a name of its own, and returns that.
    fn write(&mut self, item: &Item<'_>, to: &Folder) -> io::Result<Vec<u8>> {
        for _ in 0..MAX_TRIES {
            self.made += 1;
            let own = format!(".pilot-{}-{}.part", std::process::id(), self.made).into_bytes();
            match write_as(item, to, &own) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    // What went wrong first is what is to be told.
                    drop(to.unlink(&own));
                    return Err(error);
                }
                Ok(()) => return Ok(own),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

fn write_as(item: &Item<'_>, to: &Folder, own: &[u8]) -> io::Result<()> {
    let modified = item.from.modified(item.name)?;
    if item.thing.kind == FileType::Symlink {
        return to.link(own, &item.from.target(item.name)?, modified);
    }
    let source = item.from.read(item.name)?;
    let target = to.create(own)?;
    io::copy(&mut &source, &mut &target)?;
    folder::dress(&target, Mode::of(item.thing.mode), modified)?;
    durable::each(&target)
}

/// A name that nothing has, with a number before the extension.
fn free_name(to: &Place, name: &[u8], kind: FileType) -> Result<Vec<u8>, CopyError> {
    let dot = name.iter().rposition(|byte| *byte == b'.');
    let dot = dot.filter(|at| *at > 0 && kind != FileType::Directory);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    for number in 2..MAX_TRIES {
        let end = [format!("-{number}").as_bytes(), extension].concat();
        // Of a long name goes what has to; an extension that long is none.
        let Some(room) = MAX_NAME.checked_sub(end.len()) else { break };
        let new = [stem.get(..room).unwrap_or(stem), &end].concat();
        let there = to.folder.thing(&new);
        if there.map_err(|error| DiskError::at(to.path.join(os_path(&new)), error))?.is_none() {
            return Ok(new);
        }
    }
    Err(CopyError::Exists { path: to.path.join(os_path(name)) })
}
