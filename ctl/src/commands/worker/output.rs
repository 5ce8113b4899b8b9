//! What a command writes, while it writes it.
//!
//! stdout is kept whole up to a limit, for it is the result. Both streams go
//! into the log, of which a bounded part waits to be sent, and the last line
//! of each is remembered.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::Notify;

use crate::payload::MAX_PAYLOAD;
use crate::ui::Ui;

/// Bytes of stdout that are a result's data.
///
/// What travels inside a result is 16 MiB; small files of it may take 1 MiB,
/// and names and a reason some more.
pub(super) const MAX_STDOUT: usize = MAX_PAYLOAD - 2 * 1024 * 1024;

/// Bytes of the log that wait to be sent; beyond it the oldest are left out.
const MAX_LOG: usize = 256 * 1024;

/// Bytes of a line that are looked at as one.
const MAX_LINE: usize = 4096;

/// Bytes that are read at once.
const AT_ONCE: usize = 16 * 1024;

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// What a command has written.
#[derive(Debug)]
pub(super) struct Output {
    ui: Ui,
    /// What lines of stderr begin with here.
    prefix: String,
    written: Mutex<Written>,
    /// There is more in the log, or it is closed.
    news: Notify,
    /// Nothing more is written.
    end: Notify,
    /// stdout is more than a result holds.
    overflow: Notify,
}

#[derive(Debug, Default)]
struct Written {
    stdout: Vec<u8>,
    overflowed: bool,
    log: Vec<u8>,
    left_out: usize,
    closed: bool,
    out: Line,
    err: Line,
    /// The last line of either.
    last: String,
}

/// A line that is not ended yet, and the last that had something in it.
#[derive(Debug, Default)]
struct Line {
    open: Vec<u8>,
    last: String,
}

impl Output {
    pub(super) fn new(ui: Ui, prefix: String) -> Self {
        let (news, end, overflow) = (Notify::new(), Notify::new(), Notify::new());
        Self { ui, prefix, written: Mutex::default(), news, end, overflow }
    }

    /// Reads a stream to its end. Not cancel safe: what was read is kept, but
    /// a line may stay open.
    pub(super) async fn read(&self, stream: Stream, mut from: impl AsyncRead + Unpin) {
        let mut buffer = Vec::with_capacity(AT_ONCE);
        loop {
            buffer.clear();
            // A stream that cannot be read has ended.
            let count = from.read_buf(&mut buffer).await.unwrap_or_default();
            if count == 0 {
                break;
            }
            self.heard(stream, &buffer);
        }
        let mut written = self.lock();
        self.end_line(&mut written, stream);
    }

