//! Polo as the rendezvous counts it, and the own figures beside it.

use std::collections::BTreeMap;

use pilot_identity::{NodeId, Outcome};
use pilot_overlay::{Overlay, RegistryClient, RegistryError, RegistryStatus};
use pilot_proto::registry::{Answer, POLO_MINOR, PoloDetail, PoloIds, Request};
use pilot_store::{ReadError, Store};
use pilot_tasks::SubmittedTask;

use crate::store::tasks as rows;

/// Tasks of one peer that its figures are made of: enough for a quantile.
const MAX_TASKS: usize = 1000;

/// Tasks of this node among which those are looked for, some 50 ms of work.
const MAX_READ: u32 = 10_000;

/// Why the rendezvous tells no polo.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoloError {
    #[error("this rendezvous does not count receipts yet: it is of an earlier version")]
    Early,
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// The polo of those of `ids` that this node may see; of the first of them, if
/// the rendezvous does not answer for all.
pub(crate) async fn polos(
    overlay: &Overlay,
    ids: &[NodeId],
) -> Result<BTreeMap<NodeId, i32>, PoloError> {
    let registry = counting(overlay)?;
    let mut told = Told::default();
    for batch in PoloIds::batches(ids) {
        if !told.note(registry.ask(&Request::Polo(batch)).await)? {
            break;
        }
    }
    Ok(told.found)
}

/// What is told batch by batch, until one is not answered.
#[derive(Debug, Default)]
struct Told {
    found: BTreeMap<NodeId, i32>,
    answered: bool,
}

impl Told {
    /// Takes an answer; whether the next batch is to be asked for. What was
    /// told before holds nonetheless: only if nothing was, there is an error.
    fn note(&mut self, answer: Result<Answer, RegistryError>) -> Result<bool, RegistryError> {
        let error = match answer {
            Ok(Answer::Polos(polos)) => {
                self.found.extend(polos.into_iter().map(|polo| (polo.id, polo.polo)));
                self.answered = true;
                return Ok(true);
            }
            Ok(_) => RegistryError::Confused,
            Err(error) => error,
        };
        if !self.answered {
            return Err(error);
        }
        tracing::debug!(%error, "polo is told of some only");
        Ok(false)
    }
}

/// How the polo of one node comes about.
pub(crate) async fn polo_of(overlay: &Overlay, id: NodeId) -> Result<PoloDetail, PoloError> {
    let answer = counting(overlay)?.ask(&Request::PoloOf(id)).await?;
    let Answer::PoloOf(detail) = answer else { return Err(RegistryError::Confused.into()) };
    Ok(detail)
}

/// The rendezvous, if there is a line to one that counts.
fn counting(overlay: &Overlay) -> Result<&RegistryClient, PoloError> {
    let registry = overlay.registry().ok_or(RegistryError::NotConfigured)?;
    let line = registry.status();
    if !line.connected {
        return Err(RegistryError::NotConnected.into());
    }
    if !is_counting(&line) {
        return Err(PoloError::Early);
    }
    Ok(registry)
}

/// Whether there is a line to a rendezvous that counts receipts. One of an
/// earlier version is asked for nothing of that: it knows no such request.
pub(super) fn is_counting(line: &RegistryStatus) -> bool {
    let minor = line.registered.as_ref().map(|registered| registered.minor);
    line.connected && minor.is_some_and(|minor| minor >= POLO_MINOR)
}

/// What this node itself has seen of a peer's work.
///
/// Cancel safe.
pub(crate) async fn figures(store: &Store, peer: NodeId) -> Result<Figures, ReadError> {
    let store = store.clone();
    let read = tokio::task::spawn_blocking(move || {
        store.read(|connection| rows::submitted_to(connection, peer, MAX_TASKS, MAX_READ))
    });
    match read.await {
        Ok(tasks) => Ok(Figures::of(&tasks?)),
        // The runtime ends, and nobody waits for an answer any more.
        Err(_) => Ok(Figures::default()),
    }
}

/// What this node itself has seen of a peer's work, in milliseconds by the
/// worker's clock.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) submitted: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) expired: u64,
    /// From acceptance to the end, of those that succeeded.
    run: Vec<u64>,
    /// From the worker's queue to acceptance, of those that were accepted.
    accept: Vec<u64>,
}

/// The middle of many, and what all but a twentieth are below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quantiles {
    pub(crate) p50: u64,
    pub(crate) p95: u64,
}

