//! How a transfer that is waited for ends: followed to its end, and its exit code.

use core::time::Duration;

use pilot_local_api::CallError;
use pilot_local_api::client::Lines;
use pilot_local_api::errors::{ApiError, ErrorCode};
use pilot_local_api::proto::TransferId;
use pilot_local_api::transfers::{Direction, TransferState, TransferView};
use tokio::time::timeout;

use super::progress::Progress;
use crate::Ctl;
use crate::failure::Failure;
use crate::waiting::{AtFirst, patiently};

/// How long a transfer is waited for if nothing is said.
pub(super) const WAIT: &str = "10m";

/// Time between two looks at the clock while nothing changes; a person then
/// sees that the rate falls.
const TICK: Duration = Duration::from_millis(500);

/// Where a transfer that has not ended is seen again.
const LATER: &str = "pilotctl data list";

/// Follows a transfer until it has ended or `limit` is over; the transfer as
/// it then is. A daemon that restarts meanwhile is waited for.
pub(super) async fn ended(
    ctl: &Ctl,
    view: TransferView,
    limit: Duration,
    progress: &mut Progress,
) -> Result<TransferView, Failure> {
    let mut seen = view;
    match timeout(limit, follow(ctl, &mut seen, progress)).await {
        Ok(followed) => followed?,
        Err(_elapsed) => {}
    }
    Ok(seen)
}

async fn follow(
    ctl: &Ctl,
    seen: &mut TransferView,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let id = seen.id;
    while !seen.state.is_terminal() {
        let open = || ctl.client.watch_transfer(id);
        let lines = patiently(ctl, AtFirst::Wait, open).await;
        let mut lines = lines.map_err(|error| not_answered(error.into(), id))?;
        while let Some(view) = next(&mut lines, progress).await? {
            progress.show(&view);
            *seen = view;
            if seen.state.is_terminal() {
                break;
            }
        }
        progress.clear();
    }
    Ok(())
}

/// None once the stream has ended or was cut.
async fn next(
    lines: &mut Lines<TransferView>,
    progress: &Progress,
) -> Result<Option<TransferView>, Failure> {
    loop {
        match timeout(TICK, lines.next()).await {
            Err(_elapsed) => progress.tick(),
            Ok(Ok(line)) => return Ok(line),
            Ok(Err(CallError::Lost(_))) => return Ok(None),
            Ok(Err(error @ (CallError::Unsent(_) | CallError::Refused(_)))) => {
                return Err(error.into());
            }
        }
    }
}

/// A daemon that went away: the transfer itself is safe.
fn not_answered(mut error: ApiError, id: TransferId) -> ApiError {
    if error.code == ErrorCode::DaemonNotRunning {
        error.message = format!("{}; transfer {id} is on its disk, and goes on", error.message);
        error.hint = Some(format!("pilot-daemon …, then: {LATER}"));
        return error.with_detail("transfer", id.to_string());
    }
    error
}

/// Success if the transfer is done; else the error with the exit code of its state.
pub(super) fn verdict(view: &TransferView) -> Result<(), ApiError> {
    let (id, state) = (view.id, view.state);
    let (code, what) = match state {
        TransferState::Done => return Ok(()),
        TransferState::Failed => (ErrorCode::TransferFailed, "failed"),
        TransferState::Cancelled => (ErrorCode::TransferCancelled, "was cancelled"),
        TransferState::Expired => (ErrorCode::TransferExpired, "expired"),
        TransferState::Waiting | TransferState::Sending | TransferState::Receiving => {
            return Err(not_ended(view));
        }
    };
    let why = view.error.as_ref().map(|problem| format!(": {}", problem.message));
    let message = format!("transfer {id} {what}{}", why.unwrap_or_default());
    let error = ApiError::new(code, message)
        .with_hint(LATER)
        .with_detail("transfer", id.to_string())
        .with_detail("state", state.word());
    Err(match &view.error {
        Some(problem) => error.with_detail("cause", problem.code.clone()),
        None => error,
    })
}

/// The time is over and the transfer is not: it says what keeps it, if something does.
fn not_ended(view: &TransferView) -> ApiError {
    let (id, state) = (view.id, view.state);
    let message = match &view.trouble {
        Some(problem) => {
            format!("transfer {id} is still {state}: {}; it goes on after that", problem.message)
        }
        None => format!("transfer {id} is still {state}: it goes on"),
    };
    let error = still_running(id, view.direction, message).with_detail("state", state.word());
    match &view.trouble {
        Some(problem) => error.with_detail("cause", problem.code.clone()),
        None => error,
    }
}

/// A signal ended the wait, not the transfer.
pub(super) fn goes_on(id: TransferId, direction: Direction) -> ApiError {
    still_running(id, direction, format!("stopped waiting; transfer {id} goes on"))
}

