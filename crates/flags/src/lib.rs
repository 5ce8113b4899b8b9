//! How the flags of all programs are written.
//!
//! Long flags parse with one dash and with two (`-registry-addr`,
//! `--registry-addr`), a flag's value may be anything, also empty or
//! beginning with a hyphen ([`normalize`]), and durations are `30`, `30s`,
//! `5m` ([`HumanDuration`]), amounts of bytes `500k`, `10M` ([`HumanBytes`]).
//!
//! It rewrites words before clap sees them; what the flags mean stays in
//! each program.

mod bytes;
mod duration;
mod normalize;

pub use bytes::{HumanBytes, HumanBytesError};
pub use duration::{HumanDuration, HumanDurationError};
pub use normalize::normalize;
