//! What a datagram is, by its first bytes.
//!
//! ```text
//! first byte   then                              kind
//! x1xxxxxx     (RFC 9000 §17: the fixed bit)     QUIC
//! 00xxxxxx     2112a442 at 4..8, 20 bytes        STUN (RFC 8489 §5)
//! a9           70 6c 74                          ours ([`MARK`])
//! ```
//!
//! The three cannot be mistaken for each other; the rest is garbage. QUIC
//! endpoints here never clear the fixed bit (no RFC 9287 greasing). Pure; the
//! socket drives it with every received batch.

/// How packets of ours that are no QUIC begin.
///
/// The two high bits are `10`: QUIC has bit `0x40` set, STUN has neither.
pub const MARK: [u8; 4] = [0xa9, b'p', b'l', b't'];

/// The largest datagram this node takes, in bytes: Ethernet's 1,500 without
/// the headers of IPv4 and UDP. Told to peers in the handshake; what is
/// longer is garbage.
pub const MAX_UDP_PAYLOAD: u16 = 1472;

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
    /// None of these; dropped and counted.
    Garbage,
}

/// Tells what `datagram` is, without believing more of it than its first bytes.
#[must_use]
pub fn classify(datagram: &[u8]) -> Kind {
    if datagram.len() > usize::from(MAX_UDP_PAYLOAD) {
        return Kind::Garbage;
    }
    match datagram {
        [first, ..] if first & 0x40 != 0 => Kind::Quic,
        [first, _, _, _, a, b, c, d, ..]
            if first & 0xc0 == 0
                && [*a, *b, *c, *d] == STUN_COOKIE
                && datagram.len() >= STUN_HEADER =>
        {
            Kind::Stun
        }
        [a, b, c, d, ..] if [*a, *b, *c, *d] == MARK => Kind::Ours,
        [] | [..] => Kind::Garbage,
    }
}

/// Moves the QUIC datagrams of a received batch together, gives the others to
/// `aside`, and returns how many bytes are left.
///
/// The batch holds datagrams of `stride` bytes, the last one possibly shorter
/// (GRO); that stays true of what is left. A batch of nothing but QUIC is not
/// touched.
pub(crate) fn keep_quic(
    batch: &mut [u8],
    stride: usize,
    mut aside: impl FnMut(Kind, &[u8]),
) -> usize {
    let stride = stride.max(1);
    if batch.chunks(stride).all(|datagram| classify(datagram) == Kind::Quic) {
        return batch.len();
    }
    let (mut kept, mut start) = (0, 0);
    while start < batch.len() {
        let end = start.saturating_add(stride).min(batch.len());
        let datagram = batch.get(start..end).unwrap_or_default();
        match classify(datagram) {
            Kind::Quic => {
                batch.copy_within(start..end, kept);
                kept += end - start;
            }
            kind @ (Kind::Stun | Kind::Ours | Kind::Garbage) => aside(kind, datagram),
        }
        start = end;
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

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
        let table: [(Vec<u8>, Kind); 17] = [
            (vec![], Kind::Garbage),
            (vec![0x40], Kind::Quic),
            (vec![0x7f; 30], Kind::Quic),
            (vec![0xc0; 1200], Kind::Quic),
            (vec![0xff; 1472], Kind::Quic),
            (vec![0xff; 1473], Kind::Garbage),
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
            (MARK[..3].to_vec(), Kind::Garbage),
        ];

        for (bytes, kind) in table {
            assert_eq!(classify(&bytes), kind, "{:02x?}", bytes.get(..8.min(bytes.len())));
        }
    }

    #[test]
    fn a_batch_of_nothing_but_quic_is_left_alone() {
        let mut batch = vec![0x40; 1200 * 3 + 7];

        let kept = keep_quic(&mut batch, 1200, |kind, _| panic!("{kind:?} taken out"));

        assert_eq!(kept, batch.len());
    }

    #[test]
    fn others_are_taken_out_of_the_middle_of_a_batch() {
        let quic = |byte: u8, len: usize| [byte | 0x40, byte].repeat(len / 2);
        let mut batch =
            [quic(1, 20), stun(0, 20), quic(2, 20), vec![0; 20], marked(20), quic(3, 8)].concat();
        let mut aside = Vec::new();

        let kept = keep_quic(&mut batch, 20, |kind, bytes| aside.push((kind, bytes.to_vec())));

        assert_eq!(batch[..kept], [quic(1, 20), quic(2, 20), quic(3, 8)].concat());
        assert_eq!(
            aside,
            [(Kind::Stun, stun(0, 20)), (Kind::Garbage, vec![0; 20]), (Kind::Ours, marked(20))]
        );
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
            let quic = bytes.len() <= 1472 && bytes.first().is_some_and(|byte| byte & 0x40 != 0);

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

            let kept = keep_quic(&mut batch, stride, |kind, bytes| {
                aside.push((kind, bytes.to_vec()));
            });

            let (quic, others): (Vec<_>, Vec<_>) =
                datagrams.into_iter().partition(|datagram| classify(datagram) == Kind::Quic);
            prop_assert_eq!(&batch[..kept], quic.concat());
            let others: Vec<_> =
                others.into_iter().map(|datagram| (classify(&datagram), datagram)).collect();
            prop_assert_eq!(aside, others);
        }

        #[test]
        fn any_batch_and_stride_are_survived(
            mut batch in vec(any::<u8>(), 0..4000),
            stride in prop_oneof![0usize..5000, Just(usize::MAX)],
        ) {
            let len = batch.len();
            let mut aside = 0;

            let kept = keep_quic(&mut batch, stride, |_, bytes| aside += bytes.len());

            prop_assert_eq!(kept + aside, len);
        }
    }
}
