//! What the machine of a peer wants done.

use pilot_proto::probe::Probe;

use crate::chosen::Chosen;
use crate::local::OpenRequest;
use crate::via::{LocalId, Via};

/// One thing to be done by the shell; in the order in which they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Seal the probe for the peer and send it. Whether that works is of no
    /// interest: a socket that is full or an unreachable network is a loss.
    Send {
        /// The way.
        via: Via,
        /// What to send.
        probe: Probe,
    },
    /// From now on everything to the peer goes this way, or, with none, nothing
    /// does. Comes again for the same way when the reason changes.
    Use(Option<Chosen>),
    /// Open UDP sockets on ports that the system picks, receive on them, and
    /// tell by [`Paths::handle_sockets`](crate::Paths::handle_sockets).
    OpenSockets {
        /// To be repeated in the answer.
        request: OpenRequest,
        /// How many; at most [`MAX_BIRTHDAY_SOCKETS`](crate::MAX_BIRTHDAY_SOCKETS).
        count: u16,
        /// What for.
        purpose: Purpose,
    },
    /// Close these sockets; all were opened for this machine.
    CloseSockets(Vec<LocalId>),
}

/// What sockets are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A fresh mapping: the answer comes once STUN has told where each of them
    /// is seen, or could not.
    Fresh,
    /// Many mappings at once, as fast as they can be opened: no STUN.
    Birthday,
}
