//! One HTTP exchange on a connection of its own.

use core::future::Future;
use core::pin::pin;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::CallError;
use crate::MAX_RESPONSE_BODY;
use crate::errors::{ApiError, ErrorBody, ErrorCode};
use crate::shell::quoted;

/// Bytes of a socket's path: `sun_path` of Linux less its closing zero.
const MAX_SOCKET_PATH: usize = 107;

pub(super) type Wire = Connection<TokioIo<UnixStream>, Full<Bytes>>;

/// Sends a request and reads the whole answer; none for 204.
pub(super) async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Option<Bytes>, CallError> {
    let (mut sender, wire) = connect(socket).await?;
    let request = request(method, path, body)?;
    let work = async {
        let response = sender.send_request(request).await.map_err(lost)?;
        answer(response, path).await
    };
    beside(wire, work).await.0
}

/// Opens a connection. Nothing happens on it unless the [`Wire`] is polled.
pub(super) async fn connect(socket: &Path) -> Result<(SendRequest<Full<Bytes>>, Wire), CallError> {
    let length = socket.as_os_str().as_bytes().len();
    if length > MAX_SOCKET_PATH {
        let message = format!(
            "the path of the socket has {length} bytes, a unix socket takes {MAX_SOCKET_PATH}; \
             choose a shorter one with --socket or PILOT_SOCKET, here and for the daemon"
        );
        return Err(CallError::Unsent(ApiError::new(ErrorCode::InvalidArgument, message)));
    }
    let stream = UnixStream::connect(socket).await.map_err(|error| no_daemon(socket, &error))?;
    http1::handshake(TokioIo::new(stream)).await.map_err(lost)
}

pub(super) fn request(
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, CallError> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "pilot")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| {
            CallError::Unsent(ApiError::new(ErrorCode::Internal, format!("bad request: {error}")))
        })
}

/// Runs `work` while the connection it needs is driven; gives the connection
/// back if it has not ended.
pub(super) async fn beside<T>(mut wire: Wire, work: impl Future<Output = T>) -> (T, Option<Wire>) {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return (done, Some(wire)),
        // Whatever ended the connection, `work` learns it on its own side
        // once this one is dropped.
        _ended = &mut wire => drop(wire),
    }
    (work.await, None)
}

pub(super) async fn answer(
    response: Response<Incoming>,
    path: &str,
) -> Result<Option<Bytes>, CallError> {
    let status = response.status();
    let body = collect(response.into_body()).await?;
    if status == StatusCode::NO_CONTENT {
        Ok(None)
    } else if status.is_success() {
        Ok(Some(body))
    } else {
        Err(CallError::Refused(refusal(status, &body, path)))
    }
}

/// The whole of an error's or an answer's body, within [`MAX_RESPONSE_BODY`].
pub(super) async fn collect(mut body: Incoming) -> Result<Bytes, CallError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(lost)?.into_data() else { continue };
        if whole.len() + data.len() > MAX_RESPONSE_BODY {
            let message = format!("the daemon's answer has more than {MAX_RESPONSE_BODY} bytes");
            return Err(CallError::Refused(ApiError::new(ErrorCode::TooLarge, message)));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// What an answer that is no success says.
pub(super) fn refusal(status: StatusCode, body: &[u8], path: &str) -> ApiError {
    if let Ok(ErrorBody { error }) = serde_json::from_slice(body) {
        return error;
    }
    if status == StatusCode::NOT_FOUND || status == StatusCode::METHOD_NOT_ALLOWED {
        let message = format!("the daemon does not know {path}; it is of another version");
        return ApiError::new(ErrorCode::VersionMismatch, message)
            .with_hint("pilotctl --version && pilot-daemon --version");
    }
    ApiError::new(ErrorCode::Internal, format!("the daemon answered with status {status}"))
}

pub(super) fn lost(error: hyper::Error) -> CallError {
    let message = format!("the connection to the daemon was lost: {error}");
    CallError::Lost(ApiError::new(ErrorCode::DaemonNotRunning, message))
}

/// The daemon takes connections and closes them.
pub(super) fn hung_up() -> CallError {
    let message = "the daemon closed the connection before it took the request";
    CallError::Unsent(ApiError::new(ErrorCode::DaemonNotRunning, message))
}

fn no_daemon(socket: &Path, error: &io::Error) -> CallError {
    let shown = socket.display();
    if error.kind() == ErrorKind::PermissionDenied {
        let message = format!("the socket {shown} is another user's");
        return CallError::Unsent(ApiError::new(ErrorCode::NotAllowed, message));
    }
    let message = format!("no daemon listens on {shown} ({error})");
    let start = match (socket.file_name(), socket.parent()) {
        (Some(name), Some(home)) if name == "pilot.sock" && !home.as_os_str().is_empty() => {
            format!("pilot-daemon --home {}", quoted(&home.display().to_string()))
        }
        (Some(_) | None, Some(_) | None) => {
            format!("pilot-daemon --socket {}", quoted(&shown.to_string()))
        }
    };
    CallError::Unsent(ApiError::new(ErrorCode::DaemonNotRunning, message).with_hint(start))
}
