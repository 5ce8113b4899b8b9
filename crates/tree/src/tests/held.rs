//! What was received before, and is not to be sent again.

use std::os::unix::fs::symlink;

use pilot_files::{Catalogue, CatalogueFile, FileHash, PIECE};

use super::*;
use crate::{Held, catalogue, forget_held};

fn large() -> Vec<u8> {
    (0..=250).cycle().take(2 * PIECE + 10).collect()
}

fn small() -> Vec<u8> {
    (0..=240).cycle().take(700).collect()
}

/// What is received first.
fn before() -> Sample {
    let mut sample = Sample::default();
    let folder = sample.folder(TOP, b"src");
    sample.file(folder, b"large", &large());
    sample.file(folder, b"small", &small());
    sample.file(folder, b"tiny", b"hello");
    sample.file(folder, b"empty", b"");
    sample.link(folder, b"link", b"small");
    sample
}

/// The same and something new, elsewhere. Its pieces are 0 to 2 of `large`, 3
/// of `small`, 4 of `tiny` and 5 of `other`.
fn after() -> Sample {
    let mut sample = Sample::default();
    sample.file(TOP, b"a", &large());
    sample.file(TOP, b"b", &small());
    sample.file(TOP, b"c", b"hello");
    sample.file(TOP, b"d", b"");
    sample.file(TOP, b"e", &vec![7; 700]);
    sample.link(TOP, b"f", b"e");
    sample
}

fn hash(content: &[u8]) -> FileHash {
    FileHash::from_bytes(*blake3::hash(content).as_bytes())
}

fn received() -> Inbox {
    let inbox = Inbox::new();
    inbox.receive(&before());
    inbox
}

fn held(inbox: &Inbox) -> Held {
    Held::load(&inbox.path(), &["id"])
}

fn arrived(incoming: &Incoming) -> Vec<u64> {
    (0..incoming.arrived().total()).filter(|number| incoming.arrived().contains(*number)).collect()
}

/// Whether entry 0 and entry 1 of what comes after could be filled.
fn fill(inbox: &Inbox, held: &Held) -> [bool; 2] {
    let mut incoming = inbox.begin(&after());
    let filled = [(0, large()), (1, small())]
        .map(|(entry, content)| incoming.fill(entry, &hash(&content), held).unwrap());
    let expected = [(0..3, filled[0]), (3..4, filled[1])];
    let expected = expected.into_iter().filter(|(_, filled)| *filled).flat_map(|(all, _)| all);
    assert_eq!(arrived(&incoming), expected.collect::<Vec<_>>());
    crate::discard(&inbox.incoming()).unwrap();
    filled
}

/// Something of this length, and hash, entered for a path of this transfer.
fn enter(inbox: &Inbox, name: &str, path: &[u8], content: &[u8]) {
    let mut catalogue = Catalogue::new();
    let size = content.len() as u64;
    catalogue.add(&CatalogueFile { size, hash: hash(content), path });
    fs::create_dir_all(inbox.path().join(".held")).unwrap();
    fs::write(inbox.path().join(".held").join(name), catalogue.into_bytes().unwrap()).unwrap();
}

#[test]
fn what_was_received_is_not_sent_again() {
    let (inbox, after) = (received(), after());
    let held = held(&inbox);
    let mut incoming = inbox.begin(&after);

    let candidates = held.candidates(incoming.manifest());
    assert_eq!(candidates, [0, 1, 4]);
    let filled: Vec<bool> = candidates
        .iter()
        .map(|entry| incoming.fill(*entry, &hash(&after.contents[entry]), &held).unwrap())
        .collect();

    assert_eq!(filled, [true, true, false]);
    assert_eq!(incoming.arrived().missing(9), vec![4..6]);
    assert_eq!(incoming.bytes(), 2 * PIECE as u64 + 710);
    drop(incoming);
    let mut incoming = inbox.reopen();
    assert_eq!(arrived(&incoming), [0, 1, 2, 3]);
    write_all(&mut incoming, &after);
    assert_is(&incoming.finish(&inbox.path(), "second").unwrap(), &after);
    assert_is(&inbox.path().join("id"), &before());
}

#[test]
fn what_was_filled_is_held_in_turn() {
    let (inbox, after) = (received(), after());
    let mut incoming = inbox.begin(&after);
    assert!(incoming.fill(0, &hash(&large()), &held(&inbox)).unwrap());
    write_all(&mut incoming, &after);
    incoming.finish(&inbox.path(), "second").unwrap();
    fs::remove_dir_all(inbox.path().join("id")).unwrap();

    assert_eq!(fill(&inbox, &Held::load(&inbox.path(), &["second", "id"])), [true, true]);
    assert_eq!(fill(&inbox, &held(&inbox)), [false, false]);
}

