//! The wall clock. The only place of the daemon that reads it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pilot_identity::Timestamp;
use tokio::sync::Notify;

/// Now.
pub(crate) fn now() -> Timestamp {
    timestamp(SystemTime::now())
}

fn timestamp(at: SystemTime) -> Timestamp {
    // A clock before 1970 counts as 1970.
    let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// By how much the two clocks may drift apart before the wall clock counts as
/// set anew.
const SET_ANEW: Duration = Duration::from_secs(1);

/// When a moment was by the wall clock: the same each time it is asked for, as
/// long as nobody sets that.
pub(crate) fn moment(at: Instant) -> Timestamp {
    static ANCHOR: Mutex<Option<(Instant, SystemTime)>> = Mutex::new(None);
    let mut anchor = ANCHOR.lock().unwrap_or_else(PoisonError::into_inner);
    let (now, wall) = (Instant::now(), SystemTime::now());
    let is_good = |(instant, time): &(Instant, SystemTime)| {
        let expected = *time + now.saturating_duration_since(*instant);
        let ahead = wall.duration_since(expected).unwrap_or_default();
        ahead.max(expected.duration_since(wall).unwrap_or_default()) < SET_ANEW
    };
    let (instant, time) = *match anchor.take_if(|anchor| is_good(anchor)) {
        Some(good) => anchor.insert(good),
        None => anchor.insert((now, wall)),
    };
    let later = at.saturating_duration_since(instant);
    let earlier = instant.saturating_duration_since(at);
    timestamp(time.checked_sub(earlier).unwrap_or(UNIX_EPOCH) + later)
}

/// The longest a machine sleeps towards a deadline before it looks at the
/// clock again: a deadline far away is not missed by more than this when the
/// machine was suspended or its clock was set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Waits until `deadline` has come or `news` rings; for ever without a deadline.
///
/// Cancel safe.
pub(crate) async fn wait_for(deadline: Option<Timestamp>, news: &Notify) {
    let Some(deadline) = deadline else { return news.notified().await };
    let left = deadline.since(now()).min(LOOK_AGAIN);
    tokio::select! {
        () = news.notified() => {}
        () = tokio::time::sleep(left) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_however_often_it_is_asked_for() {
        let at = Instant::now();
        let first = moment(at);

        for _ in 0..10_000 {
            assert_eq!(moment(at), first);
        }
        assert!(now().since(first) < Duration::from_secs(60));
        let later = moment(at + Duration::from_secs(5));
        assert_eq!(later.since(first), Duration::from_secs(5));
    }
}
