//! STUN questions and answers as values; their bytes are the shell's.

use std::net::SocketAddr;

use pilot_proto::probe::Nat;

use crate::local::OpenRequest;
use crate::via::LocalId;

/// Names one question of one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(pub u32);

/// A binding request to be sent once. Repeats are new questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StunAsk {
    /// To be repeated in [`StunHeard`].
    pub id: AskId,
    /// The socket to send it from.
    pub local: LocalId,
    /// Where to.
    pub server: SocketAddr,
    /// From where the server shall answer (RFC 5780 §7.2, CHANGE-REQUEST).
    pub change: Change,
    /// The port to which it shall answer instead (RFC 5780 §7.5,
    /// RESPONSE-PORT).
    pub response_port: Option<u16>,
}

/// From where a STUN server is asked to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// From where it was asked; the attribute is left out.
    Same,
    /// From its other port.
    Port,
    /// From its other address and its other port.
    AddressAndPort,
}

/// A binding success response, or the own request come back by hairpin.
///
/// The shell has checked cookie and transaction, and gives it to the machine
/// that asked, whatever socket it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StunHeard {
    /// The question.
    pub id: AskId,
    /// The socket to which it came.
    pub local: LocalId,
    /// What came.
    pub what: Heard,
}

/// What came with the transaction of an own question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// An answer of a server.
    Answer {
        /// XOR-MAPPED-ADDRESS.
        mapped: SocketAddr,
        /// OTHER-ADDRESS (RFC 5780 §7.4), of a server that has one.
        other: Option<SocketAddr>,
    },
    /// The request itself.
    OwnRequest,
}

/// What [`Discovery`](crate::Discovery) and [`Lifetime`](crate::Lifetime) want done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StunOutput {
    /// Send a binding request.
    Ask(StunAsk),
    /// Open UDP sockets on ports that the system picks, without asking STUN
    /// about them: nothing may leave them but what the machine sends.
    OpenSockets {
        /// To be repeated in the answer.
        request: OpenRequest,
        /// How many, at most ten.
        count: u16,
    },
    /// Close these sockets; all were opened for this machine.
    CloseSockets(Vec<LocalId>),
}

/// What is found out about the NAT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finding {
    /// How it behaves; towards IPv4 where there is any IPv4 server.
    pub nat: Nat,
    /// Where the main socket is seen from outside, different ones only, at
    /// most [`MAX_MAPPED`](crate::MAX_MAPPED). The first is the IPv4 one, if any.
    pub mapped: Vec<SocketAddr>,
    /// Whether the NAT lets a packet from inside to the public address of
    /// another socket inside through. None as long as it is not known.
    pub hairpin: Option<bool>,
}
