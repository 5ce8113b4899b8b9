//! Datagrams of QUIC that are too long for a relay, in parts and together again.

use std::collections::VecDeque;

use pilot_proto::part::{MAX_PARTS, PART_HEADER, Part, part_header};

use crate::mtu::MAX_RELAYED;

/// Bytes of a datagram in one part.
const PART: usize = MAX_RELAYED - PART_HEADER;

/// Datagrams that are put together at once for one peer; the oldest is lost
/// beyond. QUIC sends ten at a time, and a network may change their order.
const MAX_PARTIAL: usize = 32;

/// The parts of one datagram, each behind `header`, and the bytes of each but
/// the last. Nothing for one that is too long even so.
pub(super) fn parts(datagram: &[u8], number: u16, header: &[u8]) -> Option<(Vec<u8>, usize)> {
    let count = u8::try_from(datagram.len().div_ceil(PART)).ok()?;
    if usize::from(count) > MAX_PARTS {
        return None;
    }
    let mut bytes = Vec::with_capacity(datagram.len() + MAX_PARTS * (header.len() + PART_HEADER));
    for (index, part) in (0..count).zip(datagram.chunks(PART)) {
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(&part_header(number, index, count));
        bytes.extend_from_slice(part);
    }
    Some((bytes, header.len() + PART_HEADER + PART))
}

/// Datagrams of one peer that are not whole yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Partial(VecDeque<Pieces>);

#[derive(Debug)]
struct Pieces {
    number: u16,
    count: usize,
    pieces: [Vec<u8>; MAX_PARTS],
}

impl Partial {
    /// Takes a part; the datagram, if it is whole with it.
    pub(super) fn take(&mut self, part: &Part<'_>) -> Option<Vec<u8>> {
        let is_of = |pieces: &Pieces| pieces.number == part.number && pieces.count == part.count;
        let at = match self.0.iter().position(is_of) {
            Some(at) => at,
            None => {
                if self.0.len() >= MAX_PARTIAL {
                    self.0.pop_front();
                }
                let pieces = std::array::from_fn(|_| Vec::new());
                self.0.push_back(Pieces { number: part.number, count: part.count, pieces });
                self.0.len() - 1
            }
        };
        let pieces = self.0.get_mut(at)?;
        *pieces.pieces.get_mut(part.index)? = part.bytes.to_vec();
        let is_whole = pieces.pieces.iter().take(pieces.count).all(|piece| !piece.is_empty());
        is_whole.then(|| self.0.remove(at)).flatten().map(|whole| whole.pieces.concat())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const HEADER: &[u8] = b"relayed";

    /// The packets in which a datagram goes.
    fn packets(datagram: &[u8], number: u16) -> Vec<Vec<u8>> {
        let (bytes, stride) = parts(datagram, number, HEADER).unwrap();
        bytes.chunks(stride).map(<[u8]>::to_vec).collect()
    }

    fn part(packet: &[u8]) -> Part<'_> {
        assert!(packet.len() <= HEADER.len() + MAX_RELAYED);
        Part::decode(packet.strip_prefix(HEADER).unwrap()).unwrap()
    }

    #[test]
    fn a_datagram_is_whole_once_all_its_parts_are_there() {
        let datagrams: Vec<Vec<u8>> = (0..3).map(|seed| vec![seed; 4990]).collect();
        let mut sent: Vec<Vec<u8>> = (7..)
            .zip(&datagrams)
            .flat_map(|(number, datagram)| packets(datagram, number))
            .collect();
        assert_eq!(sent.len(), 12);
        // Of the second a part is lost, of the first one comes twice, and late.
        sent.remove(5);
        sent.push(sent[0].clone());
        sent.reverse();
        let mut partial = Partial::default();

        let whole: Vec<Vec<u8>> =
            sent.iter().filter_map(|packet| partial.take(&part(packet))).collect();

        assert_eq!(whole, [datagrams[2].clone(), datagrams[0].clone()]);
    }

    #[test]
    fn what_never_becomes_whole_is_forgotten() {
        let mut partial = Partial::default();
        for number in 0..1000 {
            let sent = packets(&[1; 3000], number);
            assert_eq!(partial.take(&part(&sent[0])), None);
        }
        assert_eq!(partial.0.len(), MAX_PARTIAL);
    }

    #[test]
    fn one_that_is_too_long_has_no_parts() {
        assert!(parts(&[0; MAX_PARTS * PART], 1, HEADER).is_some());
        assert!(parts(&[0; MAX_PARTS * PART + 1], 1, HEADER).is_none());
        assert!(MAX_PARTS * PART >= usize::from(crate::MtuSearch::Jumbo.takes()));
    }

    proptest! {
        #[test]
        fn any_parts_are_survived(all in vec((any::<u16>(), 0..5_u8, 0..6_u8, 0..3_usize), 0..200)) {
            let mut partial = Partial::default();
            for (number, index, count, len) in all {
                let packet = [&part_header(number % 4, index, count)[..], &vec![9; len]].concat();
                if let Some(part) = Part::decode(&packet) {
                    prop_assert!(part.index < part.count && part.count <= MAX_PARTS);
                    let whole = partial.take(&part);
                    prop_assert!(whole.is_none_or(|whole| whole.len() >= part.count));
                }
            }
            prop_assert!(partial.0.len() <= MAX_PARTIAL);
        }
    }
}
