//! How well a peer works, from signed receipts and from this node's own tasks.

use serde::{Deserialize, Serialize};

use crate::identity::PeerIdentity;

/// `GET polo/{peer}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PoloView {
    /// Who it is.
    #[serde(flatten)]
    pub identity: PeerIdentity,
    /// Its polo, `null` if the rendezvous does not tell it.
    pub polo: Option<i64>,
    /// Why the rendezvous does not tell it; all that it would have told is
    /// empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What each submitter adds that this node trusts, and this node itself;
    /// those that add most first, at most 256.
    #[serde(default)]
    pub parts: Vec<PoloPart>,
    /// How many more of these there are.
    #[serde(default)]
    pub more: u32,
    /// What those add.
    #[serde(default)]
    pub more_adds: f64,
    /// All other submitters together.
    #[serde(default)]
    pub strangers: Strangers,
    /// The days on which work for this node and those it trusts ended,
    /// ascending, of the last ninety.
    #[serde(default)]
    pub history: Vec<PoloDay>,
    /// What this node itself has seen.
    #[serde(default)]
    pub own: OwnFigures,
}

/// What one submitter adds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PoloPart {
    /// Who it is.
    #[serde(flatten)]
    pub identity: PeerIdentity,
    /// Its tasks that succeeded, ever.
    pub succeeded: u32,
    /// Its tasks that were tried and not done, ever.
    pub failed: u32,
    /// Its tasks that were accepted and not ended in time, ever.
    pub abandoned: u32,
    /// The faded sum of what its receipts are worth.
    pub sum: f64,
    /// Mean promptness of those that succeeded: 1 is as usual, at most 1.5.
    pub promptness: f64,
    /// What it adds to the polo, −100 to 100.
    pub adds: f64,
}

/// Submitters that this node does not trust mutually.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Strangers {
    /// How many there are.
    pub submitters: u32,
    /// What they add together.
    pub adds: f64,
    /// The most that they could add.
    pub cap: f64,
}

/// What ended on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PoloDay {
    /// `2026-02-09`, in UTC.
    pub date: String,
    /// Tasks that succeeded.
    pub succeeded: u32,
    /// Tasks that were tried and not done.
    pub failed: u32,
    /// Tasks that were accepted and not ended in time.
    pub abandoned: u32,
}

/// Of the newest 1,000 tasks that this node gave to the peer, among its
/// newest 10,000.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OwnFigures {
    /// How many there are.
    pub submitted: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that expired.
    pub expired: u64,
    /// The part that succeeded of those that succeeded, failed or expired, 0 to
    /// 1; `null` if none did.
    pub success_rate: Option<f64>,
    /// From acceptance to the end, of those that succeeded.
    pub run: Option<Quantiles>,
    /// From the worker's queue to acceptance.
    pub accept: Option<Quantiles>,
}

/// The middle of many times, and what all but a twentieth are below, in
/// milliseconds by the worker's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Quantiles {
    /// The middle.
    pub p50_ms: u64,
    /// Above it are 5 %.
    pub p95_ms: u64,
}
