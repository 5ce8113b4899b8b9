//! What was received, where its user wants it.

use std::os::unix::fs::symlink;

use super::*;
use crate::{Conflict, Copied, CopyError, Outcome, copy_out};

fn sample() -> Sample {
    let mut sample = Sample::default();
    let folder = sample.folder(TOP, b"src");
    sample.dress(0o750, (-1, 5));
    sample.file(folder, b"a.txt", b"hello");
    sample.dress(0o440, (-86_400, 999_999_999));
    let inner = sample.folder(folder, b"inner");
    sample.file(inner, b"\xff\n", b"world");
    sample.link(inner, b"link", b"/etc/passwd");
    sample.file(TOP, b"notes.txt", b"");
    sample
}

/// What was received, and an empty folder to copy it to.
fn received() -> (Inbox, PathBuf, PathBuf) {
    let inbox = Inbox::new();
    let from = inbox.receive(&sample());
    let to = inbox.home.path().join("out");
    fs::create_dir(&to).unwrap();
    (inbox, from, to)
}

fn told(copied: &[Copied], to: &Path) -> Vec<(String, Outcome)> {
    let name = |path: &Path| path.strip_prefix(to).unwrap().display().to_string();
    copied.iter().map(|copied| (name(&copied.path), copied.outcome)).collect()
}

fn of(list: &[(&str, Outcome)]) -> Vec<(String, Outcome)> {
    list.iter().map(|(name, outcome)| ((*name).to_owned(), *outcome)).collect()
}

#[test]
fn everything_is_copied_as_it_is() {
    for conflict in [Conflict::Fail, Conflict::Skip, Conflict::Overwrite, Conflict::Rename] {
        let (inbox, from, _) = received();
        let to = inbox.home.path().join("new/folder");

        let copied = copy_out(&from, &to, conflict).unwrap();

        let expected = of(&[("notes.txt", Outcome::Written), ("src", Outcome::Written)]);
        assert_eq!(told(&copied, &to), expected);
        assert_is(&to, &sample());
        assert_is(&from, &sample());
    }
}

#[test]
fn nothing_is_copied_if_a_name_is_taken() {
    let (_inbox, from, to) = received();
    symlink("nowhere", to.join("src")).unwrap();

    let error = copy_out(&from, &to, Conflict::Fail).unwrap_err();

    assert!(matches!(&error, CopyError::Exists { path } if path.ends_with("src")), "{error}");
    assert_eq!(count(&to), 1);
}

#[test]
fn what_is_there_stays_if_it_is_to_be_skipped() {
    let (_inbox, from, to) = received();
    fs::create_dir(to.join("src")).unwrap();
    fs::write(to.join("src/a.txt"), "mine").unwrap();
    fs::write(to.join("src/more"), "mine").unwrap();
    symlink("nowhere", to.join("src/inner")).unwrap();

    let copied = copy_out(&from, &to, Conflict::Skip).unwrap();

    let expected = [
        ("notes.txt", Outcome::Written),
        ("src/a.txt", Outcome::Skipped),
        ("src/inner", Outcome::Skipped),
        ("src", Outcome::Merged),
    ];
    assert_eq!(told(&copied, &to), of(&expected));
    assert_eq!(fs::read(to.join("src/a.txt")).unwrap(), b"mine");
    assert_eq!(count(&to), 5);
}

#[test]
fn what_is_there_is_replaced_if_it_is_to_be() {
    let (inbox, from, to) = received();
    let outside = inbox.home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    fs::create_dir(to.join("src")).unwrap();
    symlink(outside.join("kept"), to.join("src/a.txt")).unwrap();
    symlink(&outside, to.join("src/inner")).unwrap();
    fs::write(to.join("notes.txt"), "old").unwrap();

    let copied = copy_out(&from, &to, Conflict::Overwrite).unwrap();

    let expected = [
        ("notes.txt", Outcome::Replaced),
        ("src/a.txt", Outcome::Replaced),
        ("src/inner", Outcome::Replaced),
        ("src", Outcome::Merged),
    ];
    assert_eq!(told(&copied, &to), of(&expected));
    assert_eq!(fs::read(outside.join("kept")).unwrap(), b"kept");
    assert_eq!(count(&outside), 1);
    // The folder that was there keeps what it had of its own.
    let [found, wanted] = [&to, &from].map(|top| top.join("src/inner"));
    assert_eq!(fs::metadata(found).unwrap().mtime(), fs::metadata(wanted).unwrap().mtime());
    assert_eq!(fs::read(to.join("src/a.txt")).unwrap(), b"hello");
    assert_eq!(count(&to), count(&from));
}

#[test]
fn a_folder_is_never_replaced_by_a_file() {
    let (_inbox, from, to) = received();
    fs::create_dir(to.join("notes.txt")).unwrap();

    let error = copy_out(&from, &to, Conflict::Overwrite).unwrap_err();

    assert!(matches!(error, CopyError::Exists { .. }), "{error}");
    assert_eq!(count(&to), 1);
}

#[test]
fn what_is_new_gets_a_number_if_it_is_to_be_renamed() {
    let (_inbox, from, to) = received();
    fs::create_dir(to.join("src")).unwrap();
    for taken in ["notes.txt", "notes-2.txt"] {
        fs::write(to.join(taken), "mine").unwrap();
    }

    let copied = copy_out(&from, &to, Conflict::Rename).unwrap();

    let expected = of(&[("notes-3.txt", Outcome::Renamed), ("src-2", Outcome::Renamed)]);
    assert_eq!(told(&copied, &to), expected);
    assert_eq!(fs::read(to.join("src-2/a.txt")).unwrap(), b"hello");
    assert_eq!((count(&to.join("src")), count(&to.join("src-2"))), (0, 4));
    assert_eq!(fs::read(to.join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn a_long_name_gets_shorter_for_its_number() {
    let inbox = Inbox::new();
    let mut sample = Sample::default();
    let name = [[b'x'; 251].as_slice(), b".txt"].concat();
    sample.file(TOP, &name, b"hello");
    let (from, to) = (inbox.receive(&sample), inbox.home.path().join("out"));
    copy_out(&from, &to, Conflict::Fail).unwrap();

    let copied = copy_out(&from, &to, Conflict::Rename).unwrap();

    let expected = format!("{}-2.txt", "x".repeat(249));
    assert_eq!(told(&copied, &to), of(&[(&expected, Outcome::Renamed)]));
}

#[test]
fn a_folder_is_not_copied_into_itself() {
    let (_inbox, from, _) = received();

    let error = copy_out(&from, &from.join("src/out"), Conflict::Fail).unwrap_err();

    assert!(matches!(error, CopyError::Inside { .. }), "{error}");
    assert_is(&from, &sample());
}

#[test]
fn a_destination_may_be_a_link_itself() {
    let (inbox, from, to) = received();
    let link = inbox.home.path().join("link");
    symlink(&to, &link).unwrap();

    copy_out(&from, &link, Conflict::Fail).unwrap();

    assert_is(&to, &sample());
}
