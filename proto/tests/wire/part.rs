//! Parts of a datagram that is too long for a relay.

use pilot_proto::part::{MAX_PARTS, PART_HEADER, Part, part_header};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn a_part_is_its_header_and_some_bytes() {
    let packet = [&part_header(0x0102, 1, 3)[..], b"bytes"].concat();

    assert_eq!(packet, b"\xa9plp\x01\x02\x01\x03bytes");
    let part = Part { number: 0x0102, index: 1, count: 3, bytes: b"bytes" };
    assert_eq!(Part::decode(&packet), Some(part));
}

#[test]
fn what_cannot_be_part_of_anything_is_none() {
    let decoded = |index, count, bytes: &[u8]| {
        Part::decode(&[&part_header(1, index, count)[..], bytes].concat()).is_some()
    };

    assert!(decoded(0, 2, b"x") && decoded(3, 4, b"x"));
    for (index, count, bytes) in
        [(0, 0, &b"x"[..]), (0, 1, b"x"), (2, 2, b"x"), (0, 5, b"x"), (255, 255, b"x"), (0, 2, b"")]
    {
        assert!(!decoded(index, count, bytes), "{index} of {count}, {bytes:?}");
    }
    assert_eq!(Part::decode(&part_header(1, 0, 2)[..PART_HEADER - 1]), None);
}

proptest! {
    #[test]
    fn any_bytes_are_a_part_or_none(bytes in vec(any::<u8>(), 0..64), marked: bool) {
        let mark = if marked { &part_header(7, 0, 2)[..4] } else { &[] };
        let packet = [mark, &bytes].concat();
        if let Some(part) = Part::decode(&packet) {
            prop_assert!(part.index < part.count && part.count <= MAX_PARTS);
            prop_assert_eq!(part.bytes.len() + PART_HEADER, packet.len());
        }
    }
}
