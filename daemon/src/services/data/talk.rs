//! The sender's side of one transfer over one session.

use std::sync::Arc;

use bytes::Bytes;
use pilot_files::{Blame, Ending, Transfer};
use pilot_overlay::Session;
use pilot_proto::data::{
    DataRefusal, DataRequest, MAX_PAGE, MAX_TALK_FRAME, Ranges, Said, Told, TransferOffer,
};
use pilot_proto::text::Text;
use pilot_proto::{Service, TransferId};
use pilot_transport::{Framed, FramedError, RecvStream, SendStream, next_frame, send_frame};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::pump::{Cargo, CargoError, PumpError};
use super::{ChangeError, DataService};
use crate::clock;

/// Why a talk came to no end.
#[derive(Debug, thiserror::Error)]
pub(super) enum TalkError {
    #[error(transparent)]
    Stream(#[from] FramedError),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error("the peer does not take it now: {0}")]
    Later(String),
}

/// A talk that goes on: until it is dropped, also with its session.
struct Talking<'a> {
    service: &'a DataService,
    id: TransferId,
    token: CancellationToken,
}

impl<'a> Talking<'a> {
    fn about(service: &'a DataService, id: TransferId) -> Self {
        let token = service.talks().entry(id).or_default().clone();
        Self { service, id, token }
    }
}

impl Drop for Talking<'_> {
    fn drop(&mut self) {
        self.service.talks().remove(&self.id);
    }
}

/// What the receiver said in the end.
enum Verdict {
    Complete,
    Refused(DataRefusal, Text<{ pilot_proto::data::MAX_REASON }>),
}

impl DataService {
    /// Says what there is to say about a transfer, and sends what is missing.
    pub(super) async fn talk(
        self: &Arc<Self>,
        session: &Session,
        transfer: Transfer,
    ) -> Result<(), TalkError> {
        if !transfer.is_live() {
            return self.tell_end(session, transfer).await;
        }
        let talking = Talking::about(self, transfer.id);
        tokio::select! {
            () = talking.token.cancelled() => Ok(()),
            talked = self.send_all(session, &transfer) => talked,
        }
    }

    /// It is not wanted any more: tells the receiver.
    async fn tell_end(
        self: &Arc<Self>,
        session: &Session,
        transfer: Transfer,
    ) -> Result<(), TalkError> {
        let mut framed = session.open(Service::Data).await?;
        framed.send(&DataRequest::Cancel(transfer.id), MAX_TALK_FRAME).await?;
        framed.finish()?;
        // Whatever it says, it knows now.
        framed.expect::<Told>(MAX_TALK_FRAME).await?;
        self.change(transfer.id, Transfer::note_told).await?;
        Ok(())
    }

    async fn send_all(
        self: &Arc<Self>,
        session: &Session,
        transfer: &Transfer,
    ) -> Result<(), TalkError> {
        let cargo = match self.load(transfer).await {
            Ok(cargo) => Arc::new(cargo),
            Err(error) => return self.give_up(transfer, &error).await,
        };
        let Framed { mut send, mut recv } = session.open(Service::Data).await?;
        let offer = DataRequest::Offer(offer_of(transfer));
        send_frame(&mut send, &offer, MAX_TALK_FRAME).await?;
        let (wanted, want) = oneshot::channel();
        let mut listening = Box::pin(self.listen(transfer, &cargo, &mut send, &mut recv, wanted));
        let pumping = async {
            match want.await {
                Ok(missing) => self.pump(session, transfer.id, &cargo, &missing).await,
                // It is complete, or refused: there is nothing to send.
                Err(_) => std::future::pending().await,
            }
        };
        let verdict = tokio::select! {
            verdict = &mut listening => verdict?,
            pumped = pumping => match pumped {
                Ok(()) => listening.await?,
                Err(PumpError::Stream(error)) => return Err(error.into()),
                Err(PumpError::Cargo(error)) => return self.give_up(transfer, &error).await,
            },
        };
        match verdict {
            Verdict::Complete => self.settle(transfer, Ending::Complete).await,
            Verdict::Refused(code, reason) if code.is_for_now() => {
                Err(TalkError::Later(reason.into_string()))
            }
            Verdict::Refused(DataRefusal::Cancelled, _) => {
                self.settle(transfer, Ending::Cancelled).await
            }
            Verdict::Refused(_, reason) => {
                self.settle(transfer, Ending::Failed { blame: Blame::Receiver, reason }).await
            }
        }
    }

    /// The receiver has had the last word: it needs not be told.
    async fn settle(
        self: &Arc<Self>,
        transfer: &Transfer,
        ending: Ending,
    ) -> Result<(), TalkError> {
        let now = clock::now();
        let settled = self.change(transfer.id, move |transfer| {
            let ended = transfer.end(ending, now);
            transfer.note_told() || ended
        });
        if let Some(settled) = settled.await? {
            self.clear_away(&settled).await;
        }
        Ok(())
    }

    /// The source is not what it was: nobody can do anything about it here.
    async fn give_up(
        self: &Arc<Self>,
        transfer: &Transfer,
        error: &CargoError,
    ) -> Result<(), TalkError> {
        let reason = Text::clipped(&error.to_string());
        tracing::warn!(transfer = %transfer.id, %error, "a transfer cannot be sent");
        self.end(transfer.id, Ending::Failed { blame: Blame::Source, reason }).await?;
        Ok(())
    }

    async fn listen(
        self: &Arc<Self>,
        transfer: &Transfer,
        cargo: &Cargo,
        send: &mut SendStream,
        recv: &mut RecvStream,
        wanted: oneshot::Sender<Ranges>,
    ) -> Result<Verdict, FramedError> {
        let mut wanted = Some(wanted);
        loop {
            let told: Told = next_frame(recv, MAX_TALK_FRAME).await?.ok_or(FramedError::Ended)?;
            match told {
                Told::SendManifest => {
                    for page in cargo.manifest_bytes.chunks(MAX_PAGE) {
                        let page = Said::Page(Bytes::copy_from_slice(page));
                        send_frame(send, &page, MAX_TALK_FRAME).await?;
                    }
                }
                Told::Missing(missing) => {
                    self.note_missing(transfer, cargo, &missing);
                    if let Some(wanted) = wanted.take() {
                        // The pump is gone only if the talk is.
                        drop(wanted.send(missing));
                    }
                }
                Told::Arrived(_) => {}
                Told::Complete => return Ok(Verdict::Complete),
                Told::Refused(code, reason) => return Ok(Verdict::Refused(code, reason)),
            }
        }
    }

    /// What is not missing has been sent before.
    fn note_missing(&self, transfer: &Transfer, cargo: &Cargo, missing: &Ranges) {
        let numbers = missing.ranges().iter().cloned().flatten();
        let left: u64 = numbers
            .filter_map(|number| cargo.layout.piece(number))
            .map(|piece| u64::try_from(piece.len).unwrap_or_default())
            .sum();
        self.desk.note_bytes_done(transfer.id, transfer.totals.bytes.saturating_sub(left));
        self.watchers.tell(transfer.id, transfer.revision);
    }
}

fn offer_of(transfer: &Transfer) -> TransferOffer {
    let left = |expires: pilot_identity::Timestamp| {
        u64::try_from(expires.since(clock::now()).as_millis()).unwrap_or(u64::MAX)
    };
    TransferOffer {
        id: transfer.id,
        label: Text::clipped(&transfer.label),
        manifest_bytes: transfer.manifest.bytes,
        manifest_hash: transfer.manifest.hash,
        bytes: transfer.totals.bytes,
        expires_ms: transfer.expires.map(left),
        task: transfer.task,
    }
}
