//! Hands on what peers publish to other peers, as far as the rules say.
//!
//! For each publisher there is a subscriber with a name of its own, which
//! writes what it gets into the relayed stream and acknowledges it when it is
//! on disk there. So nothing is lost while this node is down, and peers read
//! that stream as they read any other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pilot_events::Filters;
use pilot_identity::NodeId;
use pilot_proto::events::{Origin, Past, Records, Stream};
use pilot_proto::{Position, TopicFilter};
use tokio_util::sync::CancellationToken;

use super::EventsService;
use super::chunk::{Chunk, Sieve};
use super::cursors::CursorError;
use super::past::{MAX_LAST, PastReader};
use super::reader::OnLag;
use super::stream::{NewEvent, PublishError};
use super::subscription::{BeginAt, Subscribe};
use crate::store::events as rows;

/// Rules of a node.
pub(crate) const MAX_RULES: usize = 1000;

/// Before the names of the cursors by which it reads; no user's name has it.
const NAME: &str = "relay.";

/// Pause before events are handed on that could not be written.
const LATER: Duration = Duration::from_secs(1);

/// How often it is looked whether a cursor is free.
const LOOK: Duration = Duration::from_millis(50);

/// Lets one peer hear what another publishes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RelayRule {
    /// Who publishes.
    pub(crate) from: NodeId,
    /// Who may hear it.
    pub(crate) to: NodeId,
    /// About what.
    pub(crate) filter: TopicFilter,
}

#[derive(Default)]
pub(super) struct Relay {
    rules: Mutex<Vec<RelayRule>>,
    /// The subscribers, by the publishers.
    running: Mutex<BTreeMap<NodeId, CancellationToken>>,
}

/// Why a rule was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("who publishes an event has it already")]
    Same,
    #[error("there are {MAX_RULES} rules, the most there may be")]
    TooMany,
    #[error("the rule could not be written")]
    Commit(#[from] pilot_store::CommitError),
}

impl Relay {
    pub(super) fn of(rules: Vec<RelayRule>) -> Self {
        Self { rules: Mutex::new(rules), running: Mutex::default() }
    }

    /// Whether `to` may hear what `from` publishes about `topic`.
    pub(super) fn allows(&self, from: &NodeId, to: &NodeId, topic: &str) -> bool {
        let rules = self.lock();
        rules.iter().any(|rule| rule.from == *from && rule.to == *to && rule.filter.matches(topic))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<RelayRule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is handed on of each publisher.
    fn publishers(&self) -> BTreeMap<NodeId, Vec<TopicFilter>> {
        let mut publishers: BTreeMap<NodeId, Vec<TopicFilter>> = BTreeMap::new();
        for rule in self.lock().iter() {
            let filters = publishers.entry(rule.from).or_default();
            if !filters.contains(&rule.filter) {
                filters.push(rule.filter.clone());
            }
        }
        publishers
    }
}

impl EventsService {
    pub(crate) fn relay_rules(&self) -> Vec<RelayRule> {
        self.relay.lock().clone()
    }

    /// Adds a rule; on disk when this returns.
    pub(crate) async fn add_relay(self: &Arc<Self>, rule: RelayRule) -> Result<(), RelayError> {
        if rule.from == rule.to {
            return Err(RelayError::Same);
        }
        let mut batch = self.store.batch();
        rows::put_relay(&mut batch, rule.clone());
        let commit = {
            let mut rules = self.relay.lock();
            if rules.len() >= MAX_RULES {
                return Err(RelayError::TooMany);
            }
            if !rules.contains(&rule) {
                rules.push(rule);
            }
            self.store.commit(batch)
        };
        commit.await?;
        self.run_relays();
        Ok(())
    }

    /// Removes a rule; whether there was one.
    pub(crate) async fn remove_relay(
        self: &Arc<Self>,
        rule: &RelayRule,
    ) -> Result<bool, RelayError> {
        let mut batch = self.store.batch();
        rows::remove_relay(&mut batch, rule.clone());
        let (commit, was_there) = {
            let mut rules = self.relay.lock();
            let before = rules.len();
            rules.retain(|other| other != rule);
            (self.store.commit(batch), rules.len() < before)
        };
        commit.await?;
        self.run_relays();
        Ok(was_there)
    }

