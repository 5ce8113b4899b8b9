//! Who has granted what to whom: the pure machine behind `trust` and `untrust`.
//!
//! [`Trust`] decides which peers are mutually trusted, what each may use here,
//! and which key is pinned behind an address. It does not carry grants: the
//! overlay executes its outputs in order, [`Output::Persist`] first.
//!
//! What it keeps true, whatever arrives in whatever order:
//!
//! * A grant is believed on its issuer's signature and on nobody's word;
//!   nothing is transitive, and nobody revokes in another's name.
//! * A serial that was once exceeded never counts again: rows are never
//!   deleted, so a replay is refused for ever.
//! * A request from a stranger makes nobody trusted.
//! * A pinned address never silently stands for another key.
//!
//! Time is an argument: the wall clock, since expiry is a promise to people.

mod issue;
mod machine;
mod pins;
mod query;
mod receive;
mod record;
mod standing;

pub use issue::{GrantError, GrantTerms, MAX_CLAIMED_SERIAL, MAX_REISSUES, RevokeError, Via};
pub use machine::{Output, RestoreError, Trust};
pub use pins::IdentityChanged;
pub use receive::{MAX_STRANGERS, Received};
pub use record::{Card, CardSource, PeerRecord, Reached};
pub use standing::{Standing, TrustState};

#[cfg(test)]
mod tests;
