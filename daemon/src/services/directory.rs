//! Finds the key that a user means by an address, a name or a key.

use std::sync::Arc;

use pilot_identity::NodeId;
use pilot_overlay::{Overlay, RegistryError};
use pilot_proto::registry::{Answer, NodeRecord, RefusalCode, Request, View};
use pilot_proto::{Address, NodeName, PeerRef};
use pilot_trust::{CardSource, IdentityChanged, Trust};

use super::trust::TrustService;

/// Names this much alike (Jaro-Winkler, 0 to 1) are offered for a name that nobody has.
const ALIKE: f64 = 0.7;

/// Names that are offered at the most.
const MAX_OFFERED: usize = 3;

/// Who is who, from the own tables first and from the rendezvous where they do not tell.
#[derive(Clone)]
pub(crate) struct Directory {
    trust: Arc<TrustService>,
    overlay: Overlay,
}

/// Why a peer is not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FindError {
    #[error("nobody is called {wanted}")]
    Unknown { wanted: PeerRef, nearest: Vec<String> },
    #[error("this node does not know {wanted}, and the rendezvous cannot be asked")]
    Registry { wanted: PeerRef, source: RegistryError },
    #[error(transparent)]
    IdentityChanged(#[from] IdentityChanged),
}

impl Directory {
    pub(crate) const fn new(trust: Arc<TrustService>, overlay: Overlay) -> Self {
        Self { trust, overlay }
    }

    /// The key of a peer that this node may have dealings with already. A
    /// private peer that does not trust this node is not found by its name.
    pub(crate) async fn find(&self, wanted: &PeerRef) -> Result<NodeId, FindError> {
        match (self.trust.look(|trust, _| trust.find(wanted)), wanted) {
            (Some(id), _) | (None, &PeerRef::Key(id)) => Ok(id),
            (None, PeerRef::Address(_) | PeerRef::Name(_)) => match self.resolve(wanted).await? {
                View::Known(record) => Ok(record.id),
                View::Private { address } => self.key_of(wanted, address).await,
            },
        }
    }

    /// The key of a peer that is to be trusted, and the address to pin it to.
    ///
    /// An address is looked up at the rendezvous even if it is pinned, so
    /// that a changed key is noticed; without the rendezvous the pin, or what
    /// it said when the peer asked for trust, is believed.
    pub(crate) async fn introduce(
        &self,
        wanted: &PeerRef,
    ) -> Result<(NodeId, Option<Address>), FindError> {
        let PeerRef::Address(address) = *wanted else {
            let id = match self.trust.look(|trust, now| asking(trust, now, wanted)) {
                Some(id) => id,
                None => self.find(wanted).await?,
            };
            let card =
                self.trust.look(|trust, _| trust.record(id).and_then(|record| record.card.clone()));
            let given = card.filter(|card| card.source == CardSource::Registry);
            return Ok((id, given.and_then(|card| card.address)));
        };
        let id = match self.key_of(wanted, address).await {
            Ok(id) => id,
            Err(error @ FindError::Registry { .. }) => self
                .trust
                .look(|trust, now| trust.find(wanted).or_else(|| asking(trust, now, wanted)))
                .ok_or(error)?,
            Err(error) => return Err(error),
        };
        self.trust.look(|trust, _| trust.check_pin(address, id))?;
        Ok((id, Some(address)))
    }

    /// What the rendezvous shows this node of a peer.
    pub(crate) async fn resolve(&self, wanted: &PeerRef) -> Result<View, FindError> {
        let answer = self.ask(wanted, &Request::Resolve(wanted.clone())).await?;
        let Answer::Record(view) = answer else { return Err(confused(wanted)) };
        Ok(view)
    }

    /// Every node that the rendezvous shows this one, at most `limit`.
    pub(crate) async fn roster(&self, limit: usize) -> Result<Vec<NodeRecord>, RegistryError> {
        let registry = self.overlay.registry().ok_or(RegistryError::NotConfigured)?;
        let mut found: Vec<NodeRecord> = Vec::new();
        loop {
            let after = found.last().map(|record| record.address);
            let answer = registry.ask(&Request::Roster { after, tag: None }).await?;
            let Answer::Roster { records, more } = answer else {
                return Err(RegistryError::Confused);
            };
            let last = records.is_empty() || !more;
            found.extend(records);
            if last || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
    }

    async fn key_of(&self, wanted: &PeerRef, address: Address) -> Result<NodeId, FindError> {
        let answer = self.ask(wanted, &Request::KeyOf(address)).await?;
        let Answer::Key(id) = answer else { return Err(confused(wanted)) };
        Ok(id)
    }

    async fn ask(&self, wanted: &PeerRef, request: &Request) -> Result<Answer, FindError> {
        let asked = match self.overlay.registry() {
            Some(registry) => registry.ask(request).await,
            None => Err(RegistryError::NotConfigured),
        };
        asked.map_err(|source| {
            let wanted = wanted.clone();
            if let RegistryError::Refused(refusal) = &source
                && refusal.code == RefusalCode::NotFound
            {
                let nearest = self.nearest(&wanted);
                return FindError::Unknown { wanted, nearest };
            }
            FindError::Registry { wanted, source }
        })
    }

    /// Known names that look like the wanted one.
    fn nearest(&self, wanted: &PeerRef) -> Vec<String> {
        let wanted = wanted.to_string();
        let names: Vec<NodeName> = self.trust.look(|trust, now| {
            let cards = trust.peers(now).filter_map(|(record, _)| record.card.as_ref());
            cards.filter_map(|card| card.name.clone()).collect()
        });
        let mut alike: Vec<(f64, String)> = names
            .into_iter()
            .map(|name| (strsim::jaro_winkler(name.as_str(), &wanted), name.to_string()))
            .filter(|(likeness, _)| *likeness >= ALIKE)
            .collect();
        alike.sort_by(|a, b| b.0.total_cmp(&a.0));
        alike.into_iter().map(|(_, name)| name).take(MAX_OFFERED).collect()
    }
}

/// The peer that asks for trust under this address or name, as the rendezvous
/// said when it passed the request on; none if that is no one or more than one.
fn asking(trust: &Trust, now: pilot_identity::Timestamp, wanted: &PeerRef) -> Option<NodeId> {
    let mut asking = trust.pending(now).filter(|record| {
        let card = record.card.as_ref().filter(|card| card.source == CardSource::Registry);
        card.is_some_and(|card| match wanted {
            PeerRef::Address(address) => card.address == Some(*address),
            PeerRef::Name(name) => card.name.as_ref() == Some(name),
            PeerRef::Key(id) => record.peer == *id,
        })
    });
    match (asking.next(), asking.next()) {
        (Some(record), None) => Some(record.peer),
        (None | Some(_), _) => None,
    }
}

fn confused(wanted: &PeerRef) -> FindError {
    FindError::Registry { wanted: wanted.clone(), source: RegistryError::Confused }
}
