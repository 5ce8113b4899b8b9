//! Drives the trust machine: writes its rows, carries its grants, closes tunnels.

mod carrier;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use pilot_identity::{NodeId, NodeKey, Scope, SignedGrant, Timestamp};
use pilot_overlay::Overlay;
use pilot_proto::close;
use pilot_proto::registry::{GrantAck, GrantAcks, Request};
use pilot_proto::trust::{TrustAnswer, TrustOffer};
use pilot_proto::{Address, NodeName};
use pilot_store::{Batch, CommitError, Epoch, Store};
use pilot_trust::{
    Card, CardSource, GrantError, GrantTerms, Output, Received, RestoreError, RevokeError,
    Standing, Trust, TrustState,
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ledger::{Ledger, LedgerDriver};
use crate::clock;
use crate::store::trust as rows;

/// Grants that are carried to their receivers at once; others wait their turn.
const CARRIERS: usize = 32;

/// Who trusts whom, kept on disk and told to those it concerns.
pub(crate) struct TrustService {
    key: Arc<NodeKey>,
    store: Store,
    ledger: Ledger<Vec<Effect>>,
    state: Mutex<Loaded>,
    /// Rings when a deadline may have moved.
    moved: Notify,
    /// Rings when there are grants the rendezvous should have.
    to_put: Notify,
    /// Rings when they have been put, or could not be.
    put: Notify,
    carriers: Semaphore,
    /// Peers that are being offered this node's grant since they refused it.
    mending: Mutex<BTreeSet<NodeId>>,
    overlay: OnceLock<Overlay>,
    listener: OnceLock<Box<dyn Fn(NodeId, Standing) + Send + Sync>>,
    tasks: TaskTracker,
}

/// The machine and the epoch of the rows it was made from.
struct Loaded {
    machine: Trust,
    epoch: Epoch,
}

/// What is done once the rows are on disk.
enum Effect {
    Deliver { to: NodeId, grant: SignedGrant },
    Changed { peer: NodeId, standing: Standing },
}

/// Why trust was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error(transparent)]
    Revoke(#[from] RevokeError),
    #[error("the change of trust could not be written")]
    Commit(#[from] CommitError),
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("cannot read the rows of trust")]
    Read(#[from] pilot_store::ReadError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

impl TrustService {
    /// Loads the rows and starts its drivers on `tasks`.
    pub(crate) fn start(
        key: Arc<NodeKey>,
        network: Option<u16>,
        store: Store,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Arc<Self>, LoadError> {
        let loaded = load(&store, &key, network)?;
        let (ledger, driver) = Ledger::new();
        let service = Arc::new(Self {
            key,
            store,
            ledger,
            state: Mutex::new(loaded),
            moved: Notify::new(),
            to_put: Notify::new(),
            put: Notify::new(),
            carriers: Semaphore::new(CARRIERS),
            mending: Mutex::new(BTreeSet::new()),
            overlay: OnceLock::new(),
            listener: OnceLock::new(),
            tasks: tasks.clone(),
        });
        tasks.spawn(Arc::clone(&service).carry_out_all(driver, stop.clone()));
        tasks.spawn(Arc::clone(&service).watch_the_clock(stop.clone()));
        tasks.spawn(Arc::clone(&service).put_at_registry(stop.clone()));
        Ok(service)
    }

    /// Gives it the overlay and somebody who hears of every change; once, at start.
    pub(crate) fn connect(
        &self,
        overlay: Overlay,
        listener: impl Fn(NodeId, Standing) + Send + Sync + 'static,
    ) {
        let (Ok(()), Ok(())) = (self.overlay.set(overlay), self.listener.set(Box::new(listener)))
        else {
            tracing::error!("the trust service was connected twice");
            return;
        };
    }

    /// Whether trust with `peer` is mutual.
    pub(crate) fn is_mutual(&self, peer: &NodeId) -> bool {
        self.lock().machine.is_mutual(*peer, clock::now())
    }

    /// Everybody with whom trust is mutual now.
    pub(crate) fn mutual(&self) -> Vec<NodeId> {
        self.look(|trust, now| {
            let peers = trust.peers(now);
            let mutual = peers.filter(|(_, standing)| standing.state == TrustState::Mutual);
            mutual.map(|(record, _)| record.peer).collect()
        })
    }

    /// Whether there is trust with `peer`, or one half of it.
    pub(crate) fn knows(&self, peer: &NodeId) -> bool {
        self.lock().machine.record(*peer).is_some()
    }

    /// Whether `peer` may use `scope` here.
    pub(crate) fn allows(&self, peer: NodeId, scope: Scope) -> bool {
        self.lock().machine.allows(peer, scope, clock::now())
    }

    /// How this node and `peer` stand.
    pub(crate) fn standing(&self, peer: NodeId) -> Standing {
        self.lock().machine.standing(peer, clock::now())
    }

    /// Looks at the machine. The lock is held meanwhile: nothing slow.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Trust, Timestamp) -> T) -> T {
        look(&self.lock().machine, clock::now())
    }

    /// Grants `peer` what `terms` say; on disk when this returns.
    ///
    /// Cancel safe: it happens whole or not at all.
    pub(crate) async fn grant(
        self: &Arc<Self>,
        peer: NodeId,
        terms: GrantTerms,
    ) -> Result<TrustState, TrustError> {
        Ok(self.turn(|machine, now| machine.grant(peer, terms, now)).await??)
    }

    /// Takes back what was granted to `peer`; tunnels are closed when this returns.
    pub(crate) async fn revoke(self: &Arc<Self>, peer: NodeId) -> Result<TrustState, TrustError> {
        Ok(self.turn(|machine, now| machine.revoke(peer, now)).await??)
    }

    /// Takes a grant that somebody brought; on disk when this returns.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        grant: &SignedGrant,
        card: Option<Card>,
    ) -> Result<Received, CommitError> {
        self.turn(|machine, now| machine.handle_grant(grant, card, now)).await
    }

    /// Answers a trust exchange with `from`, the key of the connection.
    pub(crate) async fn answer(self: &Arc<Self>, from: NodeId, offer: TrustOffer) -> TrustAnswer {
        if offer.grant.assume_verified().from != from {
            return TrustAnswer::Invalid;
        }
        let card = Card { address: offer.address, name: offer.name, source: CardSource::Claimed };
        match self.receive(&offer.grant, Some(card)).await {
            Ok(received) => self.lock().machine.answer(from, received),
            Err(error) => {
                tracing::warn!(%error, "a grant could not be written");
                TrustAnswer::Full
            }
        }
    }

    /// Takes a grant from the mailbox at the rendezvous and acknowledges it.
    pub(crate) async fn collect(
        self: &Arc<Self>,
        grant: SignedGrant,
        address: Address,
        name: Option<NodeName>,
    ) {
        let claimed = grant.assume_verified();
        let ack = GrantAck { from: claimed.from, serial: claimed.serial };
        let card = Card { address: Some(address), name, source: CardSource::Registry };
        match self.receive(&grant, Some(card)).await {
            // It stays in the mailbox for later.
            Ok(Received::Full) => return,
            Ok(Received::Stored | Received::Duplicate | Received::Stale { .. }) => {}
            Ok(Received::Invalid) => {
                tracing::warn!(peer = %ack.from.short(), "the rendezvous holds an invalid grant");
            }
            Err(error) => {
                tracing::warn!(%error, "a grant could not be written");
                return;
            }
        }
        let Some(registry) = self.overlay.get().and_then(Overlay::registry) else { return };
        for acks in GrantAcks::batches([ack]) {
            if let Err(error) = registry.ask(&Request::AckGrants(acks)).await {
                tracing::debug!(%error, "a grant was not acknowledged; it will come again");
            }
        }
    }

    /// The rendezvous said who `peer` is.
    pub(crate) async fn told(
        self: &Arc<Self>,
        peer: NodeId,
        address: Address,
        name: Option<NodeName>,
    ) {
        let card = Card { address: Some(address), name, source: CardSource::Registry };
        self.quiet_turn(|machine, _| machine.handle_card(peer, card)).await;
    }

    /// This node is registered in `network`; its grants go to the rendezvous.
    pub(crate) async fn registered(self: &Arc<Self>, network: u16) {
        self.quiet_turn(|machine, now| machine.handle_network(network, now)).await;
        self.to_put.notify_one();
    }

    /// Waits until grants have been put at the rendezvous because one is new or
    /// the line is, or could not be put there. For one to wait at a time.
    ///
    /// Cancel safe: what was missed is told to the next.
    pub(crate) async fn grants_put(&self) {
        self.put.notified().await;
    }

    /// A peer refused a tunnel although its grant is here: it is offered ours
    /// again, and says what it holds. Once at a time: a peer may refuse as
    /// often as it likes.
    pub(crate) fn mend(self: &Arc<Self>, peer: NodeId) {
        let grant =
            self.look(|machine, _| machine.record(peer).and_then(|record| record.ours.clone()));
        if let Some(grant) = grant
            && self.mending().insert(peer)
        {
            let service = Arc::clone(self);
            self.tasks.spawn(async move {
                service.offer_directly(peer, grant).await;
                service.mending().remove(&peer);
            });
        }
    }

    fn mending(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        self.mending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One turn of the machine whose outcome nobody waits to hear of.
    async fn quiet_turn(self: &Arc<Self>, turn: impl FnOnce(&mut Trust, Timestamp)) {
        if let Err(error) = self.turn(turn).await {
            tracing::warn!(%error, "a change of trust could not be written");
        }
    }

    /// One turn of the machine: decides under the lock, and returns when what
    /// was decided is on disk and carried out.
    async fn turn<T>(
        &self,
        turn: impl FnOnce(&mut Trust, Timestamp) -> T,
    ) -> Result<T, CommitError> {
        let place = self.ledger.place().await?;
        let (said, entered) = {
            let mut state = self.lock();
            let said = turn(&mut state.machine, clock::now());
            let (batch, effects) = drain(&mut state);
            (said, place.enter(self.store.commit(batch), effects))
        };
        self.moved.notify_one();
        entered.done().await?;
        Ok(said)
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry_out_all(
        self: Arc<Self>,
        driver: LedgerDriver<Vec<Effect>>,
        stop: CancellationToken,
    ) {
        let carry_out = |effects: Vec<Effect>| {
            for effect in effects {
                self.carry_out(effect);
            }
            None
        };
        let lost = |error: &CommitError| {
            // Of a row of turns that are lost together the first has done it.
            if self.lock().epoch == self.store.epoch() {
                return;
            }
            tracing::warn!(%error, "trust is read from disk again");
            let network = self.lock().machine.network();
            match load(&self.store, &self.key, network) {
                Ok(loaded) => {
                    *self.lock() = loaded;
                    // The clock's driver may wait for a deadline of what was lost.
                    self.moved.notify_one();
                }
                Err(error) => tracing::error!(%error, "trust cannot be read from disk"),
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = driver.run(carry_out, lost) => {}
        }
    }

    fn carry_out(self: &Arc<Self>, effect: Effect) {
        match effect {
            Effect::Deliver { to, grant } => {
                let service = Arc::clone(self);
                self.tasks.spawn(async move { service.deliver(to, grant).await });
            }
            Effect::Changed { peer, standing } => {
                tracing::info!(peer = %peer.short(), state = %standing.state, "trust changed");
                if let Some(overlay) = self.overlay.get().filter(|_| !standing.is_mutual()) {
                    overlay.part(&peer, close::NOT_TRUSTED, "trust has ended");
                }
                if let Some(listener) = self.listener.get() {
                    listener(peer, standing);
                }
            }
        }
    }

    async fn watch_the_clock(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let deadline = self.lock().machine.next_deadline();
            tokio::select! {
                () = stop.cancelled() => return,
                () = clock::wait_for(deadline, &self.moved) => {}
            }
            if deadline.is_some_and(|deadline| deadline <= clock::now()) {
                self.quiet_turn(Trust::handle_timeout).await;
            }
        }
    }
}

fn load(store: &Store, key: &Arc<NodeKey>, network: Option<u16>) -> Result<Loaded, LoadError> {
    let epoch = store.epoch();
    let records = store.read(rows::all)?;
    let machine = Trust::restore(Arc::clone(key), network, records, clock::now())?;
    Ok(Loaded { machine, epoch })
}

/// Takes what the machine decided: what to write, and what to do after that.
fn drain(state: &mut Loaded) -> (Batch, Vec<Effect>) {
    let mut batch = Batch::new(state.epoch);
    let mut effects = Vec::new();
    while let Some(output) = state.machine.poll_output() {
        match output {
            Output::Persist(record) => rows::put(&mut batch, *record),
            Output::Deliver { to, grant } => effects.push(Effect::Deliver { to, grant }),
            Output::Changed { peer, standing } => effects.push(Effect::Changed { peer, standing }),
        }
    }
    (batch, effects)
}
