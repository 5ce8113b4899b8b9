//! The sender's side of one transfer over one session.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pilot_files::{Blame, Count, Ending, Transfer};
use pilot_overlay::Session;
use pilot_proto::data::{
    DataRefusal, DataRequest, MAX_HASHES, MAX_PAGE, MAX_TALK_FRAME, Ranges, Said, Told,
    TransferOffer,
};
use pilot_proto::text::Text;
use pilot_proto::{Service, TransferId};
use pilot_transport::{Framed, FramedError};
use pilot_tree::ReadError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::desk::Trouble;
use super::pump::{Cargo, CargoError, PumpError};
use super::{ChangeError, DataService};
use crate::clock;

/// How long a receiver may take to hear that there will be no more.
const HEAR: Duration = Duration::from_secs(5);

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
        let mut talk = session.open(Service::Data).await?;
        talk.send(&DataRequest::Offer(offer_of(transfer)), MAX_TALK_FRAME).await?;
        match self.converse(session, transfer, &cargo, &mut talk).await {
            Ok(verdict) => self.heed(transfer, verdict).await,
            Err(PumpError::Stream(error)) => Err(error.into()),
            Err(PumpError::Cargo(error)) => {
                say_failed(talk, &error).await;
                self.give_up(transfer, &error).await
            }
        }
    }

    /// Sends what the receiver asks for, until it has said what becomes of it.
    async fn converse(
        self: &Arc<Self>,
        session: &Session,
        transfer: &Transfer,
        cargo: &Arc<Cargo>,
        talk: &mut Framed,
    ) -> Result<Verdict, PumpError> {
        let (wanted, want) = oneshot::channel();
        let mut listening = Box::pin(self.listen(transfer, cargo, talk, wanted));
        let pumping = async {
            match want.await {
                Ok(missing) => self.pump(session, transfer, cargo, missing).await,
                // It is complete, or refused: there is nothing to send.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            verdict = &mut listening => verdict,
            pumped = pumping => {
                pumped?;
                listening.await
            }
        }
    }

    /// Does what the receiver's last word asks for.
    async fn heed(
        self: &Arc<Self>,
        transfer: &Transfer,
        verdict: Verdict,
    ) -> Result<(), TalkError> {
        match verdict {
            Verdict::Complete => self.settle(transfer, Ending::Complete).await,
            Verdict::Refused(code, reason) if code.is_for_now() => {
                let reason = reason.into_string();
                self.desk.note_trouble(transfer.id, Trouble { code, reason: reason.clone() });
                self.watchers.tell(transfer.id, transfer.revision);
                Err(TalkError::Later(reason))
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
        cargo: &Arc<Cargo>,
        talk: &mut Framed,
        wanted: oneshot::Sender<Ranges>,
    ) -> Result<Verdict, PumpError> {
        let mut wanted = Some(wanted);
        let mut has_told_hashes = false;
        loop {
            match talk.expect(MAX_TALK_FRAME).await? {
                Told::SendManifest => {
                    for page in cargo.manifest_bytes.chunks(MAX_PAGE) {
                        let page = Said::Page(Bytes::copy_from_slice(page));
                        talk.send(&page, MAX_TALK_FRAME).await?;
                    }
                }
                // Once: hashing is work.
                Told::HashesOf(_) if has_told_hashes => return Err(FramedError::Closed.into()),
                Told::HashesOf(files) => {
                    has_told_hashes = true;
                    self.tell_hashes(cargo, files, talk).await?;
                }
                Told::Missing(missing) => {
                    let numbers = missing.ranges().iter().cloned().flatten();
                    let count = Count::without(&cargo.layout, &transfer.totals, numbers);
                    self.desk.note_progress(transfer.id, count.progress());
                    self.watchers.tell(transfer.id, transfer.revision);
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

    /// Tells the hashes of the files that were asked for: hashed while those
    /// before are on their way.
    async fn tell_hashes(
        &self,
        cargo: &Arc<Cargo>,
        files: Ranges,
        talk: &mut Framed,
    ) -> Result<(), PumpError> {
        let (found, mut pages) = mpsc::channel(1);
        let cargo = Arc::clone(cargo);
        let hashing = self.tasks.spawn_blocking(move || hash_all(&cargo, &files, &found));
        while let Some(page) = pages.recv().await {
            talk.send(&Said::Hashes(page), MAX_TALK_FRAME).await?;
        }
        Ok(hashing.await.unwrap_or(Err(CargoError::Stopped))?)
    }
}

/// Hashes of the files with these numbers, by the page; blocks.
fn hash_all(
    cargo: &Cargo,
    files: &Ranges,
    out: &mpsc::Sender<Vec<[u8; 32]>>,
) -> Result<(), CargoError> {
    let mut page = Vec::new();
    for number in files.ranges().iter().cloned().flatten() {
        let entry = u32::try_from(number).unwrap_or(u32::MAX);
        page.push(*cargo.source.hash(entry)?.as_bytes());
        if page.len() == MAX_HASHES && out.blocking_send(std::mem::take(&mut page)).is_err() {
            return Ok(());
        }
    }
    // If nobody wants it, the talk is over, and says so.
    drop(out.blocking_send(page));
    Ok(())
}

/// What a receiver is told: where a file lay at its sender is not its business.
fn told(error: &CargoError) -> String {
    let name = |path: &Path| path.file_name().map(Path::new).unwrap_or(path).to_owned();
    match error {
        CargoError::Read(ReadError::Changed { path }) => {
            ReadError::Changed { path: name(path) }.to_string()
        }
        CargoError::Read(ReadError::Gone { path }) => {
            ReadError::Gone { path: name(path) }.to_string()
        }
        CargoError::Read(ReadError::Denied { path } | ReadError::Io { path, .. }) => {
            format!("its sender cannot read {:?} any more", name(path))
        }
        CargoError::Read(ReadError::NoFile { .. })
        | CargoError::Home(_)
        | CargoError::Manifest(_)
        | CargoError::Layout(_)
        | CargoError::Source(_)
        | CargoError::Stopped => "its sender cannot read what was to be sent".to_owned(),
    }
}

/// Tells the receiver why there will be no more, so that its user knows it, too.
async fn say_failed(mut talk: Framed, error: &CargoError) {
    let failed = Said::Failed(Text::clipped(&told(error)));
    let said = async {
        talk.send(&failed, MAX_TALK_FRAME).await?;
        talk.finish()?;
        // Until it has heard it.
        while talk.next::<Told>(MAX_TALK_FRAME).await?.is_some() {}
        Ok::<_, FramedError>(())
    };
    // If it hears nothing it is told that it was cancelled, which is owed.
    drop(timeout(HEAR, said).await);
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
