//! What a datagram is, by its first bytes.
//!
//! ```text
//! first byte   then                              kind
//! x1xxxxxx     (RFC 9000 §17: the fixed bit)     QUIC
//! 00xxxxxx     2112a442 at 4..8, 20 bytes        STUN (RFC 8489 §5)
//! a9           70 6c 74                          ours ([`MARK`])
//! a9           70 6c 72, 12 bytes of an id       relayed ([`RELAY_MARK`])
//! a9           70 6c 70                          within relayed: a part ([`PART_MARK`])
//! ```
//!
//! They cannot be mistaken for each other; the rest is garbage. QUIC
//! endpoints here never clear the fixed bit (no RFC 9287 greasing). Pure; the
//! socket drives it with every received batch.

pub use pilot_proto::beacon::MARK;
use pilot_proto::beacon::{RELAY_HEADER, RELAY_MARK, RelayId, split_relayed};
use pilot_proto::part::PART_MARK;

/// The largest datagram beside QUIC's own that this node takes, in bytes:
/// Ethernet's 1,500 without the headers of IPv4 and UDP. What is longer is
/// garbage. Of QUIC's, its peers are told in the handshake what it takes.
pub const MAX_ASIDE: usize = 1472;

const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

const STUN_HEADER: usize = 20;

/// What a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For the QUIC endpoint.
    Quic,
    /// A STUN message.
    Stun,
    /// Begins with [`MARK`].
    Ours,
    /// Begins with [`RELAY_MARK`].
    Relayed,
    /// Begins with [`PART_MARK`].
    Part,
    /// None of these; dropped and counted.
    Garbage,
}

/// Tells what `datagram` is, without believing more of it than its first bytes.
#[must_use]
pub fn classify(datagram: &[u8]) -> Kind {
    match datagram {
        [first, ..] if first & 0x40 != 0 => Kind::Quic,
        _ if datagram.len() > MAX_ASIDE => Kind::Garbage,
        [first, _, _, _, a, b, c, d, ..]
            if first & 0xc0 == 0
                && [*a, *b, *c, *d] == STUN_COOKIE
                && datagram.len() >= STUN_HEADER =>
        {
            Kind::Stun
        }
        [a, b, c, d, ..] if [*a, *b, *c, *d] == MARK => Kind::Ours,
        [a, b, c, d, ..] if [*a, *b, *c, *d] == RELAY_MARK => Kind::Relayed,
        [a, b, c, d, ..] if [*a, *b, *c, *d] == PART_MARK => Kind::Part,
        [] | [..] => Kind::Garbage,
    }
}

/// From whom a QUIC datagram in a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// Whoever sent the batch.
    Direct,
    /// The node with this id, through the relay that sent the batch.
    Relayed(RelayId),
}

