//! Things in the tree that the transfer did not make.

use std::os::unix::fs::symlink;

use super::*;
use crate::{DiskError, FinishError};

/// `src/a` and `src/link`.
fn sample() -> Sample {
    let mut sample = Sample::default();
    let folder = sample.folder(TOP, b"src");
    sample.file(folder, b"a", b"hello");
    sample.file(folder, b"A", b"world");
    sample.link(folder, b"link", b"a");
    sample
}

fn outside(inbox: &Inbox) -> PathBuf {
    let outside = inbox.home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    outside
}

fn in_the_way(error: &WriteError) -> bool {
    matches!(error, WriteError::Disk(DiskError::InTheWay { .. }))
}

#[test]
fn a_link_in_place_of_a_folder_is_not_followed() {
    let (inbox, sample) = (Inbox::new(), sample());
    let (mut incoming, outside) = (inbox.begin(&sample), outside(&inbox));
    symlink(&outside, inbox.tree().join("src")).unwrap();

    let error = write(&mut incoming, &sample, 0).unwrap_err();

    assert!(in_the_way(&error), "{error}");
    assert_eq!(count(&outside), 0);
}

#[test]
fn a_link_in_place_of_a_folder_that_was_made_is_not_followed_either() {
    let (inbox, sample) = (Inbox::new(), sample());
    let mut incoming = inbox.begin(&sample);
    let outside = outside(&inbox);
    write(&mut incoming, &sample, 0).unwrap();
    fs::rename(inbox.tree().join("src"), inbox.home.path().join("away")).unwrap();
    symlink(&outside, inbox.tree().join("src")).unwrap();

    // Whichever folder is still open: not the one that was never this transfer's.
    drop(write(&mut incoming, &sample, 1));
    assert_eq!(count(&outside), 0);
    drop(incoming);
    let mut incoming = inbox.reopen();
    assert_eq!(incoming.arrived().count(), 0);
    write_all(&mut incoming, &sample);

    assert_eq!(count(&outside), 0);
    assert_is(&incoming.finish(&inbox.path(), "id").unwrap(), &sample);
}

#[test]
fn a_link_in_place_of_a_file_is_not_followed() {
    let (inbox, sample) = (Inbox::new(), sample());
    let (mut incoming, outside) = (inbox.begin(&sample), outside(&inbox));
    write(&mut incoming, &sample, 1).unwrap();
    for target in [outside.join("new"), inbox.tree().join("src/A")] {
        symlink(target, inbox.tree().join("src/a")).unwrap();

        let error = write(&mut incoming, &sample, 0).unwrap_err();

        assert!(in_the_way(&error), "{error}");
        fs::remove_file(inbox.tree().join("src/a")).unwrap();
    }
    assert_eq!(count(&outside), 0);
}

#[test]
fn a_file_with_another_name_elsewhere_is_left_alone() {
    let (inbox, sample) = (Inbox::new(), sample());
    let outside = outside(&inbox);
    fs::write(outside.join("kept"), "kept").unwrap();
    write(&mut inbox.begin(&sample), &sample, 1).unwrap();
    fs::hard_link(outside.join("kept"), inbox.tree().join("src/a")).unwrap();

    let mut incoming = inbox.reopen();
    write(&mut incoming, &sample, 0).unwrap();

    assert_eq!(fs::read(outside.join("kept")).unwrap(), b"kept");
    assert_is(&incoming.finish(&inbox.path(), "id").unwrap(), &sample);
}

/// A second name of the same thing is what a file system shows that takes both
/// names for one.
#[test]
fn names_that_the_file_system_takes_for_one_are_told() {
    let (inbox, sample) = (Inbox::new(), sample());
    let mut incoming = inbox.begin(&sample);
    write(&mut incoming, &sample, 0).unwrap();
    fs::hard_link(inbox.tree().join("src/a"), inbox.tree().join("src/A")).unwrap();

    let error = write(&mut incoming, &sample, 1).unwrap_err();

    let WriteError::Disk(DiskError::NamesCollide { path, other }) = error else {
        panic!("{error}")
    };
    assert_eq!((path, other), (PathBuf::from("src/A"), PathBuf::from("src/a")));
    assert_eq!(fs::read(inbox.tree().join("src/a")).unwrap(), b"hello");
}

#[test]
fn what_stands_where_a_link_belongs_is_not_replaced() {
    let (inbox, sample) = (Inbox::new(), sample());
    let mut incoming = inbox.begin(&sample);
    write_all(&mut incoming, &sample);
    fs::write(inbox.tree().join("src/link"), "x").unwrap();

    let error = incoming.finish(&inbox.path(), "id").unwrap_err();
    assert!(matches!(error, FinishError::Disk(DiskError::InTheWay { .. })), "{error}");
    assert!(!inbox.path().join("id").exists());

    assert_is(&inbox.reopen().finish(&inbox.path(), "id").unwrap(), &sample);
}

#[test]
fn what_was_never_sent_does_not_get_into_the_inbox() {
    let (inbox, sample) = (Inbox::new(), sample());
    write_all(&mut inbox.begin(&sample), &sample);
    fs::create_dir_all(inbox.tree().join("more/and/more")).unwrap();
    fs::write(inbox.tree().join("src/more"), "x").unwrap();
    // Longer than it may be, though its one piece is right.
    fs::write(inbox.tree().join("src/a"), "hello, world").unwrap();

    let mut incoming = inbox.reopen();
    write_all(&mut incoming, &sample);

    assert_is(&incoming.finish(&inbox.path(), "id").unwrap(), &sample);
}