    /// One subscriber for each publisher whose events are handed on.
    pub(super) fn run_relays(self: &Arc<Self>) {
        let publishers = self.relay.publishers();
        let signed = publishers
            .iter()
            .flat_map(|(from, filters)| filters.iter().map(|filter| (*from, filter.clone())));
        self.wants.set_signed(signed.collect());
        let mut running = self.relay.running.lock().unwrap_or_else(PoisonError::into_inner);
        for stopped in std::mem::take(&mut *running).into_values() {
            stopped.cancel();
        }
        for (publisher, filters) in publishers {
            let stop = self.stop.child_token();
            running.insert(publisher, stop.clone());
            let service = Arc::clone(self);
            self.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    ended = service.relay_of(publisher, filters) => if let Err(error) = ended {
                        tracing::error!(peer = %publisher.short(), %error,
                            "events of a peer are not handed on");
                    }
                }
            });
        }
    }

    /// Hands on what one peer publishes.
    async fn relay_of(
        self: &Arc<Self>,
        from: NodeId,
        filters: Vec<TopicFilter>,
    ) -> Result<(), CursorError> {
        let name = format!("{NAME}{}", from.short());
        let subscribe = Subscribe {
            filters,
            from: Some(from),
            begin: BeginAt::Cursor(name.clone()),
            on_lag: OnLag::CatchUp,
        };
        // The one before may still be ending.
        let mut subscription = loop {
            match self.subscribe(subscribe.clone()).await {
                Err(CursorError::Used(_)) => {
                    tokio::time::sleep(LOOK).await;
                }
                other => break other?,
            }
        };
        let mut known = self.last_relayed(from).await;
        loop {
            let delivery = subscription.next().await;
            let Chunk::Events { epoch, after, records } = delivery.chunk else { continue };
            if delivery.of.1 != Stream::Own {
                continue;
            }
            let wanted: Vec<(Origin, NewEvent<'_>)> = subscription
                .sieve()
                .sift(epoch, after, &records)
                .filter_map(|(record, _)| {
                    let origin = record.origin.filter(|origin| origin.position > known)?;
                    let new = NewEvent {
                        topic: record.topic,
                        data: record.data,
                        retained: record.retained,
                        origin: Some((origin, record.at)),
                    };
                    Some((origin, new))
                })
                .collect();
            let Some((last, _)) = wanted.last() else { continue };
            let place = ((from, Stream::Own), last.position);
            let events: Vec<NewEvent<'_>> = wanted.iter().map(|(_, event)| *event).collect();
            while let Err(error) = self.hand_on(&events).await {
                tracing::warn!(peer = %from.short(), %error, "events are not handed on now");
                tokio::time::sleep(LATER).await;
            }
            known = last.position;
            if let Ok(commit) = self.cursors.acknowledge(&name, &[place], &self.store) {
                // If it is lost, they are handed on once more after a restart.
                drop(commit.await);
            }
        }
    }

    async fn hand_on(&self, events: &[NewEvent<'_>]) -> Result<(), PublishError> {
        let relayed = self.kept(Stream::Relayed);
        relayed.room().await;
        let (published, _) = relayed.publish(events, None)?;
        relayed.kept(published.last).await
    }

    /// The last event of a peer that was handed on before a crash kept it from
    /// being acknowledged.
    async fn last_relayed(&self, from: NodeId) -> Position {
        let relayed = Arc::clone(self.kept(Stream::Relayed));
        let (sieve, head) = (Sieve::of(Filters::everything()), relayed.feed.head());
        let past = Past::Last(MAX_LAST);
        let mut past = PastReader::new(relayed, None, sieve, past, head);
        let mut last = Position::START;
        while let Some(chunk) = past.next().await {
            let Chunk::Events { records, .. } = chunk else { continue };
            for (record, _) in Records::of(&records).map_while(Result::ok) {
                let origin = record.origin.filter(|origin| origin.publisher == from);
                last = last.max(origin.map_or(last, |origin| origin.position));
            }
        }
        last
    }
}
