//! The OpenAPI document, made from the handlers and the types themselves.

use axum::Json;
use pilot_local_api::errors::ErrorBody;
use utoipa::OpenApi;

use super::{
    doctor, events, identity, inbox, logs, messages, metrics, network, peers, polo, results,
    status, submitted, tasks, transfers, trust, worker,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pilot local API",
        description = "HTTP and JSON on the unix socket of a pilot-daemon, for programs of the \
                       same user. Every failure is an ErrorBody with the status of its code."
    ),
    paths(
        identity::whoami,
        status::status,
        network::netcheck,
        metrics::metrics,
        doctor::doctor,
        peers::peers,
        peers::resolve,
        peers::ping,
        polo::show,
        trust::trust,
        trust::list,
        trust::pending,
        trust::show,
        trust::check,
        trust::untrust,
        tasks::list,
        tasks::get,
        tasks::wait,
        tasks::watch,
        submitted::submit,
        submitted::submit_all,
        submitted::cancel,
        submitted::retry,
        submitted::explain,
        results::result,
        worker::accept,
        worker::results,
        worker::progress,
        worker::decline,
        worker::fail,
        worker::release,
        logs::write,
        logs::read,
        worker::attachment_bytes,
        transfers::send,
        transfers::list,
        transfers::get,
        transfers::watch,
        transfers::cancel,
        transfers::remove,
        events::publish,
        events::subscribe,
        events::topics,
        events::cursors,
        events::acknowledge,
        events::remove_cursor,
        events::relays,
        events::add_relay,
        events::remove_relay,
        messages::send,
        messages::broadcast,
        messages::list,
        messages::get,
        inbox::read,
        inbox::watch,
        inbox::ack,
    ),
    components(schemas(ErrorBody))
)]
struct Document;

/// The document.
pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
