//! This node's own grants: given, taken back, delivered.

use pilot_identity::{Fingerprint, Grant, NodeId, Scopes, Timestamp};
use pilot_proto::Address;

use crate::{IdentityChanged, Reached, Trust, TrustState};

/// The highest serial that is believed on somebody's word, half of all there are.
///
/// A higher claim is ignored: one lie must not use up the serials of a pair.
pub const MAX_CLAIMED_SERIAL: u64 = u64::MAX / 2;

/// Grants that are signed anew on somebody's word before one of them has
/// arrived; a further claim is ignored.
///
/// One is enough after lost state; a few more are room for a second loss.
pub const MAX_REISSUES: u8 = 4;

/// What a user grants a peer, and how sure the user is of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantTerms {
    /// The address by which the user named it, to be pinned to its key.
    pub address: Option<Address>,
    /// What it may use here.
    pub scopes: Scopes,
    /// When the grant ends by itself.
    pub expires_at: Option<Timestamp>,
    /// The fingerprint that its key must have.
    pub fingerprint: Option<Fingerprint>,
}

/// Why a grant is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The peer is this node.
    #[error("a node cannot trust itself")]
    Itself,
    /// The node was never registered, and a grant names a network.
    #[error("this node has no address yet")]
    NoNetwork,
    /// The address belongs to another network than the node.
    #[error("{address} is not in network {network} of this node")]
    OtherNetwork {
        /// The peer's address.
        address: Address,
        /// The node's own network.
        network: u16,
    },
    /// The key is not the one that the user meant.
    #[error("the peer's key has fingerprint {found}, not {wanted}")]
    FingerprintMismatch {
        /// What the user gave.
        wanted: Fingerprint,
        /// That of the key offered.
        found: Fingerprint,
    },
    /// The address stands for another key.
    #[error(transparent)]
    IdentityChanged(#[from] IdentityChanged),
    /// A grant of nothing is a revocation, which is another door.
    #[error("nothing is granted")]
    NoScopes,
    /// It would have ended before it began.
    #[error("the grant would have expired already")]
    Expired,
}

/// Why trust is not taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// Nothing was ever granted to or by this key.
    #[error("there is no trust with this peer")]
    Unknown,
}

/// Whose disk a grant is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The receiver's own.
    Peer,
    /// That of the rendezvous.
    Registry,
}

impl Trust {
    /// Grants `peer` what `terms` say, in place of what was granted before.
    ///
    /// Granting the same again changes nothing and delivers it once more if
    /// it is not known to have arrived.
    ///
    /// # Errors
    ///
    /// [`GrantError`]; nothing has changed then.
    pub fn grant(
        &mut self,
        peer: NodeId,
        terms: GrantTerms,
        now: Timestamp,
    ) -> Result<TrustState, GrantError> {
        let network = self.check_terms(peer, &terms, now)?;
        let newly_pinned = terms.address.is_some_and(|address| {
            self.pins.add(address, peer);
            self.entry(peer).record.pins.insert(address)
        });
        let GrantTerms { scopes, expires_at, .. } = terms;
        let record = &mut self.entry(peer).record;
        let held = record.our_grant().filter(|ours| {
            ours.network == network
                && ours.is_live(now)
                && (ours.scopes, ours.expires_at) == (scopes, expires_at)
        });
        if held.is_some() {
            if newly_pinned {
                self.persist(peer);
            }
            self.deliver_again(peer);
        } else {
            let serial = record.our_grant().map_or(0, |ours| ours.serial);
            record.declined = None;
            self.issue(peer, Draft { network, serial, scopes, expires_at }, now);
        }
        self.announce(peer, now);
        Ok(self.state(peer, now))
    }

    fn check_terms(
        &self,
        peer: NodeId,
        terms: &GrantTerms,
        now: Timestamp,
    ) -> Result<u16, GrantError> {
        if peer == self.me {
            return Err(GrantError::Itself);
        }
        let network = self.network.ok_or(GrantError::NoNetwork)?;
        let found = peer.fingerprint();
        if let Some(wanted) = terms.fingerprint.filter(|wanted| *wanted != found) {
            return Err(GrantError::FingerprintMismatch { wanted, found });
        }
        if let Some(address) = terms.address {
            if address.network() != network {
                return Err(GrantError::OtherNetwork { address, network });
            }
            self.pins.check(address, peer)?;
        }
        if terms.scopes.is_empty() {
            return Err(GrantError::NoScopes);
        }
        if terms.expires_at.is_some_and(|end| end <= now) {
            return Err(GrantError::Expired);
        }
        Ok(network)
    }

