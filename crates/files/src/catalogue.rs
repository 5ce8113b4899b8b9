//! Which files a transfer brought, and their hashes: what is not to be sent
//! again.
//!
//! A catalogue is a cache, and only a hint of what is there: nobody trusts a
//! file that it names before it was hashed again. Its bytes, with numbers in
//! big endian:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | [`VERSION`] |
//! | 32 | BLAKE3 hash of everything after it |
//! | 8, 32, 2, n | for each file: its length, its hash, the length of its path below the top, the path |

use crate::manifest::MAX_PATH;
use crate::piece::FileHash;

/// The layout of the bytes. Those of another one are not read.
const VERSION: u8 = 1;

/// Bytes of a file that is worth it; to ask for the hash of a shorter one
/// costs as much as to send it.
pub const MIN_HELD: u64 = 512;

/// Bytes of a catalogue: 200,000 files whose paths have 40 bytes. What has no
/// room any more is left out.
pub const MAX_CATALOGUE: usize = 16 * 1024 * 1024;

const HASH: usize = 32;
/// What is before the first file.
const HEAD: usize = 1 + HASH;
/// What a file takes besides its path.
const FILE: usize = 8 + HASH + 2;

/// Files as they are entered.
#[derive(Debug)]
pub struct Catalogue(Vec<u8>);

/// A file of a catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogueFile<'a> {
    /// Its length in bytes, at least [`MIN_HELD`].
    pub size: u64,
    /// Its hash.
    pub hash: FileHash,
    /// Its path below the top, 1 to [`MAX_PATH`] bytes. Whether these are names
    /// with `/` between them is not looked at.
    pub path: &'a [u8],
}

impl Catalogue {
    /// One without files.
    #[must_use]
    pub fn new() -> Self {
        Self(vec![0; HEAD])
    }

    /// Enters a file, if it is worth it and there is room.
    pub fn add(&mut self, file: &CatalogueFile<'_>) {
        let len = u16::try_from(file.path.len()).ok();
        let len = len.filter(|len| (1..=MAX_PATH).contains(&usize::from(*len)));
        let has_room = self.0.len() + FILE + file.path.len() <= MAX_CATALOGUE;
        if let Some(len) = len.filter(|_| has_room && file.size >= MIN_HELD) {
            self.0.extend_from_slice(&file.size.to_be_bytes());
            self.0.extend_from_slice(file.hash.as_bytes());
            self.0.extend_from_slice(&len.to_be_bytes());
            self.0.extend_from_slice(file.path);
        }
    }

    /// Its bytes; none if there is no file in it.
    #[must_use]
    pub fn into_bytes(mut self) -> Option<Vec<u8>> {
        let (head, files) = self.0.split_at_mut_checked(HEAD)?;
        if files.is_empty() {
            return None;
        }
        let (version, hash) = head.split_first_mut()?;
        *version = VERSION;
        hash.copy_from_slice(blake3::hash(files).as_bytes());
        Some(self.0)
    }

    /// The files that were entered, in their order; none if the bytes were
    /// damaged, and no more after one that nobody would have entered.
    pub fn read(bytes: &[u8]) -> impl Iterator<Item = CatalogueFile<'_>> {
        let mut rest = whole(bytes).unwrap_or_default();
        core::iter::from_fn(move || {
            let (file, after) = next(rest)?;
            rest = after;
            Some(file)
        })
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::new()
    }
}

fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let (version, rest) = bytes.split_first()?;
    let (hash, files) = rest.split_first_chunk::<HASH>()?;
    let fits = *version == VERSION && bytes.len() <= MAX_CATALOGUE;
    (fits && blake3::hash(files) == *hash).then_some(files)
}

