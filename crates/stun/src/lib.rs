//! STUN Binding (RFC 8489) with NAT behaviour discovery (RFC 5780), both sides.
//!
//! A node asks where it is seen ([`Request`]) and reads the [`Response`]; a
//! beacon reads the request and makes the response. Nothing else of STUN is
//! here: no credentials, no TURN, no ICE, no clients of before 2008 (RFC 3489).
//!
//! Pure, and total: any bytes give a message or a typed error. The crates
//! there are were left aside: `stun-rs` brings fifty others for credentials,
//! `stun_codec` writes every RESPONSE-PORT as zero and reads CHANGE-REQUEST
//! from the wrong bits, `stun-types` warns in the log of every broken packet.
//!
//! ```text
//! 0        2        4                 8                         20
//! +--------+--------+-----------------+-------------------------+------------
//! | type   | length | 21 12 a4 42     | transaction id          | attributes
//! +--------+--------+-----------------+-------------------------+------------
//! attribute: type (2), length (2), value, padding to a multiple of 4
//! ```

mod attribute;
mod message;
mod request;
mod response;

pub use attribute::{CHANGE_REQUEST, UnknownAttributes};
pub use message::{HEADER, MAX_MESSAGE, MAX_READ, MalformedError, TransactionId, looks_like_stun};
pub use request::{AnswerFrom, Request, RequestError};
pub use response::{Mapped, Outcome, Response, ResponseError};
