//! Worlds that many tests use.

use std::time::Duration;

use crate::nat::{Kind, NatRules, PortRule, at};
use crate::packet::NodeIx;
use crate::world::{INTERNET, World};

/// Where the NATs of the two homes are on the internet.
pub(crate) const HOME_A: &str = "198.51.100.2";
pub(crate) const HOME_B: &str = "198.51.100.3";

/// Two nodes, each at home behind a NAT, and two beacons, the second one further away.
pub(crate) struct Homes {
    pub(crate) world: World,
    pub(crate) a: NodeIx,
    pub(crate) b: NodeIx,
    pub(crate) nat_a: usize,
    pub(crate) nat_b: usize,
}

impl Homes {
    pub(crate) fn new(seed: u64, a: NatRules, b: NatRules) -> Self {
        let mut world = World::new(seed);
        world.add_beacon(["203.0.113.10", "203.0.113.12"]);
        world.add_beacon(["203.0.113.20", "203.0.113.22"]);
        world.delays.insert(at("203.0.113.20", 0).ip(), Duration::from_millis(25));
        let (nat_a, lan_a) = world.add_nat(INTERNET, HOME_A, a);
        let (nat_b, lan_b) = world.add_nat(INTERNET, HOME_B, b);
        let node_a = world.add_node(lan_a, "192.168.1.11");
        let node_b = world.add_node(lan_b, "192.168.2.11");
        know(&mut world, node_a, a.kind);
        know(&mut world, node_b, b.kind);
        world.introduce(node_a, node_b);
        // Both are bound and quiet before the story begins.
        world.run_for(Duration::from_secs(2));
        Self { world, a: node_a, b: node_b, nat_a, nat_b }
    }

    /// Kinds alone.
    pub(crate) fn of(seed: u64, a: Kind, b: Kind, ports: PortRule) -> Self {
        Self::new(seed, NatRules::new(a, ports), NatRules::new(b, ports))
    }

    /// One of the two opens a session; traffic flows both ways.
    pub(crate) fn talk(&mut self) {
        self.world.want(self.a, self.b, true);
        self.world.traffic(self.a, self.b, true);
        self.world.run_for(Duration::from_millis(50));
        self.world.want(self.b, self.a, true);
    }

    /// Talks until both are direct.
    pub(crate) fn talk_direct(&mut self) {
        self.talk();
        let (a, b) = (self.a, self.b);
        let took = self.world.run_until(Duration::from_secs(5), |world| world.both_direct(a, b));
        assert!(took.is_some(), "never direct: {}", self.story());
        self.world.run_for(Duration::from_secs(3));
    }

    pub(crate) fn both_direct(&self) -> bool {
        self.world.both_direct(self.a, self.b)
    }

    pub(crate) fn story(&self) -> String {
        self.world.story(self.a, self.b)
    }

    /// The longest silence that either of the two has heard.
    pub(crate) fn longest_gap(&self, from: Duration, until: Duration) -> Duration {
        let there = self.world.peer(self.a, self.b).longest_gap(from, until);
        there.max(self.world.peer(self.b, self.a).longest_gap(from, until))
    }
}

/// The node knows its NAT, as if it had found out before.
pub(crate) fn know(world: &mut World, node: NodeIx, kind: Kind) {
    world.nodes[node.0].know(kind);
}
