//! The newest grant of every pair, and which of them wait for their receiver.
//!
//! A grant stays for ever, also when it is revoked, expired or delivered: its
//! serial is what older ones are refused by.

use std::collections::{BTreeMap, BTreeSet};

use pilot_identity::{Grant, NodeId, SignedGrant, Timestamp};
use pilot_proto::registry::{MAX_GRANT_BYTES, MAX_WAITING_GRANTS, PutGrant};

/// Receivers one node may have granted to, ever: more than any team, few
/// enough that a hostile key costs at most some 4 MB. Beyond it new receivers
/// are answered with [`PutGrant::MailboxFull`].
const MAX_RECEIVERS: usize = 16_384;

/// Grants of all nodes together, all of which are in memory: some 400 MB. Ten
/// for each of as many nodes as there may be; beyond it new pairs are answered
/// with [`PutGrant::MailboxFull`], and those known go on.
const MAX_HELD: usize = 1_000_000;

#[derive(Debug)]
pub(super) struct Ledger {
    max_held: usize,
    /// How many grants are held.
    count: usize,
    /// By issuer, then by receiver.
    held: BTreeMap<NodeId, BTreeMap<NodeId, Held>>,
    /// By receiver: the issuers whose grant it has not acknowledged.
    mailboxes: BTreeMap<NodeId, BTreeSet<NodeId>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { max_held: MAX_HELD, count: 0, held: BTreeMap::new(), mailboxes: BTreeMap::new() }
    }
}

#[derive(Debug)]
struct Held {
    grant: SignedGrant,
    waiting: bool,
}

/// The grant in `signed`, if its issuer signed it, is the caller, and meant
/// another node of this network.
pub(super) fn believed(signed: &SignedGrant, caller: NodeId, network: u16) -> Option<&Grant> {
    let claimed = signed.assume_verified();
    if claimed.from != caller || claimed.to == caller || claimed.network != network {
        return None;
    }
    let bytes = postcard::serialize_with_flavor::<_, _, usize>(
        signed,
        postcard::ser_flavors::Size::default(),
    );
    if bytes.is_ok_and(|bytes| bytes <= MAX_GRANT_BYTES) { signed.verify().ok() } else { None }
}

impl Ledger {
    /// Whether each holds the other's live grant.
    pub(super) fn is_mutual(&self, one: &NodeId, other: &NodeId, now: Timestamp) -> bool {
        self.is_live(one, other, now) && self.is_live(other, one, now)
    }

    /// Those to whom `from` ever granted something.
    pub(super) fn granted_by(&self, from: &NodeId) -> impl Iterator<Item = NodeId> {
        self.held.get(from).into_iter().flat_map(|held| held.keys().copied())
    }

    /// The issuers of what waits for `to`.
    pub(super) fn waiting_for(&self, to: &NodeId) -> impl Iterator<Item = NodeId> {
        self.mailboxes.get(to).into_iter().flat_map(|issuers| issuers.iter().copied())
    }

    /// The receivers for whom something of `from` waits.
    pub(super) fn waiting_from(&self, from: &NodeId) -> Vec<NodeId> {
        let held = self.held.get(from).into_iter().flatten();
        held.filter(|(_, held)| held.waiting).map(|(to, _)| *to).collect()
    }

    /// What waits for `to` from `from`.
    pub(super) fn waiting(&self, from: &NodeId, to: &NodeId) -> Option<&SignedGrant> {
        self.get(from, to).filter(|held| held.waiting).map(|held| &held.grant)
    }

    /// Takes a grant that is believed, unless one of its serial or a higher
    /// one was held before, or there is no room.
    ///
    /// What comes from a node that the receiver trusts always finds room, so
    /// strangers cannot keep out its revocation or its half of the trust. The
    /// receiver's own grants bound how many those are.
    pub(super) fn put(&mut self, signed: &SignedGrant, now: Timestamp) -> PutGrant {
        let grant = signed.assume_verified();
        let (from, to) = (grant.from, grant.to);
        if let Some(held) = self.get(&from, &to) {
            let serial = held.grant.assume_verified().serial;
            if grant.serial <= serial {
                return PutGrant::Stale { serial };
            }
        } else if self.count >= self.max_held
            || self.held.get(&from).is_some_and(|held| held.len() >= MAX_RECEIVERS)
        {
            return PutGrant::MailboxFull;
        }
        let mailbox = self.mailboxes.get(&to);
        let fits = mailbox
            .is_none_or(|mailbox| mailbox.len() < MAX_WAITING_GRANTS || mailbox.contains(&from));
        if !fits && !self.is_live(&to, &from, now) {
            return PutGrant::MailboxFull;
        }
        self.restore(signed.clone(), true);
        PutGrant::Stored
    }

    /// The receiver has it. Whether that is news: another serial than the one
    /// held, or one that was delivered before, is not.
    pub(super) fn deliver(&mut self, from: &NodeId, to: &NodeId, serial: u64) -> bool {
        let Some(held) = self.held.get_mut(from).and_then(|held| held.get_mut(to)) else {
            return false;
        };
        if !held.waiting || held.grant.assume_verified().serial != serial {
            return false;
        }
        held.waiting = false;
        self.take_out(from, to);
        true
    }

    /// Holds `grant` whatever was held before.
    pub(super) fn restore(&mut self, grant: SignedGrant, waiting: bool) {
        let (from, to) = (grant.assume_verified().from, grant.assume_verified().to);
        if waiting {
            self.mailboxes.entry(to).or_default().insert(from);
        } else {
            self.take_out(&from, &to);
        }
        if self.held.entry(from).or_default().insert(to, Held { grant, waiting }).is_none() {
            self.count += 1;
        }
    }

    fn take_out(&mut self, from: &NodeId, to: &NodeId) {
        if let Some(mailbox) = self.mailboxes.get_mut(to) {
            mailbox.remove(from);
            if mailbox.is_empty() {
                self.mailboxes.remove(to);
            }
        }
    }

    fn is_live(&self, from: &NodeId, to: &NodeId, now: Timestamp) -> bool {
        self.get(from, to).is_some_and(|held| held.grant.assume_verified().is_live(now))
    }

    fn get(&self, from: &NodeId, to: &NodeId) -> Option<&Held> {
        self.held.get(from)?.get(to)
    }
}

#[cfg(test)]
mod tests {
    use pilot_identity::{NodeKey, Scopes};
    use zeroize::Zeroizing;

    use super::*;

    fn grant(from: u8, to: u8, serial: u64) -> SignedGrant {
        let key = |seed| NodeKey::from_seed(&Zeroizing::new([seed; 32]));
        let grant = Grant {
            from: key(from).id(),
            to: key(to).id(),
            network: 1,
            scopes: Scopes::ALL,
            issued_at: Timestamp::default(),
            expires_at: None,
            serial,
        };
        grant.sign(&key(from))
    }

    #[test]
    fn all_nodes_together_hold_a_bounded_number_of_grants() {
        let mut ledger = Ledger { max_held: 2, ..Ledger::default() };
        let mut put = |from, to, serial| ledger.put(&grant(from, to, serial), Timestamp::default());

        assert_eq!(put(1, 2, 1), PutGrant::Stored);
        assert_eq!(put(2, 1, 1), PutGrant::Stored);
        assert_eq!(put(3, 1, 1), PutGrant::MailboxFull);
        assert_eq!(put(1, 2, 2), PutGrant::Stored, "a known pair goes on");
        assert_eq!(put(3, 1, 1), PutGrant::MailboxFull);
    }
}
