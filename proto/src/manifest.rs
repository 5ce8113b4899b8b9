//! What is in a transfer: folders, files and symbolic links.
//!
//! A manifest is the postcard encoding of a list of [`Entry`]s. Here are its
//! bytes and what each entry may be by itself; whether all of them make a tree
//! is for `pilot-files` to say.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Component, list};

/// Entries of a manifest; a transfer with more is refused.
pub const MAX_ENTRIES: usize = 500_000;

/// Bytes of an encoded manifest; a longer one is refused.
pub const MAX_MANIFEST: usize = 64 * 1024 * 1024;

/// Bytes of a symbolic link's target: what Linux takes (`PATH_MAX` without NUL).
pub const MAX_TARGET: usize = 4095;

/// One thing to be there after the transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// In which folder: 0 for the top, `n` for entry number `n - 1`.
    pub parent: u32,
    /// What it is called there.
    pub name: Component,
    /// What it is.
    pub kind: EntryKind,
    /// Who may read, write and execute it; of links, nothing is meant by it.
    pub mode: Mode,
    /// When its content changed last.
    pub modified: Modified,
}

/// What an [`Entry`] is. Devices, sockets and pipes do not travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A folder.
    Folder,
    /// A regular file with so many bytes.
    File {
        /// Its length, in bytes.
        size: u64,
    },
    /// A symbolic link.
    Link {
        /// What it says, which nobody follows.
        target: LinkTarget,
    },
}

/// Permissions: the nine bits of `chmod`, without set-user-ID, set-group-ID
/// and the sticky bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Mode(u16);

impl Mode {
    /// The nine bits of a file's mode; the others are left behind.
    #[must_use]
    pub const fn of(mode: u32) -> Self {
        Self((mode & 0o777) as u16)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        match u16::deserialize(deserializer)? {
            bits @ 0..=0o777 => Ok(Self(bits)),
            _ => Err(D::Error::custom("more than permissions")),
        }
    }
}

/// A time of the file system: seconds since 1970 and nanoseconds of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Modified {
    seconds: i64,
    nanos: u32,
}

impl Modified {
    /// None if `nanos` is a second or more.
    #[must_use]
    pub const fn new(seconds: i64, nanos: u32) -> Option<Self> {
        if nanos < 1_000_000_000 { Some(Self { seconds, nanos }) } else { None }
    }

    /// Seconds since the beginning of 1970, negative before.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after [`Self::seconds`].
    #[must_use]
    pub const fn nanos(self) -> u32 {
        self.nanos
    }
}

impl<'de> Deserialize<'de> for Modified {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let (seconds, nanos) = <(i64, u32)>::deserialize(deserializer)?;
        Self::new(seconds, nanos).ok_or_else(|| D::Error::custom("a second has 10^9 nanoseconds"))
    }
}

/// What a symbolic link says: 1 to [`MAX_TARGET`] bytes without NUL.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkTarget(Box<[u8]>);

impl LinkTarget {
    /// None if it can be no link's target.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let fits = (1..=MAX_TARGET).contains(&bytes.len()) && !bytes.contains(&0);
        fits.then(|| Self(bytes.into()))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// In quotes and escaped.
impl fmt::Debug for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for LinkTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for LinkTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        Self::new(<&[u8]>::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("no link's target"))
    }
}

/// Why bytes are no manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManifestBytesError {
    /// More than [`MAX_MANIFEST`].
    #[error("the manifest has {bytes} bytes, more than {MAX_MANIFEST}")]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// No list of at most [`MAX_ENTRIES`] entries, each as it has to be.
    #[error("these bytes are no manifest")]
    Malformed,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Entries(#[serde(deserialize_with = "list::at_most::<MAX_ENTRIES, _, _>")] Vec<Entry>);

/// The bytes of a manifest.
///
/// # Errors
///
/// [`ManifestBytesError::TooLong`].
pub fn encode(entries: &[Entry]) -> Result<Vec<u8>, ManifestBytesError> {
    let bytes = postcard::to_allocvec(entries).map_err(|_| ManifestBytesError::Malformed)?;
    if bytes.len() > MAX_MANIFEST || entries.len() > MAX_ENTRIES {
        return Err(ManifestBytesError::TooLong { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// The entries of a manifest. An entry takes at least 7 bytes there and about
/// 100 in memory, so that is bounded by 16 times what came.
///
/// # Errors
///
/// [`ManifestBytesError`].
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, ManifestBytesError> {
    if bytes.len() > MAX_MANIFEST {
        return Err(ManifestBytesError::TooLong { bytes: bytes.len() });
    }
    match postcard::take_from_bytes::<Entries>(bytes) {
        Ok((Entries(entries), [])) => Ok(entries),
        Ok(_) | Err(_) => Err(ManifestBytesError::Malformed),
    }
}