    /// Notes what was read of a stream.
    fn heard(&self, stream: Stream, bytes: &[u8]) {
        let mut written = self.lock();
        if stream == Stream::Out {
            // Nothing after the first piece that did not fit: it would leave a hole.
            if written.overflowed {
                return;
            }
            if written.stdout.len() + bytes.len() > MAX_STDOUT {
                written.overflowed = true;
                self.overflow.notify_one();
                return;
            }
            written.stdout.extend_from_slice(bytes);
        }
        written.log(bytes);
        self.news.notify_one();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = written.line(stream);
            let room = MAX_LINE.saturating_sub(line.open.len());
            line.open.extend_from_slice(part.get(..room).unwrap_or(part));
            if part.ends_with(b"\n") || line.open.len() >= MAX_LINE {
                self.end_line(&mut written, stream);
            }
        }
    }

    fn end_line(&self, written: &mut Written, stream: Stream) {
        let line = written.line(stream);
        let open = core::mem::take(&mut line.open);
        let bytes = open.strip_suffix(b"\n").unwrap_or(&open);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        if !text.trim().is_empty() {
            text.trim().clone_into(&mut line.last);
            text.trim().clone_into(&mut written.last);
        }
        if stream == Stream::Err && !open.is_empty() {
            self.ui.said(&self.prefix, bytes);
        }
    }

    /// Once stdout is more than a result holds. Cancel safe.
    pub(super) async fn overflowed(&self) {
        self.overflow.notified().await;
    }

    /// Whether stdout was more than a result holds: what is kept is not all of it.
    pub(super) fn has_overflowed(&self) -> bool {
        self.lock().overflowed
    }

    /// Nothing more is written.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
        self.end.notify_one();
    }

    /// Once nothing more is written; told once. Cancel safe.
    pub(super) async fn closed(&self) {
        self.end.notified().await;
    }

    /// Whether nothing more is written.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Once there is something in the log, or it is closed. Cancel safe.
    pub(super) async fn news(&self) {
        loop {
            let heard = self.news.notified();
            {
                let written = self.lock();
                if written.closed || !written.log.is_empty() {
                    return;
                }
            }
            heard.await;
        }
    }

    /// Takes at most so many bytes of the log.
    pub(super) fn take_log(&self, most: usize) -> Vec<u8> {
        let mut written = self.lock();
        if written.left_out > 0 {
            let note = format!("[{} bytes left out]\n", core::mem::take(&mut written.left_out));
            return note.into_bytes();
        }
        let rest = if written.log.len() > most { written.log.split_off(most) } else { Vec::new() };
        core::mem::replace(&mut written.log, rest)
    }

    /// The last line with something in it, of either stream; may be empty.
    pub(super) fn last_line(&self) -> String {
        self.lock().last.clone()
    }

    /// The last such line of stderr.
    pub(super) fn last_error(&self) -> String {
        self.lock().err.last.clone()
    }

    /// Takes all of stdout.
    pub(super) fn take_stdout(&self) -> Vec<u8> {
        core::mem::take(&mut self.lock().stdout)
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    fn line(&mut self, stream: Stream) -> &mut Line {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    fn log(&mut self, bytes: &[u8]) {
        self.log.extend_from_slice(bytes);
        if let Some(over) = self.log.len().checked_sub(MAX_LOG).filter(|over| *over > 0) {
            self.log.drain(..over);
            self.left_out += over;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, timeout};

    use super::*;

    fn output() -> Output {
        Output::new(Ui::new(false), String::new())
    }

    #[tokio::test]
    async fn stdout_is_kept_and_both_streams_are_logged() {
        let output = output();

        output.read(Stream::Out, &b"one\n"[..]).await;
        output.read(Stream::Err, &b"two\r\n \nno end"[..]).await;

        assert_eq!(output.take_log(4), b"one\n");
        assert_eq!(output.take_log(usize::MAX), b"two\r\n \nno end");
        assert_eq!(
            (output.last_line().as_str(), output.last_error().as_str()),
            ("no end", "no end")
        );
        assert_eq!(output.take_stdout(), b"one\n");
    }

    #[tokio::test]
    async fn a_log_that_nobody_takes_is_bounded_and_says_what_is_missing() {
        let output = output();

        output.heard(Stream::Out, &vec![b'a'; MAX_LOG]);
        output.heard(Stream::Out, b"bc");

        assert_eq!(output.take_log(10), b"[2 bytes left out]\n");
        let log = output.take_log(usize::MAX);
        assert_eq!((log.len(), log.ends_with(b"abc")), (MAX_LOG, true));
        assert_eq!(output.take_log(10), b"");
        assert_eq!(output.last_line().len(), MAX_LINE);
    }

    #[tokio::test]
    async fn more_than_a_result_holds_is_told_once_and_not_kept() {
        let output = output();
        output.heard(Stream::Out, &vec![b'a'; MAX_STDOUT]);
        let soon = Duration::from_millis(1);
        assert!(timeout(soon, output.overflowed()).await.is_err());
        assert!(!output.has_overflowed());

        output.heard(Stream::Out, b"b");

        assert!(timeout(soon, output.overflowed()).await.is_ok());
        assert!(output.has_overflowed());
        assert_eq!(output.take_stdout().len(), MAX_STDOUT);
    }

    #[tokio::test]
    async fn nothing_is_kept_after_the_piece_that_did_not_fit() {
        let output = output();
        output.heard(Stream::Out, &vec![b'a'; MAX_STDOUT - 1]);

        output.heard(Stream::Out, b"bb");
        output.heard(Stream::Out, b"c");

        assert!(output.has_overflowed());
        assert_eq!(output.take_stdout().len(), MAX_STDOUT - 1);
    }

    #[tokio::test]
    async fn news_are_heard_whenever_they_came() {
        let output = output();
        output.heard(Stream::Err, b"x");
        output.news().await;
        assert_eq!(output.take_log(9), b"x");
        let soon = Duration::from_millis(1);
        assert!(timeout(soon, output.news()).await.is_err());

        output.close();

        output.news().await;
        assert!(output.is_closed());
    }
}
