//! A trusted peer that sends files which are none.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use pilot_identity::Timestamp;
use pilot_local_api::transfers::{TransferState, TransferView};
use pilot_proto::data::{
    DataRefusal, DataRequest, MAX_PAGE, MAX_TALK_FRAME, PieceHeader, Said, Told, TransferOffer,
};
use pilot_proto::manifest::{self, Entry, EntryKind, LinkTarget, Mode, Modified};
use pilot_proto::text::Text;
use pilot_proto::{Component, Service, TransferId, close};
use pilot_tests::{Team, eventually};
use pilot_transport::{Connection, Framed, FramedError};

use super::names::nothing_stolen;
use super::puppet::Puppet;

pub(super) fn entry(parent: u32, name: &[u8], kind: EntryKind) -> Entry {
    Entry {
        parent,
        name: Component::new(name).unwrap(),
        kind,
        mode: Mode::of(0o777),
        modified: Modified::new(0, 0).unwrap(),
    }
}

pub(super) const fn file(size: u64) -> EntryKind {
    EntryKind::File { size }
}

pub(super) fn transfer_id(seed: u8) -> TransferId {
    TransferId::new(Timestamp::from_millis(1_700_000_000_000), [seed; 10])
}

pub(super) fn offer(seed: u8, manifest: &[u8], bytes: u64) -> TransferOffer {
    TransferOffer {
        id: transfer_id(seed),
        label: Text::clipped("\u{1b}[2J hostile"),
        manifest_bytes: u32::try_from(manifest.len()).unwrap(),
        manifest_hash: *blake3::hash(manifest).as_bytes(),
        bytes,
        expires_ms: None,
        task: None,
    }
}

/// Offers a manifest, sends it if it is asked for, and tells what came of it.
pub(super) fn offered(
    puppet: &Puppet,
    session: &Connection,
    offer: &TransferOffer,
    manifest: &[u8],
) -> (Framed, Told) {
    let mut talk = puppet.open(session, Service::Data.number()).unwrap();
    let told = puppet.play(async {
        let request = DataRequest::Offer(offer.clone());
        talk.send(&request, MAX_TALK_FRAME).await.unwrap();
        let first: Told = talk.expect(MAX_TALK_FRAME).await.unwrap();
        if first != Told::SendManifest {
            return first;
        }
        for page in manifest.chunks(MAX_PAGE) {
            let page = Said::Page(Bytes::copy_from_slice(page));
            talk.send(&page, MAX_TALK_FRAME).await.unwrap();
        }
        talk.expect(MAX_TALK_FRAME).await.unwrap()
    });
    (talk, told.unwrap())
}

fn is_invalid(told: &Told) -> bool {
    matches!(told, Told::Refused(DataRefusal::Invalid, _))
}

/// What is in the inbox, the part for what is coming in left out.
fn inbox(home: &Path) -> Vec<String> {
    let entries = fs::read_dir(home.join("inbox")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| ![".incoming", ".held"].contains(&name.as_str())).collect()
}

/// Manifests that are none, each with the bytes it claims.
fn bad_manifests() -> Vec<(&'static str, Vec<u8>, u64)> {
    let encoded = |entries: &[Entry]| manifest::encode(entries).unwrap();
    let renamed = |from: &[u8], to: &[u8]| {
        let mut bytes = encoded(&[entry(0, from, file(1))]);
        let at = bytes.windows(from.len()).position(|bytes| bytes == from).unwrap();
        bytes.splice(at..at + to.len(), to.iter().copied());
        bytes
    };
    let target = LinkTarget::new(b"/etc").unwrap();
    vec![
        ("a name that climbs", renamed(b"xy", b".."), 1),
        ("a name with a path in it", renamed(b"x_y", b"x/y"), 1),
        ("an absolute name", renamed(b"_etc", b"/etc"), 1),
        ("a name with NUL", renamed(b"x_y", b"x\0y"), 1),
        ("nothing", encoded(&[]), 0),
        ("a billion entries", vec![0xff, 0xff, 0xff, 0xff, 0x0f], 0),
        ("two of one name", encoded(&[entry(0, b"a", file(1)), entry(0, b"a", file(1))]), 2),
        ("a file in a file", encoded(&[entry(0, b"a", file(1)), entry(1, b"b", file(1))]), 2),
        (
            "a file in a link",
            encoded(&[entry(0, b"a", EntryKind::Link { target }), entry(1, b"b", file(1))]),
            1,
        ),
        ("a file in itself", encoded(&[entry(1, b"a", EntryKind::Folder)]), 0),
        ("another length than it says", encoded(&[entry(0, b"a", file(7))]), 8),
        ("garbage", super::peers::noise(7, 500), 1),
    ]
}

