//! Application codes with which a connection or a stream is closed.
//!
//! A peer's code is a hint for its user, never an instruction: a node acts on
//! its own tables.

/// An orderly end: the daemon stops, or the connection is no longer needed.
pub const GOODBYE: u32 = 0;
/// The key of the connection is not mutually trusted.
pub const NOT_TRUSTED: u32 = 1;
/// A frame could not be decoded, or a stream broke the protocol.
pub const PROTOCOL: u32 = 2;
/// More than a limit allows; try later.
pub const RATE_LIMITED: u32 = 3;
/// Another connection of the same pair of runs took over.
pub const REPLACED: u32 = 4;
/// The service named by a stream is unknown here.
pub const UNKNOWN_SERVICE: u32 = 5;
/// The peer may not use this service.
pub const NOT_ALLOWED: u32 = 6;
/// A node does not keep up with the pushes of the rendezvous; it reconnects
/// and starts from a full picture.
pub const TOO_SLOW: u32 = 7;

/// What the code means, for a log line or a user.
#[must_use]
pub const fn meaning(code: u32) -> &'static str {
    match code {
        GOODBYE => "the peer said goodbye",
        NOT_TRUSTED => "the peer does not trust this node",
        PROTOCOL => "the peer could not understand a message",
        RATE_LIMITED => "the peer asks to slow down",
        REPLACED => "another connection took over",
        UNKNOWN_SERVICE => "the peer does not know the service",
        NOT_ALLOWED => "the peer does not allow this service",
        TOO_SLOW => "this node did not keep up",
        _ => "the peer closed with an unknown code",
    }
}