#[test]
fn only_what_is_missing_of_a_file_is_filled() {
    let (inbox, after) = (received(), after());
    let (held, mut incoming) = (held(&inbox), inbox.begin(&after));
    write(&mut incoming, &after, 1).unwrap();
    let records = || fs::metadata(inbox.incoming().join("journal")).unwrap().len() / 40;

    assert!(incoming.fill(0, &hash(&large()), &held).unwrap());
    assert_eq!((arrived(&incoming), records()), (vec![0, 1, 2], 3));

    // It is there, whatever is held.
    fs::remove_dir_all(inbox.path().join("id")).unwrap();
    assert!(incoming.fill(0, &hash(&large()), &held).unwrap());
    assert_eq!(records(), 3);
}

#[test]
fn what_its_user_did_to_a_held_file_is_noticed() {
    type Change = fn(&Path);
    let changes: [Change; 7] = [
        |path| {
            let mut content = fs::read(path).unwrap();
            *content.last_mut().unwrap() ^= 1;
            fs::write(path, content).unwrap();
        },
        |path| fs::write(path, "short").unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| fs::remove_dir_all(path.parent().unwrap()).unwrap(),
        // The content is right, but not where it should be.
        |path| {
            fs::rename(path, path.with_extension("real")).unwrap();
            symlink(path.with_extension("real"), path).unwrap();
        },
        |path| {
            let folder = path.parent().unwrap();
            fs::rename(folder, folder.with_extension("real")).unwrap();
            symlink(folder.with_extension("real"), folder).unwrap();
        },
        |path| {
            fs::remove_file(path).unwrap();
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.unwrap().success());
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let inbox = received();
        let held = held(&inbox);
        assert_eq!(fill(&inbox, &held), [true, true]);

        change(&inbox.path().join("id/src/large"));

        assert!(!fill(&inbox, &held)[0], "change {number}");
    }
    for link_to in ["elsewhere", "id"] {
        let inbox = received();
        let held = held(&inbox);
        fs::rename(inbox.path().join("id"), inbox.home.path().join("elsewhere")).unwrap();
        symlink(inbox.home.path().join(link_to), inbox.path().join("id")).unwrap();

        assert_eq!(fill(&inbox, &held), [false, false]);
    }
}

#[test]
fn the_same_length_is_not_enough() {
    let (inbox, after) = (received(), after());
    let (held, mut incoming) = (held(&inbox), inbox.begin(&after));

    // As its sender says that it hashes, and as what is held does.
    assert!(!incoming.fill(4, &hash(&[7; 700]), &held).unwrap());
    assert!(!incoming.fill(4, &hash(&large()), &held).unwrap());

    assert_eq!((arrived(&incoming), count(&inbox.tree())), (vec![], 0));
}

#[test]
fn what_is_no_file_with_pieces_is_not_filled() {
    let (inbox, after) = (received(), after());
    let (held, mut incoming) = (held(&inbox), inbox.begin(&after));

    for entry in [2, 3, 5, 6, u32::MAX] {
        for content in [b"hello".as_slice(), b"", &small()] {
            assert!(!incoming.fill(entry, &hash(content), &held).unwrap(), "entry {entry}");
        }
    }

    assert_eq!(arrived(&incoming), []);
}

#[test]
fn of_several_that_are_held_the_newest_are_tried() {
    let inbox = received();
    for name in ["second", "third", "fourth"] {
        let mut incoming = inbox.begin(&before());
        write_all(&mut incoming, &before());
        incoming.finish(&inbox.path(), name).unwrap();
    }
    fs::write(inbox.path().join("second/src/small"), vec![0; 700]).unwrap();
    fs::write(inbox.path().join("third/src/small"), "short").unwrap();
    fs::remove_file(inbox.path().join("fourth/src/small")).unwrap();
    let load = |names: &[&str]| Held::load(&inbox.path(), names);

    assert_eq!(fill(&inbox, &load(&["id", "second", "third", "fourth"])), [true, true]);
    assert_eq!(fill(&inbox, &load(&["fourth", "third", "id", "second"])), [true, true]);
    assert_eq!(fill(&inbox, &load(&["fourth", "third", "second", "id"])), [true, false]);
}

#[test]
fn a_catalogue_that_is_damaged_or_gone_holds_nothing() {
    let inbox = received();
    let path = inbox.path().join(".held/id");
    let whole = fs::read(&path).unwrap();
    let garbage = vec![7; 20 * 1024 * 1024];
    for damaged in [b"".as_slice(), &whole[..whole.len() - 1], &whole[1..], &garbage] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(fill(&inbox, &held(&inbox)), [false, false]);
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(fill(&inbox, &held(&inbox)), [true, true]);

    fs::rename(&path, inbox.path().join("elsewhere")).unwrap();
    assert_eq!(fill(&inbox, &held(&inbox)), [false, false]);
    symlink(inbox.path().join("elsewhere"), &path).unwrap();
    assert_eq!(fill(&inbox, &held(&inbox)), [false, false]);

    fs::remove_dir_all(inbox.path()).unwrap();
    assert!(held(&inbox).candidates(&after().manifest()).is_empty());
}

