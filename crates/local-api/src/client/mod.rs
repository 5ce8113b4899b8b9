//! Talks to the daemon.

mod events;
mod exchange;
mod kept;
mod lines;
mod messages;
mod polo;
mod tasks;
mod transfers;

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use pilot_proto::PeerRef;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::doctor::{DoctorQuery, DoctorView};
use crate::errors::{ApiError, ErrorCode};
use crate::identity::WhoAmI;
use crate::network::NetcheckView;
use crate::peers::{PeerView, PeersQuery, PingView, ResolveView};
use crate::routes::{self, with_query};
use crate::status::StatusView;
use crate::trust::{TrustRequest, TrustView};

use kept::Kept;
pub use lines::Lines;

/// How long an answer may take beyond the time the request itself asks to wait.
///
/// A daemon answers from its own state within milliseconds; what needs the
/// network (a look-up, a first ping) is bounded by the daemon at 10 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the daemon may take to copy files that go with a task or a result.
///
/// Any amount at any speed of the disk: a daemon that dies meanwhile ends the
/// connection, and is not waited for.
const COPYING: Duration = Duration::from_secs(24 * 3600);

/// How long [`Client::wait`] waits when its query names no time, as the daemon does.
const DEFAULT_WAIT_MS: u64 = 30_000;

/// A way to the daemon behind one socket. Each call opens its own connection,
/// unless the client [keeps](Self::keeping) them.
///
/// Every method is cancel safe in this sense: dropping its future closes the
/// connection, which ends a wait at the daemon; a change that was already sent
/// may still be carried out.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    kept: Option<Arc<Kept>>,
    claim: Option<Arc<str>>,
}

/// Why a call brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nothing was sent: there is no daemon, or no right to use it.
    #[error(transparent)]
    Unsent(ApiError),
    /// The connection ended, or the time, before the answer did: the request
    /// may or may not have been carried out.
    #[error(transparent)]
    Lost(ApiError),
    /// The daemon answered with an error.
    #[error(transparent)]
    Refused(ApiError),
}

impl CallError {
    /// The error itself.
    #[must_use]
    pub const fn api(&self) -> &ApiError {
        match self {
            Self::Unsent(error) | Self::Lost(error) | Self::Refused(error) => error,
        }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unsent(error) | CallError::Lost(error) | CallError::Refused(error) => error,
        }
    }
}

