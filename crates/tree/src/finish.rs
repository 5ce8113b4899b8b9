//! How a transfer that is whole appears in the inbox.
//!
//! Everything is made as it is to be and brought onto the disk, then the tree
//! gets its place by one rename. Whatever happens before leaves a transfer that
//! can be opened and finished again; whatever happens after leaves one whose
//! tree is gone, and of which only the rest is to be removed.

use std::path::{Path, PathBuf};

use pilot_proto::Component;
use rustix::fs::FileType;

use crate::folder::Folder;
use crate::incoming::{Incoming, JOURNAL, MANIFEST, TREE};
use crate::{DiskError, catalogue, durable};

/// Why a transfer is not in the inbox. It can be opened and finished again.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// Pieces are missing.
    #[error("{pieces} pieces are missing")]
    Missing {
        /// How many.
        pieces: u64,
    },
    /// The name in the inbox is none.
    #[error("{name:?} is no name in a folder")]
    BadName {
        /// What was given.
        name: String,
    },
    /// Something has that name in the inbox.
    #[error("{path:?} is there already")]
    Exists {
        /// The place in the inbox.
        path: PathBuf,
    },
    /// The tree is gone, and not in the inbox either: somebody removed it.
    #[error("what was received is neither in its folder nor at {path:?}")]
    Lost {
        /// The place in the inbox.
        path: PathBuf,
    },
    /// The disk did not take it.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Incoming {
    /// Puts the tree into `inbox` as `name`, synced and all at once, and clears
    /// up. Returns where it is. `inbox` is on the file system of the folder
    /// this was received into. Which files these are is entered in the inbox,
    /// for [`Held`](crate::Held).
    ///
    /// May be repeated after a crash at any point of it, on what
    /// [`Incoming::open`] gives; if that says `NotThere` and the tree is in the
    /// inbox, nothing is left to do.
    ///
    /// # Errors
    ///
    /// [`FinishError`].
    pub fn finish(mut self, inbox: &Path, name: &str) -> Result<PathBuf, FinishError> {
        if Component::new(name.as_bytes()).is_err() {
            return Err(FinishError::BadName { name: name.to_owned() });
        }
        let missing = self.arrived().total() - self.arrived().count();
        if missing > 0 {
            return Err(FinishError::Missing { pieces: missing });
        }
        let path = inbox.join(name);
        let disk = |error| DiskError::at(&path, error);
        let within = Folder::at(inbox).map_err(disk)?;
        match self.growing.take() {
            Some(mut growing) => {
                growing.complete()?;
                drop(growing);
                // What was received does not depend on it, nor does it take
                // the room that this needs, and so it comes last.
                drop(catalogue::write(&self, &within, name));
                self.publish(&within, name, &path)?;
            }
            None => {
                let there = within.thing(name.as_bytes()).map_err(disk)?;
                if there.is_none_or(|thing| thing.kind != FileType::Directory) {
                    return Err(FinishError::Lost { path });
                }
            }
        }
        durable::one(&within).map_err(disk)?;
        self.clear()?;
        Ok(path)
    }

    /// The one step after which it is in the inbox.
    pub(crate) fn publish(
        &self,
        inbox: &Folder,
        name: &str,
        path: &Path,
    ) -> Result<(), FinishError> {
        match self.folder.rename_to(TREE, inbox, name.as_bytes()) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(FinishError::Exists { path: path.to_owned() })
            }
            other => Ok(other.map_err(|error| DiskError::at(path, error))?),
        }
    }

    /// Removes the rest, the manifest after the journal: without one, there is
    /// no transfer.
    fn clear(self) -> Result<(), DiskError> {
        let removed = self.folder.remove(JOURNAL).and_then(|()| self.folder.remove(MANIFEST));
        removed.map_err(|error| DiskError::at(&self.path, error))?;
        crate::discard(&self.path)
    }
}
