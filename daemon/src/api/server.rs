//! The router and the server around it.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::routing::{delete, get, post};
use pilot_local_api::{ErrorCode, MAX_REQUEST_BODY, routes};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::listener::OwnUser;
use super::{
    doctor, events, identity, inbox, logs, messages, metrics, network, openapi, peers, polo,
    results, status, submitted, tasks, transfers, trust, worker,
};
use crate::node::Node;

/// The local API, bound and ready.
pub(crate) struct Server {
    listener: UnixListener,
    router: Router,
}

impl Server {
    /// Serves `listener`, which is bound and closed to others.
    pub(crate) fn new(listener: UnixListener, node: Arc<Node>) -> Self {
        Self { listener, router: router(node) }
    }

    /// Serves until `stop`; what is being answered then is cut off.
    pub(crate) async fn run(self, stop: CancellationToken) -> io::Result<()> {
        // A bare router would be built anew for each connection, and most
        // connections bring one request.
        let connections = self.router.into_make_service();
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            served = axum::serve(OwnUser(self.listener), connections).into_future() => served,
        }
    }
}

fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route(routes::WHOAMI, get(identity::whoami))
        .route(routes::STATUS, get(status::status))
        .route(routes::NETCHECK, get(network::netcheck))
        .route(routes::DOCTOR, get(doctor::doctor))
        .route(routes::METRICS, get(metrics::metrics))
        .route(routes::PEERS, get(peers::peers))
        .route(routes::RESOLVE, get(peers::resolve))
        .route(routes::PING, get(peers::ping))
        .route(routes::POLO, get(polo::show))
        .route(routes::TRUST, get(trust::list).post(trust::trust))
        .route(routes::TRUST_PENDING, get(trust::pending))
        .route(routes::TRUST_PEER, get(trust::show).delete(trust::untrust))
        .route(routes::TRUST_CHECK, get(trust::check))
        .route(routes::TASKS, get(tasks::list).post(submitted::submit))
        .route(routes::TASKS_BATCH, post(submitted::submit_all))
        .route(routes::TASK_ACCEPT, post(worker::accept))
        .route(routes::TASK, get(tasks::get))
        .route(routes::TASK_WAIT, get(tasks::wait))
        .route(routes::TASK_WATCH, get(tasks::watch))
        .route(routes::TASK_RESULT, get(results::result))
        .route(routes::TASK_RESULTS, post(worker::results))
        .route(routes::TASK_PROGRESS, post(worker::progress))
        .route(routes::TASK_DECLINE, post(worker::decline))
        .route(routes::TASK_FAIL, post(worker::fail))
        .route(routes::TASK_RELEASE, post(worker::release))
        .route(routes::TASK_LOGS, get(logs::read).post(logs::write))
        .route(routes::TASK_CANCEL, post(submitted::cancel))
        .route(routes::TASK_RETRY, post(submitted::retry))
        .route(routes::TASK_EXPLAIN, get(submitted::explain))
        .route(routes::TASK_ATTACHMENT, get(worker::attachment_bytes))
        .route(routes::TRANSFERS, get(transfers::list).post(transfers::send))
        .route(routes::TRANSFER, get(transfers::get).delete(transfers::remove))
        .route(routes::TRANSFER_WATCH, get(transfers::watch))
        .route(routes::TRANSFER_CANCEL, post(transfers::cancel))
        .route(routes::EVENTS, post(events::publish))
        .route(routes::EVENTS_SUBSCRIBE, post(events::subscribe))
        .route(routes::EVENT_TOPICS, get(events::topics))
        .route(routes::EVENT_CURSORS, get(events::cursors))
        .route(routes::EVENT_CURSOR, delete(events::remove_cursor))
        .route(routes::EVENT_CURSOR_ACK, post(events::acknowledge))
        .route(
            routes::EVENT_RELAYS,
            get(events::relays).post(events::add_relay).delete(events::remove_relay),
        )
        .route(routes::MESSAGES, get(messages::list).post(messages::send))
        .route(routes::MESSAGES_BROADCAST, post(messages::broadcast))
        .route(routes::MESSAGE, get(messages::get))
        .route(routes::INBOX, get(inbox::read))
        .route(routes::INBOX_WATCH, get(inbox::watch))
        .route(routes::INBOX_ACK, post(inbox::ack))
        .route(routes::OPENAPI, get(openapi::document))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BODY))
        .with_state(node)
}

async fn no_such_path() -> Failure {
    Failure::new(ErrorCode::NotFound, "there is no such path in the API")
        .hint(format!("curl --unix-socket SOCKET http://pilot{}", routes::OPENAPI))
}

async fn no_such_method(method: Method) -> Failure {
    Failure::new(ErrorCode::NotFound, format!("{method} does not go with this path"))
        .hint(format!("curl --unix-socket SOCKET http://pilot{}", routes::OPENAPI))
}
