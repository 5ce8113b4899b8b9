//! `events publish --lines`: as many events as stdin has, in batches.

use core::mem;
use core::time::Duration;
use std::io::{self, Read as _};

use bytes::{Bytes, BytesMut};
use pilot_local_api::events::{NewEvent, PublishedView};
use pilot_local_api::proto::{check_topic, is_reserved_topic};
use pilot_local_api::{ApiError, CallError, Client, ErrorCode};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::publish::{json, peers, request_id};
use crate::Ctl;
use crate::failure::Failure;
use crate::payload::code_of;
use crate::waiting::{AtFirst, patiently, until_signal};

/// Events of a batch.
const EVENTS: usize = 1000;

/// Bytes of a batch, of which the last event may go beyond it.
const BYTES: usize = 256 * 1024;

/// How long the first of a batch waits for others.
const WAIT: Duration = Duration::from_millis(5);

/// Bytes of one read.
const READ: usize = 64 * 1024;

/// Reads that may wait for being published; stdin waits beyond that.
const READS: usize = 16;

/// Bytes of a line: an event's data, each byte of it as an escape, is shorter.
const LINE: usize = 2 * 1024 * 1024;

/// Publishes all that stdin has.
pub(super) async fn run(ctl: &Ctl, topic: Option<String>, retain: bool) -> Result<(), Failure> {
    if let Some(topic) = &topic {
        check(topic).map_err(|(code, why)| refused(code, &format!("--topic: {why}"), 0))?;
    }
    let (of, mut sum) = (Of { topic, retain }, Sum::default());
    // Connections are kept: each batch is a call.
    let client = Client::keeping(ctl.client.socket());
    let work = publish(ctl, &client, &of, &mut sum);
    let done = until_signal(work, || ApiError::new(ErrorCode::StillRunning, "stopped")).await;
    match done {
        Err(Failure::Signal { number, told }) => {
            let message = format!("{}; {} were published", told.message, sum.events);
            Err(Failure::Signal { number, told: ApiError { message, ..told } })
        }
        Ok(()) if !ctl.ui.json() => ctl.ui.data((sum.text() + "\n").as_bytes()),
        other => other,
    }
}

/// What the events of lines have in common.
struct Of {
    topic: Option<String>,
    retain: bool,
}

/// What was published so far.
#[derive(Debug, Default)]
struct Sum {
    events: u64,
    first_seq: u64,
    last_seq: u64,
    /// The most that a batch was queued for.
    peers: usize,
}

async fn publish(ctl: &Ctl, client: &Client, of: &Of, sum: &mut Sum) -> Result<(), Failure> {
    let mut lines = Lines::of_stdin();
    loop {
        let (batch, wrong) = lines.batch(of).await;
        if !batch.is_empty() {
            let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            let request = Some(request_id()?);
            // Once it was there, it is one that restarts.
            let at_first = if sum.events == 0 { AtFirst::Fail } else { AtFirst::Wait };
            let published = patiently(ctl, at_first, || client.publish(&batch, request)).await;
            let published = published.map_err(|error| after(error, sum.events))?;
            sum.add(count, &published);
            if ctl.ui.json() {
                ctl.ui.answer(&published, |_| String::new())?;
            }
        }
        match wrong {
            Some(Wrong::End) => return Ok(()),
            Some(Wrong::Line(number, (code, why))) => {
                return Err(refused(code, &format!("line {number} of stdin: {why}"), sum.events));
            }
            Some(Wrong::Read((code, why))) => return Err(refused(code, &why, sum.events)),
            None => {}
        }
    }
}

/// An error of what was given; what came before it is published.
fn refused(code: ErrorCode, message: &str, before: u64) -> Failure {
    let error = ApiError::new(code, format!("{message}; {}", told(before)));
    error.with_detail("published", before).into()
}

