//! Who a node is, and what it can sign.
//!
//! A node *is* its Ed25519 key. This crate holds the key pair, the public
//! half as [`NodeId`], the [`Fingerprint`] people compare, the signed statements
//! of the protocol, which are the [`Grant`] (who may do what with whom), the
//! [`Receipt`] (what became of a task) and the [`Ticket`] (who may use a
//! beacon), and the [`PairKey`] with which two nodes seal what they send each
//! other.
//!
//! Pure: no clock, no file system, no randomness. Every signature covers a
//! context string, so that none can stand for another kind of statement.

mod event;
mod fingerprint;
mod grant;
mod key;
mod pair;
mod pass;
mod point;
mod receipt;
mod scopes;
mod signed;
mod ticket;
mod timestamp;

pub use event::EventStatement;
pub use fingerprint::{Fingerprint, FingerprintError};
pub use grant::{Grant, SignedGrant};
pub use key::{NodeId, NodeIdError, NodeKey};
pub use pair::{NONCE_BYTES, OpenError, PairKey, PairKeyError, PairTag, SEAL_OVERHEAD};
pub use pass::{Pass, SignedPass};
pub use receipt::{Countersigned, Digest, Outcome, Receipt, ReceiptTimes, SignedReceipt};
pub use scopes::{Scope, ScopeError, Scopes};
pub use signed::{Signature, SignatureError};
pub use ticket::{SignedTicket, Ticket};
pub use timestamp::Timestamp;
