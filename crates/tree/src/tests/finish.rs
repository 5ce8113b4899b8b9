//! What is in the inbox at the end, and crashes on the way there.

use pilot_files::PIECE;

use super::*;
use crate::folder::Folder;
use crate::{FinishError, OpenError};

/// Everything that is odd.
fn sample() -> Sample {
    let mut sample = Sample::default();
    let folder = sample.folder(TOP, b"src");
    sample.dress(0o500, (-1, 999_999_999));
    for name in [b"line\nfeed".as_slice(), b"\xff\xfe", b"dot.", b" ", b"\x1b[2J", &[b'x'; 255]] {
        sample.file(folder, name, name);
    }
    sample.dress(0o000, (-86_400 * 365, 5));
    sample.file(folder, b"empty", b"");
    sample.dress(0o444, (0, 0));
    sample.file(folder, b"large", &vec![7; PIECE + 1]);
    sample.dress(0o755, (4_000_000_000, 1));
    let locked = sample.folder(folder, b"locked");
    sample.dress(0o000, (1, 2));
    sample.folder(locked, b"inner");
    sample.dress(0o111, (3, 4));
    sample.link(TOP, b"absolute", b"/etc/passwd");
    sample.dress(0o777, (-5, 6));
    sample.link(locked, b"dangling", b"../../../\xff");
    sample.link(TOP, b"to folder", b"src");
    sample
}

/// Lets this user look into what was received and take it away.
fn unlock(top: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    for locked in ["src", "src/locked", "src/locked/inner"] {
        let path = top.join(locked);
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

/// As [`assert_is`], though its folders let nobody in.
fn assert_received(top: &Path, mut sample: Sample) {
    let modes = |path: &str| fs::metadata(top.join(path)).unwrap().mode() & 0o7777;
    assert_eq!(modes("src"), 0o500);
    let is_folder = |entry: &&mut Entry| entry.kind == EntryKind::Folder;
    unlock(top);
    sample.entries.iter_mut().filter(is_folder).for_each(|entry| entry.mode = Mode::of(0o700));
    assert_is(top, &sample);
}

#[test]
fn everything_is_as_it_was_sent() {
    let (inbox, sample) = (Inbox::new(), sample());

    let path = inbox.receive(&sample);

    assert_eq!(path, inbox.path().join("id"));
    assert_received(&path, sample);
    assert!(!inbox.incoming().exists());
}

#[test]
fn a_crash_while_it_is_made_whole_is_mended() {
    let (inbox, sample) = (Inbox::new(), sample());
    let mut incoming = inbox.begin(&sample);
    write_all(&mut incoming, &sample);
    incoming.growing.as_mut().unwrap().complete().unwrap();
    drop(incoming);

    let incoming = inbox.reopen();
    assert!(incoming.arrived().is_complete());

    assert_received(&incoming.finish(&inbox.path(), "id").unwrap(), sample);
}

#[test]
fn a_crash_after_it_got_its_place_is_mended() {
    for removed in [[].as_slice(), &["journal"]] {
        let (inbox, sample) = (Inbox::new(), sample());
        let mut incoming = inbox.begin(&sample);
        write_all(&mut incoming, &sample);
        incoming.growing.as_mut().unwrap().complete().unwrap();
        let path = inbox.path().join("id");
        incoming.publish(&Folder::at(&inbox.path()).unwrap(), "id", &path).unwrap();
        drop(incoming);
        removed.iter().for_each(|name| fs::remove_file(inbox.incoming().join(name)).unwrap());

        let incoming = inbox.reopen();
        assert!(incoming.arrived().is_complete());
        assert_eq!(incoming.finish(&inbox.path(), "id").unwrap(), path);

        assert_received(&path, sample);
        assert!(!inbox.incoming().exists());
    }
}

#[test]
fn a_crash_while_it_is_cleared_up_leaves_nothing_to_do() {
    let (inbox, sample) = (Inbox::new(), sample());
    unlock(&inbox.receive(&sample));
    fs::create_dir_all(inbox.incoming()).unwrap();

    let error = Incoming::open(&inbox.incoming()).unwrap_err();

    assert!(matches!(error, OpenError::NotThere { .. }), "{error}");
}

#[test]
fn what_is_not_whole_is_not_shown() {
    let (inbox, sample) = (Inbox::new(), sample());
    let mut incoming = inbox.begin(&sample);
    write(&mut incoming, &sample, 0).unwrap();

    let error = incoming.finish(&inbox.path(), "id").unwrap_err();

    let missing = sample.pieces() - 1;
    assert!(matches!(error, FinishError::Missing { pieces } if pieces == missing), "{error}");
    assert!(!inbox.path().join("id").exists() && inbox.tree().exists());
}

#[test]
fn nothing_in_the_inbox_is_replaced() {
    let (inbox, mut sample) = (Inbox::new(), Sample::default());
    sample.file(TOP, b"a", b"hello");
    fs::create_dir(inbox.path().join("id")).unwrap();
    write_all(&mut inbox.begin(&sample), &sample);

    let error = inbox.reopen().finish(&inbox.path(), "id").unwrap_err();
    assert!(matches!(error, FinishError::Exists { .. }), "{error}");
    for name in ["", "..", "a/b", "/id"] {
        let error = inbox.reopen().finish(&inbox.path(), name).unwrap_err();
        assert!(matches!(error, FinishError::BadName { .. }), "{error}");
    }

    assert_is(&inbox.reopen().finish(&inbox.path(), "other").unwrap(), &sample);
}

#[test]
fn a_tree_that_somebody_removed_is_lost() {
    let (inbox, mut sample) = (Inbox::new(), Sample::default());
    sample.file(TOP, b"a", b"hello");
    drop(inbox.begin(&sample));
    fs::remove_dir(inbox.tree()).unwrap();

    let error = inbox.reopen().finish(&inbox.path(), "id").unwrap_err();

    assert!(matches!(error, FinishError::Lost { .. }), "{error}");
}

#[test]
fn without_files_there_is_nothing_to_wait_for() {
    let (inbox, mut sample) = (Inbox::new(), Sample::default());
    let folder = sample.folder(TOP, b"empty");
    sample.file(folder, b"file", b"");
    sample.dress(0o400, (1, 2));

    assert!(inbox.begin(&sample).arrived().is_complete());

    assert_is(&inbox.reopen().finish(&inbox.path(), "id").unwrap(), &sample);
}
