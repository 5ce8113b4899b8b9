//! How a node comes to be bound.

use std::sync::Arc;
use std::time::Instant;

use pilot_identity::{NodeId, PairKey};
use pilot_proto::beacon::{Bind, BindRefusal, CONTEXT, COOKIE_BYTES, RelayId, Sealed, Told};

use super::clients::Client;
use super::counters::count;
use super::place::Place;
use super::relay::{Admission, Moment, Relay};

impl Relay {
    /// Steps in the order of what they cost: who is not where it claims to be
    /// costs one hash, who sends too much a look at a bucket, and only then
    /// come a curve and a signature.
    pub(super) fn on_bind(
        &mut self,
        from: Place,
        client: [u8; 32],
        cookie: &[u8; COOKIE_BYTES],
        sealed: &Sealed<'_>,
        at: Moment,
    ) {
        if !self.cookies.holds(cookie, from, &client, at.now) {
            return count(&mut self.counters.forged, 1);
        }
        if !self.is_exempt(&from) && self.binds.take(from.source(), at.now).is_err() {
            return count(&mut self.counters.limited, 1);
        }
        let opened = NodeId::from_bytes(client).ok().and_then(|node| {
            let key = self.key_of(&node)?;
            let bind = sealed.open::<Bind>(&key).ok()?;
            Some((node, key, bind))
        });
        let Some((node, key, bind)) = opened else {
            return count(&mut self.counters.forged, 1);
        };
        let seq = bind.seq;
        let told = match self.admit(&node, from, &bind, at) {
            Ok(()) => {
                tracing::debug!(node = %node.short(), ?from, "node bound");
                self.bind(node, from, Arc::clone(&key), seq, at.now);
                self.bound(from, seq)
            }
            Err(code) => {
                tracing::debug!(node = %node.short(), ?from, %code, "node refused");
                count(&mut self.counters.refused, 1);
                Told::Refused { seq, code }
            }
        };
        self.tell(from, &key, &told);
    }

    fn key_of(&self, node: &NodeId) -> Option<Arc<PairKey>> {
        match self.clients.get(&RelayId::of(node)) {
            Some(client) => Some(Arc::clone(&client.key)),
            None => PairKey::new(&self.key, node, CONTEXT).ok().map(Arc::new),
        }
    }

    fn admit(
        &self,
        node: &NodeId,
        from: Place,
        bind: &Bind,
        at: Moment,
    ) -> Result<(), BindRefusal> {
        let known = self.clients.get(&RelayId::of(node));
        // The network may deliver a packet twice; the second is answered like the first.
        let is_old =
            |known: &Client| bind.seq < known.seq || (bind.seq == known.seq && known.place != from);
        if known.is_some_and(is_old) {
            return Err(BindRefusal::Stale);
        }
        if let Admission::Tickets(issuers) = &self.settings.admission {
            let ticket = bind.ticket.as_ref().ok_or(BindRefusal::NoTicket)?;
            let believed = issuers.iter().find_map(|issuer| ticket.verify(issuer).ok());
            match believed {
                Some(ticket) if ticket.node != *node => return Err(BindRefusal::BadTicket),
                Some(ticket) if !ticket.is_live(at.wall) => return Err(BindRefusal::Expired),
                Some(_) => {}
                None => return Err(BindRefusal::BadTicket),
            }
        }
        let most = usize::try_from(self.settings.max_clients.get()).unwrap_or(usize::MAX);
        if known.is_none() && self.clients.len() >= most {
            return Err(BindRefusal::Full);
        }
        Ok(())
    }

    fn bind(&mut self, node: NodeId, place: Place, key: Arc<PairKey>, seq: u64, now: Instant) {
        count(&mut self.counters.bound, 1);
        let id = RelayId::of(&node);
        match self.clients.get_mut(&id) {
            Some(client) if client.place == place => {
                client.seq = seq;
                client.heard = now;
            }
            Some(_) | None => {
                self.clients.bind(id, Client::new(node, place, key, seq, now));
            }
        }
    }

    fn bound(&self, from: Place, seq: u64) -> Told {
        Told::Bound {
            seq,
            observed: from.observed(),
            stun: self.settings.stun.clone(),
            services: self.settings.services,
        }
    }
}
