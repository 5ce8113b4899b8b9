//! The routes of the transfers.

use core::time::Duration;

use hyper::Method;
use pilot_proto::TransferId;

use super::{CallError, Client, Lines, lines};
use crate::routes::{self, with_query};
use crate::transfers::{Keep, SendRequest, TransferView, TransfersQuery};

/// How long the daemon may take to read the names of everything that is sent.
///
/// Half a million entries on a cold disk take minutes; the content is read later.
const LISTING: Duration = Duration::from_secs(600);

/// How long it may take to copy everything that is sent: 16 TiB, the most that
/// a transfer has, at 200 MB a second.
const COPYING: Duration = Duration::from_secs(24 * 60 * 60);

/// Each method is one route of [`routes`]; the errors are the daemon's.
#[expect(
    clippy::missing_errors_doc,
    reason = "every method fails as CallError says, and no other way"
)]
impl Client {
    /// `POST transfers`. With an id in the request it may be sent again; one
    /// without, whose answer is [lost](CallError::Lost), may be under way, and
    /// sent again is sent twice.
    pub async fn send(&self, request: &SendRequest) -> Result<TransferView, CallError> {
        let asked = match request.keep {
            Keep::InPlace | Keep::Take => LISTING,
            Keep::Copy => COPYING,
        };
        self.call(Method::POST, routes::TRANSFERS, Some(request), asked).await
    }

    /// `GET transfers`.
    pub async fn transfers(&self, query: &TransfersQuery) -> Result<Vec<TransferView>, CallError> {
        let pairs = [
            ("direction", query.direction.map(|direction| direction.word().to_owned())),
            ("peer", query.peer.clone()),
            ("state", query.state.map(|state| state.word().to_owned())),
            ("limit", query.limit.map(|limit| limit.to_string())),
        ];
        self.get(&with_query(routes::TRANSFERS, &pairs)).await
    }

    /// `GET transfers/{id}`.
    pub async fn transfer(&self, id: TransferId) -> Result<TransferView, CallError> {
        self.get(&routes::transfer(routes::TRANSFER, id)).await
    }

    /// `GET transfers/{id}/watch`: opens the stream; it has no time limit.
    pub async fn watch_transfer(&self, id: TransferId) -> Result<Lines<TransferView>, CallError> {
        lines::open(&self.socket, &routes::transfer(routes::TRANSFER_WATCH, id)).await
    }

    /// `POST transfers/{id}/cancel`. It may be sent again.
    pub async fn cancel_transfer(&self, id: TransferId) -> Result<TransferView, CallError> {
        let path = routes::transfer(routes::TRANSFER_CANCEL, id);
        self.call(Method::POST, &path, None::<&()>, Duration::ZERO).await
    }

    /// `DELETE transfers/{id}`: forgets one that has ended.
    pub async fn remove_transfer(&self, id: TransferId) -> Result<TransferView, CallError> {
        let path = routes::transfer(routes::TRANSFER, id);
        self.call(Method::DELETE, &path, None::<&()>, Duration::ZERO).await
    }
}
