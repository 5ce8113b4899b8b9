//! Reads the pieces that are missing and sends them on a stream of their own.
//!
//! A thread reads and hashes ahead of the stream, by a few batches: small
//! pieces are put together, so that ten thousand of them cost a few hundred
//! writes. Where the line is what takes the time, it packs what packs: where
//! that has a limit or is a long one, and elsewhere whenever the thread is ahead
//! as far as it may be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pilot_files::{
    Count, Layout, LayoutError, Manifest, ManifestError, PieceHash, Progress, Transfer,
};
use pilot_overlay::Session;
use pilot_proto::Service;
use pilot_proto::data::{DataRequest, MAX_TALK_FRAME, PieceHeader, Ranges};
use pilot_transport::{FramedError, SendStream};
use pilot_tree::{ReadError, Source, SourceBytesError, SourceFile};
use tokio::sync::mpsc;

use super::DataService;
use super::memory::Memory;
use super::pace::{AT_ONCE, Pace, wait_until};
use super::pack::Packer;

/// Bytes of content from which on a batch is handed to the stream.
const BATCH: u64 = 512 * 1024;

/// Bytes from which on a piece's content is not copied to stand with others.
const LARGE: usize = 64 * 1024;

/// Batches that are read ahead.
const AHEAD: usize = 4;

/// The round trip from which on a line counts as a long one: no LAN has it.
const LONG: Duration = Duration::from_millis(3);

/// How often those who watch hear of progress.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// What is sent, as it is on disk.
pub(super) struct Cargo {
    pub(super) manifest_bytes: Vec<u8>,
    pub(super) layout: Layout,
    pub(super) source: Source,
}

