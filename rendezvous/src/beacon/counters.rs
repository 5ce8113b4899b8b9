//! What a beacon has done since it started.

/// Numbers of datagrams unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "each group says what its numbers are")]
pub struct Counters {
    /// Clients that are bound now.
    pub clients: u64,
    /// Passed on, and the bytes of those.
    pub forwarded: u64,
    pub forwarded_bytes: u64,
    /// Relayed datagrams dropped: their sender is not bound there; nobody of
    /// that id is; the sender or its pair is over its rate; this beacon does
    /// not pass such things on; more waited than may.
    pub from_strangers: u64,
    pub absent: u64,
    pub over_rate: u64,
    pub not_served: u64,
    pub overflowed: u64,
    /// Challenges sent, nodes bound or bound anew, and binds refused.
    pub challenged: u64,
    pub bound: u64,
    pub refused: u64,
    /// Signs of life answered.
    pub alive: u64,
    /// Control packets that were forged, replayed, stale, or more than their
    /// source may send.
    pub forged: u64,
    pub limited: u64,
    /// STUN requests answered, and those that were more than their source may send.
    pub stun: u64,
    pub stun_limited: u64,
    /// Datagrams that are nothing known.
    pub garbage: u64,
}

/// Adds to a counter, which stays at its end.
pub(super) fn count(counter: &mut u64, by: usize) {
    *counter = counter.saturating_add(u64::try_from(by).unwrap_or(u64::MAX));
}
