//! Files that are read, and what happens to them meanwhile.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::{Duration, SystemTime};

use pilot_files::{FileHash, PIECE, Piece};

use super::*;
use crate::{ReadError, ScanOptions, Source, SourceBytesError};

const LEN: usize = 2 * PIECE + 10;

/// A folder `top` with a file `large` in it, which is entry 1.
fn source() -> (TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("top");
    fs::create_dir(&top).unwrap();
    let content: Vec<u8> = (0..=250).cycle().take(LEN).collect();
    fs::write(top.join("large"), content).unwrap();
    fs::write(top.join("small"), "small").unwrap();
    let (source, _) = Source::scan(&[top], &ScanOptions::default()).unwrap();
    (folder, source)
}

fn piece(source: &Source, number: u64) -> Piece {
    Layout::of(source.manifest()).unwrap().piece(number).unwrap()
}

fn read(source: &Source, number: u64) -> Result<Vec<u8>, ReadError> {
    let piece = piece(source, number);
    let mut content = vec![1, 2, 3];
    source.open(piece.entry)?.read_piece(&piece, &mut content)?;
    Ok(content)
}

#[test]
fn what_is_read_arrives_as_it_is() {
    let (folder, source) = source();
    let stored = source.to_bytes().unwrap();
    let source = Source::from_bytes(&stored, source.manifest().clone()).unwrap();
    let inbox = Inbox::new();
    let bytes = source.manifest().encode().unwrap();
    let mut incoming =
        Incoming::create(&inbox.incoming(), &bytes, source.manifest().clone()).unwrap();

    for number in (0..4).rev() {
        let content = read(&source, number).unwrap();
        let piece = incoming.layout().piece(number).unwrap();
        let hash = PieceHash::of(&content, piece.offset, piece.is_only);
        incoming.write_piece(number, &content, &hash).unwrap();
    }

    let top = incoming.finish(&inbox.path(), "id").unwrap();
    for name in ["top/large", "top/small"] {
        let [sent, received] = [folder.path(), &top].map(|top| fs::read(top.join(name)).unwrap());
        assert!(sent == received, "{name}");
        let [sent, received] =
            [folder.path(), &top].map(|top| fs::metadata(top.join(name)).unwrap());
        assert_eq!(sent.modified().unwrap(), received.modified().unwrap());
    }
}

#[test]
fn stored_bytes_belong_to_their_manifest() {
    let (_folder, source) = source();
    let stored = source.to_bytes().unwrap();
    let mut other = Sample::default();
    other.file(TOP, b"a", b"x");

    let read = |bytes: &[u8]| Source::from_bytes(bytes, source.manifest().clone());
    assert_eq!(read(&stored).unwrap(), source);
    assert_eq!(Source::from_bytes(&stored, other.manifest()), Err(SourceBytesError::Damaged));
    for len in 0..stored.len() {
        assert_eq!(read(&stored[..len]), Err(SourceBytesError::Damaged), "{len} bytes");
    }
    let mut newer = stored;
    newer[0] = 2;
    assert_eq!(read(&newer), Err(SourceBytesError::Newer { found: 2 }));
}

#[test]
fn a_file_that_changed_is_not_sent() {
    type Change = fn(&Path);
    let changes: [Change; 5] = [
        |path| OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap(),
        |path| OpenOptions::new().write(true).open(path).unwrap().set_len(5).unwrap(),
        |path| {
            let yesterday = SystemTime::now() - Duration::from_secs(86_400);
            fs::File::open(path).unwrap().set_modified(yesterday).unwrap();
        },
        |path| {
            // Like the other one in all but its inode.
            let modified = fs::metadata(path).unwrap().modified().unwrap();
            let other = path.with_extension("other");
            fs::copy(path, &other).unwrap();
            fs::File::open(&other).unwrap().set_modified(modified).unwrap();
            fs::rename(&other, path).unwrap();
        },
        |path| {
            fs::rename(path, path.with_extension("real")).unwrap();
            symlink(path.with_extension("real"), path).unwrap();
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let (folder, source) = source();

        change(&folder.path().join("top/large"));

        let error = read(&source, 0).unwrap_err();
        assert!(matches!(error, ReadError::Changed { .. }), "change {number}: {error}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_noticed() {
    let (folder, source) = source();
    let file = source.open(1).unwrap();
    let mut content = Vec::new();
    file.read_piece(&piece(&source, 0), &mut content).unwrap();
    assert_eq!(content.len(), PIECE);

    let path = folder.path().join("top/large");
    OpenOptions::new().write(true).open(&path).unwrap().set_len(LEN as u64 - 1).unwrap();

    for number in [1, 2] {
        let error = file.read_piece(&piece(&source, number), &mut content).unwrap_err();
        assert!(matches!(error, ReadError::Changed { .. }), "{error}");
    }
}

#[test]
fn the_hash_of_a_file_is_that_of_its_pieces() {
    let folder = tempfile::tempdir().unwrap();
    for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 4 * PIECE, 5 * PIECE + 77] {
        let path = folder.path().join("file");
        let content: Vec<u8> = (0..=250).cycle().take(len).collect();
        fs::write(&path, &content).unwrap();
        let (source, _) = Source::scan(&[path], &ScanOptions::default()).unwrap();

        let hash = source.hash(0).unwrap();

        let is_only = len <= PIECE;
        let of = |(at, piece)| PieceHash::of(piece, (at * PIECE) as u64, is_only);
        let pieces: Vec<PieceHash> = content.chunks(PIECE).enumerate().map(of).collect();
        assert_eq!(hash, FileHash::of(&pieces), "{len} bytes");
    }
}

#[test]
fn a_file_that_changed_has_no_hash() {
    let (folder, source) = source();
    let large = source.hash(1).unwrap();
    assert_ne!(large, source.hash(2).unwrap());

    let path = folder.path().join("top/large");
    fs::write(&path, vec![1; LEN + 1]).unwrap();
    fs::remove_file(folder.path().join("top/small")).unwrap();

    let error = source.hash(1).unwrap_err();
    assert!(matches!(error, ReadError::Changed { .. }), "{error}");
    let error = source.hash(2).unwrap_err();
    assert!(matches!(error, ReadError::Gone { .. }), "{error}");
    let error = source.hash(0).unwrap_err();
    assert!(matches!(error, ReadError::NoFile { entry: 0 }), "{error}");
}

#[test]
fn a_file_that_went_away_is_told() {
    for gone in ["top/large", "top"] {
        let (folder, source) = source();

        fs::rename(folder.path().join(gone), folder.path().join("elsewhere")).unwrap();

        let error = read(&source, 0).unwrap_err();
        assert!(matches!(error, ReadError::Gone { .. }), "{error}");
    }
}

#[test]
fn only_files_are_opened() {
    let (_folder, source) = source();

    for entry in [0, 3, u32::MAX] {
        let error = source.open(entry).unwrap_err();
        assert!(matches!(error, ReadError::NoFile { .. }), "{error}");
    }
}

#[test]
fn a_file_that_may_not_be_read_any_more_is_told() {
    if is_root("a_file_that_may_not_be_read_any_more_is_told") {
        return;
    }
    let (folder, source) = source();
    let path = folder.path().join("top/large");
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();

    let error = read(&source, 0).unwrap_err();

    assert!(matches!(error, ReadError::Denied { .. }), "{error}");
}
