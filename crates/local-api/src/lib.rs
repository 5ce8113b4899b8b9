//! The contract between `pilotctl` (or any other local program) and the daemon.
//!
//! HTTP/1.1 and JSON over a unix socket. This crate holds the paths
//! ([`routes`]), the requests, the views that come back, the errors with
//! their exit codes and HTTP statuses ([`errors`]) and an asynchronous
//! [`Client`]. It decides nothing: what a request means is the daemon's.
//!
//! * Requests refuse unknown fields; readers of answers ignore them.
//! * Times are RFC 3339 in UTC ([`Time`]), durations end in `_ms`, ids are strings.
//! * Streams are NDJSON, one JSON value a line.
//! * Success is a bare JSON value; a failure is an [`ErrorBody`](errors::ErrorBody).
//!
//! The feature `openapi` adds `utoipa::ToSchema` to every type.

mod base64;
pub mod client;
pub mod doctor;
pub mod errors;
pub mod events;
pub mod identity;
pub mod messages;
pub mod network;
pub mod peers;
pub mod polo;
pub mod routes;
mod shell;
pub mod status;
pub mod tasks;
mod text;
mod time;
pub mod transfers;
pub mod trust;

pub use base64::Base64;
pub use client::{CallError, Client};
pub use errors::{ApiError, ErrorCode};
pub use pilot_proto as proto;
pub use shell::quoted;
pub use time::Time;

/// Bytes of a request's body; beyond it the answer is `too_large`.
///
/// A task's content is at most 16 MiB, which base64 and JSON escapes make a
/// third larger, or, for text made of control characters alone, up to six
/// times; such text does not need to fit.
pub const MAX_REQUEST_BODY: usize = 32 * 1024 * 1024;

/// Bytes of an answer's body, for whoever reads it.
///
/// Twice the largest request, as a result may be shown with what it answers.
pub const MAX_RESPONSE_BODY: usize = 64 * 1024 * 1024;
