//! How many carriers there are, in all and of one source.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: BTreeMap<IpAddr, usize>,
}

/// A bounded number of seats.
#[derive(Debug)]
pub(super) struct Seats {
    taken: Arc<Mutex<Taken>>,
    max: usize,
    max_of_one: usize,
}

/// One of them. Dropped, it is free again.
#[derive(Debug)]
pub(super) struct Seat {
    taken: Arc<Mutex<Taken>>,
    source: IpAddr,
}

impl Seats {
    pub(super) fn new(max: usize, max_of_one: usize) -> Self {
        Self { taken: Arc::default(), max, max_of_one }
    }

    /// A seat for somebody from `source`, if there is one.
    pub(super) fn take(&self, source: IpAddr) -> Option<Seat> {
        let mut taken = lock(&self.taken);
        let of_one = taken.of.get(&source).copied().unwrap_or(0);
        if taken.all >= self.max || of_one >= self.max_of_one {
            return None;
        }
        taken.all += 1;
        taken.of.insert(source, of_one + 1);
        Some(Seat { taken: Arc::clone(&self.taken), source })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all = taken.all.saturating_sub(1);
        let left = taken.of.get(&self.source).map_or(0, |of_one| of_one.saturating_sub(1));
        if left == 0 {
            taken.of.remove(&self.source);
        } else {
            taken.of.insert(self.source, left);
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_has_its_seats_and_all_have_theirs() {
        let seats = Seats::new(3, 2);
        let [one, two] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));

        let first = seats.take(one).unwrap();
        let second = seats.take(one).unwrap();
        assert!(seats.take(one).is_none());
        let third = seats.take(two).unwrap();
        assert!(seats.take(two).is_none(), "no seat is left");
        drop(second);
        let fourth = seats.take(two).unwrap();

        drop((first, third, fourth));
        let taken = lock(&seats.taken);
        assert_eq!((taken.all, taken.of.len()), (0, 0), "nobody is remembered");
    }
}
