//! Those who wait until an event is settled.

use tokio::sync::oneshot;

#[derive(Debug)]
pub(crate) struct Waiting<T>(Vec<One<T>>);

/// One who waits.
#[derive(Debug)]
pub(crate) struct One<T> {
    /// The event that must be settled.
    until: u64,
    /// The event that was asked about.
    pub(crate) about: u64,
    tell: oneshot::Sender<T>,
}

impl<T> Waiting<T> {
    /// Adds one; those who stopped waiting make room.
    pub(crate) fn add(&mut self, until: u64, about: u64) -> oneshot::Receiver<T> {
        if self.0.len() == self.0.capacity() {
            self.0.retain(|one| !one.tell.is_closed());
        }
        let (tell, told) = oneshot::channel();
        self.0.push(One { until, about, tell });
        told
    }

    /// Whether somebody waits for what is settled.
    pub(crate) fn has(&self, settled: u64) -> bool {
        self.0.iter().any(|one| one.until <= settled)
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out those who waited for what is settled.
    pub(crate) fn take(&mut self, settled: u64) -> Vec<One<T>> {
        self.0.extract_if(.., |one| one.until <= settled).collect()
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> One<T> {
    /// Whoever stopped waiting does not mind.
    pub(crate) fn tell(self, outcome: T) {
        drop(self.tell.send(outcome));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_stopped_waiting_take_no_room() {
        let mut waiting = Waiting::<()>::default();
        let kept = waiting.add(1, 1);
        for _ in 0..10_000 {
            drop(waiting.add(2, 2));
        }

        assert!(waiting.0.len() < 10, "{}", waiting.0.len());
        assert!(waiting.has(1) && !waiting.has(0));
        let told = waiting.take(1);
        assert_eq!(told.len(), 1);
        told.into_iter().for_each(|one| one.tell(()));
        assert_eq!(kept.blocking_recv(), Ok(()));
    }
}
