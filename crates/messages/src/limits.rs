//! How much each half keeps.

/// What may wait here to be delivered. More is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Messages.
    pub messages: usize,
    /// Messages to one peer.
    pub messages_per_peer: usize,
    /// Bytes of all texts.
    pub bytes: u64,
    /// Bytes of the texts to one peer.
    pub bytes_per_peer: u64,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self {
            messages: 20_000,
            messages_per_peer: 5_000,
            bytes: 64 * 1024 * 1024,
            bytes_per_peer: 16 * 1024 * 1024,
        }
    }
}

/// What may be here without having been acknowledged. More is refused with
/// `inbox_full` and stays at its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxLimits {
    /// Messages.
    pub messages: usize,
    /// Messages of one sender.
    pub messages_per_peer: usize,
    /// Bytes of all texts.
    pub bytes: u64,
    /// Bytes of the texts of one sender.
    pub bytes_per_peer: u64,
}

impl Default for InboxLimits {
    fn default() -> Self {
        Self {
            messages: 10_000,
            messages_per_peer: 2_000,
            bytes: 64 * 1024 * 1024,
            bytes_per_peer: 16 * 1024 * 1024,
        }
    }
}
