//! The handle that the daemon holds.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use pilot_proto::Position;

use crate::block::{Block, Stored};
use crate::line::Line;
use crate::open::{self, OpenError, Opened, Recovered, Settings};
use crate::outcome::AppendError;
use crate::read::{self, Page, ReadError};
use crate::segment::Segment;
use crate::shelf::Shelf;
use crate::writer::Writer;

/// One folder of segments and its writer thread.
///
/// Dropping it writes and syncs what is queued, as [`Journal::close`] does.
pub struct Journal {
    folder: PathBuf,
    epoch: u64,
    line: Arc<Line>,
    shelf: Arc<Shelf>,
    /// Taken when the journal ends.
    writer: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens or makes the folder, and begins an epoch: `now_ms`, in ms since
    /// 1970, or one more than the newest in the folder if that is later. Blocks
    /// on the disk, but reads little more than the newest segment.
    ///
    /// What a crash tore off the end of the newest segment is cut off. A
    /// segment that cannot be read at all is removed. Nothing is made before
    /// the first append.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the folder or a file in it cannot be used, or is of a
    /// later version.
    pub fn open(
        folder: &Path,
        now_ms: u64,
        settings: Settings,
    ) -> Result<(Self, Recovered), OpenError> {
        let Opened { epoch, shelf, recovered } = open::open(folder, now_ms, &settings)?;
        let (shelf, line) = (Arc::new(shelf), Arc::new(Line::new(settings.pause)));
        let segment = settings.segment.min(settings.bytes / 4);
        let writer =
            Writer::new(folder.to_owned(), epoch, settings.bytes, segment, Arc::clone(&shelf));
        let thread = thread::Builder::new().name("journal-writer".into()).spawn({
            let line = Arc::clone(&line);
            move || writer.run(&line)
        });
        let folder = folder.to_owned();
        match thread {
            Ok(thread) => {
                Ok((Self { folder, epoch, line, shelf, writer: Some(thread) }, recovered))
            }
            Err(source) => Err(OpenError::Io { path: folder, source }),
        }
    }

    /// The epoch of all that is appended, in ms since 1970.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Queues a block, whose numbers are above all that were appended to this
    /// journal; a hole between is kept. Never waits for the disk. Call
    /// [`Journal::room`] before: a block for which there is no room by far is
    /// not taken. What became of it, [`Journal::durable`] tells.
    pub fn append(&self, block: Block) {
        let (first, last) = (block.first, block.last);
        if let Err(error) = self.line.push(block) {
            tracing::warn!(%error, first, last, "events are not logged");
        }
    }

    /// Resolves when less than 32 MiB wait to be written, or the journal ends.
    /// It reserves nothing: 32 MiB more are taken from those who saw the same room.
    ///
    /// Cancel safe: it changes nothing.
    pub async fn room(&self) {
        self.line.room().await;
    }

    /// Resolves when every block up to the event `last` is on the disk, or
    /// failed; of what was not appended before the first poll it knows
    /// nothing. All who wait share one sync.
    ///
    /// Cancel safe: it only waits.
    ///
    /// # Errors
    ///
    /// [`AppendError`] if the block of the event `last` is not in the journal,
    /// whatever became of those before it.
    pub async fn durable(&self, last: u64) -> Result<(), AppendError> {
        self.line.durable_up_to(last).await
    }

    /// Resolves when every block up to the event `last` can be read, or failed;
    /// of what was not appended before the first poll it knows nothing.
    ///
    /// Cancel safe: it only waits.
    pub async fn write_out(&self, last: u64) {
        self.line.written_up_to(last).await;
    }

    /// The blocks that end after `after` and begin no later than `until`, in
    /// order: as many as have `max_bytes` with their headers, but at least one
    /// if there is one. Blocks on the disk; what is still queued is not seen.
    ///
    /// An empty page says that there is nothing, not that more must be asked for.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the disk fails. Damage is none: it makes a hole.
    pub fn read(
        &self,
        after: Position,
        until: Position,
        max_bytes: usize,
    ) -> Result<Page, ReadError> {
        read::page(&self.folder, &self.shelf, after, until, max_bytes)
    }

    /// All segments, the oldest first. At most 1,024.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        self.shelf.segments()
    }

    /// All blocks of one segment, in order; none if it was removed meanwhile.
    /// Blocks on the disk, and takes as much memory as the segment.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the disk fails.
    pub fn read_segment(&self, segment: &Segment) -> Result<Vec<Stored>, ReadError> {
        read::segment(&self.folder, &self.shelf, segment)
    }

    /// Writes and syncs what is queued, and ends the writer. Blocks on the disk.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        self.line.close();
        if writer.join().is_err() {
            tracing::error!(folder = %self.folder.display(), "the writer of a journal panicked");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("folder", &self.folder)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
