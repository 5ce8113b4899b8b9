//! Hands on what peers publish to other peers, as far as the rules say.
//!
//! For each publisher there is a subscriber with a name of its own, which
//! writes what it gets into the relayed stream and acknowledges it when it is
//! on disk there. So nothing is lost while this node is down, and peers read
//! that stream as they read any other.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pilot_events::Filters;
use pilot_identity::NodeId;
use pilot_proto::events::{Past, Records, Stream};
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

/// Whether a cursor of this name is one by which events are handed on.
pub(crate) fn is_relays(name: &str) -> bool {
    name.starts_with(NAME)
}

fn name_of(publisher: &NodeId) -> String {
    format!("{NAME}{publisher}")
}

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

/// What keeps a relay from going on.
#[derive(Debug, thiserror::Error)]
enum RelayingError {
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("the publisher sends what is to be handed on without its signature")]
    Unsigned,
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

    /// Whether events of this peer are handed on.
    pub(super) fn hands_on(&self, from: &NodeId) -> bool {
        self.lock().iter().any(|rule| rule.from == *from)
    }

    /// Whether there is a rule for this peer.
    pub(super) fn is_for(&self, to: &NodeId) -> bool {
        self.lock().iter().any(|rule| rule.to == *to)
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
        if self.relay.lock().len() >= MAX_RULES {
            return Err(RelayError::TooMany);
        }
        self.store.commit(batch).await?;
        {
            let mut rules = self.relay.lock();
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
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
        // At once; again from the disk if it cannot be written.
        let was_there = {
            let mut rules = self.relay.lock();
            let before = rules.len();
            rules.retain(|other| other != rule);
            rules.len() < before
        };
        if let Err(error) = self.store.commit(batch).await {
            if was_there {
                self.relay.lock().push(rule.clone());
            }
            return Err(error.into());
        }
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
        for (name, _) in self.cursors.all() {
            let is_needed = publishers.keys().any(|publisher| name == name_of(publisher));
            if is_relays(&name) && !is_needed {
                let service = Arc::clone(self);
                self.tasks.spawn(async move { service.forget_relay(&name).await });
            }
        }
        for (publisher, filters) in publishers {
            let stop = self.stop.child_token();
            running.insert(publisher, stop.clone());
            let service = Arc::clone(self);
            self.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = service.relay_on(publisher, filters) => {}
                }
            });
        }
    }

    /// Nothing is kept any more for a publisher of which nothing is handed on.
    async fn forget_relay(self: &Arc<Self>, name: &str) {
        // The subscriber may still be ending.
        let is_needed =
            || self.relay.publishers().keys().any(|publisher| name == name_of(publisher));
        while !is_needed()
            && let Err(CursorError::Used(_)) = self.remove_cursor(name).await
        {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Hands on what one peer publishes, also after trouble.
    async fn relay_on(self: &Arc<Self>, from: NodeId, filters: Vec<TopicFilter>) {
        loop {
            match self.relay_of(from, &filters).await {
                // The one before may still be ending.
                Err(RelayingError::Cursor(CursorError::Used(_))) => {
                    tokio::time::sleep(LOOK).await;
                }
                Err(error) => {
                    tracing::warn!(peer = %from.short(), %error,
                        "events of a peer are not handed on just now");
                    tokio::time::sleep(LATER).await;
                }
                Ok(never) => match never {},
            }
        }
    }

    async fn relay_of(
        self: &Arc<Self>,
        from: NodeId,
        filters: &[TopicFilter],
    ) -> Result<Infallible, RelayingError> {
        let name = name_of(&from);
        let subscribe = Subscribe {
            filters: filters.to_vec(),
            from: Some(from),
            begin: BeginAt::Cursor(name.clone()),
            on_lag: OnLag::CatchUp,
        };
        let mut subscription = self.subscribe(subscribe).await?;
        let known = self.last_relayed(from).await;
        loop {
            let delivery = subscription.next().await;
            if delivery.of.1 != Stream::Own {
                continue;
            }
            let (epoch, after, records) = match delivery.chunk {
                Chunk::Events { epoch, after, records } => (epoch, after, records),
                Chunk::Gap { count, .. } => {
                    self.kept(Stream::Relayed).skip(count);
                    continue;
                }
            };
            let mut events = Vec::new();
            let mut last = None;
            for (record, _) in subscription.sieve().sift(epoch, after, &records) {
                let origin = record.origin.ok_or(RelayingError::Unsigned)?;
                last = Some(origin.position);
                if origin.position > known {
                    events.push(NewEvent {
                        topic: record.topic,
                        data: record.data,
                        retained: record.retained,
                        origin: Some((origin, record.at)),
                    });
                }
            }
            let Some(last) = last else { continue };
            if !events.is_empty() {
                self.hand_on(&events).await?;
            }
            let place = ((from, Stream::Own), last);
            // If it is lost, the last that was handed on is known all the same.
            drop(self.cursors.acknowledge(&name, &[place], &self.store)?.await);
        }
    }

    /// Writes events into the relayed stream. If there is no room for them, those
    /// who are away see a gap.
    async fn hand_on(&self, events: &[NewEvent<'_>]) -> Result<(), RelayingError> {
        let relayed = self.kept(Stream::Relayed);
        relayed.room().await;
        let (published, _) = relayed.publish(events, None)?;
        if let Err(error) = relayed.kept(published.last).await {
            tracing::warn!(%error, "events were handed on, but are not kept");
        }
        Ok(())
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