/// Each method is one route of [`routes`]; the errors are the daemon's.
#[expect(
    clippy::missing_errors_doc,
    reason = "every method fails as CallError says, and no other way"
)]
impl Client {
    /// A client of the daemon that listens on `socket`.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), kept: None, claim: None }
    }

    /// A client that keeps connections open for its next calls, for programs
    /// that make many: a call then costs about half. It stays within one
    /// tokio runtime, as its connections do.
    ///
    /// If the daemon is restarted between two calls, the next one finds that
    /// out and connects anew; if that happens in the very moment of the call,
    /// it is [`CallError::Lost`].
    #[must_use]
    pub fn keeping(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), kept: Some(Arc::default()), claim: None }
    }

    /// The same client, for who accepted a task under `claim`: what it says of
    /// a task is refused if somebody else has that by now.
    #[must_use]
    pub fn claiming(&self, claim: &str) -> Self {
        Self { claim: Some(claim.into()), ..self.clone() }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET whoami`.
    pub async fn whoami(&self) -> Result<WhoAmI, CallError> {
        self.get(routes::WHOAMI).await
    }

    /// `GET status`.
    pub async fn status(&self) -> Result<StatusView, CallError> {
        self.get(routes::STATUS).await
    }

    /// `GET netcheck`, which takes `wait` at most.
    pub async fn netcheck(&self, wait: Duration) -> Result<NetcheckView, CallError> {
        let path = with_query(routes::NETCHECK, &[("wait_ms", millis(wait))]);
        self.call(Method::GET, &path, None::<&()>, wait).await
    }

    /// `GET doctor`.
    pub async fn doctor(&self, query: &DoctorQuery) -> Result<DoctorView, CallError> {
        let pairs = [
            ("peer", query.peer.clone()),
            ("wait_ms", query.wait_ms.map(|millis| millis.to_string())),
            ("client", query.client.clone()),
        ];
        let asked = Duration::from_millis(query.wait_ms.unwrap_or_default());
        self.call(Method::GET, &with_query(routes::DOCTOR, &pairs), None::<&()>, asked).await
    }

    /// `GET metrics`: text.
    pub async fn metrics(&self) -> Result<String, CallError> {
        let body = self.answer(Method::GET, routes::METRICS, None::<&()>, Duration::ZERO).await?;
        Ok(String::from_utf8_lossy(&body.unwrap_or_default()).into_owned())
    }

    /// `GET peers`.
    pub async fn peers(&self, query: &PeersQuery) -> Result<Vec<PeerView>, CallError> {
        self.get(&with_query(routes::PEERS, &[("tag", query.tag.clone())])).await
    }

    /// `GET resolve/{peer}`.
    pub async fn resolve(&self, peer: &PeerRef) -> Result<ResolveView, CallError> {
        self.get(&routes::resolve(peer)).await
    }

    /// `GET ping/{peer}`, which takes `timeout` at most.
    pub async fn ping(&self, peer: &PeerRef, timeout: Duration) -> Result<PingView, CallError> {
        let path = with_query(&routes::ping(peer), &[("timeout_ms", millis(timeout))]);
        self.call(Method::GET, &path, None::<&()>, timeout).await
    }

    /// `POST trust`.
    pub async fn trust(&self, request: &TrustRequest) -> Result<TrustView, CallError> {
        self.post(routes::TRUST, request).await
    }

    /// `GET trust`.
    pub async fn trust_list(&self) -> Result<Vec<TrustView>, CallError> {
        self.get(routes::TRUST).await
    }

    /// `GET trust/pending`.
    pub async fn trust_pending(&self) -> Result<Vec<TrustView>, CallError> {
        self.get(routes::TRUST_PENDING).await
    }

    /// `GET trust/{peer}`.
    pub async fn trust_show(&self, peer: &PeerRef) -> Result<TrustView, CallError> {
        self.get(&routes::trust_peer(peer)).await
    }

    /// `GET trust/{peer}/check`.
    pub async fn trust_check(&self, peer: &PeerRef) -> Result<TrustView, CallError> {
        self.get(&routes::trust_check(peer)).await
    }

    /// `DELETE trust/{peer}`.
    pub async fn untrust(&self, peer: &PeerRef) -> Result<TrustView, CallError> {
        self.call(Method::DELETE, &routes::trust_peer(peer), None::<&()>, Duration::ZERO).await
    }

    /// `GET openapi.json`.
    pub async fn openapi(&self) -> Result<Value, CallError> {
        self.get(routes::OPENAPI).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.call(Method::GET, path, None::<&()>, Duration::ZERO).await
    }

    async fn post<B, T>(&self, path: &str, body: &B) -> Result<T, CallError>
    where
        B: Serialize + Sync,
        T: DeserializeOwned,
    {
        self.call(Method::POST, path, Some(body), Duration::ZERO).await
    }

    /// One request that `asked` the daemon to take so long, and its JSON answer.
    async fn call<B, T>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        asked: Duration,
    ) -> Result<T, CallError>
    where
        B: Serialize + Sync,
        T: DeserializeOwned,
    {
        let body = self.answer(method, path, body, asked).await?;
        read(&body.unwrap_or_default())
    }

    /// One request and the bytes of its answer; none for 204.
    async fn answer<B: Serialize + Sync>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        asked: Duration,
    ) -> Result<Option<Bytes>, CallError> {
        let body = match body {
            Some(body) => written(body)?,
            None => Bytes::new(),
        };
        self.answer_to(method, path, body, asked).await
    }

    /// The same of a body that is written already.
    async fn answer_to(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        asked: Duration,
    ) -> Result<Option<Bytes>, CallError> {
        let limit = asked.saturating_add(PATIENCE);
        let exchange = async {
            match &self.kept {
                Some(kept) => kept.exchange(&self.socket, method, path, body).await,
                None => exchange::exchange(&self.socket, method, path, body).await,
            }
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(CallError::Lost(ApiError::new(
                ErrorCode::DaemonNotRunning,
                format!("the daemon did not answer within {} s", limit.as_secs()),
            ))),
        }
    }
}

fn millis(duration: Duration) -> Option<String> {
    Some(duration.as_millis().to_string())
}

/// A JSON request.
fn written<T: Serialize>(body: &T) -> Result<Bytes, CallError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| {
        let message = format!("cannot write the request: {error}");
        CallError::Unsent(ApiError::new(ErrorCode::Internal, message))
    })
}

/// A JSON answer.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|error| {
        CallError::Refused(ApiError::new(
            ErrorCode::VersionMismatch,
            format!("the daemon's answer cannot be read: {error}"),
        ))
    })
}
