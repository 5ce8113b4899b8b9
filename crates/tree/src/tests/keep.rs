//! Copies of what is to be sent.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use pilot_files::PIECE;

use super::*;
use crate::keep::keep_listed;
use crate::{KeepError, ReadError, ScanError, ScanOptions, Source, Special, keep, take};

/// Everything that is odd, in `src`; returns its path.
fn originals(folder: &Path) -> PathBuf {
    let src = folder.join("src");
    fs::create_dir_all(src.join("locked/empty")).unwrap();
    fs::create_dir(src.join("target")).unwrap();
    fs::write(src.join("target/out"), "out").unwrap();
    let large: Vec<u8> = (0..=250).cycle().take(2 * PIECE + 10).collect();
    fs::write(src.join("large"), large).unwrap();
    fs::write(src.join("locked/line\nfeed"), "hello").unwrap();
    fs::write(src.join("nothing"), "").unwrap();
    symlink("/etc/passwd", src.join("link")).unwrap();
    symlink(&src, src.join("loop")).unwrap();
    let file = fs::File::open(src.join("large")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH - Duration::new(5, 123_456_789)).unwrap();
    for (path, mode) in [("large", 0o751), ("nothing", 0o400), ("locked", 0o500)] {
        fs::set_permissions(src.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    src
}

fn options(exclude: &[&str]) -> ScanOptions {
    let exclude = exclude.iter().map(|glob| (*glob).to_owned()).collect();
    ScanOptions { exclude, gitignore: false }
}

fn scan(paths: &[PathBuf], exclude: &[&str]) -> Source {
    Source::scan(paths, &options(exclude)).unwrap().0
}

/// All of it, as it would be sent.
fn received(source: &Source) -> Sample {
    let entries = source.manifest().entries().to_vec();
    let is_file = |entry: &Entry| matches!(entry.kind, EntryKind::File { .. });
    let files = (0..).zip(&entries).filter(|(_, entry)| is_file(entry));
    let contents = files.map(|(number, _)| (number, content(source, number))).collect();
    Sample { entries, contents }
}

fn content(source: &Source, entry: u32) -> Vec<u8> {
    let layout = Layout::of(source.manifest()).unwrap();
    let file = source.open(entry).unwrap();
    let (mut all, mut content) = (Vec::new(), Vec::new());
    for number in layout.of_entry(entry) {
        file.read_piece(&layout.piece(number).unwrap(), &mut content).unwrap();
        all.extend_from_slice(&content);
    }
    all
}

/// Lets this user take away what is in there.
fn unlock(top: &Path) {
    fs::set_permissions(top.join("locked"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn copies_are_what_was_listed_and_outlive_it() {
    let folder = tempfile::tempdir().unwrap();
    let (src, into) = (originals(folder.path()), folder.path().join("new/kept"));
    let _socket = UnixListener::bind(src.join("socket")).unwrap();
    let listed = scan(std::slice::from_ref(&src), &["target/"]);
    let sent = received(&listed);

    let (kept, scanned) = keep(std::slice::from_ref(&src), &options(&["target/"]), &into).unwrap();
    assert_is(&into, &sent);
    unlock(&src);
    fs::remove_dir_all(&src).unwrap();

    assert_eq!(kept.manifest(), listed.manifest());
    let stored = kept.to_bytes().unwrap();
    let kept = Source::from_bytes(&stored, kept.manifest().clone()).unwrap();
    assert_eq!(received(&kept).contents, sent.contents);
    assert_eq!(kept.path(0).unwrap(), into.join("src"));
    assert_eq!(
        scanned.skipped,
        [(src.canonicalize().unwrap_or(src).join("socket"), Special::Socket)]
    );
    let mode = fs::metadata(&into).unwrap().mode();
    assert_eq!(mode & 0o777, 0o700);
    unlock(&into.join("src"));
}

#[test]
fn a_copy_may_be_read_though_the_original_keeps_its_owner_out() {
    // Another user's file, as only root can make and read one for a test.
    let unreadable = if is_root("without another user's file") { 0o044 } else { 0o444 };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "hello").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(unreadable)).unwrap();
    let into = folder.path().join("kept");

    let (kept, _) = keep(&[file], &ScanOptions::default(), &into).unwrap();

    assert_eq!(kept.manifest().entries()[0].mode, Mode::of(unreadable));
    assert_eq!(fs::metadata(into.join("file")).unwrap().mode() & 0o777, 0o444);
    assert_eq!(content(&kept, 0), b"hello");
}

#[test]
fn what_changed_since_it_was_listed_is_not_kept() {
    type Change = fn(&Path);
    let changes: [Change; 4] = [
        |path| OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap(),
        |path| OpenOptions::new().write(true).open(path).unwrap().set_len(5).unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            fs::rename(path, path.with_extension("real")).unwrap();
            symlink(path.with_extension("real"), path).unwrap();
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let src = originals(folder.path());
        let (source, into) = (scan(std::slice::from_ref(&src), &[]), folder.path().join("kept"));

        change(&src.join("large"));
        let error = keep_listed(&source, &into).unwrap_err();

        let told =
            matches!(error, KeepError::Read(ReadError::Changed { .. } | ReadError::Gone { .. }));
        assert!(told, "change {number}: {error}");
        assert!(!into.exists(), "change {number}");
        unlock(&src);
    }
}

#[test]
fn what_changes_while_it_is_copied_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "hello").unwrap();
    let source = scan(std::slice::from_ref(&path), &[]);
    let file = source.open(0).unwrap();
    let mut copy = Vec::new();

    OpenOptions::new().append(true).open(&path).unwrap().write_all(b", world").unwrap();
    std::io::copy(&mut file.content(), &mut copy).unwrap();

    assert_eq!(copy, b"hello");
    for read in [5, 4] {
        let error = file.check_read(read).unwrap_err();
        assert!(matches!(error, ReadError::Changed { .. }), "{error}");
    }
}

/// The system says that its own files are a page long, and gives less: as a
/// file does that got shorter while it was read.
#[cfg(target_os = "linux")]
#[test]
fn a_copy_that_is_not_whole_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("kept");
    let shorter = [PathBuf::from("/sys/devices/system/cpu/online")];

    let error = keep(&shorter, &ScanOptions::default(), &into).unwrap_err();

    assert!(matches!(error, KeepError::Read(ReadError::Changed { .. })), "{error}");
    assert!(!into.exists());
}

