//! Three nodes and a postman who shuffles, repeats, loses, misdirects and keeps
//! every grant, beside a reference that knows only what each node last wanted.

use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{Received, TrustState, Via};

const NODES: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Grant {
        from: usize,
        to: usize,
        expires: bool,
    },
    Revoke {
        from: usize,
        to: usize,
    },
    /// Any grant ever signed, to any node.
    Post {
        grant: prop::sample::Index,
        to: usize,
    },
    /// The node falls over and starts from what it wrote.
    Crash {
        node: usize,
    },
    /// The node starts from an empty disk, with its key.
    Forget {
        node: usize,
    },
}

/// After this everything that expires has.
const LATER: Timestamp = at(50_000);
const EXPIRY: Timestamp = at(10_000);

fn step() -> impl Strategy<Value = Step> {
    let node = 0..NODES;
    prop_oneof![
        4 => (node.clone(), node.clone(), any::<bool>())
            .prop_map(|(from, to, expires)| Step::Grant { from, to, expires }),
        2 => (node.clone(), node.clone()).prop_map(|(from, to)| Step::Revoke { from, to }),
        8 => (any::<prop::sample::Index>(), node.clone())
            .prop_map(|(grant, to)| Step::Post { grant, to }),
        1 => node.clone().prop_map(|node| Step::Crash { node }),
        1 => node.prop_map(|node| Step::Forget { node }),
    ]
}

/// What one node last wanted of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Nothing,
    Grant { expires: bool },
    Revoked,
}

struct World {
    nodes: Vec<Trust>,
    disks: Vec<BTreeMap<NodeId, Vec<u8>>>,
    wishes: [[Wish; NODES]; NODES],
    signed: Vec<SignedGrant>,
    /// One millisecond a step.
    clock: Timestamp,
}

fn seed(node: usize) -> u8 {
    u8::try_from(node + 1).unwrap()
}

impl World {
    fn new() -> Self {
        Self {
            nodes: (0..NODES).map(|node| super::node(seed(node))).collect(),
            disks: vec![BTreeMap::new(); NODES],
            wishes: [[Wish::Nothing; NODES]; NODES],
            signed: Vec::new(),
            clock: NOW,
        }
    }

    fn settle(&mut self, node: usize) {
        let outputs = drain(&mut self.nodes[node]);
        write(&mut self.disks[node], &outputs);
        self.signed.extend(delivered(outputs));
    }

    fn restart(&mut self, node: usize) {
        let rows = read(&self.disks[node]);
        let key = Arc::new(key(seed(node)));
        self.nodes[node] = Trust::restore(key, Some(NETWORK), rows, NOW).unwrap();
    }

    fn take(&mut self, step: Step) {
        self.clock = self.clock.saturating_add(Duration::from_millis(1));
        let now = self.clock;
        match step {
            Step::Grant { from, to, expires } if from != to => {
                let terms = GrantTerms { expires_at: expires.then_some(EXPIRY), ..TERMS };
                self.nodes[from].grant(id(seed(to)), terms, now).unwrap();
                self.wishes[from][to] = Wish::Grant { expires };
                self.settle(from);
            }
            Step::Revoke { from, to } if from != to => {
                if self.nodes[from].revoke(id(seed(to)), now).is_ok() {
                    self.wishes[from][to] = Wish::Revoked;
                }
                self.settle(from);
            }
            Step::Grant { .. } | Step::Revoke { .. } => {}
            Step::Post { grant, to } => {
                if !self.signed.is_empty() {
                    let grant = grant.get(&self.signed).clone();
                    self.nodes[to].handle_grant(&grant, None, now);
                    self.settle(to);
                }
            }
            Step::Crash { node } => self.restart(node),
            Step::Forget { node } => {
                self.disks[node].clear();
                self.wishes[node] = [Wish::Nothing; NODES];
                self.restart(node);
            }
        }
    }

    /// Brings every node's newest grant to its receiver, with the answers
    /// that a real connection gives.
    fn deliver_all(&mut self) {
        for from in 0..NODES {
            for to in 0..NODES {
                for _ in 0..3 {
                    let (me, peer) = (id(seed(from)), id(seed(to)));
                    let newest = self.nodes[from].record(peer).and_then(|r| r.ours.clone());
                    let Some(newest) = newest else { break };
                    let serial = newest.assume_verified().serial;
                    match self.nodes[to].handle_grant(&newest, None, NOW) {
                        Received::Stored | Received::Duplicate => {
                            self.nodes[from].handle_delivered(peer, serial, Via::Peer);
                            assert!(self.nodes[from].undelivered(NOW).all(|(id, _)| id != peer));
                            break;
                        }
                        Received::Stale { serial } => {
                            self.nodes[from].handle_peer_serial(peer, serial, Via::Peer, NOW);
                        }
                        unexpected @ (Received::Invalid | Received::Full) => {
                            panic!("{me:?} to {peer:?}: {unexpected:?}")
                        }
                    }
                }
                self.settle(from);
                self.settle(to);
            }
        }
    }

    /// Every grant ever signed, to its receiver, the oldest last.
    fn post_all_again(&mut self) {
        for grant in self.signed.iter().rev() {
            let to = grant.assume_verified().to;
            for node in self.nodes.iter_mut().filter(|node| node.me() == to) {
                node.handle_grant(grant, None, NOW);
            }
        }
    }

    fn wants(&self, from: usize, to: usize, now: Timestamp) -> bool {
        match self.wishes[from][to] {
            Wish::Grant { expires } => !expires || now < EXPIRY,
            Wish::Nothing | Wish::Revoked => false,
        }
    }

    /// Whether `to` still counts an old grant of a node that has forgotten it
    /// and so cannot take it back.
    fn is_forgotten(&self, from: usize, to: usize) -> bool {
        self.wishes[from][to] == Wish::Nothing
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_trust_ends_as_both_last_wanted(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            for a in 0..NODES {
                for b in (0..NODES).filter(|b| *b != a) {
                    // Nobody is trusted whom this node does not want, whatever was posted.
                    let mutual = world.nodes[a].is_mutual(id(seed(b)), NOW);
                    prop_assert!(!mutual || world.wants(a, b, NOW), "{a} with {b}");
                }
            }
        }

        world.deliver_all();
        world.post_all_again();

        for now in [NOW, LATER] {
            for a in 0..NODES {
                world.nodes[a].handle_timeout(now);
                for b in (0..NODES).filter(|b| *b != a) {
                    let state = world.nodes[a].state(id(seed(b)), now);
                    let (ours, theirs) = (world.wants(a, b, now), world.wants(b, a, now));
                    if world.is_forgotten(b, a) {
                        prop_assert_eq!(
                            matches!(state, TrustState::Requested | TrustState::Mutual), ours);
                    } else {
                        prop_assert_eq!(state == TrustState::Mutual, ours && theirs);
                        prop_assert_eq!(state == TrustState::Requested, ours && !theirs);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_on_disk_is_what_the_machine_knows(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }

        for node in 0..NODES {
            let before: Vec<PeerRecord> =
                world.nodes[node].peers(NOW).map(|(record, _)| record.clone()).collect();
            world.restart(node);
            let after: Vec<PeerRecord> =
                world.nodes[node].peers(NOW).map(|(record, _)| record.clone()).collect();
            prop_assert_eq!(before, after);
        }
    }
}
