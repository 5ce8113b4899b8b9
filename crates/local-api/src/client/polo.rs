//! How well peers work.

use pilot_proto::PeerRef;

use super::{CallError, Client};
use crate::polo::PoloView;
use crate::routes;

/// Each method is one route of [`routes`]; the errors are the daemon's.
#[expect(
    clippy::missing_errors_doc,
    reason = "every method fails as CallError says, and no other way"
)]
impl Client {
    /// `GET polo/{peer}`.
    pub async fn polo(&self, peer: &PeerRef) -> Result<PoloView, CallError> {
        self.get(&routes::polo(peer)).await
    }
}
