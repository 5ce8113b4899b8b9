//! Who a node is, and what it can sign.
//!
//! A node *is* its Ed25519 key. This crate holds the key pair, the public
//! half as [`NodeId`], the [`Fingerprint`] people compare, and the two signed
//! statements of the protocol: the [`Grant`] (who may do what with whom) and
//! the [`Receipt`] (what became of a task).
//!
//! Pure: no clock, no file system, no randomness. Every signature covers a
//! context string, so that none can stand for another kind of statement.

mod fingerprint;
mod grant;
mod key;
mod point;
mod receipt;
mod scopes;
mod signed;
mod timestamp;

pub use fingerprint::{Fingerprint, FingerprintError};
pub use grant::{Grant, SignedGrant};
pub use key::{NodeId, NodeIdError, NodeKey};
pub use receipt::{Countersigned, Digest, Outcome, Receipt, ReceiptTimes, SignedReceipt};
pub use scopes::{Scope, ScopeError, Scopes};
pub use signed::{Signature, SignatureError};
pub use timestamp::Timestamp;
