//! Where the files of a transfer are on this machine, and whether they are
//! still what they were.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Take};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilot_files::{FileHash, Manifest, PIECE, Piece};
use pilot_proto::manifest::{Entry, EntryKind, Modified};
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::{durable, scan};

/// The layout of [`Source::to_bytes`].
const VERSION: u8 = 1;

/// What was listed to be sent, with the paths it is at.
///
/// A file counts as unchanged while it has the inode, the size and the time of
/// its last change that it was listed with. Its device does not count, as its
/// number may be another one after a reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    manifest: Arc<Manifest>,
    /// The absolute paths of the entries at the top.
    tops: BTreeMap<u32, PathBuf>,
    /// Of each entry; nothing is meant by that of what is no file.
    inodes: Vec<u64>,
}

/// A file of a [`Source`], open.
#[derive(Debug)]
pub struct SourceFile {
    file: File,
    path: PathBuf,
    listed: Identity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    size: u64,
    modified: Modified,
}

/// Why a file cannot be sent as it was listed. Paths are shown in quotes and
/// escaped.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not what it was.
    #[error("{path:?} has changed since it was listed")]
    Changed {
        /// Where it is.
        path: PathBuf,
    },
    /// It is not there any more.
    #[error("{path:?} is not there any more")]
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// This user may not read it.
    #[error("permission is denied for {path:?}")]
    Denied {
        /// Where it is.
        path: PathBuf,
    },
    /// The entry is no file.
    #[error("entry {entry} is no file")]
    NoFile {
        /// Its number, from 0.
        entry: u32,
    },
    /// The disk failed.
    #[error("cannot read {path:?}")]
    Io {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why stored bytes are no source of this manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourceBytesError {
    /// Written by a newer program.
    #[error("the list of files has version {found}, this program reads {VERSION}")]
    Newer {
        /// Its version.
        found: u8,
    },
    /// Not what was written, or of another manifest.
    #[error("the list of files is damaged")]
    Damaged,
    /// It cannot be encoded.
    #[error("the list of files cannot be encoded")]
    Encode,
}

/// What is stored of a source; its names are in the manifest.
#[derive(Serialize, Deserialize)]
struct Stored {
    tops: Vec<(u32, Vec<u8>)>,
    inodes: Vec<u64>,
}

impl Source {
    pub(crate) const fn new(
        manifest: Arc<Manifest>,
        tops: BTreeMap<u32, PathBuf>,
        inodes: Vec<u64>,
    ) -> Self {
        Self { manifest, tops, inodes }
    }

    /// What is in this folder as the manifest says; `inodes` are those of its
    /// entries.
    pub(crate) fn within(folder: &Path, manifest: Arc<Manifest>, inodes: Vec<u64>) -> Self {
        let top = |(entry, number): (&Entry, u32)| {
            let path = || folder.join(crate::os_path(entry.name.as_bytes()));
            (entry.parent == 0).then(|| (number, path()))
        };
        let tops = manifest.entries().iter().zip(0..).filter_map(top).collect();
        Self { manifest, tops, inodes }
    }

    /// The same things after they were moved into this folder.
    pub(crate) fn moved_to(&self, folder: &Path) -> Self {
        Self::within(folder, Arc::clone(&self.manifest), self.inodes.clone())
    }

    /// What is at the top: the names it is sent under, and where it is.
    pub(crate) fn tops(&self) -> impl Iterator<Item = (&[u8], &Path)> {
        let entries = self.manifest.entries();
        self.tops.iter().filter_map(|(number, path)| {
            let entry = entries.get(*number as usize)?;
            Some((entry.name.as_bytes(), path.as_path()))
        })
    }

    /// What is sent.
    #[must_use]
    pub const fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// To be stored beside the manifest: the paths at the top, and up to ten
    /// bytes for each entry.
    ///
    /// # Errors
    ///
    /// [`SourceBytesError::Encode`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, SourceBytesError> {
        let path = |(entry, path): (&u32, &PathBuf)| {
            (*entry, path.as_os_str().as_encoded_bytes().to_vec())
        };
        let stored =
            Stored { tops: self.tops.iter().map(path).collect(), inodes: self.inodes.clone() };
        postcard::to_extend(&stored, vec![VERSION]).map_err(|_| SourceBytesError::Encode)
    }

    /// What [`Self::to_bytes`] gave, of the same manifest.
    ///
    /// # Errors
    ///
    /// [`SourceBytesError`].
    pub fn from_bytes(bytes: &[u8], manifest: Arc<Manifest>) -> Result<Self, SourceBytesError> {
        let stored: Stored = match bytes {
            [VERSION, rest @ ..] => match postcard::take_from_bytes(rest) {
                Ok((stored, [])) => stored,
                Ok(_) | Err(_) => return Err(SourceBytesError::Damaged),
            },
            [] | [0, ..] => return Err(SourceBytesError::Damaged),
            [found, ..] => return Err(SourceBytesError::Newer { found: *found }),
        };
        let path = |(entry, path)| (entry, PathBuf::from(OsString::from_vec(path)));
        let tops: BTreeMap<u32, PathBuf> = stored.tops.into_iter().map(path).collect();
        let entries = manifest.entries();
        let is_top = |(entry, _): &(&Entry, u32)| entry.parent == 0;
        let numbers = entries.iter().zip(0..).filter(is_top).map(|(_, number)| number);
        if stored.inodes.len() != entries.len() || !tops.keys().copied().eq(numbers) {
            return Err(SourceBytesError::Damaged);
        }
        Ok(Self { manifest, tops, inodes: stored.inodes })
    }

    /// Opens the file of this entry, if it is what was listed. No link is
    /// followed in its place.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn open(&self, entry: u32) -> Result<SourceFile, ReadError> {
        let Some((path, listed)) = self.path(entry).zip(self.identity(entry)) else {
            return Err(ReadError::NoFile { entry });
        };
        // A pipe that stands there now must not block.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = flags.bits().cast_signed();
        match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
            Ok(file) => {
                let file = SourceFile { file, path, listed };
                file.check()?;
                Ok(file)
            }
            Err(source) => Err(ReadError::of(path, source)),
        }
    }

    /// The hash of the file of this entry, which is read for it piece by piece.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn hash(&self, entry: u32) -> Result<FileHash, ReadError> {
        let file = self.open(entry)?;
        let (mut hasher, mut content) = (blake3::Hasher::new(), Vec::new());
        let is_only = file.listed.size <= PIECE as u64;
        for offset in (0..file.listed.size).step_by(PIECE) {
            let len = usize::try_from(file.listed.size - offset).unwrap_or(PIECE).min(PIECE);
            file.read_piece(&Piece { entry, offset, len, is_only }, &mut content)?;
            hasher.update(&content);
        }
        Ok(FileHash::from_bytes(*hasher.finalize().as_bytes()))
    }

    /// Where an entry is; none if there is no such entry.
    #[must_use]
    pub fn path(&self, entry: u32) -> Option<PathBuf> {
        let entries = self.manifest.entries();
        let mut names = Vec::new();
        let mut number = entry;
        loop {
            let entry = entries.get(number as usize)?;
            let Some(parent) = entry.parent.checked_sub(1) else { break };
            names.push(entry.name.as_bytes());
            number = parent;
        }
        let mut path = self.tops.get(&number)?.clone();
        path.extend(names.into_iter().rev().map(crate::os_path));
        Some(path)
    }

    fn identity(&self, entry: u32) -> Option<Identity> {
        let listed = self.manifest.entries().get(entry as usize)?;
        let EntryKind::File { size } = listed.kind else { return None };
        let inode = *self.inodes.get(entry as usize)?;
        Some(Identity { inode, size, modified: listed.modified })
    }
}

