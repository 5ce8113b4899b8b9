//! Pieces that come, from their stream into the inbox.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use pilot_files::{Blame, Ending, PieceHash};
use pilot_proto::data::PieceHeader;
use pilot_proto::text::Text;
use pilot_transport::{FramedError, RecvStream};
use pilot_tree::{FinishError, Verified};
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::timeout;

use super::DataService;
use super::desk::Trouble;
use super::landing::{Arrival, Content, Landing, PieceError};
use super::pace::wait_until;
use super::receive::PATIENCE;
use super::refused::Refused;

/// Bytes of pieces that are written at once.
const BATCH: usize = 1024 * 1024;

/// Batches that wait to be verified, and to be written, while further ones are
/// received: a disk that rests for a moment does not stop the line.
const AHEAD: usize = 3;

/// Pieces that are what they must be; or what is wrong with one of them.
type Checked = Result<Vec<Verified<Content>>, PieceError>;

/// Pieces that are written at once.
const BATCH_PIECES: usize = 256;

impl DataService {
    /// Takes pieces until the stream ends.
    pub(super) async fn take(
        self: &Arc<Self>,
        landing: &Arc<Landing>,
        recv: &mut RecvStream,
    ) -> Result<(), FramedError> {
        // The semaphore is never closed.
        let Ok(_slot) = self.piece_streams.acquire().await else { return Ok(()) };
        let (batches, arrived) = mpsc::channel(AHEAD);
        let (verified, waiting) = mpsc::channel(AHEAD);
        drop(self.tasks.spawn_blocking({
            let landing = Arc::clone(landing);
            move || verify_all(&landing, arrived, &verified)
        }));
        let mut writing = self.tasks.spawn_blocking({
            let (service, landing) = (Arc::clone(self), Arc::clone(landing));
            move || service.write_all(&landing, waiting)
        });
        loop {
            let next = async {
                // The sender hears of it by the stream's window.
                wait_until(self.courtesy.next(BATCH, Instant::now())).await;
                next_batch(landing, recv).await
            };
            let (batch, end) = tokio::select! {
                next = next => next,
                // It is all there, or was not taken.
                written = &mut writing => {
                    self.written(landing, written).await;
                    return Ok(());
                }
            };
            let is_taken = batch.is_empty() || batches.send(batch).await.is_ok();
            if end.is_some() || !is_taken {
                drop(batches);
                self.written(landing, writing.await).await;
                return end.unwrap_or(Ok(()));
            }
        }
    }

