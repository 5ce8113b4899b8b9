//! Pieces, what a crash leaves of them, and what is refused.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use pilot_files::PIECE;

use super::*;
use crate::{CreateError, DiskError, OpenError, discard};

/// A large file of three pieces and two small ones.
fn sample() -> Sample {
    let mut sample = Sample::default();
    let folder = sample.folder(TOP, b"src");
    let content: Vec<u8> = (0..=250).cycle().take(2 * PIECE + 5).collect();
    sample.file(folder, b"large", &content);
    sample.file(folder, b"small", b"hello");
    sample.file(TOP, b"other", b"world");
    sample
}

fn arrived(incoming: &Incoming) -> Vec<u64> {
    (0..incoming.arrived().total()).filter(|number| incoming.arrived().contains(*number)).collect()
}

#[test]
fn pieces_come_in_any_order_and_again() {
    let (inbox, sample) = (Inbox::new(), sample());
    let mut incoming = inbox.begin(&sample);

    for number in [4, 2, 0, 3, 1] {
        assert_eq!(write(&mut incoming, &sample, number).unwrap(), Written::New);
        assert_eq!(write(&mut incoming, &sample, number).unwrap(), Written::Already);
    }

    assert!(incoming.arrived().is_complete());
    assert_eq!(incoming.bytes(), 2 * PIECE as u64 + 15);
    assert_is(&incoming.finish(&inbox.path(), "id").unwrap(), &sample);
}

#[test]
fn what_is_no_piece_is_not_written() {
    let (inbox, sample) = (Inbox::new(), sample());
    let mut incoming = inbox.begin(&sample);
    let (content, hash) = sample.piece(3);

    let mut damaged = content.clone();
    damaged[0] ^= 1;
    let error = incoming.write_piece(3, &damaged, &hash).unwrap_err();
    assert!(matches!(error, WriteError::HashMismatch { piece: 3 }), "{error}");
    let error = incoming.write_piece(3, &content[1..], &hash).unwrap_err();
    assert!(matches!(error, WriteError::WrongLength { found: 4, wanted: 5, .. }), "{error}");
    let error = incoming.write_piece(5, &content, &hash).unwrap_err();
    assert!(matches!(error, WriteError::NoSuchPiece { piece: 5 }), "{error}");

    assert_eq!((incoming.arrived().count(), count(&inbox.tree())), (0, 0));
}

#[test]
fn after_a_crash_the_pieces_that_were_written_count() {
    let (inbox, sample) = (Inbox::new(), sample());
    let mut incoming = inbox.begin(&sample);
    for number in [0, 2, 3] {
        write(&mut incoming, &sample, number).unwrap();
    }
    drop(incoming);

    let mut incoming = inbox.reopen();
    assert_eq!(arrived(&incoming), [0, 2, 3]);
    assert_eq!(incoming.bytes(), PIECE as u64 + 10);
    assert_eq!(incoming.manifest(), &*sample.manifest());

    write_all(&mut incoming, &sample);
    assert_is(&incoming.finish(&inbox.path(), "id").unwrap(), &sample);
}

#[test]
fn a_journal_that_lies_is_not_believed() {
    let (inbox, sample) = (Inbox::new(), sample());
    let mut incoming = inbox.begin(&sample);
    for number in [0, 1, 3] {
        write(&mut incoming, &sample, number).unwrap();
    }
    drop(incoming);
    let journal = OpenOptions::new().append(true).open(inbox.incoming().join("journal")).unwrap();
    let mut lies = Vec::new();
    // Of a file that was never made, of no piece, and with another hash.
    for (number, hash) in [(4, sample.piece(4).1), (9, sample.piece(0).1), (0, sample.piece(1).1)] {
        lies.extend(u64::to_be_bytes(number));
        lies.extend(hash.as_bytes());
    }
    lies.extend([0xff; 17]);
    std::io::Write::write_all(&mut &journal, &lies).unwrap();
    let large = OpenOptions::new().write(true).open(inbox.tree().join("src/large")).unwrap();
    large.write_all_at(b"?", PIECE as u64 + 7).unwrap();

    let mut incoming = inbox.reopen();
    assert_eq!(arrived(&incoming), [0, 3]);

    write_all(&mut incoming, &sample);
    drop(incoming);
    assert!(inbox.reopen().arrived().is_complete());
}

#[test]
fn a_file_that_no_record_claims_is_written_again() {
    let (inbox, sample) = (Inbox::new(), sample());
    let mut incoming = inbox.begin(&sample);
    write_all(&mut incoming, &sample);
    drop(incoming);
    fs::remove_file(inbox.incoming().join("journal")).unwrap();

    let mut incoming = inbox.reopen();
    assert_eq!(incoming.arrived().count(), 0);
    write_all(&mut incoming, &sample);

    assert_is(&incoming.finish(&inbox.path(), "id").unwrap(), &sample);
}

#[test]
fn a_transfer_is_begun_once_its_manifest_is_there() {
    let (inbox, sample) = (Inbox::new(), sample());
    let not_there = || Incoming::open(&inbox.incoming()).unwrap_err();
    assert!(matches!(not_there(), OpenError::NotThere { .. }));
    drop(inbox.begin(&sample));
    let manifest = sample.manifest();
    let bytes = manifest.encode().unwrap();

    let again = Incoming::create(&inbox.incoming(), &bytes, manifest).unwrap_err();
    assert!(matches!(again, CreateError::Exists { .. }), "{again}");
    fs::remove_file(inbox.incoming().join("manifest")).unwrap();
    assert!(matches!(not_there(), OpenError::NotThere { .. }));

    write_all(&mut inbox.begin(&sample), &sample);
}

#[test]
fn a_torn_manifest_is_noticed() {
    let (inbox, sample) = (Inbox::new(), sample());
    drop(inbox.begin(&sample));
    let path = inbox.incoming().join("manifest");
    let whole = fs::read(&path).unwrap();

    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let error = Incoming::open(&inbox.incoming()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{len} bytes: {error}");
    }
    fs::write(&path, vec![0; whole.len()]).unwrap();
    assert!(matches!(Incoming::open(&inbox.incoming()), Err(OpenError::Damaged { .. })));
}

#[test]
fn what_is_discarded_is_gone_and_nothing_else() {
    let (inbox, sample) = (Inbox::new(), sample());
    let outside = inbox.home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "x").unwrap();
    write_all(&mut inbox.begin(&sample), &sample);
    std::os::unix::fs::symlink(&outside, inbox.tree().join("src/way out")).unwrap();

    discard(&inbox.incoming()).unwrap();
    discard(&inbox.incoming()).unwrap();

    assert!(outside.join("kept").exists() && !inbox.incoming().exists());
    assert!(inbox.path().join(".incoming").exists());
}

#[test]
fn a_folder_that_may_not_be_written_to_is_told() {
    if is_root("a_folder_that_may_not_be_written_to_is_told") {
        return;
    }
    use std::os::unix::fs::PermissionsExt as _;
    let (inbox, sample) = (Inbox::new(), sample());
    let mut incoming = inbox.begin(&sample);
    fs::set_permissions(inbox.tree(), fs::Permissions::from_mode(0o500)).unwrap();

    let error = write(&mut incoming, &sample, 0).unwrap_err();

    assert!(matches!(error, WriteError::Disk(DiskError::Denied { .. })), "{error}");
    fs::set_permissions(inbox.tree(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(write(&mut incoming, &sample, 0).unwrap(), Written::New);
}
