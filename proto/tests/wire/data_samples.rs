//! Every message of the data service once, and what is in a manifest.

use bytes::Bytes;
use pilot_proto::data::{DataRefusal, DataRequest, Ranges, Said, Told, TransferOffer};
use pilot_proto::manifest::{Entry, EntryKind, LinkTarget, Mode, Modified};
use pilot_proto::text::Text;
use pilot_proto::{Component, TransferId};

fn id() -> TransferId {
    TransferId::from_bytes([0x0a; 16])
}

pub(crate) fn requests() -> Vec<(&'static str, DataRequest)> {
    let offer = TransferOffer {
        id: id(),
        label: Text::clipped("src"),
        manifest_bytes: 300,
        manifest_hash: [0x0b; 32],
        bytes: 4096,
        expires_ms: Some(1000),
        task: None,
    };
    vec![
        ("offer", DataRequest::Offer(offer)),
        ("pieces", DataRequest::Pieces(id())),
        ("cancel", DataRequest::Cancel(id())),
    ]
}

pub(crate) fn said() -> Vec<(&'static str, Said)> {
    vec![
        ("page", Said::Page(Bytes::from_static(b"\x01\x02"))),
        ("hashes", Said::Hashes(vec![[0x0c; 32]])),
        ("failed", Said::Failed(Text::clipped("changed"))),
    ]
}

pub(crate) fn told() -> Vec<(&'static str, Told)> {
    let refused = [
        ("not allowed", DataRefusal::NotAllowed),
        ("invalid", DataRefusal::Invalid),
        ("conflict", DataRefusal::Conflict),
        ("quota", DataRefusal::Quota),
        ("too large", DataRefusal::TooLarge),
        ("disk full", DataRefusal::DiskFull),
        ("cancelled", DataRefusal::Cancelled),
        ("unknown", DataRefusal::Unknown),
        ("internal", DataRefusal::Internal),
    ];
    let mut told = vec![
        ("send manifest", Told::SendManifest),
        ("hashes of", Told::HashesOf(Ranges::new(vec![2..3, 4..9]).unwrap())),
        ("missing", Told::Missing(Ranges::new(vec![0..3, 5..6]).unwrap())),
        ("arrived", Told::Arrived(300)),
        ("complete", Told::Complete),
    ];
    told.extend(refused.map(|(name, why)| (name, Told::Refused(why, Text::clipped("x")))));
    told
}

pub(crate) fn entries() -> Vec<(&'static str, Entry)> {
    let entry = |parent, name: &[u8], kind, mode| Entry {
        parent,
        name: Component::new(name).unwrap(),
        kind,
        mode: Mode::of(mode),
        modified: Modified::new(-1, 999_999_999).unwrap(),
    };
    let target = LinkTarget::new(b"../x").unwrap();
    vec![
        ("folder", entry(0, b"d", EntryKind::Folder, 0o755)),
        ("file", entry(1, b"\xff\n", EntryKind::File { size: 300 }, 0o104_644)),
        ("link", entry(2, b"l", EntryKind::Link { target }, 0o777)),
    ]
}
