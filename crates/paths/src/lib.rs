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