impl Figures {
    /// The figures of `tasks`.
    pub(crate) fn of<'a>(tasks: impl IntoIterator<Item = &'a SubmittedTask>) -> Self {
        let mut figures = Self::default();
        for task in tasks {
            figures.take(task);
        }
        figures.run.sort_unstable();
        figures.accept.sort_unstable();
        figures
    }

    fn take(&mut self, task: &SubmittedTask) {
        self.submitted += 1;
        match task.ending().map(|ending| ending.outcome) {
            Some(Outcome::Succeeded) => self.succeeded += 1,
            Some(Outcome::Failed) => self.failed += 1,
            Some(Outcome::Expired) => self.expired += 1,
            Some(Outcome::Declined | Outcome::Cancelled) | None => {}
        }
        let Some(delivery) = task.delivery() else { return };
        let times = delivery.receipt.assume_verified().times;
        let Some(accepted) = times.accepted.map(pilot_identity::Timestamp::as_millis) else {
            return;
        };
        self.accept.push(accepted.saturating_sub(times.received.as_millis()));
        if delivery.outcome == Outcome::Succeeded {
            self.run.push(times.finished.as_millis().saturating_sub(accepted));
        }
    }

    /// How many of those that were worked on or given up succeeded, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "there are a thousand at the most")]
    pub(crate) fn success_rate(&self) -> Option<f64> {
        let ended = self.succeeded + self.failed + self.expired;
        (ended > 0).then(|| self.succeeded as f64 / ended as f64)
    }

    /// How long the work took.
    pub(crate) fn run(&self) -> Option<Quantiles> {
        quantiles(&self.run)
    }

    /// How long it waited to be accepted.
    pub(crate) fn accept(&self) -> Option<Quantiles> {
        quantiles(&self.accept)
    }
}

/// By the nearest rank, of values in ascending order.
fn quantiles(sorted: &[u64]) -> Option<Quantiles> {
    let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).checked_sub(1)?);
    Some(Quantiles { p50: *rank(50)?, p95: *rank(95)? })
}

#[cfg(test)]
mod tests {
    use pilot_identity::Timestamp;
    use pilot_proto::Address;
    use pilot_proto::registry::{Polo, Registered};

    use super::*;

    #[test]
    fn what_was_told_is_kept_when_the_next_batch_is_refused() {
        let id = pilot_identity::NodeKey::from_seed(&[1; 32].into()).id();
        let answer = || Ok(Answer::Polos(vec![Polo { id, polo: 7 }]));
        let mut told = Told::default();

        assert!(told.note(answer()).unwrap());
        assert!(!told.note(Err(RegistryError::TimedOut)).unwrap());
        assert_eq!(told.found.get(&id), Some(&7));
        assert!(Told::default().note(Err(RegistryError::TimedOut)).is_err());
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let upto = |last: u64| -> Vec<u64> { (1..=last).collect() };

        assert_eq!(quantiles(&[]), None);
        assert_eq!(quantiles(&[7]), Some(Quantiles { p50: 7, p95: 7 }));
        assert_eq!(quantiles(&upto(100)), Some(Quantiles { p50: 50, p95: 95 }));
        assert_eq!(quantiles(&upto(10)), Some(Quantiles { p50: 5, p95: 10 }));
    }

    #[test]
    fn a_rendezvous_of_an_earlier_version_is_asked_for_nothing() {
        let line = |connected, minor| RegistryStatus {
            connected,
            registered: Some(Registered {
                address: Address::new(1, 1),
                observed: ([127, 0, 0, 1], 1).into(),
                name: None,
                name_taken: false,
                minor,
                now: Timestamp::default(),
            }),
            ..RegistryStatus::default()
        };

        assert!(is_counting(&line(true, 1)) && is_counting(&line(true, 2)));
        assert!(!is_counting(&line(true, 0)));
        assert!(!is_counting(&line(false, 1)));
        assert!(!is_counting(&RegistryStatus { connected: true, ..RegistryStatus::default() }));
    }

    #[test]
    fn without_an_end_there_is_no_success_rate() {
        let figures = Figures { submitted: 3, ..Figures::default() };
        assert_eq!(figures.success_rate(), None);

        let figures = Figures { succeeded: 3, failed: 1, ..figures };
        assert_eq!(figures.success_rate(), Some(0.75));
    }
}
