//! What is held of one peer: its card, and the session that is in use.

use std::iter::once;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pilot_identity::NodeId;
use pilot_proto::Endpoints;
use tokio::sync::watch;

use crate::book::Card;
use crate::duplicates::{Verdict, settle};
use crate::session::Session;

/// Sessions that another took over and that are not closed yet. Two nodes that
/// dial each other make one or two; a peer that goes on dialling loses the oldest.
const MAX_RETIRED: usize = 4;

/// One peer, from the first time somebody asked for it.
#[derive(Debug)]
pub(crate) struct Peer {
    state: Mutex<State>,
    /// Held by whoever dials, so that only one does.
    pub(crate) dialling: tokio::sync::Mutex<()>,
    /// Grows when the card or the session changes.
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    card: Card,
    session: Option<Session>,
    /// Those that may finish their streams, the oldest first.
    retired: Vec<Session>,
    /// Somebody keeps trying to reach it.
    wanted: bool,
}

/// What a new session did to the one before it.
#[derive(Debug)]
pub(crate) enum Installed {
    /// There was none.
    First,
    /// The new one is in use; this one is dead.
    Buried(Session),
    /// This one (old or new) may finish its streams and goes.
    Retired(Session),
}

impl Peer {
    pub(crate) fn new(card: Card) -> Self {
        Self {
            state: Mutex::new(State { card, ..State::default() }),
            dialling: tokio::sync::Mutex::new(()),
            news: watch::Sender::new(0),
        }
    }

    /// The state; a panic elsewhere cannot leave it half-written, since every
    /// change below is one assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn card(&self) -> Card {
        self.lock().card.clone()
    }

    /// The session, if there is one that has not been closed.
    pub(crate) fn session(&self) -> Option<Session> {
        self.lock().session.clone().filter(|session| !session.connection().is_closed())
    }

    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Takes a new card; gives the session that it shows to be dead.
    pub(crate) fn update(&self, card: Card) -> Option<Session> {
        let dead = {
            let mut state = self.lock();
            let restarted =
                |session: &mut Session| card.boot.is_some_and(|boot| boot != session.boot());
            let dead = state.session.take_if(restarted);
            state.card = card;
            dead
        };
        self.tell();
        dead
    }

    /// Puts the socket it dialled from before the endpoints on its card: a
    /// node has one. True if it was not on it.
    pub(crate) fn found_at(&self, source: SocketAddr) -> bool {
        let mut state = self.lock();
        let known = state.card.endpoints.as_slice();
        if known.contains(&source) {
            return false;
        }
        state.card.endpoints = Endpoints::new(once(source).chain(known.iter().copied()));
        true
    }

    pub(crate) fn install(&self, new: &Session, me: &NodeId) -> Installed {
        let installed = {
            let mut state = self.lock();
            let old = state.session.take().filter(|old| !old.connection().is_closed());
            let (kept, installed) = match old {
                None => (new.clone(), Installed::First),
                Some(old) => match settle(old.facts(), new.facts(), me, &new.peer()) {
                    Verdict::OldIsDead => (new.clone(), Installed::Buried(old)),
                    Verdict::UseNew => (new.clone(), Installed::Retired(old)),
                    Verdict::UseOld => (old, Installed::Retired(new.clone())),
                },
            };
            state.session = Some(kept);
            installed
        };
        self.tell();
        installed
    }

    /// Forgets `session`; true if it was the one in use.
    pub(crate) fn remove(&self, session: &Session) -> bool {
        let was_used = {
            let mut state = self.lock();
            state.retired.retain(|retired| !retired.is_same(session));
            state.session.take_if(|used| used.is_same(session)).is_some()
        };
        if was_used {
            self.tell();
        }
        was_used
    }

    /// Keeps a session that another took over until it ends; gives the ones
    /// that are too many, to be closed.
    pub(crate) fn retire(&self, session: Session) -> Vec<Session> {
        let mut state = self.lock();
        state.retired.retain(|retired| !retired.connection().is_closed());
        state.retired.push(session);
        let excess = state.retired.len().saturating_sub(MAX_RETIRED);
        state.retired.drain(..excess).collect()
    }

    /// Takes all sessions out, to close them.
    pub(crate) fn take_sessions(&self) -> Vec<Session> {
        let sessions = {
            let mut state = self.lock();
            let mut sessions = std::mem::take(&mut state.retired);
            sessions.extend(state.session.take());
            sessions
        };
        self.tell();
        sessions
    }

    /// Marks that somebody keeps trying to reach it; false if somebody did already.
    pub(crate) fn want(&self) -> bool {
        !std::mem::replace(&mut self.lock().wanted, true)
    }

    pub(crate) fn unwant(&self) {
        self.lock().wanted = false;
    }

    fn tell(&self) {
        self.news.send_modify(|version| *version = version.wrapping_add(1));
    }
}