impl SourceFile {
    /// Reads a piece, and then sees whether the file is still what was listed:
    /// so it was while the piece was read. `content` is the piece then, and
    /// takes no new memory if it had as much before.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; what is in `content` means nothing then.
    pub fn read_piece(&self, piece: &Piece, content: &mut Vec<u8>) -> Result<(), ReadError> {
        content.resize(piece.len, 0);
        match self.file.read_exact_at(content, piece.offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ReadError::Changed { path: self.path.clone() })
            }
            Err(error) => Err(ReadError::of(self.path.clone(), error)),
            Ok(()) => self.check(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All of it from its beginning, to be read once: no more than was listed,
    /// however it grows. [`Self::check_read`] says whether it was what was
    /// listed.
    pub(crate) fn content(&self) -> Take<&File> {
        (&self.file).take(self.listed.size)
    }

    /// Whether so many bytes of [`Self::content`] were all there was to read,
    /// and it is still what was listed.
    pub(crate) fn check_read(&self, bytes: u64) -> Result<(), ReadError> {
        if bytes != self.listed.size {
            return Err(ReadError::Changed { path: self.path.clone() });
        }
        self.check()
    }

    /// Brings it onto the disk, unless its file system is synced as a whole.
    pub(crate) fn sync_each(&self) -> io::Result<()> {
        durable::each(&self.file)
    }

    fn check(&self) -> Result<(), ReadError> {
        let found = self.file.metadata().and_then(|metadata| {
            let modified = scan::modified(&metadata)?;
            let found = Identity { inode: metadata.ino(), size: metadata.len(), modified };
            Ok(metadata.is_file().then_some(found))
        });
        match found {
            Ok(Some(found)) if found == self.listed => Ok(()),
            Ok(_) => Err(ReadError::Changed { path: self.path.clone() }),
            Err(error) => Err(ReadError::of(self.path.clone(), error)),
        }
    }
}

impl ReadError {
    fn of(path: PathBuf, source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(Errno::NOENT | Errno::NOTDIR) => Self::Gone { path },
            // A link, or a socket.
            Some(Errno::LOOP | Errno::NXIO) => Self::Changed { path },
            Some(Errno::ACCESS | Errno::PERM) => Self::Denied { path },
            Some(_) | None => Self::Io { path, source },
        }
    }
}
