//! Connections kept open between calls.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use hyper::client::conn::http1::SendRequest;

use super::CallError;
use super::exchange::{self, Wire, answer, beside, lost};

/// Most connections kept; a busier moment opens more and closes them afterwards.
const MAX_IDLE: usize = 64;

/// The connections on which nothing is under way.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Vec<Line>>);

#[derive(Debug)]
struct Line {
    sender: SendRequest<Full<Bytes>>,
    wire: Wire,
}

/// What came of trying a kept connection.
enum Tried {
    Answered(Result<Option<Bytes>, CallError>),
    /// The daemon had closed it before anything of the request was sent.
    Stale,
}

impl Kept {
    /// As [`exchange::exchange`], over a kept connection if there is one.
    pub(super) async fn exchange(
        &self,
        socket: &Path,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Option<Bytes>, CallError> {
        while let Some(line) = self.take() {
            match self.try_on(line, method.clone(), path, body.clone()).await? {
                // It was closed while the request was written: what only asks
                // may be asked again.
                Tried::Answered(Err(CallError::Lost(_))) if method == Method::GET => {}
                Tried::Answered(outcome) => return outcome,
                Tried::Stale => {}
            }
        }
        let (sender, wire) = exchange::connect(socket).await?;
        match self.try_on(Line { sender, wire }, method, path, body).await? {
            Tried::Answered(outcome) => outcome,
            Tried::Stale => Err(exchange::hung_up()),
        }
    }

    async fn try_on(
        &self,
        line: Line,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Tried, CallError> {
        let request = exchange::request(method, path, body)?;
        let Line { mut sender, wire } = line;
        let work = async {
            if sender.ready().await.is_err() {
                return Tried::Stale;
            }
            match sender.try_send_request(request).await {
                Ok(response) => Tried::Answered(answer(response, path).await),
                Err(mut error) => match error.take_message() {
                    Some(_) => Tried::Stale,
                    None => Tried::Answered(Err(lost(error.into_error()))),
                },
            }
        };
        let (tried, wire) = beside(wire, work).await;
        if let (Tried::Answered(Ok(_) | Err(CallError::Refused(_))), Some(wire)) = (&tried, wire) {
            self.keep(Line { sender, wire });
        }
        Ok(tried)
    }

    fn take(&self) -> Option<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, line: Line) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !line.sender.is_closed() {
            idle.push(line);
        }
    }
}
