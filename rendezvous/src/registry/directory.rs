//! Which key has which address and name, and what it says about itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::registry::Register;
use pilot_proto::{Address, Endpoints, MAX_ENDPOINTS, NodeName, Tags};

use super::canonical;

/// A registered node, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The node number of its address.
    pub number: u32,
    /// Its name.
    pub name: Option<NodeName>,
    /// What it says about itself.
    pub tags: Tags,
    /// Whether anybody may see it.
    pub public: bool,
    /// Where it is to be found, with the observed address.
    pub endpoints: Endpoints,
    /// When it last registered, or was last connected.
    pub last_seen: Timestamp,
}

/// What a registration changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// The key was not registered before.
    pub(super) is_new: bool,
    /// Others see a difference.
    pub(super) is_visible: bool,
    /// The wanted name belongs to another key.
    pub(super) name_taken: bool,
}

#[derive(Debug)]
pub(super) struct Directory {
    network: u16,
    max_nodes: u32,
    /// The highest number ever given, also to a node that is released.
    last_number: u32,
    nodes: BTreeMap<NodeId, Node>,
    numbers: BTreeMap<u32, NodeId>,
    names: BTreeMap<NodeName, NodeId>,
    public: BTreeSet<u32>,
}

impl Directory {
    pub(super) const fn new(network: u16, max_nodes: u32) -> Self {
        Self {
            network,
            max_nodes,
            last_number: 0,
            nodes: BTreeMap::new(),
            numbers: BTreeMap::new(),
            names: BTreeMap::new(),
            public: BTreeSet::new(),
        }
    }

    pub(super) const fn network(&self) -> u16 {
        self.network
    }

    pub(super) const fn address(&self, number: u32) -> Address {
        Address::new(self.network, number)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn get(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(super) fn by_address(&self, address: Address) -> Option<NodeId> {
        if address.network() == self.network {
            self.numbers.get(&address.node()).copied()
        } else {
            None
        }
    }

    pub(super) fn by_number(&self, number: u32) -> Option<NodeId> {
        self.numbers.get(&number).copied()
    }

    pub(super) fn by_name(&self, name: &NodeName) -> Option<NodeId> {
        self.names.get(name).copied()
    }

    /// The numbers of public nodes above `after`, ascending.
    pub(super) fn public_after(&self, after: u32) -> impl Iterator<Item = u32> {
        let from = after.checked_add(1);
        from.into_iter().flat_map(|from| self.public.range(from..).copied())
    }

    /// Registers `id`, with the number it has or the next one. The name is its
    /// own until it takes another or is released; wanting none keeps it.
    /// `None` if no number is left.
    pub(super) fn register(
        &mut self,
        id: NodeId,
        wanted: Register,
        observed: Option<SocketAddr>,
        now: Timestamp,
    ) -> Option<Change> {
        let before = self.nodes.get(&id);
        let number = match before {
            Some(node) => node.number,
            None => self.free_number()?,
        };
        let name_taken = wanted
            .name
            .as_ref()
            .is_some_and(|name| self.names.get(name).is_some_and(|owner| *owner != id));
        let kept = before.and_then(|node| node.name.clone());
        let node = Node {
            number,
            name: wanted.name.filter(|_| !name_taken).or(kept),
            tags: wanted.tags,
            public: wanted.public,
            endpoints: match observed.filter(|_| !wanted.fixed) {
                Some(observed) => with_observed(&wanted.endpoints, canonical(observed)),
                None => wanted.endpoints,
            },
            last_seen: now,
        };
        let is_visible = before
            .is_none_or(|before| *before != Node { last_seen: before.last_seen, ..node.clone() });
        let is_new = before.is_none();
        self.insert(id, node);
        Some(Change { is_new, is_visible, name_taken })
    }

    /// Notes when `id` was last connected; gives its number.
    pub(super) fn seen(&mut self, id: &NodeId, now: Timestamp) -> Option<u32> {
        let node = self.nodes.get_mut(id)?;
        node.last_seen = now;
        Some(node.number)
    }

    /// Forgets `id`; gives the number that was its.
    pub(super) fn release(&mut self, id: &NodeId) -> Option<u32> {
        let node = self.nodes.remove(id)?;
        self.unindex(&node);
        Some(node.number)
    }

    pub(super) fn restore(&mut self, id: NodeId, node: Node) {
        self.insert(id, node);
    }

    pub(super) fn restore_released(&mut self, number: u32) {
        self.last_number = self.last_number.max(number);
    }

    fn free_number(&self) -> Option<u32> {
        if self.nodes.len() >= usize::try_from(self.max_nodes).unwrap_or(usize::MAX) {
            return None;
        }
        self.last_number.checked_add(1)
    }

    fn insert(&mut self, id: NodeId, node: Node) {
        if let Some(before) = self.nodes.remove(&id) {
            self.unindex(&before);
        }
        self.last_number = self.last_number.max(node.number);
        self.numbers.insert(node.number, id);
        if let Some(name) = &node.name {
            self.names.insert(name.clone(), id);
        }
        if node.public {
            self.public.insert(node.number);
        }
        self.nodes.insert(id, node);
    }

    fn unindex(&mut self, node: &Node) {
        self.numbers.remove(&node.number);
        self.public.remove(&node.number);
        if let Some(name) = &node.name {
            self.names.remove(name);
        }
    }
}

/// The node's own addresses, then the observed one; it takes the last place
/// if there is none left.
fn with_observed(own: &Endpoints, observed: SocketAddr) -> Endpoints {
    let own = own.as_slice();
    let kept = if own.contains(&observed) { MAX_ENDPOINTS } else { MAX_ENDPOINTS - 1 };
    Endpoints::new(own.iter().take(kept).copied().chain([observed]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn the_observed_address_is_always_among_the_endpoints() {
        let nine = Endpoints::new((1..=9).map(endpoint));

        let few = with_observed(&Endpoints::new([endpoint(1)]), endpoint(50));
        let full = with_observed(&nine, endpoint(50));
        let known = with_observed(&nine, endpoint(8));

        assert_eq!(few.as_slice(), [endpoint(1), endpoint(50)]);
        assert_eq!(full.as_slice().len(), MAX_ENDPOINTS);
        assert_eq!(full.as_slice().last(), Some(&endpoint(50)));
        assert_eq!(known, nine);
    }
}
