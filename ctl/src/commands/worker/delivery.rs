//! Tells the daemon what became of a task, whatever becomes of the daemon.

use core::time::Duration;

use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::{FailRequest, ReleaseRequest, SendResultsRequest, TaskView};
use pilot_local_api::{ApiError, CallError, Client, ErrorCode};
use tokio::time::sleep;

use super::report::clipped;
use super::shop::{Shop, Stop};

/// Time between two tries: short beside a restart of the daemon.
const AGAIN: Duration = Duration::from_millis(200);

/// Tries after which a worker that is to end now gives up.
const LAST_TRIES: u32 = 25;

/// Refusals after which a daemon that has a fault, such as a disk that cannot
/// be written, is given up: 30 s of them.
const REFUSALS: u32 = 150;

/// What became of a task.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// It has a result, of whichever kind.
    Result(Box<SendResultsRequest>),
    /// It failed without one; `for_good` if another attempt would, too.
    Failed { reason: String, for_good: bool },
    /// It goes back to the queue.
    Released { after: Duration, reason: String },
    /// It is to be cancelled, and nobody is at it any more.
    Cancelled,
    /// It ended without its command.
    Over,
}

/// A word for what the daemon now knows.
///
/// # Errors
///
/// If it does not take what it has to know: the lease must end otherwise.
pub(super) async fn deliver(
    shop: &Shop,
    client: &Client,
    id: TaskId,
    outcome: &Outcome,
) -> Result<&'static str, ApiError> {
    match outcome {
        Outcome::Result(request) => {
            let call = || client.send_results(id, request);
            match until_taken(shop, id, is_unfit, call).await {
                Ok(view) => Ok(view.state.word()),
                // It ended in the meantime.
                Err(error) if is_over(&error) => Ok("over"),
                Err(error) if is_unfit(&error) => {
                    let reason = format!("the result was refused: {}", error.message);
                    fail(shop, client, id, &reason, false).await
                }
                Err(error) => Err(error),
            }
        }
        Outcome::Failed { reason, for_good } => fail(shop, client, id, reason, *for_good).await,
        Outcome::Released { after, reason } => release(shop, client, id, *after, reason).await,
        // Nobody takes it from the queue: the daemon ends it instead.
        Outcome::Cancelled => {
            let word = release(shop, client, id, Duration::ZERO, "the command was stopped").await?;
            Ok(if word == "released" { "cancelled" } else { word })
        }
        Outcome::Over => Ok("over"),
    }
}

async fn fail(
    shop: &Shop,
    client: &Client,
    id: TaskId,
    reason: &str,
    no_retry: bool,
) -> Result<&'static str, ApiError> {
    let request = FailRequest { reason: clipped(reason.to_owned()), no_retry };
    let call = || client.fail(id, &request);
    told(until_taken(shop, id, is_over, call).await, "failed")
}

async fn release(
    shop: &Shop,
    client: &Client,
    id: TaskId,
    after: Duration,
    reason: &str,
) -> Result<&'static str, ApiError> {
    let delay_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    let request = ReleaseRequest { delay_ms, reason: clipped(reason.to_owned()) };
    let call = || client.release(id, &request);
    told(until_taken(shop, id, is_over, call).await, "released")
}

fn told(
    answered: Result<TaskView, ApiError>,
    word: &'static str,
) -> Result<&'static str, ApiError> {
    match answered {
        Ok(_) => Ok(word),
        Err(error) if is_over(&error) => Ok("over"),
        Err(error) => Err(error),
    }
}

/// Whether it is the result that is not taken, so that it will never be.
fn is_unfit(error: &ApiError) -> bool {
    matches!(
        error.code,
        ErrorCode::InvalidArgument
            | ErrorCode::TooLarge
            | ErrorCode::LimitExceeded
            | ErrorCode::NotFound
            | ErrorCode::NotAllowed
    )
}

/// Whether the task has ended otherwise, so that there is nothing to be told.
fn is_over(error: &ApiError) -> bool {
    matches!(error.code, ErrorCode::Conflict | ErrorCode::UnknownTask)
}

/// Makes a call until the daemon has answered it for good: one that is away is
/// waited for, one whose disk is full asked again, and one that refuses it for
/// another reason than that of `is_final` asked again for a while.
async fn until_taken<F>(
    shop: &Shop,
    id: TaskId,
    is_final: fn(&ApiError) -> bool,
    call: impl Fn() -> F,
) -> Result<TaskView, ApiError>
where
    F: Future<Output = Result<TaskView, CallError>>,
{
    let (mut tries, mut refusals) = (0_u32, 0_u32);
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(CallError::Refused(error)) if !error.retryable => {
                refusals = refusals.saturating_add(1);
                if is_over(&error) || is_final(&error) || refusals >= REFUSALS {
                    return Err(error);
                }
                error
            }
            Err(error) => ApiError::from(error),
        };
        if tries == 0 {
            let ui = &shop.ctl.ui;
            ui.say(&format!("task {id}: {error}; what became of it is kept and told later"));
        }
        tries = tries.saturating_add(1);
        if *shop.stop.borrow() == Stop::Now && tries >= LAST_TRIES {
            return Err(error);
        }
        sleep(AGAIN).await;
    }
}
