//! Trees that are taken, and those that are not.

use pilot_proto::Component;
use pilot_proto::manifest::{LinkTarget, Mode, Modified};
use proptest::prelude::*;

use super::*;

fn entry(parent: u32, name: &[u8], kind: EntryKind) -> Entry {
    Entry {
        parent,
        name: Component::new(name).unwrap(),
        kind,
        mode: Mode::of(0o644),
        modified: Modified::new(-1, 999_999_999).unwrap(),
    }
}

const fn file(size: u64) -> EntryKind {
    EntryKind::File { size }
}

fn link(target: &[u8]) -> EntryKind {
    EntryKind::Link { target: LinkTarget::new(target).unwrap() }
}

#[test]
fn a_tree_is_told_its_totals_and_paths() {
    let manifest = Manifest::new(vec![
        entry(0, b"src", EntryKind::Folder),
        entry(1, b"auth", EntryKind::Folder),
        entry(2, b"odd\n\xff name.", file(5)),
        entry(1, b"auth.rs", file(7)),
        entry(0, b"link", link(b"/etc/passwd")),
        entry(0, b"auth", file(0)),
    ])
    .unwrap();

    assert_eq!(manifest.totals(), Totals { files: 3, folders: 2, links: 1, bytes: 12 });
    assert_eq!(manifest.path(2).unwrap(), b"src/auth/odd\n\xff name.");
    assert_eq!(manifest.path(5).unwrap(), b"auth");
    assert_eq!(manifest.path(6), None);
    assert_eq!(Manifest::decode(&manifest.encode().unwrap()), Ok(manifest));
}

#[test]
fn what_is_in_no_folder_before_it_is_refused() {
    let orphans = [
        vec![entry(1, b"in itself", EntryKind::Folder)],
        vec![entry(2, b"in a later one", file(1)), entry(0, b"a", EntryKind::Folder)],
        vec![entry(0, b"a", file(1)), entry(1, b"in a file", file(1))],
        vec![entry(0, b"a", link(b"b")), entry(1, b"in a link", file(1))],
        vec![entry(u32::MAX, b"nowhere", file(1))],
    ];
    for (case, entries) in orphans.into_iter().enumerate() {
        let refused = Manifest::new(entries);
        assert!(matches!(refused, Err(ManifestError::Orphan { .. })), "{case}: {refused:?}");
    }
}

#[test]
fn a_name_twice_in_a_folder_is_refused() {
    let twice = vec![
        entry(0, b"a", EntryKind::Folder),
        entry(1, b"a", file(1)),
        entry(1, b"a", link(b"/etc")),
    ];

    assert_eq!(Manifest::new(twice), Err(ManifestError::SameName { entry: 2 }));
}

#[test]
fn nothing_is_deeper_or_longer_than_a_path_may_be() {
    let deep = |depth: u32| (0..=depth).map(|n| entry(n, b"d", EntryKind::Folder)).collect();
    let name = [b'x'; 255];
    let long = |last: &[u8]| {
        let mut entries: Vec<Entry> = (0..15).map(|n| entry(n, &name, EntryKind::Folder)).collect();
        entries.push(entry(15, last, file(1)));
        entries
    };

    assert!(Manifest::new(deep(MAX_DEPTH)).is_ok());
    let too_deep = Err(ManifestError::TooDeep { entry: 129 });
    assert_eq!(Manifest::new(deep(MAX_DEPTH + 1)), too_deep);
    assert!(Manifest::new(long(&name)).is_ok(), "15 x 256 and 255 are 4095");
    let mut one_more = long(&name);
    one_more.push(entry(15, b"d", EntryKind::Folder));
    one_more.push(entry(17, &name, file(1)));
    assert_eq!(Manifest::new(one_more), Err(ManifestError::TooDeep { entry: 17 }));
}

#[test]
fn sizes_that_nobody_has_are_refused() {
    for sizes in [vec![1 << 63], vec![u64::MAX, 1], vec![MAX_BYTES, 1]] {
        let files = sizes.iter().zip(b'a'..).map(|(size, name)| entry(0, &[name], file(*size)));
        assert_eq!(Manifest::new(files.collect()), Err(ManifestError::TooLarge), "{sizes:?}");
    }
    assert_eq!(Manifest::new(Vec::new()), Err(ManifestError::Empty));
}

#[test]
fn a_billion_entries_cost_nothing() {
    // The length of the list is a number of 5 bytes; the entries do not come.
    let claimed = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(Manifest::decode(&claimed), Err(ManifestBytesError::Malformed.into()));

    let valid = Manifest::new(vec![entry(0, b"a", file(1))]).unwrap().encode().unwrap();
    let more = [&valid[..], b"x"].concat();
    assert_eq!(Manifest::decode(&more), Err(ManifestBytesError::Malformed.into()));
}

proptest! {
    #[test]
    fn any_bytes_are_a_manifest_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(manifest) = Manifest::decode(&bytes) {
            prop_assert_eq!(Manifest::decode(&manifest.encode().unwrap()), Ok(manifest));
        }
    }

    #[test]
    fn a_manifest_with_some_bytes_changed_is_one_or_none(
        at in 0_usize..40, with in any::<u8>(),
    ) {
        let entries = vec![entry(0, b"d", EntryKind::Folder), entry(1, b"f", file(9)),
            entry(1, b"l", link(b"../x"))];
        let mut bytes = Manifest::new(entries).unwrap().encode().unwrap();
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok(manifest) = Manifest::decode(&bytes) {
            for number in 0..manifest.entries().len() {
                let path = manifest.path(number).unwrap();
                prop_assert!(path.split(|byte| *byte == b'/').all(|name| Component::new(name).is_ok()));
            }
        }
    }
}
