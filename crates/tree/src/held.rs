//! The files in an inbox that need not be sent again.
//!
//! Known by length and hash, from the catalogues of the transfers that brought
//! them. Their user may have changed, moved or removed any of them since, or
//! put a link in its place: what is opened here is a file of that length
//! beneath the inbox, and its content is for whoever reads it to prove.

use std::fs::File;
use std::path::Path;

use pilot_files::{Catalogue, FileHash, Manifest};
use pilot_proto::Component;
use pilot_proto::manifest::EntryKind;

use crate::catalogue;
use crate::folder::Folder;

/// Files that are known, the newest: 11 MiB. More are sent again.
const MAX_FILES: usize = 200_000;

/// Bytes of their paths; files whose paths have no room are sent again.
const MAX_PATHS: usize = 16 * 1024 * 1024;

/// Files of one length and hash that are tried: each that was changed is read
/// for nothing.
const MAX_TRIES: usize = 3;

/// The files that some transfers brought to an inbox.
#[derive(Debug)]
pub struct Held {
    /// None if nothing is held.
    inbox: Option<Folder>,
    /// The transfers by which they came.
    transfers: Vec<Component>,
    /// The paths of all of them, one after the other.
    paths: Vec<u8>,
    /// In the order of their [`Known::key`]s.
    files: Vec<Known>,
}

/// A file that was received.
#[derive(Debug)]
struct Known {
    size: u64,
    hash: [u8; 32],
    /// Its number in [`Held::transfers`].
    transfer: u32,
    /// Where in [`Held::paths`] its path begins, and how long that is.
    path: (u32, u16),
}

impl Held {
    /// What the transfers of these names, of which the newest is the first,
    /// brought to `inbox`: 200,000 files at most. What cannot be read is not
    /// held.
    #[must_use]
    pub fn load(inbox: &Path, names: &[impl AsRef<str>]) -> Self {
        let (folder, catalogues) = (Folder::at(inbox).ok(), catalogue::folder(inbox).ok());
        let (transfers, paths, files) = (Vec::new(), Vec::new(), Vec::new());
        let mut held = Self { inbox: folder, transfers, paths, files };
        for name in names {
            let Ok(name) = Component::new(name.as_ref().as_bytes()) else { continue };
            let Some(Ok(bytes)) = catalogues.as_ref().map(|all| catalogue::read(all, &name)) else {
                continue;
            };
            if !held.enter(name, &bytes) {
                break;
            }
        }
        held.files.sort_unstable_by_key(Known::key);
        held
    }

    /// The numbers of the files that may be held: one of the same length is.
    /// The hash decides.
    #[must_use]
    pub fn candidates(&self, manifest: &Manifest) -> Vec<u32> {
        let has_size = |size| {
            let at = self.files.partition_point(|file| file.size < size);
            self.files.get(at).is_some_and(|file| file.size == size)
        };
        let entries = manifest.entries().iter().zip(0..);
        let held = entries.filter_map(|(entry, number)| match entry.kind {
            EntryKind::File { size } => has_size(size).then_some(number),
            EntryKind::Folder | EntryKind::Link { .. } => None,
        });
        held.collect()
    }

    /// The files that had this length and hash when they came, and have this
    /// length now: the newest first, and not too many.
    pub(crate) fn files(&self, size: u64, hash: &FileHash) -> impl Iterator<Item = File> {
        let wanted = (size, *hash.as_bytes());
        let at = self.files.partition_point(|file| (file.size, file.hash) < wanted);
        let same =
            self.files.iter().skip(at).take_while(move |file| (file.size, file.hash) == wanted);
        same.take(MAX_TRIES).filter_map(|file| self.open(file))
    }

    /// False if there is no room for more.
    fn enter(&mut self, transfer: Component, bytes: &[u8]) -> bool {
        let Ok(number) = u32::try_from(self.transfers.len()) else { return false };
        self.transfers.push(transfer);
        for file in Catalogue::read(bytes) {
            let has_room =
                self.files.len() < MAX_FILES && self.paths.len() + file.path.len() <= MAX_PATHS;
            let (at, len) = (u32::try_from(self.paths.len()), u16::try_from(file.path.len()));
            let (true, Ok(at), Ok(len)) = (has_room, at, len) else { return false };
            self.paths.extend_from_slice(file.path);
            let (size, hash) = (file.size, *file.hash.as_bytes());
            self.files.push(Known { size, hash, transfer: number, path: (at, len) });
        }
        true
    }

    /// Opens a file if it is there, name by name.
    fn open(&self, known: &Known) -> Option<File> {
        let transfer = self.transfers.get(known.transfer as usize)?;
        let (start, len) = known.path;
        let path = self.paths.get(start as usize..)?.get(..len.into())?;
        let mut folder = self.inbox.as_ref()?.open(transfer.as_bytes()).ok()?;
        let mut names = path.split(|byte| *byte == b'/').peekable();
        loop {
            let name = Component::new(names.next()?).ok()?;
            if names.peek().is_none() {
                let file = folder.read(name.as_bytes()).ok()?;
                let found = file.metadata().ok()?;
                return (found.is_file() && found.len() == known.size).then_some(file);
            }
            folder = folder.open(name.as_bytes()).ok()?;
        }
    }
}

impl Known {
    /// Of those of one length and hash, the newest is the first.
    const fn key(&self) -> (u64, [u8; 32], u32) {
        (self.size, self.hash, self.transfer)
    }
}
