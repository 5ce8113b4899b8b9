//! `peers`, `resolve` and `ping`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use pilot_identity::NodeId;
use pilot_local_api::peers::{PathKind, PeerView, PeersQuery, PingQuery, PingView, ResolveView};
use pilot_local_api::trust::TrustState;
use pilot_local_api::{ErrorCode, Time};
use pilot_overlay::{Card, RegistryError, Session};
use pilot_proto::registry::{NodeRecord, View};
use pilot_proto::{PeerRef, Service, Tag};
use pilot_transport::FramedError;
use tokio::time::timeout;

use super::extract::{Params, Peer};
use super::failure::Failure;
use super::network::micros;
use super::trust::state_word;
use crate::node::Node;
use crate::services::FindError;
use crate::services::network::PeerPath;
use crate::services::polo;

/// Peers shown at the most.
const MAX_PEERS: usize = 10_000;

/// How long a ping waits if nothing is said.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What an echo carries.
const PING: &[u8; 8] = b"pilot/1?";

/// The nodes this one may see, and those it has dealings with.
#[utoipa::path(get, path = "/v1/peers", tag = "peers", params(("tag" = Option<String>, Query)),
    responses((status = 200, body = Vec<PeerView>)))]
pub(crate) async fn peers(
    State(node): State<Arc<Node>>,
    Params(query): Params<PeersQuery>,
) -> Result<Json<Vec<PeerView>>, Failure> {
    let tags = query.tag.unwrap_or_default();
    let tags: Vec<Tag> = tags
        .split(',')
        .filter(|tag| !tag.is_empty())
        .map(|tag| tag.parse().map_err(|error| Failure::invalid(format!("{tag:?}: {error}"))))
        .collect::<Result<_, _>>()?;
    let roster = match node.directory().roster(MAX_PEERS).await {
        Ok(records) => records,
        // The peers known here are shown all the same.
        Err(
            RegistryError::NotConfigured
            | RegistryError::NotConnected
            | RegistryError::TimedOut
            | RegistryError::Line(_),
        ) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut found: BTreeMap<NodeId, Option<NodeRecord>> = node.trust().look(|trust, now| {
        let dealings = trust
            .peers(now)
            .filter(|(_, standing)| !matches!(standing.state, pilot_trust::TrustState::None));
        dealings.map(|(record, _)| (record.peer, None)).collect()
    });
    found.extend(roster.into_iter().map(|record| (record.id, Some(record))));
    found.remove(&node.id());
    let views = found.into_iter().map(|(id, record)| peer_view(&node, id, record));
    let mut views: Vec<PeerView> =
        views.filter(|view| tags.iter().all(|tag| view.tags.contains(tag))).collect();
    let ids: Vec<NodeId> = views.iter().map(|view| view.identity.public_key).collect();
    let polos = polos(&node, &ids).await;
    for view in &mut views {
        view.polo = polos.get(&view.identity.public_key).copied();
    }
    Ok(Json(views))
}

/// The polo of those of whom it is told; of nobody, if nobody tells.
async fn polos(node: &Node, ids: &[NodeId]) -> BTreeMap<NodeId, i64> {
    match polo::polos(node.overlay(), ids).await {
        Ok(polos) => polos.into_iter().map(|(id, polo)| (id, polo.into())).collect(),
        Err(error) => {
            tracing::debug!(%error, "no polo is told");
            BTreeMap::new()
        }
    }
}

fn peer_view(node: &Node, id: NodeId, record: Option<NodeRecord>) -> PeerView {
    let told = record.is_some();
    let card = record.map(Card::from).or_else(|| node.overlay().card(&id));
    let path = node.network().path(&id);
    let mut identity = node.peer_identity(id);
    if let Some(card) = &card {
        identity.address = identity.address.or(card.address);
        identity.name = identity.name.or_else(|| card.name.clone());
    }
    PeerView {
        identity,
        online: online(told, card.as_ref(), path.kind),
        polo: None,
        path: path.kind,
        endpoint: path.endpoint,
        transport: path.transport,
        path_reason: Some(path.reason.to_owned()),
        path_since: path.since.map(Time::from),
        rtt_us: path.rtt.map(micros),
        trust: state_word(node.trust().standing(id).state),
        last_seen: card.as_ref().and_then(|card| card.last_seen).map(Time::from),
        tags: card.map(|card| card.tags).unwrap_or_default(),
    }
}

/// Whether a peer is up: an open tunnel says yes, the rendezvous yes or no.
fn online(told: bool, card: Option<&Card>, path: PathKind) -> Option<bool> {
    match path {
        PathKind::Direct | PathKind::Relayed => Some(true),
        PathKind::Offline => told.then(|| card.is_some_and(|card| card.boot.is_some())),
    }
}

/// Everything that may be known of one peer.
#[utoipa::path(get, path = "/v1/resolve/{peer}", tag = "peers",
    params(("peer" = String, Path)), responses((status = 200, body = ResolveView)))]
