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
    ended: bool,
    item: PhantomData<fn() -> T>,
}

/// Asks for a stream.
pub(super) async fn open<T>(socket: &Path, path: &str) -> Result<Lines<T>, CallError> {
    let (mut sender, wire) = exchange::connect(socket).await?;
    let request = exchange::request(Method::GET, path, Bytes::new())?;
    let mut wire = Some(Box::pin(wire));
    let response = driven(&mut wire, sender.send_request(request)).await.map_err(lost)?;
    let status = response.status();
    let body = response.into_body();
    if status.is_success() {
        return Ok(Lines { wire, body, read: BytesMut::new(), ended: false, item: PhantomData });
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
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end);
                self.read.advance(1);
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return read(&line).map(Some);
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