#[test]
fn a_folder_that_is_there_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (file, into) = (folder.path().join("file"), folder.path().join("kept"));
    fs::write(&file, "hello").unwrap();
    fs::create_dir(&into).unwrap();
    fs::write(into.join("mine"), "mine").unwrap();
    let paths = [file.clone()];

    for error in [
        keep(&paths, &ScanOptions::default(), &into).unwrap_err(),
        take(&paths, &into).unwrap_err(),
    ] {
        assert!(matches!(&error, KeepError::Exists { path } if *path == into), "{error}");
    }

    assert_eq!((count(&into), fs::read(&file).unwrap()), (1, b"hello".to_vec()));
}

#[test]
fn what_cannot_be_listed_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("kept");
    let paths = [folder.path().join("missing")];

    for error in [
        keep(&paths, &ScanOptions::default(), &into).unwrap_err(),
        take(&paths, &into).unwrap_err(),
    ] {
        assert!(matches!(error, KeepError::Scan(ScanError::Read { .. })), "{error}");
    }

    assert_eq!(count(folder.path()), 0);
}

#[test]
fn what_is_taken_is_there_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let (src, into) = (originals(folder.path()), folder.path().join("new/kept"));
    let single = folder.path().join("single");
    fs::write(&single, "single").unwrap();
    let paths = [src.clone(), single.clone()];
    let listed = scan(&paths, &[]);
    let sent = received(&listed);

    let (taken, _) = take(&paths, &into).unwrap();

    assert_is(&into, &sent);
    assert!(!src.exists() && !single.exists());
    assert_eq!(taken.manifest(), listed.manifest());
    assert_eq!(received(&taken).contents, sent.contents);
    unlock(&into.join("src"));
}

#[test]
fn what_cannot_be_taken_whole_stays_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let src = originals(folder.path());
    fs::write(src.join("target/z"), "z").unwrap();
    let into = folder.path().join("kept");
    let sent = received(&scan(std::slice::from_ref(&src), &[]));

    // The second is not there any more once the first was moved.
    let error = take(&[src.clone(), src.join("target/z")], &into).unwrap_err();

    assert!(matches!(error, KeepError::Disk(_)), "{error}");
    assert_is(folder.path(), &sent);
    assert!(!into.exists());
    unlock(&src);
}
