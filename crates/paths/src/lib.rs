//! The way between two nodes: what stands between them, and what gets through it.
//!
//! Pure machines with four doors each: `handle_*(input, now)`,
//! `handle_timeout(now)`, `next_deadline()`, `poll_output()`. After every input
//! the shell drains the outputs and executes them in order.
//!
//! * [`Paths`]: one for every trusted peer. Candidates, probes, punching, the
//!   choice of the path.
//! * [`Discovery`]: one for this node. What kind of NAT it is behind.
//! * [`Lifetime`]: one for this node. How long that NAT remembers.
//!
//! # What the shell owes the machines
//!
//! 1. A probe reaches [`Paths::handle_probe`] only when the key of the two nodes
//!    has opened it. The source of a direct one is the address as the socket has
//!    it; IPv4 written as IPv6 is understood, and ways in outputs have it as
//!    IPv4: a socket for both writes it its own way.
//! 2. Everything that QUIC sends to the peer goes the way of the last
//!    [`Output::Use`], and is dropped while that is none. Everything that comes
//!    from the peer by any way is taken.
//! 3. A beacon is told as bound only while it answers; if all that is sent by it
//!    may be lost, it is not.
//! 4. Every wish for sockets gets one answer, if only an empty one. A socket is
//!    closed when the machine that wished for it says so, or is dropped.
//! 5. [`Finding`] and [`Lifetime::keepalive`] go on into every [`Local`]. Servers
//!    to which UDP may not get through are told to [`Discovery`] all the same:
//!    that is how it finds out.

mod answerer;
mod asking;
mod birthday;
mod bucket;
mod campaign;
mod chance;
mod choice;
mod chosen;
#[cfg(test)]
mod clock;
mod compat;
mod discovery;
mod held;
mod lifetime;
mod local;
mod output;
mod own;
mod pair;
mod pairs;
mod paths;
mod pings;
mod relays;
mod sources;
mod stun;
mod targets;
mod via;
mod volleys;

pub use birthday::MAX_BIRTHDAY_SOCKETS;
pub use chosen::{Chosen, Reason};
pub use discovery::{Discovery, MAX_MAPPED, StunServer};
pub use lifetime::Lifetime;
pub use local::{Beacon, Local, OpenRequest, Opened, Traffic};
pub use output::{Output, Purpose};
pub use paths::Paths;
pub use stun::{AskId, Change, Finding, Heard, StunAsk, StunHeard, StunOutput};
pub use via::{BeaconId, LocalId, Via};