#[test]
fn manifests_that_are_none_are_refused_and_nothing_is_written() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(30, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let session = puppet.session(team.node("target"), 1).unwrap();

    for ((what, manifest, bytes), seed) in bad_manifests().into_iter().zip(0..) {
        let (_talk, told) = offered(&puppet, &session, &offer(seed, &manifest, bytes), &manifest);
        assert!(is_invalid(&told), "{what}: {told:?}");
    }
    let huge = manifest::encode(&[entry(0, b"a", file(1 << 63))]).unwrap();
    let (_talk, told) = offered(&puppet, &session, &offer(99, &huge, 1 << 63), &huge);
    assert!(matches!(told, Told::Refused(DataRefusal::DiskFull, _)), "{told:?}");
    let lying = TransferOffer { manifest_bytes: u32::MAX, ..offer(98, &huge, 1) };
    let (_talk, told) = offered(&puppet, &session, &lying, &[]);
    assert!(is_invalid(&told), "{told:?}");
    let other = TransferOffer { manifest_hash: [0; 32], ..offer(97, &huge, 1) };
    let (_talk, told) = offered(&puppet, &session, &other, &huge);
    assert!(is_invalid(&told), "{told:?}");

    assert_eq!(team.api("target").unwrap().transfers().unwrap(), []);
    assert_eq!(inbox(team.node("target").home()), [""; 0]);
    nothing_stolen(team.folder());
    assert!(!session.is_closed());
}

pub(super) fn piece(number: u64, content: &[u8], hash: [u8; 32]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap();
    [&PieceHeader { number, len, stored: len, hash }.encode(), content].concat()
}

/// Sends these bytes as pieces; the code with which the stream was refused, if
/// it was.
pub(super) fn send_pieces(
    puppet: &Puppet,
    session: &Connection,
    id: TransferId,
    bytes: &[u8],
) -> Option<u32> {
    let mut stream = puppet.open(session, Service::Data.number()).unwrap();
    let outcome = puppet.play(async {
        stream.send(&DataRequest::Pieces(id), MAX_TALK_FRAME).await?;
        // It may be refused before all is written.
        drop(stream.send.write_all(bytes).await);
        drop(stream.finish());
        stream.next::<Told>(MAX_TALK_FRAME).await
    });
    match outcome.unwrap() {
        Err(FramedError::Stopped { code }) => Some(code),
        Ok(_) | Err(_) => None,
    }
}

/// What is said on a talk in the end.
pub(super) fn last_of(puppet: &Puppet, talk: &mut Framed) -> Told {
    let last = puppet.play(async {
        loop {
            let told: Told = talk.expect(MAX_TALK_FRAME).await.unwrap();
            if !matches!(told, Told::Arrived(_) | Told::Missing(_)) {
                return told;
            }
        }
    });
    last.unwrap()
}

fn until(team: &Team, seed: u8, state: TransferState) -> TransferView {
    let api = team.api("target").unwrap();
    eventually(&format!("the transfer is {state}"), || {
        Ok(api.transfer(transfer_id(seed))?.state == state)
    })
    .unwrap();
    api.transfer(transfer_id(seed)).unwrap()
}

