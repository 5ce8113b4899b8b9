//! Reads the pieces that are missing and sends them on a stream of their own.
//!
//! A thread reads and hashes ahead of the stream, by a few batches: small
//! pieces are packed together, so that ten thousand of them cost a few hundred
//! writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pilot_files::{Layout, LayoutError, Manifest, ManifestError, PieceHash, Transfer};
use pilot_overlay::Session;
use pilot_proto::data::{DataRequest, MAX_TALK_FRAME, PieceHeader, Ranges};
use pilot_proto::{Service, TransferId};
use pilot_transport::FramedError;
use pilot_tree::{ReadError, Source, SourceBytesError, SourceFile};
use tokio::sync::mpsc;

use super::DataService;

/// Bytes of content from which on a batch is handed to the stream.
const BATCH: u64 = 512 * 1024;

/// Bytes from which on a piece's content is not copied to stand with others.
const LARGE: usize = 64 * 1024;

/// Batches that are read ahead.
const AHEAD: usize = 4;

/// How often those who watch hear of progress.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// What is sent, as it is on disk.
pub(super) struct Cargo {
    pub(super) manifest_bytes: Vec<u8>,
    pub(super) layout: Layout,
    source: Source,
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
    packed: Vec<u8>,
    /// Bytes of the contents.
    content: u64,
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
        id: TransferId,
        cargo: &Arc<Cargo>,
        missing: &Ranges,
    ) -> Result<(), PumpError> {
        let (read, mut batches) = mpsc::channel(AHEAD);
        let (ahead, wanted) = (Arc::clone(cargo), missing.clone());
        let reading = self.tasks.spawn_blocking(move || read_all(&ahead, &wanted, &read));
        let mut framed = session.open(Service::Data).await?;
        framed.send(&DataRequest::Pieces(id), MAX_TALK_FRAME).await?;
        let mut done = self.desk.bytes_done(id);
        let mut told = Instant::now();
        while let Some(batch) = batches.recv().await {
            done += batch.content;
            let mut chunks = batch.into_chunks();
            framed.send.write_all_chunks(&mut chunks).await.map_err(FramedError::from)?;
            self.desk.note_bytes_done(id, done);
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                self.watchers.tell(id, 0);
            }
        }
        reading.await.unwrap_or(Err(CargoError::Stopped))?;
        framed.finish()?;
        Ok(())
    }
}

/// Until everything is read or nobody wants it any more; blocks.
fn read_all(cargo: &Cargo, missing: &Ranges, out: &mpsc::Sender<Batch>) -> Result<(), CargoError> {
    let mut open: Option<(u32, SourceFile)> = None;
    let mut content = Vec::new();
    let mut batch = Batch::default();
    for number in missing.ranges().iter().cloned().flatten() {
        let Some(piece) = cargo.layout.piece(number) else { break };
        let file = match open.take() {
            Some((entry, file)) if entry == piece.entry => file,
            Some(_) | None => cargo.source.open(piece.entry)?,
        };
        file.read_piece(&piece, &mut content)?;
        open = Some((piece.entry, file));
        let hash = PieceHash::of(&content, piece.offset, piece.is_only);
        let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
        batch.push(&PieceHeader { number, len, hash: *hash.as_bytes() }, &mut content);
        if batch.is_full() && out.blocking_send(std::mem::take(&mut batch)).is_err() {
            return Ok(());
        }
    }
    // If nobody wants it, the stream is gone, and says so.
    drop(out.blocking_send(batch));
    Ok(())
}

impl Batch {
    /// Adds a piece; takes a large content as it is, and copies a small one.
    fn push(&mut self, header: &PieceHeader, content: &mut Vec<u8>) {
        self.packed.extend_from_slice(&header.encode());
        self.content += u64::from(header.len);
        if content.len() < LARGE {
            self.packed.extend_from_slice(content);
        } else {
            self.close();
            self.chunks.push(std::mem::take(content).into());
        }
    }

    fn close(&mut self) {
        if !self.packed.is_empty() {
            self.chunks.push(std::mem::take(&mut self.packed).into());
        }
    }

    const fn is_full(&self) -> bool {
        self.content >= BATCH
    }

    fn into_chunks(mut self) -> Vec<Bytes> {
        self.close();
        self.chunks
    }
}
