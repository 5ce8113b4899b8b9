//! `polo`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use pilot_identity::Timestamp;
use pilot_local_api::polo::{OwnFigures, PoloDay, PoloPart, PoloView, Quantiles, Strangers};
use pilot_proto::registry::{self, PoloCounts, PoloDetail};

use super::extract::Peer;
use super::failure::Failure;
use crate::node::Node;
use crate::services::polo::{self, Figures};

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// How the polo of a peer comes about, and what this node has seen of its work.
#[utoipa::path(get, path = "/v1/polo/{peer}", tag = "peers",
    params(("peer" = String, Path)), responses((status = 200, body = PoloView)))]
pub(crate) async fn show(
    State(node): State<Arc<Node>>,
    Peer(peer): Peer,
) -> Result<Json<PoloView>, Failure> {
    let id = node.directory().find(&peer).await?;
    let figures = polo::figures(node.store(), id).await?;
    // The own figures are better than nothing while the rendezvous is away.
    let (detail, problem) = match polo::polo_of(node.overlay(), id).await {
        Ok(detail) => (Some(detail), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let told = detail.as_ref().map(|detail| i64::from(detail.polo));
    let PoloDetail { polo: _, parts, more, more_milli, strangers, history } =
        detail.unwrap_or_default();
    Ok(Json(PoloView {
        identity: node.peer_identity(id),
        polo: told,
        problem,
        parts: parts.into_iter().map(|part| part_view(&node, part)).collect(),
        more,
        more_adds: units(more_milli),
        strangers: Strangers {
            submitters: strangers.submitters,
            adds: units(strangers.adds_milli),
            cap: units(strangers.cap_milli),
        },
        history: history.into_iter().map(day_view).collect(),
        own: own_view(&figures),
    }))
}

fn part_view(node: &Node, part: registry::PoloPart) -> PoloPart {
    let PoloCounts { succeeded, failed, abandoned } = part.counts;
    PoloPart {
        identity: node.peer_identity(part.id),
        succeeded,
        failed,
        abandoned,
        sum: units(part.sum_milli),
        promptness: units(part.promptness_milli.into()),
        adds: units(part.adds_milli),
    }
}

fn day_view(day: registry::PoloDay) -> PoloDay {
    let PoloCounts { succeeded, failed, abandoned } = day.counts;
    let begin = Timestamp::from_millis(u64::from(day.day).saturating_mul(DAY_MILLIS)).to_string();
    let date = begin.split('T').next().unwrap_or_default().to_owned();
    PoloDay { date, succeeded, failed, abandoned }
}

fn own_view(figures: &Figures) -> OwnFigures {
    let view =
        |quantiles: polo::Quantiles| Quantiles { p50_ms: quantiles.p50, p95_ms: quantiles.p95 };
    OwnFigures {
        submitted: figures.submitted,
        succeeded: figures.succeeded,
        failed: figures.failed,
        expired: figures.expired,
        success_rate: figures.success_rate(),
        run: figures.run().map(view),
        accept: figures.accept().map(view),
    }
}

/// From the thousandths of the wire.
#[expect(clippy::cast_precision_loss, reason = "a polo is far below 2^53 thousandths")]
fn units(milli: i64) -> f64 {
    milli as f64 / 1000.0
}
