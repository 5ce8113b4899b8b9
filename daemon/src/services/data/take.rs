//! Pieces that come, from their stream into the inbox.

use std::path::PathBuf;
use std::sync::Arc;

use pilot_files::{Blame, Ending, PieceHash};
use pilot_proto::data::{DataRefusal, PieceHeader};
use pilot_proto::text::Text;
use pilot_transport::{FramedError, RecvStream};
use pilot_tree::{FinishError, WriteError};
use tokio::time::timeout;

use super::DataService;
use super::landing::{Arrival, Landing};
use super::receive::PATIENCE;
use super::refused::Refused;

/// Bytes of pieces that are written at once; the next batch is received
/// meanwhile.
const BATCH: usize = 1024 * 1024;

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
        let mut writing = None;
        loop {
            let (batch, end) = next_batch(landing, recv).await;
            if let Some(before) = writing.take()
                && !self.written(landing, before).await
            {
                return Ok(());
            }
            if !batch.is_empty() {
                let files = Arc::clone(landing);
                writing = Some(self.tasks.spawn_blocking(move || files.write(batch)));
            }
            if let Some(end) = end {
                if let Some(last) = writing {
                    self.written(landing, last).await;
                }
                return end;
            }
        }
    }

    /// Whether what was written was taken.
    async fn written(
        self: &Arc<Self>,
        landing: &Arc<Landing>,
        writing: tokio::task::JoinHandle<Result<bool, WriteError>>,
    ) -> bool {
        match writing.await {
            Ok(Ok(is_complete)) => {
                self.desk.note_bytes_done(landing.id, landing.bytes_done());
                self.watchers.tell(landing.id, 0);
                if is_complete {
                    self.finish_if_complete(landing).await;
                }
                true
            }
            Ok(Err(error)) => {
                let Refused(code, reason) = Refused::from(&error);
                if code.is_for_now() {
                    self.landings.remove(landing.id);
                    landing.refuse(code, reason);
                } else {
                    self.fail(landing, Blame::Sender, &reason).await;
                }
                false
            }
            Err(error) => {
                tracing::error!(%error, "writing pieces broke off");
                false
            }
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
            Ok(_) => self.end(landing.id, Ending::Complete).await.map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.landings.remove(landing.id);
        match ended {
            Ok(_) => {
                tracing::info!(transfer = %landing.id, peer = %landing.peer.short(),
                    "a transfer is in the inbox");
                landing.complete();
            }
            Err(error) => {
                tracing::warn!(transfer = %landing.id, error, "a transfer was not finished");
                landing.refuse(DataRefusal::Internal, error);
            }
        }
    }

    pub(super) async fn fail(self: &Arc<Self>, landing: &Landing, blame: Blame, reason: &str) {
        let ending = Ending::Failed { blame, reason: Text::clipped(reason) };
        if let Err(error) = self.end(landing.id, ending).await {
            tracing::warn!(transfer = %landing.id, %error, "a failure could not be written");
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
    let read = timeout(PATIENCE, recv.read_exact(&mut header)).await;
    match read.map_err(|_| FramedError::Stalled)?.map_err(FramedError::from) {
        Ok(()) => {}
        Err(FramedError::Ended) => return Ok(None),
        Err(error) => return Err(error),
    }
    let header = PieceHeader::decode(&header).map_err(|_| FramedError::Closed)?;
    let len = usize::try_from(header.len).map_err(|_| FramedError::Closed)?;
    if landing.piece(header.number).map(|piece| piece.len) != Some(len) {
        return Err(FramedError::Closed);
    }
    let mut content = landing.room(len);
    let read = timeout(PATIENCE, recv.read_exact(content.get_mut())).await;
    read.map_err(|_| FramedError::Stalled)??;
    let hash = PieceHash::from_bytes(header.hash);
    Ok(Some((Arrival { number: header.number, hash, content }, len)))
}