fn told(before: u64) -> String {
    match before {
        0 => "nothing was published".to_owned(),
        1 => "the one before it was published".to_owned(),
        count => format!("the {count} before it were published"),
    }
}

/// The daemon speaks of one batch only.
fn after(error: CallError, before: u64) -> ApiError {
    let error = ApiError::from(error);
    if before == 0 {
        return error;
    }
    let message = error.message.trim_end_matches("; nothing was published");
    let message = format!("{message}; {}", told(before));
    ApiError { message, ..error }.with_detail("published", before)
}

impl Sum {
    fn add(&mut self, count: u64, published: &PublishedView) {
        if self.events == 0 {
            self.first_seq = published.first_seq;
        }
        self.events += count;
        self.last_seq = published.last_seq;
        self.peers = self.peers.max(published.peers);
    }

    fn text(&self) -> String {
        match self.events {
            0 => "0 events".to_owned(),
            1 => format!("1 event ({})  queued for {}", self.first_seq, peers(self.peers)),
            count => format!(
                "{count} events ({} to {})  queued for {}",
                self.first_seq,
                self.last_seq,
                peers(self.peers)
            ),
        }
    }
}

/// Why no further event comes.
enum Wrong {
    End,
    Read(Why),
    /// The line of this number, from 1, is no event.
    Line(u64, Why),
}

type Why = (ErrorCode, String);

/// The lines of stdin, which is read on a thread of its own.
struct Lines {
    reads: mpsc::Receiver<io::Result<Bytes>>,
    rest: BytesMut,
    /// Bytes of `rest` that have no end of a line.
    seen: usize,
    ended: Option<Wrong>,
    number: u64,
    /// The last topic that was found good.
    topic: String,
}

impl Lines {
    fn of_stdin() -> Self {
        let (sender, reads) = mpsc::channel(READS);
        // It ends with stdin, or is given up when the program ends.
        drop(tokio::task::spawn_blocking(move || {
            let mut stdin = io::stdin().lock();
            let mut buffer = vec![0; READ];
            loop {
                let read = match stdin.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(count) => {
                        Ok(Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default()))
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let is_last = read.is_err();
                if sender.blocking_send(read).is_err() || is_last {
                    return;
                }
            }
        }));
        Self::new(reads)
    }

    fn new(reads: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        let (rest, topic) = (BytesMut::new(), String::new());
        Self { reads, rest, seen: 0, ended: None, number: 0, topic }
    }

    /// The next events, and what comes after them if they are the last.
    async fn batch(&mut self, of: &Of) -> (Vec<NewEvent>, Option<Wrong>) {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut until: Option<Instant> = None;
        while batch.len() < EVENTS && bytes < BYTES {
            let Some(line) = self.ready() else {
                if let Some(ended) = self.ended.take() {
                    return (batch, Some(ended));
                }
                let read = match until {
                    None => self.reads.recv().await,
                    Some(until) => match tokio::time::timeout_at(until, self.reads.recv()).await {
                        Ok(read) => read,
                        Err(_elapsed) => break,
                    },
                };
                self.take(read);
                continue;
            };
            self.number += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            match self.event(of, &line) {
                Ok(event) => {
                    bytes += event.data.get().len();
                    batch.push(event);
                    until.get_or_insert_with(|| Instant::now() + WAIT);
                }
                Err(why) => return (batch, Some(Wrong::Line(self.number, why))),
            }
        }
        (batch, None)
    }

    fn take(&mut self, read: Option<io::Result<Bytes>>) {
        match read {
            Some(Ok(bytes)) => self.rest.extend_from_slice(&bytes),
            Some(Err(error)) => {
                let why = format!("cannot read stdin: {error}");
                self.ended = Some(Wrong::Read((code_of(&error), why)));
            }
            // The last line may lack its end.
            None => {
                self.ended = Some(Wrong::End);
                if !self.rest.is_empty() {
                    self.rest.extend_from_slice(b"\n");
                }
            }
        }
    }

