//! Acknowledges, by a name, what was done with.
//!
//! Only the last of each stream counts, so that what waits stays small. One
//! call is under way at a time, and while it is nothing waits for it.

use core::future::{Future, pending};
use core::pin::Pin;
use core::time::Duration;
use std::collections::BTreeMap;

use pilot_local_api::events::AckRequest;
use pilot_local_api::{CallError, Client};
use tokio::time::{Instant, sleep_until};

use super::follow::Cursor;
use crate::Ctl;
use crate::failure::Failure;
use crate::waiting::{AtFirst, patiently};

/// Time from an event to its acknowledgement, at the most; far less than a
/// user notices, and far more than the daemon's disk needs.
const OFTEN: Duration = Duration::from_millis(100);

/// Events that are acknowledged at once, even earlier.
const MANY: u64 = 1000;

/// What is done with, and the daemon does not know yet.
pub(super) struct Acks<'a> {
    ctl: &'a Ctl,
    /// None: nothing is to be acknowledged.
    name: Option<String>,
    /// The last of each stream.
    last: BTreeMap<String, String>,
    events: u64,
    /// When the next call is due.
    due: Instant,
    call: Option<Call<'a>>,
}

struct Call<'a> {
    running: Pin<Box<dyn Future<Output = Result<(), CallError>> + 'a>>,
    of: BTreeMap<String, String>,
}

impl<'a> Acks<'a> {
    pub(super) fn new(ctl: &'a Ctl, name: Option<String>) -> Self {
        let (last, due) = (BTreeMap::new(), Instant::now());
        Self { ctl, name, last, events: 0, due, call: None }
    }

    /// This one, and all before it in its stream, is done with.
    pub(super) fn note(&mut self, cursor: &Cursor) {
        if self.last.is_empty() {
            self.due = Instant::now() + OFTEN;
        }
        match self.last.get_mut(cursor.stream()) {
            Some(last) => cursor.text().clone_into(last),
            None => {
                self.last.insert(cursor.stream().to_owned(), cursor.text().to_owned());
            }
        }
        self.events += 1;
    }

    /// Acknowledges what is due. Returns after each call, and otherwise waits.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is under way goes on the next time.
    pub(super) async fn turn(&mut self) -> Result<(), Failure> {
        if self.call.is_none() {
            if self.last.is_empty() {
                return pending().await;
            }
            if self.events < MANY {
                sleep_until(self.due).await;
            }
            self.call = self.begin();
        }
        let Some(call) = &mut self.call else { return pending().await };
        let outcome = call.running.as_mut().await;
        let Some(Call { of, .. }) = self.call.take() else { return Ok(()) };
        match outcome {
            Ok(()) => Ok(()),
            Err(CallError::Refused(error)) => Err(error.into()),
            // The daemon is away: again, with what is newer if there is some.
            Err(CallError::Unsent(_) | CallError::Lost(_)) => {
                self.put_back(of);
                Ok(())
            }
        }
    }

    /// Acknowledges all that is done with, also if the daemon restarts meanwhile.
    pub(super) async fn finish(mut self) -> Result<(), Failure> {
        if let Some(Call { running, of }) = self.call.take()
            && running.await.is_err()
        {
            self.put_back(of);
        }
        let (Some(name), false) = (&self.name, self.last.is_empty()) else { return Ok(()) };
        let request = AckRequest { cursors: self.last.into_values().collect() };
        let ctl = self.ctl;
        patiently(ctl, AtFirst::Wait, || ctl.client.acknowledge(name, &request)).await?;
        Ok(())
    }

    fn begin(&mut self) -> Option<Call<'a>> {
        let name = self.name.clone()?;
        let of = core::mem::take(&mut self.last);
        self.events = 0;
        let request = AckRequest { cursors: of.values().cloned().collect() };
        let client: &'a Client = &self.ctl.client;
        let running = Box::pin(async move { client.acknowledge(&name, &request).await });
        Some(Call { running, of })
    }

    fn put_back(&mut self, of: BTreeMap<String, String>) {
        for (stream, cursor) in of {
            self.last.entry(stream).or_insert(cursor);
        }
        self.events = 0;
        self.due = Instant::now() + OFTEN;
    }
}
