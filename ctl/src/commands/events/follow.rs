//! The events that are wanted, as lines, one after the other.
//!
//! With a name it outlives the daemon: it waits for its return and goes on
//! without giving any line twice. Without one the stream ends with the daemon.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use pilot_local_api::client::Lines;
use pilot_local_api::events::{EventLine, SubscribeRequest};
use pilot_local_api::proto::Position;
use pilot_local_api::{ApiError, CallError, ErrorCode};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use crate::Ctl;
use crate::failure::Failure;

/// Pauses between two tries to find the daemon again: the first, and the longest.
const AGAIN: Duration = Duration::from_millis(200);
const SELDOM: Duration = Duration::from_secs(2);

/// How long a name may be in use by another: whoever was killed a moment ago
/// is no longer, as soon as the daemon hears of it.
const RELEASE: Duration = Duration::from_secs(1);

/// Pause before it is asked again whether a name is free.
const LOOK: Duration = Duration::from_millis(50);

/// An event, or a gap.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// As the daemon wrote it, without its end.
    pub(super) text: Bytes,
    pub(super) is_gap: bool,
    /// What acknowledges it, if it was asked for by a name.
    pub(super) cursor: Option<Cursor>,
}

/// What acknowledges an event and all before it in the same stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    text: String,
    /// Bytes of the text that name the stream.
    stream: usize,
    pub(super) position: Position,
}

impl Cursor {
    pub(super) fn of(text: &str) -> Option<Self> {
        let (stream, position) = text.rsplit_once('.')?;
        let (stream, position) = (stream.len(), position.parse().ok()?);
        Some(Self { text: text.to_owned(), stream, position })
    }

    /// The publisher's key and which of its streams.
    pub(super) fn stream(&self) -> &str {
        self.text.get(..self.stream).unwrap_or(&self.text)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// What is read of a line here.
#[derive(Deserialize)]
struct Head<'a> {
    gap: Option<u64>,
    #[serde(borrow)]
    cursor: Option<&'a str>,
}

/// See the module.
pub(super) struct Follower<'a> {
    ctl: &'a Ctl,
    request: SubscribeRequest,
    lines: Option<Lines<EventLine>>,
    taken: Taken,
    /// When the daemon is tried again.
    next_try: Instant,
    pause: Duration,
}

impl<'a> Follower<'a> {
    /// Begins to listen.
    pub(super) async fn begin(ctl: &'a Ctl, request: SubscribeRequest) -> Result<Self, Failure> {
        let lines = Some(subscribe(ctl, &request).await?);
        let (taken, next_try, pause) = (Taken::default(), Instant::now(), AGAIN);
        Ok(Self { ctl, request, lines, taken, next_try, pause })
    }

    /// The next line.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no line is lost.
    pub(super) async fn next(&mut self) -> Result<Line, Failure> {
        loop {
            let Some(lines) = &mut self.lines else {
                self.return_to_daemon().await?;
                continue;
            };
            match lines.next_line().await {
                Ok(Some(text)) => {
                    if let Some(line) = self.taken.take(text)? {
                        return Ok(line);
                    }
                }
                Ok(None) => {
                    let message = "the daemon has stopped";
                    self.lost(ApiError::new(ErrorCode::DaemonNotRunning, message))?;
                }
                Err(CallError::Lost(error)) => self.lost(error)?,
                Err(error @ (CallError::Unsent(_) | CallError::Refused(_))) => {
                    return Err(error.into());
                }
            }
        }
    }

