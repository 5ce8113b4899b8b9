//! `doctor`: gathers what the checks look at.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use pilot_local_api::doctor::{DoctorQuery, DoctorView};
use pilot_overlay::DialError;
use pilot_proto::PeerRef;
use pilot_proto::registry::View;
use pilot_transport::local_candidates;
use pilot_trust::TrustState;
use tokio::time::timeout;

use super::extract::Params;
use super::failure::Failure;
use super::{peers, status};
use crate::clock;
use crate::doctor::{Facts, PeerFacts, PeerTrouble, Reached, findings};
use crate::node::Node;

/// How long is waited if nothing is said, and at the most.
const WAIT: Duration = Duration::from_secs(10);
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Names of those who ask for trust that are listed.
const MAX_NAMES: usize = 10;

/// Everything that was looked at, and what mends it.
#[utoipa::path(get, path = "/v1/doctor", tag = "node",
    params(("peer" = Option<String>, Query), ("wait_ms" = Option<u64>, Query),
        ("client" = Option<String>, Query)),
    responses((status = 200, body = DoctorView)))]
pub(crate) async fn doctor(
    State(node): State<Arc<Node>>,
    Params(query): Params<DoctorQuery>,
) -> Result<Json<DoctorView>, Failure> {
    let peer = match &query.peer {
        Some(text) => Some(read(&node, text)?),
        None => None,
    };
    let patience = query.wait_ms.map_or(WAIT, Duration::from_millis).min(MAX_WAIT);
    let looked_at = async {
        match peer {
            Some(wanted) => Some(look_at(&node, wanted, patience).await),
            None => None,
        }
    };
    let (_, peer) = tokio::join!(node.network().settled(patience), looked_at);
    let facts = facts(&node, query.client);
    Ok(Json(DoctorView { findings: findings(&facts, peer.as_ref()) }))
}

/// The peer that a user means, who must be another node.
fn read(node: &Node, text: &str) -> Result<PeerRef, Failure> {
    let wanted = text.parse().map_err(|error| Failure::invalid(format!("{text:?}: {error}")))?;
    let own = node.identity();
    let is_own = match &wanted {
        PeerRef::Address(address) => own.address == Some(*address),
        PeerRef::Name(name) => own.name.as_ref() == Some(name),
        PeerRef::Key(key) => own.public_key == *key,
    };
    match is_own {
        true => {
            Err(Failure::invalid(format!("{wanted} is this node itself")).hint("pilotctl doctor"))
        }
        false => Ok(wanted),
    }
}

fn facts(node: &Node, client: Option<String>) -> Facts {
    let disk = status::disk(node);
    let net = node.network().report();
    let rendezvous =
        node.overlay().registry().map(|line| (line.addr().at.to_string(), line.status()));
    let (mut trusted, mut asking) = (Vec::new(), Vec::new());
    node.trust().look(|trust, now| {
        for (record, standing) in trust.peers(now) {
            match standing.state {
                TrustState::Mutual => trusted.push(record.peer),
                TrustState::Pending if asking.len() < MAX_NAMES => asking.push(record.peer),
                TrustState::Pending | TrustState::Requested | TrustState::None => {}
            }
        }
    });
    let name = |id| {
        let identity = node.peer_identity(id);
        let address = identity.address.map(|address| address.to_string());
        let name = identity.name.map(|name| name.to_string());
        match (name, address) {
            (Some(name), Some(address)) => format!("{name} ({address})"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => identity.public_key.to_string(),
        }
    };
    let own = node.identity();
    let interfaces = local_candidates(node.overlay().local_addr());
    Facts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        client,
        pid: std::process::id(),
        uptime: node.uptime(),
        home: node.home().to_owned(),
        home_mode: fs::metadata(node.home()).ok().map(|home| home.mode() & 0o777),
        free_bytes: disk.free_bytes,
        disk_full: disk.full,
        rendezvous,
        wanted_name: node.settings().name.clone(),
        name_taken: node.registration().get().name_taken,
        own: own.address.map_or_else(|| own.public_key.to_string(), |own| own.to_string()),
        endpoint: node.settings().endpoint,
        interfaces: interfaces.iter().map(std::net::SocketAddr::ip).collect(),
        udp: node.network().passes_udp(&net),
        net,
        paths: node.network().count(&trusted),
        asking: asking.into_iter().map(name).collect(),
        now: clock::now(),
    }
}

/// Tries how far one gets with a peer.
async fn look_at(node: &Node, wanted: PeerRef, patience: Duration) -> PeerFacts {
    let found = match node.directory().introduce(&wanted).await {
        Ok((id, _)) => Ok(reached(node, id, patience).await),
        Err(error) => Err(error),
    };
    PeerFacts { wanted, found }
}

async fn reached(node: &Node, id: pilot_identity::NodeId, patience: Duration) -> Reached {
    let state = node.trust().standing(id).state;
    if state != TrustState::Mutual {
        return Reached::Untrusted(state);
    }
    let trouble = match timeout(patience, node.overlay().session(id)).await {
        Ok(Ok(session)) => match timeout(patience, peers::echo(&session)).await {
            Ok(Ok(())) => return Reached::Answered(node.network().path(&id)),
            Ok(Err(_)) | Err(_) => PeerTrouble::Silent,
        },
        Ok(Err(error)) => match error {
            DialError::NotTrusted | DialError::NotTrustedThere => PeerTrouble::NotTrustedThere,
            DialError::WrongKey => PeerTrouble::OtherKey,
            DialError::Version => PeerTrouble::Version,
            DialError::NoEndpoint
            | DialError::Unreachable(_)
            | DialError::Hello(_)
            | DialError::Stopping => PeerTrouble::Silent,
        },
        Err(_) => PeerTrouble::Silent,
    };
    let online = match node.directory().resolve(&PeerRef::Key(id)).await {
        Ok(View::Known(record)) => Some(record.boot.is_some()),
        Ok(View::Private { .. }) | Err(_) => None,
    };
    Reached::Failed { trouble, online }
}