    /// Writes what comes, until no more does or all is there, which is true
    /// then; blocks.
    fn write_all(
        &self,
        landing: &Landing,
        mut batches: mpsc::Receiver<Checked>,
    ) -> Result<bool, PieceError> {
        while let Some(batch) = batches.blocking_recv() {
            let is_complete = landing.write(batch?)?;
            self.note_landed(landing);
            if is_complete {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Finishes what is all there, and ends what was not taken.
    async fn written(
        self: &Arc<Self>,
        landing: &Arc<Landing>,
        written: Result<Result<bool, PieceError>, JoinError>,
    ) {
        match written {
            Ok(Ok(true)) => self.finish_if_complete(landing).await,
            Ok(Ok(false)) => {}
            Ok(Err(error)) => self.not_taken(landing, Refused::from(&error)).await,
            Err(error) => tracing::error!(%error, "writing pieces broke off"),
        }
    }

    /// Something of it was not taken: now, or for good.
    pub(super) async fn not_taken(self: &Arc<Self>, landing: &Arc<Landing>, refused: Refused) {
        let Refused(code, reason) = refused;
        if code.is_for_now() {
            tracing::warn!(transfer = %landing.id, reason, "a transfer cannot go on now");
            self.desk.note_trouble(landing.id, Trouble { code, reason: reason.clone() });
            self.watchers.tell(landing.id, 0);
            self.landings.remove(landing.id);
            landing.refuse(code, reason);
        } else {
            self.fail(landing, Blame::Sender, &reason).await;
        }
    }

    /// Lets everybody know how much is there.
    pub(super) fn note_landed(&self, landing: &Landing) {
        if let Some(progress) = landing.progress() {
            self.desk.note_progress(landing.id, progress);
            self.watchers.tell(landing.id, 0);
        }
    }

    /// Puts all of it into the inbox, if all of it is there.
    pub(super) async fn finish_if_complete(self: &Arc<Self>, landing: &Arc<Landing>) {
        let Some(incoming) = landing.take_complete() else { return };
        let (inbox, name) = (self.inbox.clone(), landing.id.to_string());
        let finishing = self.tasks.spawn_blocking(move || incoming.finish(&inbox, &name));
        let finished: Result<PathBuf, FinishError> = match finishing.await {
            Ok(finished) => finished,
            Err(error) => return tracing::error!(%error, "finishing a transfer broke off"),
        };
        let ended = match finished {
            Ok(_) => self.end(landing.id, Ending::Complete).await.map_err(Refused::from),
            Err(FinishError::Disk(error)) => Err(Refused::from(&error)),
            Err(error) => Err(Refused::internal(&error)),
        };
        match ended {
            Ok(_) => {
                self.landings.remove(landing.id);
                tracing::info!(transfer = %landing.id, peer = %landing.peer.short(),
                    "a transfer is in the inbox");
                landing.complete();
            }
            Err(refused) => self.not_taken(landing, refused).await,
        }
    }

    pub(super) async fn fail(self: &Arc<Self>, landing: &Landing, blame: Blame, reason: &str) {
        let ending = Ending::Failed { blame, reason: Text::clipped(reason) };
        if let Err(error) = self.end(landing.id, ending).await {
            tracing::warn!(transfer = %landing.id, %error, "a failure could not be written");
        }
    }
}

/// Verifies what comes while what came before is written, until something is
/// not what it must be; blocks.
fn verify_all(
    landing: &Landing,
    mut batches: mpsc::Receiver<Vec<Arrival>>,
    out: &mpsc::Sender<Checked>,
) {
    while let Some(batch) = batches.blocking_recv() {
        let checked = landing.verify(batch);
        let is_over = checked.is_err();
        if out.blocking_send(checked).is_err() || is_over {
            return;
        }
    }
}

/// The next pieces on a stream, and how it ended if it has: what came before
/// counts however that was.
async fn next_batch(
    landing: &Landing,
    recv: &mut RecvStream,
) -> (Vec<Arrival>, Option<Result<(), FramedError>>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH && batch.len() < BATCH_PIECES {
        match next_piece(landing, recv).await {
            Ok(Some((arrival, len))) => {
                bytes += len;
                batch.push(arrival);
            }
            Ok(None) => return (batch, Some(Ok(()))),
            Err(error) => return (batch, Some(Err(error))),
        }
    }
    (batch, None)
}

/// The next piece and its length; none at the end of the stream.
async fn next_piece(
    landing: &Landing,
    recv: &mut RecvStream,
) -> Result<Option<(Arrival, usize)>, FramedError> {
    let mut header = [0; PieceHeader::BYTES];
    match read_all(recv, &mut header).await {
        Ok(()) => {}
        Err(FramedError::Ended) => return Ok(None),
        Err(error) => return Err(error),
    }
    let header = PieceHeader::decode(&header).map_err(|_| FramedError::Closed)?;
    let length = |bytes: u32| usize::try_from(bytes).map_err(|_| FramedError::Closed);
    let (len, stored) = (length(header.len)?, length(header.stored)?);
    if landing.piece(header.number).map(|piece| piece.len) != Some(len) {
        return Err(FramedError::Closed);
    }
    let mut content = landing.room(len, stored);
    read_all(recv, content.get_mut()).await?;
    let hash = PieceHash::from_bytes(header.hash);
    Ok(Some((Arrival { number: header.number, hash, content }, len)))
}

/// Fills all of `bytes`, however slowly it comes, but not with long pauses.
async fn read_all(recv: &mut RecvStream, mut bytes: &mut [u8]) -> Result<(), FramedError> {
    while !bytes.is_empty() {
        let read = timeout(PATIENCE, recv.read(bytes)).await.map_err(|_| FramedError::Stalled)?;
        let len = read?.ok_or(FramedError::Ended)?;
        bytes = bytes.get_mut(len..).unwrap_or_default();
    }
    Ok(())
}
