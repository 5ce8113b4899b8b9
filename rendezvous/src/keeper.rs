//! Registry and disk in step: nothing is told before what it follows from is stored.
//!
//! One lock around the machine, never held across an await. Decisions and
//! their batches are made under the same lock, so the journal has them in the
//! order in which they were made; an answer or a push waits for the barrier
//! that was queued with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use pilot_identity::Timestamp;
use pilot_proto::close;
use pilot_proto::registry::{Answer, Push, RefusalCode, Request};
use pilot_store::{Batch, Commit, CommitError, Epoch, ReadError, Store};
use pilot_transport::Connection;
use tokio::sync::Notify;

use crate::journal;
use crate::registry::{Caller, ConnectionId, Moment, Output, Registry, refusal};

/// Pushes made at once. A watching node that takes them one lot at a time
/// keeps the lock free for others in between.
const MAX_LOT: usize = 64;

pub(crate) struct Keeper {
    store: Store,
    network: u16,
    max_nodes: u32,
    state: Mutex<State>,
}

struct State {
    registry: Registry,
    /// The epoch in which `registry` was loaded.
    epoch: Epoch,
    lines: BTreeMap<ConnectionId, Arc<Line>>,
    last_connection: u64,
}

/// What the keeper can do to a connection.
pub(crate) struct Line {
    pub(crate) caller: Caller,
    pub(crate) connection: Connection,
    /// There may be pushes to take.
    pub(crate) wake: Notify,
}

