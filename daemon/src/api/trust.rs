//! `trust` and `untrust`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use pilot_identity::{Grant, NodeId, Scope, Scopes, Timestamp};
use pilot_local_api::ErrorCode;
use pilot_local_api::trust::{TrustRequest, TrustState, TrustView};
use pilot_trust::GrantTerms;

use super::extract::{Body, Peer};
use super::failure::Failure;
use crate::clock;
use crate::node::Node;

/// Grants, and asks the peer to grant in turn.
#[utoipa::path(post, path = "/v1/trust", tag = "trust", request_body = TrustRequest,
    responses((status = 200, body = TrustView)))]
pub(crate) async fn trust(
    State(node): State<Arc<Node>>,
    Body(request): Body<TrustRequest>,
) -> Result<Json<TrustView>, Failure> {
    let (id, address) = node.directory().introduce(&request.peer).await?;
    let scopes =
        request.allow.map_or(Scopes::ALL, |allowed| allowed.into_iter().map(Scope::from).collect());
    let expires_in = request.expires_in_ms.map(Duration::from_millis);
    let terms = GrantTerms {
        address,
        scopes,
        expires_at: expires_in.map(|time| clock::now().saturating_add(time)),
        fingerprint: request.fingerprint,
    };
    node.trust().grant(id, terms).await?;
    Ok(Json(view(&node, id)))
}

/// Every peer that is trusted or asked, or asks.
#[utoipa::path(get, path = "/v1/trust", tag = "trust",
    responses((status = 200, body = Vec<TrustView>)))]
pub(crate) async fn list(State(node): State<Arc<Node>>) -> Json<Vec<TrustView>> {
    Json(views(&node, |state| !matches!(state, pilot_trust::TrustState::None)))
}

/// The peers that ask.
#[utoipa::path(get, path = "/v1/trust/pending", tag = "trust",
    responses((status = 200, body = Vec<TrustView>)))]
pub(crate) async fn pending(State(node): State<Arc<Node>>) -> Json<Vec<TrustView>> {
    Json(views(&node, |state| matches!(state, pilot_trust::TrustState::Pending)))
}

/// Trust with one peer.
#[utoipa::path(get, path = "/v1/trust/{peer}", tag = "trust", params(("peer" = String, Path)),
    responses((status = 200, body = TrustView)))]
pub(crate) async fn show(
    State(node): State<Arc<Node>>,
    Peer(peer): Peer,
) -> Result<Json<TrustView>, Failure> {
    let id = node.directory().introduce(&peer).await?.0;
    Ok(Json(view(&node, id)))
}

/// Whether trust with one peer is mutual.
#[utoipa::path(get, path = "/v1/trust/{peer}/check", tag = "trust",
    params(("peer" = String, Path)), responses((status = 200, body = TrustView)))]
pub(crate) async fn check(
    State(node): State<Arc<Node>>,
    Peer(peer): Peer,
) -> Result<Json<TrustView>, Failure> {
    let id = node.directory().introduce(&peer).await?.0;
    let view = view(&node, id);
    match view.state {
        TrustState::Trusted => Ok(Json(view)),
        TrustState::Requested => Err(Failure::new(
            ErrorCode::NotTrusted,
            format!("this node trusts {peer}, which has not answered yet"),
        )
        .hint("pilotctl whoami  # then, on the peer: pilotctl trust ADDRESS")),
        TrustState::Pending | TrustState::None => Err(Failure::not_trusted(&peer)),
    }
}

/// Takes back what was granted; at once.
#[utoipa::path(delete, path = "/v1/trust/{peer}", tag = "trust",
    params(("peer" = String, Path)), responses((status = 200, body = TrustView)))]
pub(crate) async fn untrust(
    State(node): State<Arc<Node>>,
    Peer(peer): Peer,
) -> Result<Json<TrustView>, Failure> {
    // By what is known here first: a peer that changed its key, or that the
    // rendezvous no longer shows, must still be got rid of.
    let known = node.trust().look(|trust, _| trust.find(&peer));
    let id = match known {
        Some(id) => id,
        None => node.directory().introduce(&peer).await?.0,
    };
    node.trust().revoke(id).await?;
    Ok(Json(view(&node, id)))
}

fn views(node: &Node, wanted: impl Fn(pilot_trust::TrustState) -> bool) -> Vec<TrustView> {
    let ids: Vec<NodeId> = node.trust().look(|trust, now| {
        let peers = trust.peers(now).filter(|(_, standing)| wanted(standing.state));
        peers.map(|(record, _)| record.peer).collect()
    });
    ids.into_iter().map(|id| view(node, id)).collect()
}

fn view(node: &Node, id: NodeId) -> TrustView {
    let identity = node.peer_identity(id);
    node.trust().look(|trust, now| {
        let standing = trust.standing(id, now);
        let record = trust.record(id);
        let ends = |grant: Option<&Grant>| -> Option<Timestamp> {
            grant.filter(|grant| grant.is_live(now)).and_then(|grant| grant.expires_at)
        };
        let ours = ends(record.and_then(|record| record.our_grant()));
        let theirs = ends(record.and_then(|record| record.their_grant()));
        TrustView {
            identity,
            state: state_word(standing.state),
            i_allow: standing.granted.iter().map(Into::into).collect(),
            they_allow: standing.received.iter().map(Into::into).collect(),
            expires_at: ours.into_iter().chain(theirs).min().map(Into::into),
        }
    })
}

pub(crate) const fn state_word(state: pilot_trust::TrustState) -> TrustState {
    match state {
        pilot_trust::TrustState::None => TrustState::None,
        pilot_trust::TrustState::Requested => TrustState::Requested,
        pilot_trust::TrustState::Pending => TrustState::Pending,
        pilot_trust::TrustState::Mutual => TrustState::Trusted,
    }
}
