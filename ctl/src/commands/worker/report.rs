//! Tells the daemon what a running command writes, for the submitter.

use core::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use pilot_local_api::proto::TaskId;
use pilot_local_api::proto::tasks::MAX_NOTE;
use pilot_local_api::tasks::ProgressRequest;
use pilot_local_api::{CallError, Client};
use tokio::time::{sleep, timeout};

use super::output::Output;

/// Bytes of one piece of a log.
const PIECE: usize = 64 * 1024;

/// Time between two pieces, as long as the command runs.
const PAUSE: Duration = Duration::from_millis(200);

/// After which a command counts as running for its submitter; the many that
/// are shorter cost no call.
const BEGIN: Duration = Duration::from_secs(1);

/// Time between two notes.
const NOTES: Duration = Duration::from_secs(2);

/// How long what is still to be told may hold up a result.
const AT_THE_END: Duration = Duration::from_secs(5);

/// Tells it until the output is closed and all of it told. None of it is worth
/// a failure: what the daemon does not take is lost.
pub(super) async fn report(client: &Client, id: TaskId, output: &Output) {
    let notes = async {
        notes(client, id, output).await;
        core::future::pending::<()>().await;
    };
    tokio::select! {
        () = log(client, id, output) => {}
        () = notes => {}
    }
}

async fn log(client: &Client, id: TaskId, output: &Output) {
    let mut takes = true;
    loop {
        output.news().await;
        let closed = output.is_closed();
        let began = Instant::now();
        loop {
            let piece = output.take_log(PIECE);
            if piece.is_empty() {
                break;
            }
            if takes {
                let sent = client.write_log(id, Bytes::from(piece));
                let limit = AT_THE_END.saturating_sub(began.elapsed());
                takes = match timeout(limit, sent).await {
                    // A daemon that is away may be back for the next.
                    Ok(Ok(()) | Err(CallError::Unsent(_) | CallError::Lost(_))) => true,
                    Ok(Err(CallError::Refused(_))) => false,
                    Err(_elapsed) => !closed,
                };
            }
        }
        if closed {
            return;
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = output.closed() => {}
        }
    }
}

/// Says that it runs, and its last line from time to time.
async fn notes(client: &Client, id: TaskId, output: &Output) {
    sleep(BEGIN).await;
    let mut told: Option<String> = None;
    loop {
        let line = clipped(output.last_line());
        if told.as_ref() != Some(&line) {
            let note = (!line.is_empty()).then(|| line.clone());
            let request = ProgressRequest { percent: None, note };
            match client.progress(id, &request).await {
                Ok(_) => told = Some(line),
                Err(CallError::Unsent(_) | CallError::Lost(_)) => {}
                Err(CallError::Refused(_)) => return,
            }
        }
        sleep(NOTES).await;
    }
}

/// The beginning of a text, as much as a note holds.
pub(super) fn clipped(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_NOTE));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_between_letters() {
        let long = "é".repeat(MAX_NOTE);

        let cut = clipped(format!("a{long}"));

        assert_eq!(cut.len(), MAX_NOTE - 1);
        assert_eq!(clipped("short".into()), "short");
    }
}