#[test]
fn pieces_that_are_none_end_their_transfer_or_their_stream_and_nothing_is_shown() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(31, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let session = puppet.session(team.node("target"), 1).unwrap();
    let manifest = manifest::encode(&[entry(0, b"five", file(5))]).unwrap();
    let good = *blake3::hash(b"right").as_bytes();

    // Of a transfer that nobody offered.
    let refused = send_pieces(&puppet, &session, transfer_id(50), &piece(0, b"right", good));
    assert_eq!(refused, Some(close::NOT_ALLOWED));
    let (_talk, told) = offered(&puppet, &session, &offer(1, &manifest, 5), &manifest);
    assert!(matches!(told, Told::Missing(_)), "{told:?}");
    let wrong = [
        piece(1, b"right", good),
        piece(u64::MAX, b"right", good),
        piece(0, b"rig", good),
        piece(0, &[7; 1024], good),
        super::peers::noise(3, 48),
        vec![0; 47],
    ];
    for bytes in wrong {
        // Each is the end of its stream, and of nothing else.
        send_pieces(&puppet, &session, transfer_id(1), &bytes);
        until(&team, 1, TransferState::Receiving);
    }
    assert_eq!(inbox(team.node("target").home()), [""; 0]);

    // What hashes to something else was not sent by an honest program.
    let (mut talk, _told) = offered(&puppet, &session, &offer(1, &manifest, 5), &manifest);
    send_pieces(&puppet, &session, transfer_id(1), &piece(0, b"wrong", good));
    let failed = until(&team, 1, TransferState::Failed);
    assert_eq!(failed.error.unwrap().code, "invalid");
    assert!(is_invalid(&last_of(&puppet, &mut talk)));
    let (_talk, told) = offered(&puppet, &session, &offer(1, &manifest, 5), &manifest);
    assert!(is_invalid(&told), "it has ended: {told:?}");
    assert_eq!(inbox(team.node("target").home()), [""; 0]);

    // And an honest one goes through all the same.
    let (mut talk, _told) = offered(&puppet, &session, &offer(2, &manifest, 5), &manifest);
    send_pieces(&puppet, &session, transfer_id(2), &piece(0, b"right", good));
    assert_eq!(last_of(&puppet, &mut talk), Told::Complete);
    let done = until(&team, 2, TransferState::Done);
    assert_eq!(fs::read(done.folder.unwrap().as_path().join("five")).unwrap(), b"right");
}

#[test]
fn nobody_meddles_with_the_transfer_of_another_peer() {
    let team = Team::start(&["target"]).unwrap();
    let [mut one, mut other] = [32, 33].map(|seed| Puppet::start(seed, &[]).unwrap());
    one.befriend(&team, "target").unwrap();
    other.befriend(&team, "target").unwrap();
    let first = one.session(team.node("target"), 1).unwrap();
    let second = other.session(team.node("target"), 1).unwrap();
    let manifest = manifest::encode(&[entry(0, b"five", file(5))]).unwrap();
    let (_talk, told) = offered(&one, &first, &offer(1, &manifest, 5), &manifest);
    assert!(matches!(told, Told::Missing(_)), "{told:?}");

    let (_talk, told) = offered(&other, &second, &offer(1, &manifest, 5), &manifest);
    assert!(matches!(told, Told::Refused(DataRefusal::Conflict, _)), "{told:?}");
    let good = *blake3::hash(b"right").as_bytes();
    let pieces = send_pieces(&other, &second, transfer_id(1), &piece(0, b"right", good));
    assert_eq!(pieces, Some(close::NOT_ALLOWED));
    let mut stream = other.open(&second, Service::Data.number()).unwrap();
    let cancelled = other.play(async {
        let cancel = DataRequest::Cancel(transfer_id(1));
        stream.send(&cancel, MAX_TALK_FRAME).await.unwrap();
        stream.expect::<Told>(MAX_TALK_FRAME).await.unwrap()
    });
    let told = cancelled.unwrap();
    assert!(matches!(told, Told::Refused(DataRefusal::Unknown, _)), "{told:?}");
    let changed = manifest::encode(&[entry(0, b"six", file(6))]).unwrap();
    let (_talk, told) = offered(&one, &first, &offer(1, &changed, 6), &changed);
    assert!(matches!(told, Told::Refused(DataRefusal::Conflict, _)), "{told:?}");

    until(&team, 1, TransferState::Receiving);
}