    /// Takes back whatever was granted to `peer`, frees its pinned addresses,
    /// and answers its request, if it made one, with no. Once is enough.
    ///
    /// It holds here at once, whether or not the peer ever hears of it.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Unknown`] if there is nothing to take back.
    pub fn revoke(&mut self, peer: NodeId, now: Timestamp) -> Result<TrustState, RevokeError> {
        let record = &mut self.peers.get_mut(&peer).ok_or(RevokeError::Unknown)?.record;
        let (ours, theirs) = (record.our_grant(), record.their_grant());
        // The network of the grant that is taken back, which may not be the
        // one the node is in now; the peer believes no other.
        let network = ours.or(theirs).map(|grant| grant.network).ok_or(RevokeError::Unknown)?;
        let serial = ours.map_or(0, |ours| ours.serial);
        let revoked = ours.is_some_and(|ours| ours.scopes.is_empty());
        let answered = theirs.map(|theirs| theirs.serial);
        let declines_more = record.declined < answered;
        record.declined = record.declined.max(answered);
        record.pins.clear();
        self.pins.release(peer);
        if revoked {
            if declines_more {
                self.persist(peer);
            }
            self.deliver_again(peer);
        } else {
            let draft = Draft { network, serial, scopes: Scopes::NONE, expires_at: None };
            self.issue(peer, draft, now);
        }
        self.announce(peer, now);
        Ok(self.state(peer, now))
    }

    /// This node's grant to `peer` with `serial` is on the disk of `via`.
    pub fn handle_delivered(&mut self, peer: NodeId, serial: u64, via: Via) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        if known.record.our_grant().is_none_or(|ours| ours.serial != serial) {
            return;
        }
        known.reissues = 0;
        let mark = match via {
            Via::Peer => &mut known.record.reached.peer,
            Via::Registry => &mut known.record.reached.registry,
        };
        if !core::mem::replace(mark, true) {
            self.persist(peer);
        }
    }

    /// `via` says that it has seen a grant of this node to `peer` with
    /// `serial`, and refuses another for it.
    ///
    /// If that is news, this node has lost its state since, and its clock is
    /// behind: it signs its grant again with a serial above. The peer refuses an equal serial only if it
    /// holds another grant by it; the rendezvous also if it holds the same.
    ///
    /// A claim is nobody's signature, so it can do no more than that:
    /// see [`MAX_CLAIMED_SERIAL`] and [`MAX_REISSUES`].
    pub fn handle_peer_serial(&mut self, peer: NodeId, serial: u64, via: Via, now: Timestamp) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let Some(ours) = known.record.our_grant() else { return };
        match via {
            Via::Registry if serial == ours.serial => {
                self.handle_delivered(peer, serial, via);
                return;
            }
            Via::Registry | Via::Peer => {}
        }
        if serial < ours.serial || serial > MAX_CLAIMED_SERIAL || known.reissues >= MAX_REISSUES {
            return;
        }
        let Grant { network, scopes, expires_at, .. } = *ours;
        let reissues = known.reissues + 1;
        self.issue(peer, Draft { network, serial, scopes, expires_at }, now);
        self.entry(peer).reissues = reissues;
        self.announce(peer, now);
    }

    /// Signs a grant whose serial follows that of the draft, and is no less
    /// than the time in milliseconds: a node that lost its state then exceeds even
    /// what it signed and nobody told it of, so that no old grant of its own
    /// can come back over a newer one.
    ///
    /// Serials end at `u64::MAX`. No pair gets there honestly; this node would
    /// keep to its newest grant all the same, and the peer would refuse it.
    fn issue(&mut self, peer: NodeId, draft: Draft, now: Timestamp) {
        let grant = Grant {
            from: self.me,
            to: peer,
            network: draft.network,
            scopes: draft.scopes,
            issued_at: now,
            expires_at: draft.expires_at,
            serial: draft.serial.saturating_add(1).max(now.as_millis()),
        };
        let signed = grant.sign(&self.key);
        let known = self.entry(peer);
        known.record.ours = Some(signed);
        known.record.reached = Reached::default();
        known.reissues = 0;
        self.persist(peer);
        self.deliver(peer);
    }

    fn deliver_again(&mut self, peer: NodeId) {
        if self.peers.get(&peer).is_some_and(|known| !known.record.reached.peer) {
            self.deliver(peer);
        }
    }
}

/// What goes into the next grant.
struct Draft {
    network: u16,
    /// The highest one used so far.
    serial: u64,
    scopes: Scopes,
    expires_at: Option<Timestamp>,
}