/// What of a batch does not stay in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Aside<'a> {
    /// STUN, or ours, from whoever sent the batch.
    Datagram(Kind, &'a [u8]),
    /// Ours, within a relayed packet.
    Relayed(RelayId, &'a [u8]),
    /// A part, within a relayed packet.
    Part(RelayId, &'a [u8]),
    /// QUIC of another sender than what stays.
    Quic(Sender, &'a [u8]),
    /// None of these.
    Garbage(&'a [u8]),
}

/// What stays in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Bytes, from the start.
    pub(crate) len: usize,
    /// Of each datagram, the last possibly shorter.
    pub(crate) stride: usize,
    /// Whose they are.
    pub(crate) sender: Sender,
}

/// Moves the QUIC datagrams of one sender together, without the headers of a
/// relay, and gives the others to `aside`.
///
/// The batch holds datagrams of `stride` bytes, the last one possibly shorter
/// (GRO); that stays true of what is kept. A batch of nothing but plain QUIC is
/// not touched.
pub(crate) fn keep_quic(batch: &mut [u8], stride: usize, mut aside: impl FnMut(Aside<'_>)) -> Kept {
    let stride = stride.max(1);
    if batch.chunks(stride).all(|datagram| classify(datagram) == Kind::Quic) {
        return Kept { len: batch.len(), stride, sender: Sender::Direct };
    }
    let (mut len, mut start) = (0, 0);
    let mut kept: Option<Sender> = None;
    while start < batch.len() {
        let end = start.saturating_add(stride).min(batch.len());
        let datagram = batch.get(start..end).unwrap_or_default();
        let quic = match look(datagram) {
            Found::Quic(sender, header) if *kept.get_or_insert(sender) == sender => Some(header),
            Found::Quic(sender, header) => {
                aside(Aside::Quic(sender, datagram.get(header..).unwrap_or_default()));
                None
            }
            Found::Aside(found) => {
                aside(found);
                None
            }
        };
        if let Some(header) = quic {
            batch.copy_within(start + header..end, len);
            len += end - start - header;
        }
        start = end;
    }
    let sender = kept.unwrap_or(Sender::Direct);
    let header = if sender == Sender::Direct { 0 } else { RELAY_HEADER };
    Kept { len, stride: stride.saturating_sub(header).max(1), sender }
}

enum Found<'a> {
    /// With so many bytes before it.
    Quic(Sender, usize),
    Aside(Aside<'a>),
}

fn look(datagram: &[u8]) -> Found<'_> {
    match classify(datagram) {
        Kind::Quic => Found::Quic(Sender::Direct, 0),
        kind @ (Kind::Stun | Kind::Ours) => Found::Aside(Aside::Datagram(kind, datagram)),
        Kind::Relayed => match split_relayed(datagram) {
            Some((id, inner)) => match classify(inner) {
                Kind::Quic => Found::Quic(Sender::Relayed(id), RELAY_HEADER),
                Kind::Ours => Found::Aside(Aside::Relayed(id, inner)),
                Kind::Part => Found::Aside(Aside::Part(id, inner)),
                Kind::Stun | Kind::Relayed | Kind::Garbage => {
                    Found::Aside(Aside::Garbage(datagram))
                }
            },
            None => Found::Aside(Aside::Garbage(datagram)),
        },
        Kind::Part | Kind::Garbage => Found::Aside(Aside::Garbage(datagram)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use pilot_proto::beacon::relay_header;

    use super::*;

    fn stun(first: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![first, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        bytes.resize(len, 0);
        bytes
    }

    fn marked(len: usize) -> Vec<u8> {
        let mut bytes = MARK.to_vec();
        bytes.resize(len, 0);
        bytes
    }

    #[test]
    fn the_first_bytes_tell_the_kind() {
        let table: [(Vec<u8>, Kind); 20] = [
            (vec![], Kind::Garbage),
            (vec![0x40], Kind::Quic),
            (vec![0x7f; 30], Kind::Quic),
            (vec![0xc0; 1200], Kind::Quic),
            (vec![0xff; 1472], Kind::Quic),
            (vec![0xff; 1473], Kind::Quic),
            (marked(1473), Kind::Garbage),
            (vec![0x00], Kind::Garbage),
            (vec![0x80; 1200], Kind::Garbage),
            (stun(0x00, 20), Kind::Stun),
            (stun(0x01, 1472), Kind::Stun),
            (stun(0x3f, 20), Kind::Stun),
            (stun(0x01, 19), Kind::Garbage),
            (stun(0x01, 1473), Kind::Garbage),
            (stun(0x80, 20), Kind::Garbage),
            (stun(0x40, 20), Kind::Quic),
            (MARK.to_vec(), Kind::Ours),
            (RELAY_MARK.to_vec(), Kind::Relayed),
            (PART_MARK.to_vec(), Kind::Part),
            (MARK[..3].to_vec(), Kind::Garbage),
        ];

        for (bytes, kind) in table {
            assert_eq!(classify(&bytes), kind, "{:02x?}", bytes.get(..8.min(bytes.len())));
        }
    }

    #[test]
    fn a_batch_of_nothing_but_quic_is_left_alone() {
        let mut batch = vec![0x40; 1200 * 3 + 7];

        let kept = keep_quic(&mut batch, 1200, |aside| panic!("{aside:?} taken out"));

        assert_eq!(kept, Kept { len: batch.len(), stride: 1200, sender: Sender::Direct });
    }

    #[test]
    fn others_are_taken_out_of_the_middle_of_a_batch() {
        let quic = |byte: u8, len: usize| [byte | 0x40, byte].repeat(len / 2);
        let mut batch =
            [quic(1, 20), stun(0, 20), quic(2, 20), vec![0; 20], marked(20), quic(3, 8)].concat();
        let mut aside = Vec::new();

        let kept = keep_quic(&mut batch, 20, |found| aside.push(owned(found)));

        let quics = [quic(1, 20), quic(2, 20), quic(3, 8)].concat();
        assert_eq!(batch[..kept.len], quics);
        assert_eq!((kept.stride, kept.sender), (20, Sender::Direct));
        assert_eq!(
            aside,
            [
                (Kind::Stun, None, stun(0, 20)),
                (Kind::Garbage, None, vec![0; 20]),
                (Kind::Ours, None, marked(20)),
            ]
        );
    }

    #[test]
    fn a_relayed_batch_loses_its_headers_and_keeps_its_shape() {
        let of = |id: u8, inner: &[u8]| {
            [&relay_header(RelayId::from_bytes([id; 12]))[..], inner].concat()
        };
        let mut batch = [
            of(1, &[0x41; 30]),
            of(1, &marked(30)),
            of(2, &[0x42; 30]),
            of(1, &stun(0, 30)),
            vec![0x43; 46],
            of(1, &[0x44; 7]),
        ]
        .concat();
        let mut aside = Vec::new();

        let kept = keep_quic(&mut batch, 46, |found| aside.push(owned(found)));

        let (one, two) = (RelayId::from_bytes([1; 12]), RelayId::from_bytes([2; 12]));
        assert_eq!(kept, Kept { len: 37, stride: 30, sender: Sender::Relayed(one) });
        assert_eq!(batch[..37], [vec![0x41; 30], vec![0x44; 7]].concat());
        assert_eq!(
            aside,
            [
                (Kind::Ours, Some(one), marked(30)),
                (Kind::Quic, Some(two), vec![0x42; 30]),
                (Kind::Garbage, None, of(1, &stun(0, 30))),
                (Kind::Quic, None, vec![0x43; 46]),
            ]
        );
    }

    fn owned(aside: Aside<'_>) -> (Kind, Option<RelayId>, Vec<u8>) {
        match aside {
            Aside::Datagram(kind, bytes) => (kind, None, bytes.to_vec()),
            Aside::Relayed(id, bytes) => (Kind::Ours, Some(id), bytes.to_vec()),
            Aside::Part(id, bytes) => (Kind::Part, Some(id), bytes.to_vec()),
            Aside::Quic(Sender::Direct, bytes) => (Kind::Quic, None, bytes.to_vec()),
            Aside::Quic(Sender::Relayed(id), bytes) => (Kind::Quic, Some(id), bytes.to_vec()),
            Aside::Garbage(bytes) => (Kind::Garbage, None, bytes.to_vec()),
        }
    }

    fn datagram(len: usize) -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec(any::<u8>(), len),
            Just(stun(0, len.max(8))[..len].to_vec()),
            Just(marked(len.max(4))[..len].to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_kind(bytes in vec(any::<u8>(), 0..1600)) {
            let quic = bytes.first().is_some_and(|byte| byte & 0x40 != 0);

            prop_assert_eq!(classify(&bytes) == Kind::Quic, quic);
        }

        #[test]
        fn a_batch_is_split_like_one_by_one(
            (datagrams, stride) in (1usize..64).prop_flat_map(|stride| {
                let last = (1..=stride).prop_flat_map(datagram);
                ((vec(datagram(stride), 0..12), last), Just(stride))
            }).prop_map(|((mut all, last), stride)| { all.push(last); (all, stride) }),
        ) {
            let mut batch = datagrams.concat();
            let mut aside = Vec::new();

            let kept = keep_quic(&mut batch, stride, |found| aside.push(owned(found)));

            let (quic, others): (Vec<_>, Vec<_>) =
                datagrams.into_iter().partition(|datagram| classify(datagram) == Kind::Quic);
            prop_assert_eq!(&batch[..kept.len], quic.concat());
            let others: Vec<_> =
                others.into_iter().map(|bytes| (classify(&bytes), None, bytes)).collect();
            prop_assert_eq!(aside, others);
        }

        #[test]
        fn any_batch_and_stride_are_survived(
            mut batch in vec(any::<u8>(), 0..4000),
            stride in prop_oneof![0usize..5000, Just(usize::MAX)],
        ) {
            let len = batch.len();
            let mut aside = 0;

            let kept = keep_quic(&mut batch, stride, |found| aside += owned(found).2.len());

            prop_assert!(kept.len + aside <= len && kept.stride > 0);
        }
    }
}
