//! What waits to be sent, shared fairly among those who sent it.
//!
//! Deficit round robin: each client in turn may send a quantum of bytes, and
//! keeps what is left of it for its next turn. One that floods fills its own
//! queue and is dropped from there; it delays others by a quantum each.

use std::collections::{BTreeMap, VecDeque};

/// Bytes of a turn: the largest batch, so that every turn sends something.
const QUANTUM: usize = 64 * 1024;

/// What a parcel costs beyond its bytes, so that many small ones are bounded, too.
const OVERHEAD: usize = 128;

#[derive(Debug)]
struct Queue<T> {
    parcels: VecDeque<(usize, T)>,
    bytes: usize,
    deficit: usize,
}

/// Queues of clients `K` with parcels `T`.
#[derive(Debug)]
pub(super) struct Backlog<K, T> {
    queues: BTreeMap<K, Queue<T>>,
    /// Those with a queue, the next one first.
    turns: VecDeque<K>,
    bytes: usize,
    max_bytes: usize,
}

impl<K: Copy + Ord, T> Backlog<K, T> {
    /// At most `max_bytes` wait in all.
    pub(super) const fn new(max_bytes: usize) -> Self {
        Self { queues: BTreeMap::new(), turns: VecDeque::new(), bytes: 0, max_bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Queues a parcel of `client` at its end.
    ///
    /// # Errors
    ///
    /// Gives it back if the client's queue would be longer than what is left
    /// for all others: one client has at most half, two a third each, and
    /// there is always room for one more.
    pub(super) fn push(&mut self, client: K, bytes: usize, parcel: T) -> Result<(), T> {
        let cost = bytes.saturating_add(OVERHEAD);
        let held = self.queues.get(&client).map_or(0, |queue| queue.bytes);
        let free = self.max_bytes.saturating_sub(self.bytes);
        if held.saturating_add(cost) > free {
            return Err(parcel);
        }
        let queue = self.queues.entry(client).or_insert_with(|| {
            self.turns.push_back(client);
            Queue { parcels: VecDeque::new(), bytes: 0, deficit: 0 }
        });
        queue.parcels.push_back((cost, parcel));
        queue.bytes += cost;
        self.bytes += cost;
        Ok(())
    }

    /// The parcel whose turn it is, and whose it is.
    pub(super) fn next(&mut self) -> Option<(K, T)> {
        loop {
            let client = *self.turns.front()?;
            let queue = self.queues.get_mut(&client)?;
            let cost = queue.parcels.front().map_or(0, |(cost, _)| *cost);
            if queue.deficit < cost {
                queue.deficit += QUANTUM + OVERHEAD;
                self.turns.rotate_left(1);
                continue;
            }
            let (_, parcel) = queue.parcels.pop_front()?;
            queue.deficit -= cost;
            queue.bytes -= cost;
            self.bytes -= cost;
            if queue.parcels.is_empty() {
                self.queues.remove(&client);
                self.turns.pop_front();
            }
            return Some((client, parcel));
        }
    }

    /// Puts back what [`Backlog::next`] gave and could not be sent.
    pub(super) fn put_back(&mut self, client: K, bytes: usize, parcel: T) {
        let cost = bytes.saturating_add(OVERHEAD);
        let queue = self.queues.entry(client).or_insert_with(|| {
            self.turns.push_front(client);
            Queue { parcels: VecDeque::new(), bytes: 0, deficit: 0 }
        });
        queue.parcels.push_front((cost, parcel));
        queue.deficit = queue.deficit.saturating_add(cost);
        queue.bytes += cost;
        self.bytes += cost;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BATCH: usize = 64 * 1024;

    #[test]
    fn one_that_floods_leaves_the_others_their_share() {
        let mut backlog = Backlog::new(16 << 20);
        let (mut sent, mut lost) = (BTreeMap::new(), BTreeMap::new());
        // In each round 40 batches come and 10 go: of nine clients eight want
        // one batch each, the ninth sends 32.
        for round in 0..1_000 {
            for client in (0..8).chain([8; 32]) {
                if backlog.push(client, BATCH, round).is_err() {
                    *lost.entry(client).or_insert(0) += 1;
                }
            }
            for _ in 0..10 {
                let (client, _) = backlog.next().unwrap();
                *sent.entry(client).or_insert(0) += 1;
            }
        }

        for client in 0..8 {
            assert!(sent[&client] >= 990, "{client}: {sent:?}");
            assert_eq!(lost.get(&client), None);
        }
        assert!(sent[&8] >= 1_900, "what the others leave is the greedy one's: {sent:?}");
        assert!(lost[&8] > 25_000);
    }

    #[test]
    fn small_parcels_get_as_many_bytes_as_large_ones() {
        let mut backlog = Backlog::new(64 << 20);
        for _ in 0..100 {
            backlog.push("large", BATCH, BATCH).unwrap();
        }
        for _ in 0..10_000 {
            backlog.push("small", 1_000, 1_000).unwrap();
        }

        let mut bytes = BTreeMap::new();
        for _ in 0..3_000 {
            let (client, size) = backlog.next().unwrap();
            *bytes.entry(client).or_insert(0) += size;
        }

        let (large, small) = (bytes["large"], bytes["small"]);
        assert!(large.abs_diff(small) < 8 * BATCH + small / 6, "{bytes:?}");
    }

    #[test]
    fn one_client_has_half_at_most_and_there_is_room_for_one_more() {
        let mut backlog = Backlog::new(1 << 20);
        let mut fill = |client: u8| {
            (0..10_000).filter(|_| backlog.push(client, 1_000 - OVERHEAD, ()).is_ok()).count()
        };

        let held: Vec<_> = (0..5).map(&mut fill).collect();

        assert_eq!(held, [524, 262, 131, 66, 33]);
        assert!((5..=9).all(|client| fill(client) > 0));
    }

    #[test]
    fn what_is_put_back_comes_first_again() {
        let mut backlog = Backlog::new(1 << 20);
        backlog.push('a', 10, 1).unwrap();
        backlog.push('a', 10, 2).unwrap();
        backlog.push('b', 10, 3).unwrap();

        let (client, parcel) = backlog.next().unwrap();
        backlog.put_back(client, 10, parcel);

        let order: Vec<_> = std::iter::from_fn(|| backlog.next()).collect();
        assert_eq!(order, [('a', 1), ('a', 2), ('b', 3)]);
        assert!(backlog.is_empty());
        assert_eq!(backlog.bytes(), 0);
    }

    proptest! {
        #[test]
        fn order_and_bounds_hold_whatever_comes(
            steps in prop::collection::vec((0_u8..4, 0_usize..80_000, any::<bool>()), 0..400),
        ) {
            let mut backlog = Backlog::new(512 * 1024);
            let mut expected: BTreeMap<u8, VecDeque<usize>> = BTreeMap::new();
            for (number, (client, bytes, goes)) in steps.into_iter().enumerate() {
                if backlog.push(client, bytes, number).is_ok() {
                    expected.entry(client).or_default().push_back(number);
                }
                prop_assert!(backlog.bytes() <= 512 * 1024);
                if goes && let Some((client, parcel)) = backlog.next() {
                    prop_assert_eq!(expected.get_mut(&client).unwrap().pop_front(), Some(parcel));
                }
            }
            while let Some((client, parcel)) = backlog.next() {
                prop_assert_eq!(expected.get_mut(&client).unwrap().pop_front(), Some(parcel));
            }
            prop_assert!(expected.values().all(VecDeque::is_empty));
            prop_assert_eq!(backlog.bytes(), 0);
        }
    }
}
