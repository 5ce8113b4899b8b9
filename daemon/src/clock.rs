//! The wall clock. The only place of the daemon that reads it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pilot_identity::Timestamp;
use tokio::sync::Notify;

/// Now.
pub(crate) fn now() -> Timestamp {
    // A clock before 1970 counts as 1970.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
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
