//! Packets between node and beacon: their bytes, and what becomes of others.

use pilot_identity::NodeKey;
use pilot_proto::beacon::{
    self, Alive, Bind, FromBeacon, FromNode, MARK, MAX_PACKET, PacketError, RELAY_HEADER,
    RELAY_MARK, RelayId, SealedError, Services, Told, UNKNOWN, relay_header, split_relayed,
};
use proptest::collection::vec;
use proptest::prelude::*;
use zeroize::Zeroizing;

use crate::samples::{self, pair};

#[test]
fn every_packet_has_its_bytes() {
    let line = |from: &str, (name, bytes): (&str, Vec<u8>)| {
        format!("{from} {name}: {}\n", data_encoding::HEXLOWER.encode(&bytes))
    };
    let of_a_node = samples::packets_of_a_node().into_iter().map(|packet| line("node", packet));
    let of_a_beacon =
        samples::packets_of_a_beacon().into_iter().map(|packet| line("beacon", packet));
    let relayed = [relay_header(id(2)).as_slice(), b"inner"].concat();

    let all: Vec<String> =
        of_a_node.chain(of_a_beacon).chain([line("any", ("relayed", relayed))]).collect();

    insta::assert_snapshot!(all.concat());
}

#[test]
fn what_a_node_says_is_read_by_the_beacon() {
    let (_, key) = pair();
    let client = *node(1).as_bytes();
    let mut read = Vec::new();
    for (_, packet) in samples::packets_of_a_node() {
        match FromNode::decode(&packet).unwrap() {
            FromNode::Hello { client: from } => assert_eq!(from, client),
            FromNode::Bind { client: from, cookie, sealed } => {
                assert_eq!((from, cookie), (client, [0x0f; 16]));
                read.push(sealed.open::<Bind>(&key).unwrap());
            }
            FromNode::Alive { id: from, sealed } => {
                assert_eq!(from, id(1));
                assert_eq!(sealed.open(&key), Ok(Alive { seq: 300 }));
            }
        }
    }
    let sent: Vec<Bind> = samples::binds().into_iter().map(|(_, bind)| bind).collect();
    assert_eq!(read, sent);
}

#[test]
fn what_a_beacon_says_is_read_by_the_node() {
    let (key, _) = pair();
    let mut read = Vec::new();
    for (_, packet) in samples::packets_of_a_beacon() {
        match FromBeacon::decode(&packet).unwrap() {
            FromBeacon::Challenge { beacon, cookie } => {
                assert_eq!((beacon, cookie), (*node(3).as_bytes(), [0x0f; 16]));
            }
            FromBeacon::Told(sealed) => read.push(sealed.open::<Told>(&key).unwrap()),
            FromBeacon::Unknown => assert_eq!(packet, UNKNOWN),
        }
    }
    let sent: Vec<Told> = samples::tolds().into_iter().map(|(_, told)| told).collect();
    assert_eq!(read, sent);
}

