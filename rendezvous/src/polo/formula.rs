//! The formula, in numbers alone. `POLO.md` says it in words.

use core::time::Duration;

use pilot_identity::{Outcome, Receipt, Timestamp};

/// What work that was done is worth, before [`promptness`] multiplies it.
pub const SUCCEEDED: f64 = 1.0;

/// What work that was tried and not done is worth.
pub const FAILED: f64 = -1.0;

/// What work is worth that was accepted and then left lying: worse than to
/// say that it cannot be done, since somebody waited for it.
pub const ABANDONED: f64 = -2.0;

/// The time after which a receipt counts half.
pub const HALF_LIFE: Duration = Duration::from_secs(30 * DAY_SECONDS);

/// The oldest that a receipt may be when it is put; an eighth would be left of it.
pub const MAX_AGE: Duration = Duration::from_secs(90 * DAY_SECONDS);

/// How far ahead of the rendezvous the clock of a worker may be. What is
/// further ahead has to come again; beyond [`MAX_AGE`] it need not.
pub const MAX_AHEAD: Duration = Duration::from_secs(10 * 60);

/// The most, and the least, that one submitter of the asking node's circle
/// can add: however much was done for one, another opinion counts more.
pub const SUBMITTER_CAP: f64 = 100.0;

/// The most that all other submitters together can add: a ring of own nodes,
/// however large and busy, is such a crowd of strangers.
pub const STRANGERS_CAP: f64 = 10.0;

/// The bounds of [`promptness`].
pub const PROMPTNESS: (f64, f64) = (0.5, 1.5);

/// How much the newest piece of work moves what is usual for its kind.
pub const ALPHA: f64 = 0.1;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// What a receipt is worth, and for what it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merit {
    /// [`SUCCEEDED`], times promptness.
    Succeeded,
    /// [`FAILED`]
    Failed,
    /// [`ABANDONED`]
    Abandoned,
    /// Nothing: nobody worked on it, or the submitter changed its mind.
    Nothing,
}

/// What `receipt` is worth.
#[must_use]
pub const fn merit(receipt: &Receipt) -> Merit {
    match (receipt.outcome, receipt.times.accepted) {
        (Outcome::Succeeded, _) => Merit::Succeeded,
        // Who declines what it has accepted has tried it as much as who fails.
        (Outcome::Failed, _) | (Outcome::Declined, Some(_)) => Merit::Failed,
        (Outcome::Expired, Some(_)) => Merit::Abandoned,
        (Outcome::Expired | Outcome::Declined, None) | (Outcome::Cancelled, _) => Merit::Nothing,
    }
}

/// The logarithm of the milliseconds that the work took, at least one; none
/// if it was never accepted.
#[must_use]
pub fn took(receipt: &Receipt) -> Option<f64> {
    let took =
        receipt.times.finished.as_millis().saturating_sub(receipt.times.accepted?.as_millis());
    Some(number(took.max(1)).ln())
}

/// By what a success is multiplied: how its time compares with what is usual
/// for the same worker and kind of work. Both are logarithms of milliseconds.
#[must_use]
pub fn promptness(usual: f64, took: f64) -> f64 {
    (usual - took).exp().clamp(PROMPTNESS.0, PROMPTNESS.1)
}

/// What is usual after another piece of work of the kind.
#[must_use]
pub fn usual(before: Option<f64>, took: f64) -> f64 {
    before.map_or(took, |before| before + ALPHA * (took - before))
}

/// What is left at `now` of a value of `then`. One of the future is whole.
#[must_use]
pub fn faded(value: f64, then: Timestamp, now: Timestamp) -> f64 {
    let age = number(now.as_millis().saturating_sub(then.as_millis()));
    value * (-age / (HALF_LIFE.as_secs_f64() * 1000.0)).exp2()
}

/// What a submitter of the asking node's circle adds whose receipts have the
/// faded sum `sum`: close to one each at first, then less and less.
#[must_use]
pub fn adds(sum: f64) -> f64 {
    let part = -(-sum.abs() / SUBMITTER_CAP).exp_m1();
    (SUBMITTER_CAP * part).copysign(sum)
}

