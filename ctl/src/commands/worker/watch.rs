//! Learns whether a task is still to be done.

use core::time::Duration;

use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::WaitQuery;
use pilot_local_api::{CallError, Client, ErrorCode};
use tokio::time::sleep;

/// After which a command is watched: the many that are shorter cost no call.
const BEGIN: Duration = Duration::from_millis(100);

/// The longest single wait that is asked of the daemon.
const ONE_WAIT_MS: u64 = 300_000;

/// Pause before a daemon that is away is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Looks at one task, from change to change.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    client: &'a Client,
    id: TaskId,
    /// Up to which revision it was seen.
    revision: u64,
    begun: bool,
    is_unwanted: bool,
    has_ended: bool,
}

impl<'a> Watch<'a> {
    pub(super) const fn new(client: &'a Client, id: TaskId) -> Self {
        let (begun, is_unwanted, has_ended) = (false, false, false);
        Self { client, id, revision: 0, begun, is_unwanted, has_ended }
    }

    /// Whether it has ended, as far as was seen.
    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Once it is not to be done any more: it is to be cancelled, or has ended
    /// without its worker. Cancel safe.
    pub(super) async fn unwanted(&mut self) {
        if !self.begun {
            sleep(BEGIN).await;
            self.begun = true;
        }
        while !self.is_unwanted && !self.has_ended {
            self.look().await;
        }
    }

    /// Once it has ended. Cancel safe.
    pub(super) async fn ended(&mut self) {
        while !self.has_ended {
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let query =
            WaitQuery { timeout_ms: Some(ONE_WAIT_MS), after_revision: Some(self.revision) };
        match self.client.wait(self.id, query).await {
            Ok(view) => {
                self.revision = view.revision;
                self.is_unwanted |= view.cancel_requested;
                self.has_ended |= view.state.is_terminal();
            }
            // Its store was replaced: nobody wants it any more.
            Err(CallError::Refused(error)) if error.code == ErrorCode::UnknownTask => {
                self.has_ended = true;
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
}