    /// The next line if it is here already.
    pub(super) fn ready(&mut self) -> Result<Option<Line>, Failure> {
        let Some(lines) = &mut self.lines else { return Ok(None) };
        while let Some(text) = lines.ready_line() {
            if let Some(line) = self.taken.take(text)? {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// Whether the daemon is there.
    pub(super) const fn is_connected(&self) -> bool {
        self.lines.is_some()
    }

    fn lost(&mut self, error: ApiError) -> Result<(), Failure> {
        if self.request.durable.is_none() {
            return Err(error.into());
        }
        self.ctl.ui.say(&format!("{}; waiting for the daemon", error.message));
        self.lines = None;
        self.taken.begin_again();
        (self.next_try, self.pause) = (Instant::now() + AGAIN, AGAIN);
        Ok(())
    }

    async fn return_to_daemon(&mut self) -> Result<(), Failure> {
        sleep_until(self.next_try).await;
        match subscribe(self.ctl, &self.request).await {
            Ok(lines) => self.lines = Some(lines),
            // Right after its start it may lack the rendezvous, too.
            Err(error) if error.api().retryable => {
                self.pause = (self.pause * 2).min(SELDOM);
                self.next_try = Instant::now() + self.pause;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Opens the stream. A name that is in use is asked for again for a moment.
async fn subscribe(ctl: &Ctl, request: &SubscribeRequest) -> Result<Lines<EventLine>, CallError> {
    let until = Instant::now() + RELEASE;
    loop {
        match ctl.client.subscribe(request).await {
            Err(CallError::Refused(error))
                if error.code == ErrorCode::Conflict && Instant::now() < until =>
            {
                tokio::time::sleep(LOOK).await;
            }
            answered => return answered,
        }
    }
}

/// How far each stream was taken.
#[derive(Debug, Default)]
struct Taken {
    last: BTreeMap<String, Position>,
    /// What a stream that was opened again may bring once more.
    again: BTreeMap<String, Position>,
}

impl Taken {
    /// The line, unless it was taken before.
    fn take(&mut self, text: Bytes) -> Result<Option<Line>, ApiError> {
        let Head { gap, cursor } = serde_json::from_slice(&text).map_err(|error| {
            let message = format!("the daemon's answer cannot be read: {error}");
            ApiError::new(ErrorCode::VersionMismatch, message)
        })?;
        let (is_gap, cursor) = (gap.is_some(), cursor.and_then(Cursor::of));
        if let Some(cursor) = &cursor {
            let stream = cursor.stream();
            if let Some(until) = self.again.get(stream) {
                if cursor.position <= *until {
                    return Ok(None);
                }
                self.again.remove(stream);
            }
            match self.last.get_mut(stream) {
                Some(last) => *last = cursor.position,
                None => drop(self.last.insert(stream.to_owned(), cursor.position)),
            }
        }
        Ok(Some(Line { text, is_gap, cursor }))
    }

    fn begin_again(&mut self) {
        self.again.clone_from(&self.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stream: &str, seq: u64) -> Bytes {
        format!(r#"{{"id":"x","cursor":"{stream}.7-{seq}","data":{{"gap":1}}}}"#).into()
    }

    #[test]
    fn a_stream_that_is_opened_again_gives_nothing_twice() {
        let mut taken = Taken::default();
        let mut take = |again: bool, text: Bytes| {
            if again {
                taken.begin_again();
            }
            taken.take(text).unwrap().map(|line| line.cursor.unwrap().position.seq)
        };

        assert_eq!(take(false, line("k.o", 1)), Some(1));
        assert_eq!(take(false, line("k.o", 4)), Some(4));
        assert_eq!(take(true, line("k.o", 1)), None);
        assert_eq!(take(false, line("k.a", 1)), Some(1));
        assert_eq!(take(false, line("k.o", 4)), None);
        assert_eq!(take(false, line("k.o", 6)), Some(6));
        // What comes in one stream is the daemon's to order.
        assert_eq!(take(false, line("k.o", 5)), Some(5));
    }

    #[test]
    fn a_gap_is_told_from_an_event_that_speaks_of_one() {
        let mut taken = Taken::default();

        let gap = taken.take(Bytes::from_static(br#"{"gap":3,"from":"x"}"#)).unwrap().unwrap();
        let event = taken.take(line("k.o", 1)).unwrap().unwrap();

        assert!(gap.is_gap && gap.cursor.is_none());
        assert!(!event.is_gap);
        assert_eq!(event.cursor.unwrap().text(), "k.o.7-1");
        assert!(taken.take(Bytes::from_static(b"<html>")).is_err());
    }
}
