//! An answer that goes on: one JSON value a line.

use core::marker::PhantomData;
use core::pin::Pin;
use std::path::Path;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::exchange::{self, Wire, lost};
use super::{CallError, read};
use crate::MAX_RESPONSE_BODY;
use crate::errors::{ApiError, ErrorCode};

/// The lines of a stream, in order.
#[derive(Debug)]
pub struct Lines<T> {
    /// None once the connection has ended; what it brought may still be in `body`.
    wire: Option<Pin<Box<Wire>>>,
    body: Incoming,
    read: BytesMut,
    /// Bytes of it in which there is no end of a line.
    seen: usize,
    ended: bool,
    item: PhantomData<fn() -> T>,
}

/// Asks for a stream.
pub(super) async fn open<T>(socket: &Path, path: &str) -> Result<Lines<T>, CallError> {
    asked(socket, Method::GET, path, Bytes::new()).await
}

/// Asks for a stream that depends on a body.
pub(super) async fn post<T>(socket: &Path, path: &str, body: Bytes) -> Result<Lines<T>, CallError> {
    asked(socket, Method::POST, path, body).await
}

async fn asked<T>(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Lines<T>, CallError> {
    let (mut sender, wire) = exchange::connect(socket).await?;
    let request = exchange::request(method, path, body)?;
    let mut wire = Some(Box::pin(wire));
    let response = driven(&mut wire, sender.send_request(request)).await.map_err(lost)?;
    let status = response.status();
    let body = response.into_body();
    if status.is_success() {
        return Ok(Lines {
            wire,
            body,
            read: BytesMut::new(),
            seen: 0,
            ended: false,
            item: PhantomData,
        });
    }
    let body = driven(&mut wire, exchange::collect(body)).await?;
    Err(CallError::Refused(exchange::refusal(status, &body, path)))
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next value; none once the daemon has ended the stream.
    ///
    /// # Errors
    ///
    /// [`CallError::Lost`] if the connection ended first, and
    /// [`CallError::Refused`] if a line cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no line is lost.
    pub async fn next(&mut self) -> Result<Option<T>, CallError> {
        match self.next_line().await? {
            Some(line) => read(&line).map(Some),
            None => Ok(None),
        }
    }

    /// The same as text, without its end.
    ///
    /// # Errors
    ///
    /// As [`Self::next`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no line is lost.
    pub async fn next_line(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            if let Some(line) = self.ready_line() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            match driven(&mut self.wire, self.body.frame()).await {
                Some(frame) => {
                    if let Ok(data) = frame.map_err(lost)?.into_data() {
                        self.take(&data)?;
                    }
                }
                // A last line without its end was cut off and is no line.
                None => self.ended = true,
            }
        }
    }

    /// The next line if it is here already, as text without its end.
    pub fn ready_line(&mut self) -> Option<Bytes> {
        loop {
            let unseen = self.read.get(self.seen..).unwrap_or_default();
            let Some(end) = memchr::memchr(b'\n', unseen) else {
                self.seen = self.read.len();
                return None;
            };
            let line = self.read.split_to(self.seen + end).freeze();
            self.read.advance(1);
            self.seen = 0;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<(), CallError> {
        if self.read.len() + data.len() > MAX_RESPONSE_BODY {
            let message = format!("a line of the daemon has more than {MAX_RESPONSE_BODY} bytes");
            return Err(CallError::Refused(ApiError::new(ErrorCode::TooLarge, message)));
        }
        self.read.extend_from_slice(data);
        Ok(())
    }
}

/// Runs `work` while the connection, if it still is, is driven.
async fn driven<T>(wire: &mut Option<Pin<Box<Wire>>>, work: impl Future<Output = T>) -> T {
    let mut work = core::pin::pin!(work);
    if let Some(running) = wire {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ended = running.as_mut() => {}
        }
    }
    *wire = None;
    work.await
}