pub(crate) async fn resolve(
    State(node): State<Arc<Node>>,
    Peer(peer): Peer,
) -> Result<Json<ResolveView>, Failure> {
    match node.directory().resolve(&peer).await {
        Ok(View::Known(record)) => {
            let id = record.id;
            let polo = polos(&node, &[id]).await.get(&id).copied();
            Ok(Json(ResolveView { polo, ..resolved(&node, id, Some(record)) }))
        }
        Ok(View::Private { address }) => {
            let id = node.trust().look(|trust, _| trust.find(&peer));
            let trust =
                id.map_or(TrustState::None, |id| state_word(node.trust().standing(id).state));
            Ok(Json(ResolveView {
                address: Some(address),
                visible: false,
                name: None,
                public_key: None,
                fingerprint: None,
                tags: pilot_proto::Tags::default(),
                online: None,
                polo: None,
                path: None,
                trust,
                last_seen: None,
            }))
        }
        // What is known here is better than nothing while the rendezvous is away.
        Err(error @ FindError::Registry { .. }) => {
            match node.trust().look(|trust, _| trust.find(&peer)) {
                Some(id) => Ok(Json(resolved(&node, id, None))),
                None => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn resolved(node: &Node, id: NodeId, record: Option<NodeRecord>) -> ResolveView {
    let view = peer_view(node, id, record);
    ResolveView {
        address: view.identity.address,
        visible: true,
        name: view.identity.name,
        public_key: Some(view.identity.public_key),
        fingerprint: Some(view.identity.fingerprint),
        tags: view.tags,
        online: view.online,
        polo: view.polo,
        path: (view.trust == TrustState::Trusted).then_some(view.path),
        trust: view.trust,
        last_seen: view.last_seen,
    }
}

/// One round trip over the tunnel.
#[utoipa::path(get, path = "/v1/ping/{peer}", tag = "peers",
    params(("peer" = String, Path), ("timeout_ms" = Option<u64>, Query)),
    responses((status = 200, body = PingView)))]
pub(crate) async fn ping(
    State(node): State<Arc<Node>>,
    Peer(peer): Peer,
    Params(query): Params<PingQuery>,
) -> Result<Json<PingView>, Failure> {
    let id = node.directory().find(&peer).await?;
    let patience = query.timeout_ms.map_or(PING_TIMEOUT, Duration::from_millis);
    match timeout(patience, ping_once(&node, &peer, id)).await {
        Ok(pinged) => pinged.map(Json),
        Err(_) => Err(silent(&peer)),
    }
}

/// A tunnel may turn out to be dead when it is used; the next try dials anew.
async fn ping_once(node: &Node, peer: &PeerRef, id: NodeId) -> Result<PingView, Failure> {
    for _ in 0..2 {
        let session =
            node.overlay().session(id).await.map_err(|error| Failure::dial(peer, &error))?;
        let before = node.network().path(&id);
        let started = Instant::now();
        if echo(&session).await.is_ok() {
            let rtt_us = micros(started.elapsed());
            let PeerPath { kind, endpoint, transport, .. } =
                taken(before, node.network().path(&id));
            return Ok(PingView { rtt_us, path: kind, endpoint, transport });
        }
    }
    Err(silent(peer))
}

/// The path of an answer. Where it changed meanwhile, the relayed one: nobody
/// is told that a direct path works which may only just have been found.
fn taken(before: PeerPath, after: PeerPath) -> PeerPath {
    match (before.kind, after.kind) {
        (PathKind::Relayed, _) | (PathKind::Direct, PathKind::Offline) => before,
        (PathKind::Direct | PathKind::Offline, _) => after,
    }
}

pub(super) async fn echo(session: &Session) -> Result<(), FramedError> {
    let mut stream = session.open(Service::Echo).await?;
    stream.send.write_all(PING).await?;
    stream.finish()?;
    let mut back = [0; PING.len()];
    stream.recv.read_exact(&mut back).await?;
    if back == *PING { Ok(()) } else { Err(FramedError::Ended) }
}

fn silent(peer: &PeerRef) -> Failure {
    Failure::new(ErrorCode::PeerUnreachable, format!("{peer} did not answer in time"))
        .hint(format!("pilotctl resolve {peer}"))
        .detail("peer", peer.to_string())
}