fn still_running(id: TransferId, direction: Direction, message: String) -> ApiError {
    let advice = match direction {
        Direction::Sent => "; do not send it again",
        Direction::Received => "",
    };
    ApiError::new(ErrorCode::StillRunning, format!("{message}{advice}"))
        .with_hint(LATER)
        .with_detail("transfer", id.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::{UnixListener, UnixStream};

    use pilot_local_api::Client;
    use pilot_local_api::transfers::TransferProblem;

    use super::super::tests::view;
    use super::*;
    use crate::ui::Ui;

    #[test]
    fn each_state_has_its_exit_code() {
        let wanted = [24, 24, 24, 0, 20, 22, 23];
        for (state, exit) in TransferState::ALL.into_iter().zip(wanted) {
            let verdict = verdict(&view(state));

            assert_eq!(verdict.as_ref().map_or_else(|error| error.code.exit_code(), |()| 0), exit);
            if let Err(error) = verdict {
                assert!(error.message.contains(&view(state).id.to_string()), "{}", error.message);
                assert_eq!(error.hint.as_deref(), Some("pilotctl data list"));
                assert_eq!(error.details["state"], state.word());
            }
        }
        let stopped = goes_on(view(TransferState::Sending).id, Direction::Sent);
        assert_eq!(stopped.code.exit_code(), 24);
        assert!(stopped.message.ends_with("goes on; do not send it again"), "{}", stopped.message);
        let stopped = goes_on(view(TransferState::Sending).id, Direction::Received);
        assert!(stopped.message.ends_with("goes on"), "{}", stopped.message);
    }

    #[test]
    fn a_failure_says_why_to_people_and_to_programs() {
        let (code, message) = ("disk_full".to_owned(), "the disk of the peer is full".to_owned());
        let failed = view(TransferState::Failed);
        let failed = TransferView { error: Some(TransferProblem { code, message }), ..failed };

        let error = verdict(&failed).unwrap_err();

        assert!(error.message.ends_with("failed: the disk of the peer is full"));
        assert_eq!(error.details["cause"], "disk_full");
    }

    #[test]
    fn what_keeps_a_transfer_is_told_when_the_wait_is_over() {
        let (code, message) = ("disk_full".to_owned(), "the receiver's disk is full".to_owned());
        let mut view = view(TransferState::Sending);
        assert!(verdict(&view).unwrap_err().message.ends_with("it goes on; do not send it again"));
        view.trouble = Some(TransferProblem { code, message });

        let error = verdict(&view).unwrap_err();

        let wanted = "still sending: the receiver's disk is full; it goes on after that; \
                      do not send it again";
        assert!(error.message.ends_with(wanted), "{}", error.message);
        assert_eq!(error.code, ErrorCode::StillRunning);
        assert_eq!(error.details["cause"], "disk_full");
    }

    #[test]
    fn a_transfer_is_followed_over_a_stream_that_is_cut() {
        let streams = [vec![TransferState::Sending], vec![TransferState::Done]];

        let view = followed(&streams, Duration::from_secs(60));

        assert_eq!(view.state, TransferState::Done);
    }

    #[test]
    fn when_the_time_is_over_it_is_as_it_was_last_seen() {
        let limit = Duration::from_secs(1);

        let view = followed(&[vec![TransferState::Sending]], limit);

        assert_eq!(view.state, TransferState::Sending);
        assert_eq!(verdict(&view).unwrap_err().code, ErrorCode::StillRunning);
    }

    /// Follows a transfer whose daemon gives these streams: each is cut after
    /// its lines, but the last, which stays open.
    fn followed(streams: &[Vec<TransferState>], limit: Duration) -> TransferView {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let client = Client::new(socket);
        let ctl = Ctl { client, home: home.path().to_owned(), ui: Ui::new(false) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        std::thread::scope(|scope| {
            let daemon = scope.spawn(move || {
                let (last, cut) = streams.split_last().unwrap();
                for states in cut {
                    drop(serve(&listener, states));
                }
                let open = serve(&listener, last);
                (listener, open)
            });
            let begun = view(TransferState::Waiting);
            let seen = runtime.block_on(ended(&ctl, begun, limit, &mut Progress::Nothing));
            drop(daemon.join().unwrap());
            seen.unwrap()
        })
    }

    fn serve(listener: &UnixListener, states: &[TransferState]) -> UnixStream {
        let mut stream = listener.accept().unwrap().0;
        let (mut request, mut some) = (Vec::new(), [0; 4096]);
        while !request.ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut some).unwrap();
            assert!(count > 0, "the request was cut");
            request.extend_from_slice(&some[..count]);
        }
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for state in states {
            let line = serde_json::to_string(&view(*state)).unwrap() + "\n";
            write!(stream, "{:x}\r\n{line}\r\n", line.len()).unwrap();
        }
        stream
    }
}
