//! How much of the disk the inbox may take.

use pilot_proto::data::DataRefusal;

use super::refused::Refused;
use crate::store::transfers::HeldBytes;

/// Limits of the bytes of all transfers that are in the inbox, or on their way
/// to it; none where the operator set none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Quota {
    /// Of all peers.
    pub(crate) whole: Option<u64>,
    /// Of each peer.
    pub(crate) per_peer: Option<u64>,
}

impl Quota {
    /// Whether `bytes` more may come, with so much there.
    pub(super) fn check(self, held: HeldBytes, bytes: u64) -> Result<(), Refused> {
        check(self.per_peer, held.by_peer, bytes, "of one peer")?;
        check(self.whole, held.by_all, bytes, "of all peers")
    }
}

fn check(limit: Option<u64>, held: u64, bytes: u64, whose: &str) -> Result<(), Refused> {
    let Some(limit) = limit else { return Ok(()) };
    let (code, why) = if bytes > limit {
        (DataRefusal::TooLarge, format!("these are {bytes}"))
    } else if held.saturating_add(bytes) > limit {
        (DataRefusal::Quota, format!("{held} are there, and these are {bytes}"))
    } else {
        return Ok(());
    };
    Err(Refused(code, format!("the receiver's inbox takes {limit} bytes {whose}; {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_later_waits_and_what_never_fits_is_refused() {
        let quota = Quota { whole: Some(100), per_peer: Some(60) };
        let table = [
            (0, 0, 60, None),
            (10, 40, 50, None),
            (10, 40, 51, Some(DataRefusal::Quota)),
            (0, 90, 11, Some(DataRefusal::Quota)),
            (0, 0, 61, Some(DataRefusal::TooLarge)),
            (u64::MAX, u64::MAX, 1, Some(DataRefusal::Quota)),
        ];
        for (by_peer, by_all, bytes, wanted) in table {
            let found = quota.check(HeldBytes { by_peer, by_all }, bytes);
            let found = found.err().map(|Refused(code, _)| code);
            assert_eq!(found, wanted, "{by_peer} {by_all} {bytes}");
        }
        let none = Quota::default();
        let held = HeldBytes { by_peer: u64::MAX, by_all: u64::MAX };
        assert!(none.check(held, u64::MAX).is_ok());
    }
}