/// Why the source of a transfer is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum CargoError {
    #[error("what was to be sent cannot be read from the home folder")]
    Home(#[from] std::io::Error),
    #[error("the manifest on disk is damaged: {0}")]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("the list of sources on disk is of no use: {0}")]
    Source(#[from] SourceBytesError),
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error("reading was broken off")]
    Stopped,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum PumpError {
    #[error(transparent)]
    Stream(#[from] FramedError),
    #[error(transparent)]
    Cargo(#[from] CargoError),
}

/// Headers and contents of some pieces, as they go on the stream.
#[derive(Default)]
struct Batch {
    chunks: Vec<Bytes>,
    /// What goes after them: headers and small contents.
    together: Vec<u8>,
    /// Bytes of the contents.
    content: u64,
    /// How far the transfer is with it.
    progress: Progress,
}

impl DataService {
    pub(super) async fn load(&self, transfer: &Transfer) -> Result<Cargo, CargoError> {
        let folder = self.outgoing.join(transfer.id.to_string());
        let loading = self.tasks.spawn_blocking(move || {
            let manifest_bytes = std::fs::read(folder.join("manifest"))?;
            let manifest = Manifest::decode(&manifest_bytes)?;
            let layout = Layout::of(&manifest)?;
            let source = std::fs::read(folder.join("source"))?;
            let source = Source::from_bytes(&source, Arc::new(manifest))?;
            Ok(Cargo { manifest_bytes, layout, source })
        });
        loading.await.unwrap_or(Err(CargoError::Stopped))
    }

    /// Sends what is missing. Not cancel safe, and need not be: what was sent
    /// counts when it has arrived.
    pub(super) async fn pump(
        &self,
        session: &Session,
        transfer: &Transfer,
        cargo: &Arc<Cargo>,
        missing: Ranges,
    ) -> Result<(), PumpError> {
        let (id, totals) = (transfer.id, transfer.totals);
        let (read, mut batches) = mpsc::channel(AHEAD);
        let ahead = Arc::clone(cargo);
        let is_slow = transfer.limit.is_some() || session.connection().rtt() >= LONG;
        let reading = self.tasks.spawn_blocking(move || {
            let missing = missing.ranges().iter().cloned().flatten();
            let count = Count::without(&ahead.layout, &totals, missing.clone());
            read_all(&ahead, missing, count, is_slow, &read)
        });
        let mut framed = session.open(Service::Data).await?;
        framed.send(&DataRequest::Pieces(id), MAX_TALK_FRAME).await?;
        let mut pace = transfer.limit.map(|limit| Pace::of(limit, Instant::now()));
        let mut told = Instant::now();
        let mut note = |progress| {
            self.desk.note_progress(id, progress);
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                self.watchers.tell(id, 0);
            }
        };
        while let Some(batch) = batches.recv().await {
            let progress = batch.progress;
            if pace.is_none() && !self.courtesy.is_due(Instant::now()) {
                let mut chunks = batch.into_chunks();
                framed.send.write_all_chunks(&mut chunks).await.map_err(FramedError::from)?;
            } else {
                let before = self.desk.progress(id);
                let mut sent = 0;
                let at_once = pace.as_ref().map_or(AT_ONCE, Pace::at_once);
                let next = |bytes, now| {
                    let own = pace.as_mut().map_or(now, |pace| pace.next(bytes, now));
                    own.max(self.courtesy.next(bytes, now))
                };
                write_slowly(&mut framed.send, batch.into_chunks(), at_once, next, |bytes| {
                    sent += bytes as u64;
                    // What is packed, and what is told beside, is not exact.
                    let bytes = (before.bytes + sent).min(progress.bytes);
                    note(Progress { bytes, ..before });
                })
                .await?;
            }
            note(progress);
        }
        reading.await.unwrap_or(Err(CargoError::Stopped))?;
        framed.finish()?;
        Ok(())
    }
}

/// Writes all of it, each part when it may go, and tells of each.
async fn write_slowly(
    send: &mut SendStream,
    chunks: Vec<Bytes>,
    at_once: usize,
    mut next: impl FnMut(usize, Instant) -> Instant,
    mut sent: impl FnMut(usize),
) -> Result<(), FramedError> {
    for mut chunk in chunks {
        while !chunk.is_empty() {
            let part = chunk.split_to(chunk.len().min(at_once));
            let bytes = part.len();
            wait_until(next(bytes, Instant::now())).await;
            send.write_chunk(part).await?;
            sent(bytes);
        }
    }
    Ok(())
}

/// Until everything is read or nobody wants it any more; blocks.
fn read_all(
    cargo: &Cargo,
    missing: impl Iterator<Item = u64>,
    mut count: Count,
    is_slow: bool,
    out: &mpsc::Sender<Batch>,
) -> Result<(), CargoError> {
    let mut open: Option<(u32, SourceFile)> = None;
    let mut packer = Packer::new()?;
    let memory = Memory::default();
    let mut batch = Batch::default();
    for number in missing {
        let Some(piece) = cargo.layout.piece(number) else { break };
        let file = match open.take() {
            Some((entry, file)) if entry == piece.entry => file,
            Some(_) | None => cargo.source.open(piece.entry)?,
        };
        let mut content = memory.room();
        file.read_piece(&piece, &mut content)?;
        open = Some((piece.entry, file));
        let hash = PieceHash::of(&content, piece.offset, piece.is_only);
        let must_wait = is_slow || out.capacity() == 0;
        let packed = if must_wait { packer.pack(&content) } else { None };
        let stored = length(packed.unwrap_or(&content));
        let hash = *hash.as_bytes();
        batch.head(&PieceHeader { number, len: length(&content), stored, hash });
        match packed {
            Some(packed) => {
                batch.add(packed);
                memory.take_back(content);
            }
            None if content.len() < LARGE => {
                batch.add(&content);
                memory.take_back(content);
            }
            None => batch.take(memory.lend(content)),
        }
        batch.content += u64::from(stored);
        count.done(&piece);
        if batch.content >= BATCH {
            batch.progress = count.progress();
            if out.blocking_send(std::mem::take(&mut batch)).is_err() {
                return Ok(());
            }
        }
    }
    batch.progress = count.progress();
    // If nobody wants it, the stream is gone, and says so.
    drop(out.blocking_send(batch));
    Ok(())
}

/// A piece is never longer.
fn length(content: &[u8]) -> u32 {
    u32::try_from(content.len()).unwrap_or(u32::MAX)
}

impl Batch {
    fn head(&mut self, header: &PieceHeader) {
        self.add(&header.encode());
    }

    /// Copies a content to the others.
    fn add(&mut self, content: &[u8]) {
        self.together.extend_from_slice(content);
    }

    /// Takes a content as it is.
    fn take(&mut self, content: Bytes) {
        self.close();
        self.chunks.push(content);
    }

    fn close(&mut self) {
        if !self.together.is_empty() {
            self.chunks.push(std::mem::take(&mut self.together).into());
        }
    }

    fn into_chunks(mut self) -> Vec<Bytes> {
        self.close();
        self.chunks
    }
}
