//! A checked tree of what is in a transfer.

use std::collections::BTreeSet;

use pilot_proto::manifest::{self, Entry, EntryKind, MAX_ENTRIES, ManifestBytesError};
use serde::{Deserialize, Serialize};

/// Folders inside each other; deeper trees are refused.
pub const MAX_DEPTH: u32 = 128;

/// Bytes of a path below the top: what Linux takes (`PATH_MAX` without NUL).
pub const MAX_PATH: usize = 4095;

/// Bytes of all files together: 16 TiB, and far from where sums overflow.
pub const MAX_BYTES: u64 = 16 << 40;

/// Entries that make a tree: every parent is a folder that came before, no
/// folder has two of one name, nothing is too deep or too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
    totals: Totals,
}

/// How much is in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Regular files.
    pub files: u32,
    /// Folders.
    pub folders: u32,
    /// Symbolic links.
    pub links: u32,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Why entries are no manifest. Numbers of entries count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The bytes are none.
    #[error(transparent)]
    Bytes(#[from] ManifestBytesError),
    /// There is nothing in it.
    #[error("there is nothing in it")]
    Empty,
    /// More than [`MAX_ENTRIES`].
    #[error("it has {entries} entries, more than {MAX_ENTRIES}")]
    TooMany {
        /// How many.
        entries: usize,
    },
    /// A parent comes later, is no folder, or does not exist.
    #[error("entry {entry} is in no folder that came before it")]
    Orphan {
        /// Which.
        entry: usize,
    },
    /// Two of one name in a folder.
    #[error("entry {entry} has the name of another one in its folder")]
    SameName {
        /// The second one.
        entry: usize,
    },
    /// Deeper than [`MAX_DEPTH`] or longer than [`MAX_PATH`].
    #[error(
        "entry {entry} is deeper than {MAX_DEPTH} folders or its path longer than {MAX_PATH} bytes"
    )]
    TooDeep {
        /// Which.
        entry: usize,
    },
    /// More than [`MAX_BYTES`] in all.
    #[error("its files have more than {MAX_BYTES} bytes")]
    TooLarge,
}

/// Where an entry is, as far as its own entries need to know.
#[derive(Clone, Copy)]
struct Place {
    is_folder: bool,
    depth: u32,
    path_len: usize,
}

impl Manifest {
    /// Checks the entries.
    ///
    /// # Errors
    ///
    /// [`ManifestError`], naming the first entry that is not as it must be.
    pub fn new(entries: Vec<Entry>) -> Result<Self, ManifestError> {
        if entries.is_empty() {
            return Err(ManifestError::Empty);
        }
        if entries.len() > MAX_ENTRIES {
            return Err(ManifestError::TooMany { entries: entries.len() });
        }
        let mut totals = Totals::default();
        let mut places: Vec<Place> = Vec::with_capacity(entries.len());
        let mut names = BTreeSet::new();
        for (number, entry) in entries.iter().enumerate() {
            let place = Place::of(entry, number, &places)?;
            places.push(place);
            if !names.insert((entry.parent, entry.name.as_bytes())) {
                return Err(ManifestError::SameName { entry: number });
            }
            totals.add(&entry.kind)?;
        }
        Ok(Self { entries, totals })
    }

    /// Decodes and checks what came from outside.
    ///
    /// # Errors
    ///
    /// [`ManifestError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::new(manifest::decode(bytes)?)
    }

    /// Its bytes.
    ///
    /// # Errors
    ///
    /// [`ManifestBytesError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, ManifestBytesError> {
        manifest::encode(&self.entries)
    }

    /// All entries; folders come before what is in them.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How much is in it.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// The path of an entry below the top, its components with `/` between
    /// them; none if there is no such entry.
    #[must_use]
    pub fn path(&self, entry: usize) -> Option<Vec<u8>> {
        let mut components = Vec::new();
        let mut at = self.entries.get(entry)?;
        loop {
            components.push(at.name.as_bytes());
            match self.parent(at) {
                Some(parent) => at = parent,
                None => break,
            }
        }
        components.reverse();
        Some(components.join(&b'/'))
    }

    fn parent(&self, entry: &Entry) -> Option<&Entry> {
        self.entries.get(number_of(entry.parent)?)
    }
}

impl Place {
    fn of(entry: &Entry, number: usize, before: &[Self]) -> Result<Self, ManifestError> {
        let (depth, path_len) = match number_of(entry.parent) {
            None => (0, 0),
            Some(parent) => {
                let folder = before.get(parent).filter(|place| place.is_folder);
                let folder = folder.ok_or(ManifestError::Orphan { entry: number })?;
                (folder.depth + 1, folder.path_len + 1)
            }
        };
        let path_len = path_len + entry.name.as_bytes().len();
        if depth > MAX_DEPTH || path_len > MAX_PATH {
            return Err(ManifestError::TooDeep { entry: number });
        }
        Ok(Self { is_folder: entry.kind == EntryKind::Folder, depth, path_len })
    }
}

impl Totals {
    fn add(&mut self, kind: &EntryKind) -> Result<(), ManifestError> {
        match kind {
            EntryKind::Folder => self.folders += 1,
            EntryKind::Link { .. } => self.links += 1,
            EntryKind::File { size } => {
                self.files += 1;
                self.bytes = self
                    .bytes
                    .checked_add(*size)
                    .filter(|bytes| *bytes <= MAX_BYTES)
                    .ok_or(ManifestError::TooLarge)?;
            }
        }
        Ok(())
    }
}

/// The number of the entry that [`Entry::parent`] means; none for the top.
fn number_of(parent: u32) -> Option<usize> {
    usize::try_from(parent.checked_sub(1)?).ok()
}

#[cfg(test)]
#[path = "tests/manifest.rs"]
mod tests;
