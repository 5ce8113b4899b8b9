//! A transfer that is being received, in a folder of its own.
//!
//! | in it | what |
//! |---|---|
//! | `tree/` | what has arrived, below which everything is written |
//! | `journal` | which pieces it says are written |
//! | `manifest` | BLAKE3 hash of the manifest, then its bytes; written last |
//!
//! Nothing but a piece that hashes to what it should is written, and after a
//! crash only those count that still do, so nothing is synced until the end.
//! Who sends, and whether they may, is not decided here.

use std::fs::DirBuilder;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilot_files::{Arrived, Layout, LayoutError, Manifest, Piece, PieceHash};
use pilot_proto::manifest::MAX_MANIFEST;

use crate::folder::Folder;
use crate::growing::Growing;
use crate::journal::Journal;
use crate::verified::{Verified, fitting};
use crate::{DiskError, PieceBuffer, direct};

pub(crate) const TREE: &[u8] = b"tree";
pub(crate) const JOURNAL: &[u8] = b"journal";
pub(crate) const MANIFEST: &[u8] = b"manifest";

const HASH: usize = 32;

/// A transfer that is being received. Not for several threads at once: pieces
/// are written one after the other.
#[derive(Debug)]
pub struct Incoming {
    pub(crate) path: PathBuf,
    pub(crate) folder: Folder,
    manifest: Arc<Manifest>,
    layout: Layout,
    arrived: Arrived,
    /// Of the pieces that have arrived.
    bytes: u64,
    pub(crate) journal: Journal,
    /// None if the tree is in the inbox already.
    pub(crate) growing: Option<Growing>,
}

/// Why nothing can be received into a folder.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Its files have too many pieces.
    #[error(transparent)]
    TooLarge(#[from] LayoutError),
    /// A transfer is being received there: it is to be opened.
    #[error("a transfer is being received into {path:?} already")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The disk did not take it.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Why a folder is no transfer that was begun.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no folder, or no manifest in it: nothing was begun there, or it
    /// was received and cleared away. What is in the inbox tells which.
    #[error("no transfer is being received into {path:?}")]
    NotThere {
        /// The folder.
        path: PathBuf,
    },
    /// The manifest is not what was written. The transfer has to begin anew,
    /// after [`discard`](crate::discard).
    #[error("the manifest in {path:?} is damaged")]
    Damaged {
        /// The folder.
        path: PathBuf,
    },
    /// The disk did not give it.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is in its file now.
    New,
    /// It was before; nothing was written.
    Already,
}

