//! Waiting for a daemon that restarts, and for signals.

use core::future::Future;
use core::time::Duration;
use std::io;
use std::time::Instant;

use pilot_local_api::{ApiError, CallError, ErrorCode};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Ctl;
use crate::failure::Failure;

/// How long a daemon may be away before a command gives up on it.
///
/// A restart takes well under a second; one that must check its store after a
/// power cut, or that a supervisor restarts with backoff, takes some more.
const AWAY: Duration = Duration::from_secs(30);

/// Time between two tries: short beside what a person notices.
const AGAIN: Duration = Duration::from_millis(100);

/// What to do if nobody listens at the very first try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtFirst {
    /// Fail: there is no daemon to be waited for.
    Fail,
    /// Wait as for one that restarts.
    Wait,
}

/// Makes a call that may be repeated, until the daemon has answered it or has
/// been away for [`AWAY`].
pub(crate) async fn patiently<T, F>(
    ctl: &Ctl,
    at_first: AtFirst,
    mut call: impl FnMut() -> F,
) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut away: Option<Instant> = None;
    loop {
        let error = match call().await {
            Err(error) if is_away(&error) => error,
            answered => return answered,
        };
        let since = match away {
            Some(since) => since,
            None if at_first == AtFirst::Fail && matches!(error, CallError::Unsent(_)) => {
                return Err(error);
            }
            None => {
                ctl.ui.say(&format!("{error}; trying again for {} s", AWAY.as_secs()));
                *away.insert(Instant::now())
            }
        };
        if since.elapsed() >= AWAY {
            return Err(error);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Whether there was no answer because there was no daemon.
fn is_away(error: &CallError) -> bool {
    match error {
        CallError::Unsent(error) => error.code == ErrorCode::DaemonNotRunning,
        CallError::Lost(_) => true,
        CallError::Refused(_) => false,
    }
}

/// Does `work` until a signal asks the program to end; `told` is what is said then.
pub(crate) async fn until_signal<T>(
    work: impl Future<Output = Result<T, Failure>>,
    told: impl FnOnce() -> ApiError,
) -> Result<T, Failure> {
    let mut signals = Signals::listen()?;
    let number = tokio::select! {
        done = work => return done,
        number = signals.next() => number,
    };
    Err(Failure::Signal { number, told: told() })
}

/// The signals that ask the program to end; none of them does so by itself
/// once this is there.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| cannot_listen(&error));
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    /// The number of the next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

/// Keeps the signals that ask a program to end from doing so, a closed terminal
/// among them, as long as the answer is kept.
pub(crate) fn ignore_stops() -> Result<(Signals, Signal), Failure> {
    let hangup = signal(SignalKind::hangup()).map_err(|error| cannot_listen(&error))?;
    Ok((Signals::listen()?, hangup))
}

fn cannot_listen(error: &io::Error) -> Failure {
    ApiError::new(ErrorCode::Internal, format!("cannot listen for signals: {error}")).into()
}