#[test]
fn no_packet_is_taken_for_one_of_the_other_direction() {
    for (name, packet) in samples::packets_of_a_node() {
        let kind = PacketError::Type(packet[4]);
        assert_eq!(FromBeacon::decode(&packet), Err(kind), "{name}");
    }
    for (name, packet) in samples::packets_of_a_beacon() {
        let kind = PacketError::Type(packet[4]);
        assert_eq!(FromNode::decode(&packet), Err(kind), "{name}");
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let (node_key, beacon_key) = pair();
    let of_a_node = |bytes: &[u8]| match FromNode::decode(bytes) {
        Ok(FromNode::Bind { sealed, .. }) => sealed.open::<Bind>(&beacon_key).map(drop),
        Ok(FromNode::Alive { sealed, .. }) => sealed.open::<Alive>(&beacon_key).map(drop),
        Ok(FromNode::Hello { .. }) | Err(_) => Err(SealedError::Forged),
    };
    let of_a_beacon = |bytes: &[u8]| match FromBeacon::decode(bytes) {
        Ok(FromBeacon::Told(sealed)) => sealed.open::<Told>(&node_key).map(drop),
        Ok(FromBeacon::Challenge { .. } | FromBeacon::Unknown) | Err(_) => Err(SealedError::Forged),
    };
    for (name, packet) in samples::packets_of_a_node().split_off(1) {
        changes_are_noticed(name, &packet, of_a_node);
    }
    for (name, packet) in samples::packets_of_a_beacon().split_off(2) {
        changes_are_noticed(name, &packet, of_a_beacon);
    }
}

fn changes_are_noticed(name: &str, packet: &[u8], open: impl Fn(&[u8]) -> Result<(), SealedError>) {
    assert_eq!(open(packet), Ok(()), "{name}");
    for at in 0..packet.len() {
        let mut changed = packet.to_vec();
        changed[at] ^= 0x80;
        assert_eq!(open(&changed), Err(SealedError::Forged), "{name}, byte {at}");
        assert_eq!(open(&packet[..at]), Err(SealedError::Forged), "{name}, cut at {at}");
    }
}

#[test]
fn a_message_of_the_right_key_and_the_wrong_kind_is_none() {
    let (node_key, beacon_key) = pair();
    // Sealed as the one, read as the other: the type is authenticated.
    let mut alive = beacon::alive(id(1), &node_key, samples::NONCE, &Alive { seq: 1 });
    let Ok(FromNode::Alive { sealed, .. }) = FromNode::decode(&alive) else { panic!() };
    assert_eq!(sealed.open::<Told>(&beacon_key), Err(SealedError::Malformed));
    alive[4] = 4;
    let long = [&alive[..], &alive].concat();
    let Ok(FromNode::Bind { sealed, .. }) = FromNode::decode(&long) else { panic!() };
    assert_eq!(sealed.open::<Bind>(&beacon_key), Err(SealedError::Forged));
}

#[test]
fn lengths_are_checked_before_anything_is_read() {
    let of_a_node = |bytes: &[u8]| FromNode::decode(bytes).unwrap_err();
    let of_a_beacon = |bytes: &[u8]| FromBeacon::decode(bytes).unwrap_err();
    let length = |kind, len| PacketError::Length { kind, len };
    let typed = |kind: u8, len: usize| {
        let mut packet = [MARK.as_slice(), &[kind]].concat();
        packet.resize(len, 0);
        packet
    };
    for len in [5, 127, 129, MAX_PACKET, MAX_PACKET + 1] {
        assert_eq!(of_a_node(&typed(2, len)), length(2, len));
    }
    for len in [5, 5 + 32 + 16 + 12 + 16, MAX_PACKET + 1] {
        assert_eq!(of_a_node(&typed(4, len)), length(4, len));
    }
    for len in [5, 5 + 12 + 12 + 16, MAX_PACKET + 1] {
        assert_eq!(of_a_node(&typed(6, len)), length(6, len));
    }
    for (kind, lens) in [(3, [52, 54]), (5, [33, 1025]), (7, [6, 1025])] {
        for len in lens {
            assert_eq!(of_a_beacon(&typed(kind, len)), length(kind, len));
        }
    }
    for short in [&[][..], &MARK[..3], &MARK, &RELAY_MARK, b"GET / HTTP/1.1"] {
        assert_eq!(of_a_node(short), PacketError::NotMarked);
        assert_eq!(of_a_beacon(short), PacketError::NotMarked);
    }
}

#[test]
fn no_answer_to_a_stranger_is_larger_than_what_it_sent() {
    let hello = beacon::hello(&node(1)).len();

    assert!(beacon::challenge(&node(3), &[0; 16]).len() <= hello);
    assert!(UNKNOWN.len() <= RELAY_HEADER);
}

#[test]
fn a_relayed_packet_is_its_header_and_the_inner_datagram() {
    let packet = [relay_header(id(2)).as_slice(), b"inner"].concat();

    assert_eq!(packet.len(), RELAY_HEADER + 5);
    assert_eq!(split_relayed(&packet), Some((id(2), b"inner".as_slice())));
    assert_eq!(split_relayed(&packet[..RELAY_HEADER]), Some((id(2), [].as_slice())));
    assert_eq!(split_relayed(&packet[..RELAY_HEADER - 1]), None);
    assert_eq!(split_relayed(&UNKNOWN), None);
    assert_ne!(id(1), id(2));
}

#[test]
fn services_are_bits() {
    let two = Services::STUN.with(Services::RELAY);

    assert!(two.contains(Services::STUN) && two.contains(Services::RELAY));
    assert!(!two.contains(Services::PUNCH) && !two.contains(Services::ALL));
    assert!(Services::ALL.contains(two) && two.contains(Services::NONE));
    let shown = [two, Services::ALL, Services::NONE].map(|services| services.to_string());
    assert_eq!(shown, ["stun,relay", "stun,punch,relay", "none"]);
}

proptest! {
    #[test]
    fn any_bytes_are_a_packet_or_an_error(
        bytes in vec(any::<u8>(), 0..1200),
        kind in prop_oneof![Just(None), (0_u8..9).prop_map(Some)],
    ) {
        let marked = kind.map(|kind| [MARK.as_slice(), &[kind]].concat()).unwrap_or_default();
        let packet = [marked, bytes].concat();
        let (node_key, beacon_key) = pair();

        match FromNode::decode(&packet) {
            Ok(FromNode::Bind { sealed, .. }) => {
                prop_assert_eq!(sealed.open::<Bind>(&beacon_key), Err(SealedError::Forged));
            }
            Ok(FromNode::Alive { sealed, .. }) => {
                prop_assert_eq!(sealed.open::<Alive>(&beacon_key), Err(SealedError::Forged));
            }
            Ok(FromNode::Hello { .. }) | Err(_) => {}
        }
        if let Ok(FromBeacon::Told(sealed)) = FromBeacon::decode(&packet) {
            prop_assert_eq!(sealed.open::<Told>(&node_key), Err(SealedError::Forged));
        }
        if let Some((id, inner)) = split_relayed(&packet) {
            prop_assert_eq!([relay_header(id).as_slice(), inner].concat(), packet);
        }
    }
}

fn node(seed: u8) -> pilot_identity::NodeId {
    NodeKey::from_seed(&Zeroizing::new([seed; 32])).id()
}

fn id(seed: u8) -> RelayId {
    RelayId::of(&node(seed))
}