#[test]
fn only_what_a_peer_sent_itself_is_said_to_be_held() {
    let team = Team::start(&["target"]).unwrap();
    let [mut one, mut other] = [34, 35].map(|seed| Puppet::start(seed, &[]).unwrap());
    one.befriend(&team, "target").unwrap();
    other.befriend(&team, "target").unwrap();
    let first = one.session(team.node("target"), 1).unwrap();
    let second = other.session(team.node("target"), 1).unwrap();
    let content = super::peers::noise(4, 600);
    let manifest = manifest::encode(&[entry(0, b"secret", file(600))]).unwrap();
    let good = *blake3::hash(&content).as_bytes();
    let (mut talk, _told) = offered(&one, &first, &offer(1, &manifest, 600), &manifest);
    send_pieces(&one, &first, transfer_id(1), &piece(0, &content, good));
    assert_eq!(last_of(&one, &mut talk), Told::Complete);

    // Its sender is asked for the hash; that of another peer is not.
    let (mut again, told) = offered(&one, &first, &offer(2, &manifest, 600), &manifest);
    assert!(matches!(told, Told::HashesOf(_)), "{told:?}");
    let (_talk, told) = offered(&other, &second, &offer(3, &manifest, 600), &manifest);
    assert!(matches!(told, Told::Missing(_)), "{told:?}");

    // More hashes than were asked for end the talk, and nothing else.
    let told = one.play(async {
        again.send(&Said::Hashes(vec![good; 2]), MAX_TALK_FRAME).await.unwrap();
        again.next::<Told>(MAX_TALK_FRAME).await
    });
    assert!(!matches!(told.unwrap(), Ok(Some(Told::Complete))));
    let (mut talk, told) = offered(&one, &first, &offer(2, &manifest, 600), &manifest);
    assert!(matches!(told, Told::HashesOf(_)), "{told:?}");
    let told = one.play(async {
        talk.send(&Said::Hashes(vec![good]), MAX_TALK_FRAME).await.unwrap();
        talk.expect::<Told>(MAX_TALK_FRAME).await.unwrap()
    });
    assert!(matches!(told.unwrap(), Told::Missing(_) | Told::Complete));
    let done = until(&team, 2, TransferState::Done);
    assert_eq!(fs::read(done.folder.unwrap().as_path().join("secret")).unwrap(), content);
}

#[test]
fn what_does_not_unpack_is_the_end_of_its_transfer() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(36, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let session = puppet.session(team.node("target"), 1).unwrap();
    let manifest = manifest::encode(&[entry(0, b"a", file(1024))]).unwrap();
    // A frame that says it has 2^40 bytes, and noise.
    let bomb =
        [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &(1_u64 << 40).to_le_bytes(), &[1; 30]].concat();
    for (stored, seed) in [(bomb, 1), (super::peers::noise(8, 300), 2)] {
        let (mut talk, told) = offered(&puppet, &session, &offer(seed, &manifest, 1024), &manifest);
        assert!(matches!(told, Told::Missing(_)), "{told:?}");
        let header = PieceHeader {
            number: 0,
            len: 1024,
            stored: u32::try_from(stored.len()).unwrap(),
            hash: [7; 32],
        };
        let bytes = [&header.encode(), stored.as_slice()].concat();

        send_pieces(&puppet, &session, transfer_id(seed), &bytes);

        assert!(is_invalid(&last_of(&puppet, &mut talk)));
        until(&team, seed, TransferState::Failed);
    }
    assert!(!session.is_closed());
}
