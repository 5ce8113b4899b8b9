//! `whoami`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use pilot_local_api::identity::WhoAmI;

use crate::node::Node;

/// Who this node is.
#[utoipa::path(get, path = "/v1/whoami", tag = "node", responses((status = 200, body = WhoAmI)))]
pub(crate) async fn whoami(State(node): State<Arc<Node>>) -> Json<WhoAmI> {
    Json(WhoAmI {
        identity: node.identity(),
        network: node.identity().address.map(pilot_proto::Address::network),
        home: node.home().display().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
    })
}
