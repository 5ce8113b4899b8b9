//! The tree of a transfer while it grows.
//!
//! Folders and files are made when a piece first needs them, each by one name
//! in a folder that is open, so nothing that a manifest says leads out of the
//! top. What this transfer made it opens again; where it finds something that
//! it did not make, it stops.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use pilot_files::Manifest;
use pilot_proto::manifest::{Entry, EntryKind};
use rustix::fs::FileType;

use crate::folder::{self, Folder, Thing};
use crate::recent::Recent;
use crate::{DiskError, durable, os_path};

/// Folders kept open: files come folder by folder, so these are a path and its
/// surroundings.
const OPEN_FOLDERS: usize = 32;
/// Files of several pieces kept open: about as many as there are streams.
const OPEN_FILES: usize = 16;

#[derive(Debug)]
pub(crate) struct Growing {
    top: Folder,
    manifest: Arc<Manifest>,
    /// How far each entry is.
    stages: Vec<Stage>,
    folders: Recent<Folder>,
    files: Recent<Arc<File>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not made by this transfer.
    Absent,
    /// Made, with a mode that lets this user use it.
    Made,
    /// A file that has its own mode and time.
    Dressed,
}

impl Growing {
    /// An empty tree.
    pub(crate) fn empty(top: Folder, manifest: Arc<Manifest>) -> Self {
        let stages = vec![Stage::Absent; manifest.entries().len()];
        let (folders, files) = (Recent::at_most(OPEN_FOLDERS), Recent::at_most(OPEN_FILES));
        Self { top, manifest, stages, folders, files }
    }

    /// A tree that is there in part. What is no part of it is removed: links,
    /// which are made anew at the end, and whatever the transfer did not make.
    pub(crate) fn survey(top: Folder, manifest: Arc<Manifest>) -> Result<Self, DiskError> {
        let mut growing = Self::empty(top, manifest);
        let manifest = growing.manifest.clone();
        let mut by_name: Vec<(u32, &[u8], u32)> = manifest
            .entries()
            .iter()
            .zip(0..)
            .map(|(entry, number)| (entry.parent, entry.name.as_bytes(), number))
            .collect();
        by_name.sort_unstable();
        growing.survey_folder(0, &by_name)?;
        for (entry, number) in manifest.entries().iter().zip(0..) {
            if entry.kind == EntryKind::Folder && growing.is_made(number) {
                growing.survey_folder(number + 1, &by_name)?;
            }
        }
        Ok(growing)
    }

    fn survey_folder(
        &mut self,
        parent: u32,
        by_name: &[(u32, &[u8], u32)],
    ) -> Result<(), DiskError> {
        let folder = self.folder(parent)?;
        let path = parent.checked_sub(1).map_or_else(PathBuf::new, |number| self.path(number));
        for name in folder.names().map_err(|error| DiskError::at(&path, error))? {
            let known = by_name.binary_search_by_key(&(parent, name.as_slice()), |at| (at.0, at.1));
            let number = known.ok().and_then(|at| by_name.get(at)).map(|at| at.2);
            let made = self
                .survey_name(&folder, &name, number)
                .map_err(|error| DiskError::at(path.join(os_path(&name)), error))?;
            if let Some(number) = made {
                self.set(number, Stage::Made);
            }
        }
        Ok(())
    }

    /// The entry that has this name, if this transfer made what is there.
    fn survey_name(
        &self,
        folder: &Folder,
        name: &[u8],
        number: Option<u32>,
    ) -> io::Result<Option<u32>> {
        let Some(thing) = folder.thing(name)? else { return Ok(None) };
        match number.filter(|number| self.may_be(&thing, *number)) {
            Some(number) => folder.unlock(name, &thing).map(|()| Some(number)),
            None => folder.remove(name).map(|()| None),
        }
    }

    /// Whether this transfer may have made the thing for this entry. A file
    /// with a second name is also elsewhere.
    fn may_be(&self, thing: &Thing, number: u32) -> bool {
        match &self.entry(number).kind {
            EntryKind::Folder => thing.kind == FileType::Directory,
            EntryKind::File { size } => {
                thing.kind == FileType::RegularFile && thing.names == 1 && thing.size <= *size
            }
            EntryKind::Link { .. } => false,
        }
    }

    /// Whether this transfer made the entry.
    pub(crate) fn is_made(&self, number: u32) -> bool {
        self.stages.get(number as usize).is_some_and(|stage| *stage != Stage::Absent)
    }

    /// The file of this entry, open to read and write, and made if it is not
    /// there. `again` keeps it open for more pieces.
    pub(crate) fn file(&mut self, number: u32, again: bool) -> Result<Arc<File>, DiskError> {
        if let Some(file) = self.files.get(number) {
            return Ok(file);
        }
        let manifest = self.manifest.clone();
        let entry = entry_of(&manifest, number);
        let folder = self.folder(entry.parent)?;
        let file = if self.is_made(number) {
            folder.write(entry.name.as_bytes())
        } else {
            folder.create(entry.name.as_bytes())
        };
        let file = Arc::new(file.map_err(|error| self.refused(&folder, number, error))?);
        self.set(number, Stage::Made);
        if again {
            self.files.put(number, file.clone());
        }
        Ok(file)
    }

    /// Gives a file that is whole its mode and time.
    pub(crate) fn dress(&mut self, number: u32, file: &File) -> Result<(), DiskError> {
        let entry = self.entry(number);
        folder::dress(file, entry.mode, entry.modified)
            .and_then(|()| durable::each(file))
            .map_err(|error| DiskError::at(self.path(number), error))?;
        self.set(number, Stage::Dressed);
        Ok(())
    }

