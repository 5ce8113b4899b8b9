//! The sockets opened beside the main one, and for whom.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pilot_identity::NodeId;
use pilot_paths::{LocalId, OpenRequest, Opened};

use crate::socket::Socket;

/// Sockets open at once beside the main one: two birthday parties, or many
/// peers with a fresh mapping. Beyond that none is opened.
const MAX_SOCKETS: usize = 600;

/// Bytes asked for the buffers of each: there may be hundreds.
const BUFFER: usize = 256 * 1024;

/// How long STUN may take to tell the address of a fresh mapping.
const PATIENCE: Duration = Duration::from_millis(600);

/// For whom a socket was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Peer(NodeId),
    Discovery,
    Lifetime,
}

/// Sockets of which STUN is still to tell where they are seen.
#[derive(Debug)]
struct Fresh {
    owner: Owner,
    opened: Opened,
    until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Sockets {
    owners: BTreeMap<LocalId, Owner>,
    fresh: Vec<Fresh>,
    last: u32,
}

impl Sockets {
    /// Opens up to `count` sockets for `owner`.
    pub(super) fn open(&mut self, socket: &Socket, owner: Owner, count: u16) -> Vec<LocalId> {
        let mut opened = Vec::new();
        for _ in 0..count {
            if self.owners.len() >= MAX_SOCKETS {
                tracing::debug!("as many sockets are open as are allowed");
                break;
            }
            self.last = self.last.wrapping_add(1).max(1);
            let id = LocalId(self.last);
            match socket.open(id, BUFFER) {
                Ok(_) => {
                    self.owners.insert(id, owner);
                    opened.push(id);
                }
                Err(error) => {
                    tracing::debug!(%error, "no further socket");
                    break;
                }
            }
        }
        opened
    }

    pub(super) fn close(&mut self, socket: &Socket, ids: &[LocalId]) {
        for id in ids {
            if self.owners.remove(id).is_some() {
                socket.close(*id);
            }
        }
    }

    /// Closes everything of `owner`.
    pub(super) fn close_all(&mut self, socket: &Socket, owner: Owner) {
        let ids: Vec<_> =
            self.owners.iter().filter(|(_, of)| **of == owner).map(|(id, _)| *id).collect();
        self.close(socket, &ids);
        self.fresh.retain(|fresh| fresh.owner != owner);
    }

    pub(super) fn count(&self) -> usize {
        self.owners.len()
    }

    /// Waits until STUN has told where these are seen.
    pub(super) fn await_mapping(
        &mut self,
        owner: Owner,
        request: OpenRequest,
        ids: Vec<LocalId>,
        now: Instant,
    ) {
        let sockets = ids.into_iter().map(|id| (id, None)).collect();
        let opened = Opened { request, sockets };
        self.fresh.push(Fresh { owner, opened, until: now + PATIENCE });
    }

    /// STUN told where a socket is seen.
    pub(super) fn mapped(&mut self, local: LocalId, at: SocketAddr) {
        for (id, mapped) in self.fresh.iter_mut().flat_map(|fresh| &mut fresh.opened.sockets) {
            if *id == local {
                *mapped = Some(at);
            }
        }
    }

    /// Those of which all is known, or for which the time is over.
    pub(super) fn ready(&mut self, now: Instant) -> Vec<(Owner, Opened)> {
        let is_ready = |fresh: &mut Fresh| {
            fresh.until <= now || fresh.opened.sockets.iter().all(|(_, mapped)| mapped.is_some())
        };
        let ready = self.fresh.extract_if(.., is_ready);
        ready.map(|fresh| (fresh.owner, fresh.opened)).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.fresh.iter().map(|fresh| fresh.until).min()
    }
}
