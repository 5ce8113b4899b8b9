//! The beacon: STUN, and the relay through which nodes meet and, if they must, stay.
//!
//! [`Relay`] and [`StunServer`] decide, as pure machines. `driver` runs them on
//! the sockets in the kernel's batches; [`Beacon`] is the thread it has for it.
//! What goes through is ciphertext of two nodes for each other: a beacon can
//! refuse to pass it on, and see who talks with whom and how much.

mod backlog;
mod binding;
mod carried;
mod clients;
mod cookie;
mod counters;
mod driver;
mod forward;
mod nonces;
mod place;
mod rate;
mod relay;
mod service;
mod slots;
mod socket;
mod stun;
#[cfg(test)]
mod tests;

pub use carried::FromCarrier;
pub use counters::Counters;
pub use forward::{MAX_DATAGRAM, Run, Sorted};
pub use place::{CarrierId, Place};
pub use rate::ByteRate;
pub use relay::{Admission, Answer, Moment, Relay, RelaySettings};
pub use service::{Beacon, BeaconSettings, StartBeaconError};
pub use stun::{Arrival, Layout, SocketIndex, StunAnswer, StunServer};