#[test]
fn a_catalogue_leads_nowhere_else() {
    let inbox = received();
    let outside = inbox.home.path().join("outside");
    fs::write(&outside, small()).unwrap();
    let absolute = outside.to_str().unwrap().as_bytes();
    let paths: [&[u8]; 6] =
        [b"../../outside", absolute, b"src/../src/small", b"src//small", b"src/small/", b"/"];
    for path in paths {
        enter(&inbox, "id", path, &small());
        assert_eq!(fill(&inbox, &held(&inbox)), [false, false], "{path:?}");
    }
    enter(&inbox, "id", b"src/small", &small());
    assert_eq!(fill(&inbox, &held(&inbox)), [false, true]);

    let names = ["../.held/id", ".", "..", "", "./id"];
    assert_eq!(fill(&inbox, &Held::load(&inbox.path(), &names)), [false, false]);
}

#[test]
fn a_catalogue_that_lies_fills_nothing() {
    let inbox = received();
    fs::write(inbox.path().join("id/src/wrong"), vec![0; 700]).unwrap();
    enter(&inbox, "id", b"src/wrong", &small());

    assert_eq!(fill(&inbox, &held(&inbox)), [false, false]);
}

#[test]
fn what_is_forgotten_is_not_held() {
    let inbox = received();
    for name in ["other", "../id", ""] {
        forget_held(&inbox.path(), name).unwrap();
    }
    assert_eq!(fill(&inbox, &held(&inbox)), [true, true]);

    for _ in 0..2 {
        forget_held(&inbox.path(), "id").unwrap();
        assert_eq!(fill(&inbox, &held(&inbox)), [false, false]);
    }
    assert_is(&inbox.path().join("id"), &before());
    fs::remove_dir(inbox.path().join(".held")).unwrap();
    forget_held(&inbox.path(), "id").unwrap();
    forget_held(&inbox.path().join("nowhere"), "id").unwrap();
}

#[test]
fn what_is_in_the_way_of_a_catalogue_is_left_alone() {
    let (inbox, sample) = (Inbox::new(), before());
    let outside = inbox.home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, inbox.path().join(".held")).unwrap();

    let path = inbox.receive(&sample);

    assert_is(&path, &sample);
    assert_eq!(count(&outside), 0);
    assert_eq!(fill(&inbox, &held(&inbox)), [false, false]);
}

#[test]
fn a_catalogue_takes_the_place_of_an_older_one() {
    let inbox = Inbox::new();
    enter(&inbox, "id", b"old", &small());

    inbox.receive(&before());

    assert_eq!(fill(&inbox, &held(&inbox)), [true, true]);
}

#[test]
fn of_a_piece_that_was_written_again_the_last_record_counts() {
    let (inbox, sample) = (Inbox::new(), before());
    let mut incoming = inbox.begin(&sample);
    for number in [3, 0, u64::MAX] {
        incoming.journal.append(number, &PieceHash::of(b"wrong", 0, true)).unwrap();
    }
    drop(incoming);
    let mut incoming = inbox.reopen();
    write_all(&mut incoming, &sample);
    incoming.finish(&inbox.path(), "id").unwrap();

    assert_eq!(fill(&inbox, &held(&inbox)), [true, true]);
}

#[test]
fn a_transfer_of_too_many_pieces_is_not_entered() {
    let most = catalogue::MAX_HELD_PIECES;
    for (pieces, is_entered) in [(most, true), (most + 1, false)] {
        let inbox = Inbox::new();
        let mut sample = Sample::default();
        sample.add(TOP, b"a", EntryKind::File { size: pieces * PIECE as u64 }, 0o600);
        let mut incoming = inbox.begin(&sample);
        for number in 0..pieces {
            incoming.journal.append(number, &PieceHash::of(b"x", 0, true)).unwrap();
        }

        assert_eq!(catalogue::of(&incoming).unwrap().is_some(), is_entered);
    }
}

#[test]
fn the_newest_are_held_and_no_more_than_may_be() {
    let inbox = Inbox::new();
    fs::create_dir(inbox.path().join(".held")).unwrap();
    // Each file of its own length: from 1,000 and from 1,000,000.
    for (name, first) in [("new", 1_000), ("old", 1_000_000)] {
        let mut catalogue = Catalogue::new();
        for size in first..first + 150_000 {
            catalogue.add(&CatalogueFile { size, hash: hash(b"x"), path: b"x" });
        }
        let bytes = catalogue.into_bytes().unwrap();
        fs::write(inbox.path().join(".held").join(name), bytes).unwrap();
    }
    let mut sample = Sample::default();
    for size in [999, 1_000, 150_999, 151_000, 1_049_999, 1_050_000] {
        sample.add(TOP, size.to_string().as_bytes(), EntryKind::File { size }, 0o600);
    }

    let held = Held::load(&inbox.path(), &["missing", "new", "old"]);

    assert_eq!(held.candidates(&sample.manifest()), [1, 2, 4]);
}