    /// Makes whatever no piece needed, gives everything its mode and time, and
    /// brings it onto the disk. All pieces are there.
    pub(crate) fn complete(&mut self) -> Result<(), DiskError> {
        // Links when nothing is written any more, and folders after what is in
        // them: whatever is made in a folder changes its time, and its mode
        // may be such that nothing can be.
        self.make_rest()?;
        self.make_links()?;
        self.dress_folders()?;
        durable::each(&self.top)
            .and_then(|()| durable::all(&self.top))
            .map_err(|error| DiskError::at("", error))
    }

    fn make_rest(&mut self) -> Result<(), DiskError> {
        let manifest = self.manifest.clone();
        for (entry, number) in manifest.entries().iter().zip(0..) {
            match &entry.kind {
                EntryKind::Folder => drop(self.folder(number + 1)?),
                EntryKind::File { .. } => self.complete_file(number)?,
                EntryKind::Link { .. } => {}
            }
        }
        Ok(())
    }

    fn make_links(&mut self) -> Result<(), DiskError> {
        let manifest = self.manifest.clone();
        for (entry, number) in manifest.entries().iter().zip(0..) {
            if let EntryKind::Link { target } = &entry.kind {
                let folder = self.folder(entry.parent)?;
                folder
                    .link(entry.name.as_bytes(), target.as_bytes(), entry.modified)
                    .map_err(|error| self.refused(&folder, number, error))?;
            }
        }
        Ok(())
    }

    fn dress_folders(&mut self) -> Result<(), DiskError> {
        let manifest = self.manifest.clone();
        // As `folder` counts: from 1.
        let mut number = u32::try_from(manifest.entries().len()).unwrap_or(u32::MAX);
        for entry in manifest.entries().iter().rev() {
            if entry.kind == EntryKind::Folder {
                let folder = self.folder(number)?;
                folder::dress(&folder, entry.mode, entry.modified)
                    .and_then(|()| durable::each(&folder))
                    .map_err(|error| DiskError::at(self.path(number - 1), error))?;
            }
            number -= 1;
        }
        Ok(())
    }

    fn complete_file(&mut self, number: u32) -> Result<(), DiskError> {
        if self.stages.get(number as usize) == Some(&Stage::Dressed) {
            return Ok(());
        }
        let file = self.file(number, false)?;
        self.dress(number, &file)
    }

    /// A folder, and those that it is in, made if they are not there. As
    /// [`Entry::parent`] counts: 0 is the top.
    fn folder(&mut self, parent: u32) -> Result<Folder, DiskError> {
        let mut below = Vec::new();
        let mut at = parent;
        let mut folder = loop {
            let Some(number) = at.checked_sub(1) else { break self.top.clone() };
            if let Some(folder) = self.folders.get(number) {
                break folder;
            }
            below.push(number);
            at = self.entry(number).parent;
        };
        for number in below.into_iter().rev() {
            folder = self.enter(&folder, number)?;
            self.folders.put(number, folder.clone());
        }
        Ok(folder)
    }

    fn enter(&mut self, within: &Folder, number: u32) -> Result<Folder, DiskError> {
        let manifest = self.manifest.clone();
        let name = entry_of(&manifest, number).name.as_bytes();
        if !self.is_made(number) {
            within.make(name).map_err(|error| self.refused(within, number, error))?;
            self.set(number, Stage::Made);
        }
        within.open(name).map_err(|error| DiskError::at(self.path(number), error))
    }

    /// Why an entry could not be made or opened in its folder.
    fn refused(&self, folder: &Folder, number: u32, error: io::Error) -> DiskError {
        let path = self.path(number);
        if error.kind() != io::ErrorKind::AlreadyExists {
            return DiskError::at(path, error);
        }
        match self.namesake(folder, number) {
            Some(other) => DiskError::NamesCollide { path, other: self.path(other) },
            None => DiskError::InTheWay { path },
        }
    }

    /// The entry that was made in the same folder and has, for this file
    /// system, the same name.
    fn namesake(&self, folder: &Folder, number: u32) -> Option<u32> {
        let entry = self.entry(number);
        let there = folder.thing(entry.name.as_bytes()).ok()??;
        let is_same = |other: &Entry| {
            let thing = folder.thing(other.name.as_bytes()).ok().flatten();
            thing.is_some_and(|thing| thing.is(&there))
        };
        // Links have no stage; those before this one are there.
        let mut others = self.manifest.entries().iter().zip(0..);
        let other = others.find(|(other, at)| {
            other.parent == entry.parent
                && *at != number
                && (self.is_made(*at) || matches!(other.kind, EntryKind::Link { .. }))
                && is_same(other)
        });
        other.map(|(_, at)| at)
    }

    fn set(&mut self, number: u32, stage: Stage) {
        if let Some(at) = self.stages.get_mut(number as usize) {
            *at = stage;
        }
    }

    fn entry(&self, number: u32) -> &Entry {
        entry_of(&self.manifest, number)
    }

    /// The path of an entry below the top, for people.
    pub(crate) fn path(&self, number: u32) -> PathBuf {
        os_path(&self.manifest.path(number as usize).unwrap_or_default()).to_owned()
    }
}

#[expect(clippy::indexing_slicing, reason = "all numbers come from the manifest itself")]
fn entry_of(manifest: &Manifest, number: u32) -> &Entry {
    &manifest.entries()[number as usize]
}