    /// The next line; one that is too long, cut.
    fn ready(&mut self) -> Option<Bytes> {
        let unseen = self.rest.get(self.seen..).unwrap_or_default();
        match unseen.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let line = self.rest.split_to(self.seen + at + 1).freeze();
                self.seen = 0;
                Some(line)
            }
            None if self.rest.len() > LINE => {
                self.seen = 0;
                Some(mem::take(&mut self.rest).freeze())
            }
            None => {
                self.seen = self.rest.len();
                None
            }
        }
    }

    fn event(&mut self, of: &Of, line: &[u8]) -> Result<NewEvent, Why> {
        if line.len() > LINE {
            return Err((ErrorCode::TooLarge, format!("it has more than {LINE} bytes")));
        }
        let text = core::str::from_utf8(line).map_err(|_| wrong("it is no UTF-8 text"))?;
        if let Some(topic) = &of.topic {
            let data = json(text).map_err(|error| wrong(format!("it is no JSON: {error}")))?;
            return Ok(NewEvent { topic: topic.clone(), data, retain: of.retain });
        }
        let event: NewEvent = serde_json::from_str(text).map_err(|error| {
            wrong(format!("it is no event {{\"topic\":…,\"data\":…}}: {error}"))
        })?;
        if event.topic != self.topic {
            check(&event.topic)?;
            self.topic.clone_from(&event.topic);
        }
        Ok(NewEvent { retain: event.retain || of.retain, ..event })
    }
}

/// What the daemon would say of a whole batch.
fn check(topic: &str) -> Result<(), Why> {
    check_topic(topic).map_err(|error| wrong(format!("{topic:?}: {error}")))?;
    if is_reserved_topic(topic) {
        let why = format!("{topic:?}: only the daemon publishes about task, peer, team and sys");
        return Err((ErrorCode::NotAllowed, why));
    }
    Ok(())
}

fn wrong(why: impl Into<String>) -> Why {
    (ErrorCode::InvalidArgument, why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(reads: &[&str]) -> Lines {
        let (sender, receiver) = mpsc::channel(READS);
        for read in reads {
            sender.try_send(Ok(Bytes::copy_from_slice(read.as_bytes()))).unwrap();
        }
        Lines::new(receiver)
    }

    fn of(topic: Option<&str>) -> Of {
        Of { topic: topic.map(str::to_owned), retain: false }
    }

    #[tokio::test]
    async fn lines_are_whole_however_they_are_read() {
        let mut lines = lines(&["1\n", "\"a", "b\"\n\n 3", "\r\n[4", "]"]);

        let (batch, end) = lines.batch(&of(Some("t"))).await;

        let data: Vec<&str> = batch.iter().map(|event| event.data.get()).collect();
        assert_eq!(data, ["1", "\"ab\"", "3", "[4]"]);
        assert!(batch.iter().all(|event| event.topic == "t" && !event.retain));
        assert!(matches!(end, Some(Wrong::End)));
    }

    #[tokio::test]
    async fn a_batch_has_an_end_before_stdin_has() {
        let numbers = "7\n".repeat(EVENTS + 1);
        let large = format!("\"{}\"\n", "x".repeat(BYTES / 2));
        let mut many = lines(&[&numbers]);
        let mut big = lines(&[&large, &large, &large]);

        assert_eq!(many.batch(&of(Some("t"))).await.0.len(), EVENTS);
        assert_eq!(many.batch(&of(Some("t"))).await.0.len(), 1);
        assert_eq!(big.batch(&of(Some("t"))).await.0.len(), 2);
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused_and_not_collected() {
        let mut lines = lines(&[&"x".repeat(LINE), "xx"]);

        let (batch, wrong) = lines.batch(&of(Some("t"))).await;

        let too_large = matches!(wrong, Some(Wrong::Line(1, (ErrorCode::TooLarge, _))));
        assert!(batch.is_empty() && too_large);
    }
}