/// Why the registry could not be taken from the store.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder holds the nodes of another network.
    #[error("the state belongs to network {found}, not {wanted}: use another folder for this one")]
    OtherNetwork {
        /// Whose it is.
        found: u16,
        /// Whose it should be.
        wanted: u16,
    },
    /// It cannot be read.
    #[error("cannot read the registry")]
    Read(#[from] ReadError),
    /// It cannot be written.
    #[error("cannot write to the registry")]
    Write(#[from] CommitError),
}

impl Keeper {
    pub(crate) async fn load(
        store: Store,
        network: u16,
        max_nodes: u32,
    ) -> Result<Self, LoadError> {
        match store.read(journal::network)? {
            Some(found) if found != network => {
                return Err(LoadError::OtherNetwork { found, wanted: network });
            }
            Some(_) => {}
            None => {
                let mut batch = store.batch();
                batch.write(move |transaction| journal::claim(transaction, network));
                store.commit(batch).await?;
            }
        }
        let epoch = store.epoch();
        let registry = read(&store, network, max_nodes)?;
        tracing::info!(network, nodes = registry.nodes(), "registry loaded");
        let state = State { registry, epoch, lines: BTreeMap::new(), last_connection: 0 };
        Ok(Self { store, network, max_nodes, state: Mutex::new(state) })
    }

    /// A line for a new connection. It is to be handed to [`Keeper::detach`].
    pub(crate) fn attach(&self, connection: Connection) -> Arc<Line> {
        let mut state = self.lock();
        state.last_connection += 1;
        let id = ConnectionId(state.last_connection);
        let observed = connection.remote_addr();
        let over_udp = connection.is_at_udp_address();
        let caller = Caller { id: connection.peer(), connection: id, observed, over_udp };
        let line = Arc::new(Line { caller, connection, wake: Notify::new() });
        state.lines.insert(id, Arc::clone(&line));
        line
    }

    /// The connection has ended. When it was is stored without anybody waiting.
    pub(crate) fn detach(&self, line: &Line) {
        let (_, commit) = self.decide(|registry, at| registry.handle_disconnect(&line.caller, at));
        drop(commit);
        self.lock().lines.remove(&line.caller.connection);
    }

    /// Whether the node of this line is registered over it.
    pub(crate) fn is_registered(&self, line: &Line) -> bool {
        self.lock().registry.is_connected(&line.caller)
    }

    /// Handles a request and waits until what it decided is on disk. `None`
    /// for a watch that is to be served with [`Keeper::pushes`], and for
    /// beacons that are to be told.
    ///
    /// Cancel safe for the registry: what was decided is stored in any case.
    pub(crate) async fn ask(&self, line: &Line, request: Request) -> Option<Answer> {
        // The path of a connection may have changed since it was made.
        let caller = Caller { observed: line.connection.remote_addr(), ..line.caller };
        let (answer, commit) = self.decide(|registry, at| registry.handle(&caller, request, at));
        match commit.await {
            Ok(()) => answer,
            Err(error) => Some(self.failed(&error)),
        }
    }

    /// The next pushes of a watching line, fit to be sent; none if nothing is due.
    ///
    /// Not cancel safe: pushes that were taken and not sent come again only
    /// with a new watch.
    pub(crate) async fn pushes(&self, line: &Line) -> Vec<Push> {
        let (pushes, commit) = self.decide(|registry, at| {
            let next = || registry.poll_push(&line.caller, at.now);
            std::iter::from_fn(next).take(MAX_LOT).collect()
        });
        match commit.await {
            Ok(()) => pushes,
            Err(error) => {
                // The reload makes everything due again, and wakes the line.
                self.failed(&error);
                Vec::new()
            }
        }
    }

    /// Ends the store. Blocks on the disk.
    pub(crate) fn close(&self) {
        self.store.clone().close();
    }

    /// Lets the machine decide, queues its records and does what else it says.
    fn decide<T>(&self, decision: impl FnOnce(&mut Registry, Moment) -> T) -> (T, Commit) {
        let room = self.store.room_for_new_work().is_ok();
        let at = Moment { now: now(), room };
        let mut state = self.lock();
        self.refresh(&mut state);
        let decided = decision(&mut state.registry, at);
        let mut batch = Batch::new(state.epoch);
        while let Some(output) = state.registry.poll_output() {
            match output {
                Output::Persist(record) => {
                    batch.write(move |transaction| journal::write(transaction, &record));
                }
                Output::Wake(connection) => {
                    if let Some(line) = state.lines.get(&connection) {
                        line.wake.notify_one();
                    }
                }
                Output::Replaced(connection) => {
                    if let Some(line) = state.lines.get(&connection) {
                        line.connection.close(close::REPLACED, "this node connected again");
                    }
                }
            }
        }
        let commit = self.store.commit(batch);
        drop(state);
        (decided, commit)
    }

    /// What a node is told whose request could not be stored.
    fn failed(&self, error: &CommitError) -> Answer {
        tracing::warn!(%error, "the registry could not be written");
        // Loads the machine again and wakes those whose pushes were lost with it.
        drop(self.decide(|_, _| ()).1);
        Answer::Refused(match error {
            CommitError::DiskFull => {
                refusal(RefusalCode::DiskFull, "the disk of the rendezvous is full")
            }
            CommitError::Stale | CommitError::Failed(_) | CommitError::Closed => {
                refusal(RefusalCode::Internal, "the rendezvous could not store this; try again")
            }
        })
    }

    /// If a write was lost since the machine was loaded, loads it again.
    fn refresh(&self, state: &mut State) {
        let epoch = self.store.epoch();
        if epoch == state.epoch {
            return;
        }
        match read(&self.store, self.network, self.max_nodes) {
            Ok(registry) => {
                tracing::info!(nodes = registry.nodes(), "registry loaded again");
                let before = std::mem::replace(&mut state.registry, registry);
                state.registry.take_over(before, now());
                state.epoch = epoch;
            }
            // Until it can be read, its writes are refused as stale.
            Err(error) => tracing::error!(%error, "the registry cannot be loaded again"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(store: &Store, network: u16, max_nodes: u32) -> Result<Registry, ReadError> {
    let mut registry = Registry::new(network, max_nodes);
    store.read(|connection| journal::load(connection, &mut registry))?;
    Ok(registry)
}

/// The wall clock. Before 1970 it is 1970.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