/// What all other submitters add together. What one of them has against the
/// worker costs it nothing: that, too, could be made by a ring.
pub fn strangers_add(sums: impl IntoIterator<Item = f64>) -> f64 {
    let good: f64 = sums.into_iter().map(|sum| sum.max(0.0)).sum();
    -STRANGERS_CAP * (-good / STRANGERS_CAP).exp_m1()
}

/// The polo of a worker: `circle` are the faded sums of the submitters in the
/// circle of the asking node, `strangers` those of all others.
pub fn polo(
    circle: impl IntoIterator<Item = f64>,
    strangers: impl IntoIterator<Item = f64>,
) -> i32 {
    let known: f64 = circle.into_iter().map(adds).sum();
    whole(known + strangers_add(strangers))
}

/// In thousandths, as it goes over the wire.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "what is beyond the range is its end")]
pub fn milli(value: f64) -> i64 {
    (value * 1000.0).round() as i64
}

#[expect(clippy::cast_possible_truncation, reason = "what is beyond the range is its end")]
fn whole(value: f64) -> i32 {
    value.round() as i32
}

/// A time is exact up to the year 287,396.
#[expect(clippy::cast_precision_loss, reason = "nobody sees the last of 53 bits")]
const fn number(millis: u64) -> f64 {
    millis as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn a_receipt_counts_half_after_thirty_days_and_an_eighth_after_ninety() {
        let (then, after) =
            (Timestamp::from_millis(DAY), |days| Timestamp::from_millis(DAY + days * DAY));

        assert!(close(faded(8.0, then, then), 8.0));
        assert!(close(faded(8.0, then, after(30)), 4.0));
        assert!(close(faded(-8.0, then, after(90)), -1.0));
        assert!(close(faded(8.0, after(5), then), 8.0), "a clock that goes back adds nothing");
    }

    #[test]
    fn a_submitter_adds_one_each_at_first_and_never_more_than_a_hundred() {
        assert!(close(adds(0.0), 0.0));
        assert!((0.99..1.0).contains(&adds(1.0)));
        assert!(close(adds(47.0), 100.0 * (1.0 - (-0.47_f64).exp())));
        assert!(adds(1e9) <= 100.0);
        assert!(close(adds(-47.0), -adds(47.0)));
        assert!(adds(-1e9) >= -100.0);
    }

    #[test]
    fn strangers_together_add_ten_at_most_and_take_nothing_away() {
        assert!(close(strangers_add([]), 0.0));
        assert!(close(strangers_add([-5.0, -1e9]), 0.0));
        assert!(close(strangers_add([3.0, -50.0, 4.0]), 10.0 * (1.0 - (-0.7_f64).exp())));
        assert!(strangers_add((0..1000).map(|_| 1e6)) <= 10.0);
    }

    #[test]
    fn a_second_opinion_counts_more_than_more_of_the_first() {
        assert_eq!(polo([], []), 0);
        assert_eq!(polo([200.0], []), 86);
        assert_eq!(polo([100.0, 100.0], []), 126);
        assert_eq!(polo([-10.0], [1e9]), 0, "-9.5 and 10 are a half, which rounds to nought");
    }

    #[test]
    fn promptness_is_measured_against_what_is_usual_and_is_bounded() {
        let millis = |millis: f64| millis.ln();

        assert!(close(promptness(millis(1000.0), millis(1000.0)), 1.0));
        assert!(close(promptness(millis(1000.0), millis(800.0)), 1.25));
        assert!(close(promptness(millis(1000.0), millis(1.0)), 1.5));
        assert!(close(promptness(millis(1000.0), millis(1e9)), 0.5));
        assert!(close(usual(None, millis(50.0)), millis(50.0)));
        assert!(close(usual(Some(millis(100.0)), millis(100.0)), millis(100.0)));
        assert!(usual(Some(millis(100.0)), millis(200.0)) < millis(108.0));
    }
}