/// Why a piece was not written. All but the last are the sender's fault.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no piece of this number.
    #[error("the transfer has no piece {piece}")]
    NoSuchPiece {
        /// The number.
        piece: u64,
    },
    /// It is not as long as it must be.
    #[error("piece {piece} has {found} bytes instead of {wanted}")]
    WrongLength {
        /// Which.
        piece: u64,
        /// Its bytes.
        found: usize,
        /// Those it must have.
        wanted: usize,
    },
    /// It does not hash to what was said.
    #[error("piece {piece} is damaged")]
    HashMismatch {
        /// Which.
        piece: u64,
    },
    /// The disk did not take it.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Incoming {
    /// Begins to receive into the folder at `path`, which is made, and so are
    /// those it is in. `bytes` are those of the manifest. What an earlier try
    /// left there without a manifest goes.
    ///
    /// # Errors
    ///
    /// [`CreateError`].
    pub fn create(path: &Path, bytes: &[u8], manifest: Arc<Manifest>) -> Result<Self, CreateError> {
        let layout = Layout::of(&manifest)?;
        let disk = |error| DiskError::at(path, error);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(disk)?;
        let folder = Folder::at(path).map_err(disk)?;
        if folder.thing(MANIFEST).map_err(disk)?.is_some() {
            return Err(CreateError::Exists { path: path.to_owned() });
        }
        let (top, journal) = begin(&folder, bytes).map_err(disk)?;
        Ok(Self {
            path: path.to_owned(),
            folder,
            growing: Some(Growing::empty(top, manifest.clone())),
            arrived: Arrived::none_of(layout.pieces()),
            bytes: 0,
            journal,
            layout,
            manifest,
        })
    }

    /// Goes on with what was begun in the folder at `path`: reads and hashes
    /// all pieces that are said to be there, which takes as long as reading
    /// them does.
    ///
    /// One whose tree is in the inbox already counts as whole, and
    /// [`Self::finish`] only clears up after it.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let disk = |error| DiskError::at(path, error);
        let not_there = || OpenError::NotThere { path: path.to_owned() };
        let folder = match Folder::at(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_there()),
            other => other.map_err(disk)?,
        };
        let bytes = read_manifest(&folder).map_err(disk)?.ok_or_else(not_there)?;
        let damaged = || OpenError::Damaged { path: path.to_owned() };
        let manifest = whole(&bytes).and_then(|bytes| Manifest::decode(bytes).ok());
        let manifest = Arc::new(manifest.ok_or_else(damaged)?);
        let layout = Layout::of(&manifest).map_err(|_| damaged())?;
        drop(bytes);
        let growing = match folder.thing(TREE).map_err(disk)? {
            Some(_) => {
                let top = folder.open(TREE).map_err(disk)?;
                Some(Growing::survey(top, manifest.clone())?)
            }
            None => None,
        };
        let mut incoming = Self {
            path: path.to_owned(),
            journal: open_journal(&folder).map_err(disk)?,
            folder,
            arrived: Arrived::none_of(layout.pieces()),
            bytes: 0,
            growing,
            layout,
            manifest,
        };
        incoming.verify()?;
        Ok(incoming)
    }

    /// Verifies a piece and puts it where it belongs: fastest from a
    /// [`PieceBuffer`].
    ///
    /// # Errors
    ///
    /// [`WriteError`]; the piece is missing then as it was before, and may
    /// come again.
    pub fn write_piece(
        &mut self,
        number: u64,
        content: &[u8],
        hash: &PieceHash,
    ) -> Result<Written, WriteError> {
        if self.arrived.contains(number) {
            return Ok(Written::Already);
        }
        self.write(&Verified::of(&self.layout, number, content, hash)?)
    }

    /// The same for one that is verified already.
    ///
    /// # Errors
    ///
    /// [`WriteError`], as for [`Incoming::write_piece`].
    pub fn write<C: AsRef<[u8]>>(&mut self, verified: &Verified<C>) -> Result<Written, WriteError> {
        let Verified { number, hash, content } = verified;
        let (number, content) = (*number, content.as_ref());
        // It may have been verified for another transfer.
        let piece = fitting(&self.layout, number, content)?;
        if self.arrived.contains(number) {
            return Ok(Written::Already);
        }
        let Some(growing) = &mut self.growing else { return Ok(Written::Already) };
        let file = growing.file(piece.entry, !piece.is_only)?;
        direct::write(&file, content, piece.offset)
            .map_err(|error| DiskError::at(growing.path(piece.entry), error))?;
        if piece.is_only {
            growing.dress(piece.entry, &file)?;
        }
        self.journal.append(number, hash).map_err(|error| DiskError::at(&self.path, error))?;
        self.count(number, &piece);
        Ok(Written::New)
    }

    /// What the transfer consists of.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where its pieces are.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The pieces that are there.
    #[must_use]
    pub const fn arrived(&self) -> &Arrived {
        &self.arrived
    }

    /// How many bytes the pieces have that are there.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts the pieces that are what the journal says. A tree that is in the
    /// inbox was whole before it got there.
    fn verify(&mut self) -> Result<(), DiskError> {
        let Some(mut growing) = self.growing.take() else {
            for number in 0..self.layout.pieces() {
                let Some(piece) = self.layout.piece(number) else { break };
                self.count(number, &piece);
            }
            return Ok(());
        };
        let mut content = PieceBuffer::new();
        let disk = |error| DiskError::at(&self.path, error);
        let records = self.journal.records().map_err(disk)?;
        for record in records {
            let (number, hash) = record.map_err(|error| DiskError::at(&self.path, error))?;
            let claimed = self.layout.piece(number).filter(|_| !self.arrived.contains(number));
            let Some(piece) = claimed.filter(|piece| growing.is_made(piece.entry)) else {
                continue;
            };
            let content = content.get_mut(piece.len);
            let file = growing.file(piece.entry, !piece.is_only)?;
            match direct::read(&file, content, piece.offset) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(DiskError::at(growing.path(piece.entry), error)),
                Ok(()) if PieceHash::of(content, piece.offset, piece.is_only) != hash => {}
                Ok(()) => self.count(number, &piece),
            }
        }
        self.growing = Some(growing);
        Ok(())
    }

    fn count(&mut self, number: u64, piece: &Piece) {
        if self.arrived.insert(number) {
            self.bytes += piece.len as u64;
        }
    }
}

/// Removes what is being received, or was, at `path`: a folder with everything
/// in it whatever the modes, and no link is followed. Nothing is there after it,
/// and it is no error if nothing was.
///
/// # Errors
///
/// [`DiskError`]; some of it is gone then.
pub fn discard(path: &Path) -> Result<(), DiskError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(DiskError::InTheWay { path: path.to_owned() });
    };
    let parent = if parent == Path::new("") { Path::new(".") } else { parent };
    let removed = match Folder::at(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(parent) => parent.remove(name.as_encoded_bytes()),
    };
    removed.map_err(|error| DiskError::at(path, error))
}

/// Makes what is in the folder, the manifest last: only then is it begun.
fn begin(folder: &Folder, manifest: &[u8]) -> io::Result<(Folder, Journal)> {
    folder.remove(TREE)?;
    folder.remove(JOURNAL)?;
    folder.make(TREE)?;
    let top = folder.open(TREE)?;
    let journal = Journal::of(folder.create(JOURNAL)?)?;
    let mut file = folder.create(MANIFEST)?;
    file.write_all(blake3::hash(manifest).as_bytes())?;
    file.write_all(manifest)?;
    Ok((top, journal))
}

fn read_manifest(folder: &Folder) -> io::Result<Option<Vec<u8>>> {
    let file = match folder.read(MANIFEST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    let most = MAX_MANIFEST + HASH + 1;
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// The manifest without its hash, if that is right.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let (hash, manifest) = bytes.split_first_chunk::<HASH>()?;
    (blake3::hash(manifest) == *hash).then_some(manifest)
}

/// The journal; a new one if it got lost, as then nothing counts.
fn open_journal(folder: &Folder) -> io::Result<Journal> {
    match folder.write(JOURNAL) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Journal::of(folder.create(JOURNAL)?)
        }
        other => Journal::of(other?),
    }
}
