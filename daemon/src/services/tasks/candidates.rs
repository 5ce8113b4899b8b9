//! What is known of those who might do a task.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use pilot_identity::{NodeId, Scope};
use pilot_overlay::Overlay;
use pilot_proto::Service;
use pilot_proto::tasks::{Load, MAX_ANSWER_FRAME, MAX_TASK_FRAME, TaskAnswer, TaskRequest};
use pilot_tasks::Candidate;
use pilot_transport::{next_frame, send_frame};
use pilot_trust::TrustState;
use tokio::time::timeout;

use super::TasksService;
use crate::services::polo;

/// How long what a worker has said of its work is believed.
const FRESH: Duration = Duration::from_millis(500);
/// How long a worker may take to say it.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long a reputation that was told is believed.
const POLO_FRESH: Duration = Duration::from_secs(30);
/// Workers that are asked at once.
const ASKED: usize = 32;
/// How long what a worker has said is kept.
const KEPT: Duration = Duration::from_secs(8);

/// The reputation of each worker; none of whom nothing is told.
type Polos = BTreeMap<NodeId, Option<i64>>;

/// What workers and the rendezvous have said.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What each worker said, and when; none if it did not answer.
    loads: Mutex<BTreeMap<NodeId, (Instant, Option<Load>)>>,
    /// The reputation of each, and when it was told.
    polos: tokio::sync::Mutex<Option<(Instant, Polos)>>,
}

impl TasksService {
    /// Everybody who might be given tasks, and what is known of them.
    pub(super) async fn candidates(&self) -> Vec<Candidate> {
        let Some(overlay) = self.overlay.get() else { return Vec::new() };
        let given = self.desk().submitter.given();
        let mut candidates: Vec<Candidate> = self.trust.look(|trust, now| {
            let known = trust.peers(now).filter(|(_, standing)| standing.state != TrustState::None);
            let candidates = known.map(|(record, standing)| Candidate {
                peer: record.peer,
                barred: match standing.state {
                    TrustState::Mutual if standing.received.contains(Scope::Tasks) => None,
                    TrustState::Mutual => Some("does not allow this node its tasks"),
                    TrustState::Requested => Some("has not answered this node's trust"),
                    TrustState::Pending | TrustState::None => Some("is not trusted by this node"),
                },
                is_online: false,
                takes_files: standing.received.contains(Scope::Data),
                tags: Vec::new(),
                hands: None,
                busy: None,
                given: given.get(&record.peer).copied().unwrap_or_default(),
                rtt: None,
                polo: None,
            });
            candidates.collect()
        });
        let able = candidates.iter().filter(|candidate| candidate.barred.is_none());
        let able: Vec<NodeId> = able.map(|candidate| candidate.peer).collect();
        let asked = able.into_iter().map(|peer| async move { (peer, self.load_of(peer).await) });
        let loads: BTreeMap<NodeId, Option<Load>> =
            stream::iter(asked).buffer_unordered(ASKED).collect().await;
        let polos = self.polos_of(overlay, loads.keys().copied().collect()).await;
        for candidate in &mut candidates {
            candidate.polo = polos.get(&candidate.peer).copied();
            let load = loads.get(&candidate.peer).copied().flatten();
            let card = overlay.card(&candidate.peer).unwrap_or_default();
            candidate.tags = card.tags.iter().cloned().collect();
            candidate.is_online = load.is_some();
            candidate.hands = load.map(|load| load.hands);
            candidate.busy = load.map(|load| load.tasks);
            candidate.rtt =
                overlay.current(&candidate.peer).map(|session| session.connection().rtt());
        }
        candidates
    }

    /// The reputation of these, as far as the rendezvous tells it now. What was
    /// told is believed for a while: it changes slowly.
    async fn polos_of(&self, overlay: &Overlay, ids: Vec<NodeId>) -> BTreeMap<NodeId, i64> {
        let mut told = self.places.known.polos.lock().await;
        let known = told.as_ref().is_some_and(|(at, polos)| {
            at.elapsed() < POLO_FRESH && ids.iter().all(|id| polos.contains_key(id))
        });
        if !known {
            let asked = timeout(PATIENCE, polo::polos(overlay, &ids)).await;
            // What is not told now may be told at the next look.
            let Ok(Ok(polos)) = asked else { return BTreeMap::new() };
            // Of whom nothing is told, that is known for the same time.
            let of = |id: NodeId| (id, polos.get(&id).copied().map(i64::from));
            *told = Some((Instant::now(), ids.into_iter().map(of).collect()));
        }
        let polos = told.as_ref().map(|(_, polos)| polos).into_iter().flatten();
        polos.filter_map(|(id, polo)| Some((*id, (*polo)?))).collect()
    }

    /// What a worker has to do, by its own word; none if it does not answer.
    async fn load_of(&self, peer: NodeId) -> Option<Load> {
        let known = self.loads().get(&peer).copied();
        if let Some((at, load)) = known
            && at.elapsed() < FRESH
        {
            return load;
        }
        let load = timeout(PATIENCE, self.ask(peer)).await.ok().flatten();
        let mut loads = self.loads();
        loads.insert(peer, (Instant::now(), load));
        loads.retain(|_, (at, _)| at.elapsed() < KEPT);
        load
    }

    async fn ask(&self, peer: NodeId) -> Option<Load> {
        let session = self.overlay.get()?.session(peer).await.ok()?;
        let mut stream = session.open(Service::Tasks).await.ok()?;
        send_frame(&mut stream.send, &TaskRequest::Ask, MAX_TASK_FRAME).await.ok()?;
        stream.send.finish().ok()?;
        match next_frame(&mut stream.recv, MAX_ANSWER_FRAME).await.ok()?? {
            TaskAnswer::Load(load) => Some(load),
            TaskAnswer::Offered
            | TaskAnswer::Cancelling
            | TaskAnswer::Updated
            | TaskAnswer::Receipt(_)
            | TaskAnswer::Refused(_)
            | TaskAnswer::Passed(_)
            | TaskAnswer::Logged { .. } => None,
        }
    }

    fn loads(&self) -> MutexGuard<'_, BTreeMap<NodeId, (Instant, Option<Load>)>> {
        self.places.known.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