/// The first file, and what is after it.
fn next(bytes: &[u8]) -> Option<(CatalogueFile<'_>, &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<8>()?;
    let (hash, rest) = rest.split_first_chunk::<HASH>()?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (path, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
    let size = u64::from_be_bytes(*size);
    let valid = size >= MIN_HELD && (1..=MAX_PATH).contains(&path.len());
    let file = CatalogueFile { size, hash: FileHash::from_bytes(*hash), path };
    valid.then_some((file, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(size: u64, path: &[u8]) -> CatalogueFile<'_> {
        CatalogueFile { size, hash: FileHash::from_bytes([7; HASH]), path }
    }

    fn bytes(files: &[CatalogueFile<'_>]) -> Option<Vec<u8>> {
        let mut catalogue = Catalogue::new();
        files.iter().for_each(|file| catalogue.add(file));
        catalogue.into_bytes()
    }

    /// With the right hash, whatever it says.
    fn signed(files: &[u8]) -> Vec<u8> {
        [&[VERSION], blake3::hash(files).as_bytes().as_slice(), files].concat()
    }

    #[test]
    fn what_is_entered_is_read() {
        let long = [b'x'; MAX_PATH];
        let files = [file(MIN_HELD, b"a\xff/b"), file(u64::MAX, b"c"), file(1 << 20, &long)];

        let bytes = bytes(&files).unwrap();

        assert_eq!(Catalogue::read(&bytes).collect::<Vec<_>>(), files);
    }

    #[test]
    fn its_bytes_are_these() {
        let bytes = bytes(&[file(513, b"a/b")]).unwrap();

        let files = [&[0, 0, 0, 0, 0, 0, 2, 1], [7; 32].as_slice(), &[0, 3], b"a/b"].concat();
        assert_eq!(bytes, signed(&files));
        assert_eq!((bytes[0], bytes.len()), (1, HEAD + FILE + 3));
    }

    #[test]
    fn what_is_not_worth_it_is_not_entered() {
        let long = [b'x'; MAX_PATH + 1];

        assert_eq!(bytes(&[file(MIN_HELD - 1, b"a"), file(600, b""), file(600, &long)]), None);
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let long = [b'x'; MAX_PATH];
        let room = (MAX_CATALOGUE - HEAD) / (FILE + MAX_PATH);
        let mut files = vec![file(600, &long); room + 1];
        files.push(file(700, b"a"));

        let bytes = bytes(&files).unwrap();

        assert!(bytes.len() <= MAX_CATALOGUE);
        let read: Vec<u64> = Catalogue::read(&bytes).map(|file| file.size).collect();
        assert_eq!((read.len(), read.last()), (room + 1, Some(&700)));
    }

    #[test]
    fn damaged_bytes_have_no_files() {
        let whole = bytes(&[file(600, b"a"), file(700, b"b")]).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_eq!(Catalogue::read(&damaged).count(), 0, "byte {at}");
            assert_eq!(Catalogue::read(&whole[..at]).count(), 0, "{at} bytes");
        }
        assert_eq!(Catalogue::read(&vec![VERSION; MAX_CATALOGUE + 1]).count(), 0);
    }

    #[test]
    fn what_nobody_enters_is_not_read() {
        let one = bytes(&[file(600, b"a")]).unwrap()[HEAD..].to_vec();
        let short = [&511_u64.to_be_bytes(), [7; 32].as_slice(), &[0, 1], b"a"].concat();
        let nameless = [&600_u64.to_be_bytes(), [7; 32].as_slice(), &[0, 0]].concat();
        let endless = [&600_u64.to_be_bytes(), [7; 32].as_slice(), &[0xff, 0xff], b"a"].concat();

        for wrong in [&short, &nameless, &endless] {
            let bytes = signed(&[&one, wrong.as_slice(), &one].concat());
            assert_eq!(Catalogue::read(&bytes).count(), 1);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_files_or_none(garbage in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Catalogue::read(&garbage).count(), 0);
            for file in Catalogue::read(&signed(&garbage)) {
                prop_assert!(file.size >= MIN_HELD && !file.path.is_empty());
            }
        }
    }
}
