//! The one thread that writes.
//!
//! Adds groups of blocks to the newest segment, begins the next one when it is
//! full, and removes the oldest. What could not be written whole, or synced, is
//! cut off again, so that nobody reads what was said to have failed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write as _};
use std::mem;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilot_proto::Position;

use crate::block::Block;
use crate::line::{Line, Work};
use crate::outcome::AppendError;
use crate::segment::{self, HEADER_END, Segment};
use crate::shelf::Shelf;

/// Full segments whose files stay open because nobody has waited for a sync
/// since. With one more, all are synced.
const MAX_UNSYNCED: usize = 64;

#[derive(Debug)]
pub(crate) struct Writer {
    folder: PathBuf,
    epoch: u64,
    /// Bound of the whole folder, in bytes.
    bytes: u64,
    /// Size at which a segment is full, in bytes; a single block may be larger.
    segment: u64,
    shelf: Arc<Shelf>,
    /// The segment that is being written.
    current: Option<Open>,
    /// Those before it that are not known to be on the disk.
    full: Vec<Open>,
    /// A segment was made whose name is not known to be on the disk.
    new_name: bool,
    /// The last thing failed; said once.
    failing: bool,
}

impl Writer {
    pub(crate) const fn new(
        folder: PathBuf,
        epoch: u64,
        bytes: u64,
        segment: u64,
        shelf: Arc<Shelf>,
    ) -> Self {
        Self {
            folder,
            epoch,
            bytes,
            segment,
            shelf,
            current: None,
            full: Vec::new(),
            new_name: false,
            failing: false,
        }
    }

    /// Writes until the line is closed and empty, then syncs.
    pub(crate) fn run(mut self, line: &Line) {
        let _end = EndOnExit(line);
        loop {
            match line.next() {
                Work::Write(blocks) => self.write(&blocks, line),
                Work::Sync => self.sync(line),
                Work::End => break,
            }
            if self.full.len() > MAX_UNSYNCED {
                self.sync(line);
            }
        }
        self.sync(line);
    }

    fn write(&mut self, blocks: &[Block], line: &Line) {
        let mut rest = blocks;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.fitting(rest).min(rest.len()));
            let outcome = self.append(now).map_err(AppendError::from);
            self.note(&outcome);
            line.settle(now, &outcome);
            rest = later;
        }
    }

    /// How many of these blocks go into the current segment, at least one;
    /// if there is no room for one, the segment is full and another follows.
    fn fitting(&mut self, blocks: &[Block]) -> usize {
        let fit = |mut len: u64| {
            let fits = |block: &&Block| {
                len = len.saturating_add(block.size() as u64);
                len <= self.segment
            };
            blocks.iter().take_while(fits).count()
        };
        match self.current.take_if(|open| fit(open.segment.bytes) == 0) {
            Some(open) => self.full.push(open),
            None => {
                if let Some(open) = &self.current {
                    return fit(open.segment.bytes);
                }
            }
        }
        fit(HEADER_END).max(1)
    }

    fn append(&mut self, blocks: &[Block]) -> io::Result<()> {
        let Some(first) = blocks.first() else { return Ok(()) };
        let mut open = match self.current.take() {
            Some(open) => open,
            None => {
                let (epoch, started_at) = (self.epoch, first.at);
                let segment = Segment { epoch, first: first.first, started_at, bytes: 0 };
                Open::create(&self.folder, segment)?
            }
        };
        self.new_name |= open.segment.bytes == 0;
        match open.append(blocks) {
            Ok(begin) => {
                self.shelf.grew(open.segment, begin);
                self.current = Some(open);
                self.prune();
                Ok(())
            }
            Err(error) => {
                let Open { segment, file, .. } = &open;
                if segment.bytes == 0 {
                    remove(&self.folder, segment.start());
                } else if file.set_len(segment.bytes).is_ok() {
                    self.current = Some(open);
                } else {
                    // Readers know where it ends; nothing is added to it.
                    self.full.push(open);
                }
                Err(error)
            }
        }
    }

    fn prune(&mut self) {
        for gone in self.shelf.prune(self.bytes) {
            self.full.retain(|open| open.segment.start() != gone.start());
            remove(&self.folder, gone.start());
        }
    }

    fn sync(&mut self, line: &Line) {
        let outcome = self.sync_files();
        if outcome.is_err() {
            self.cut_unsynced();
        }
        let outcome = outcome.map_err(AppendError::from);
        self.note(&outcome);
        line.synced(&outcome);
    }

    fn sync_files(&mut self) -> io::Result<()> {
        let unsynced = self.full.iter().chain(&self.current);
        for open in unsynced.filter(|open| open.synced < open.segment.bytes) {
            open.file.sync_data()?;
        }
        if self.new_name {
            File::open(&self.folder)?.sync_all()?;
            self.new_name = false;
        }
        self.full.clear();
        if let Some(open) = &mut self.current {
            open.synced = open.segment.bytes;
        }
        Ok(())
    }

    /// Takes back what could not be synced: the system may have forgotten it
    /// already, and tells of that only once.
    fn cut_unsynced(&mut self) {
        for open in mem::take(&mut self.full).into_iter().chain(self.current.take()) {
            let start = open.segment.start();
            self.shelf.shrank(start, open.synced);
            if open.synced == 0 {
                remove(&self.folder, start);
            } else if let Err(error) = open.file.set_len(open.synced) {
                let segment = segment::name(start);
                tracing::warn!(%error, segment, "cannot take back what was not synced");
            }
        }
    }

    fn note(&mut self, outcome: &Result<(), AppendError>) {
        match outcome {
            Ok(()) => self.failing = false,
            Err(error) if !mem::replace(&mut self.failing, true) => {
                let (error, folder) = (error as &dyn std::error::Error, self.folder.display());
                tracing::warn!(error, %folder, "events are not logged");
            }
            Err(_) => {}
        }
    }
}

/// Callers learn of a writer that ended, also by a panic.
struct EndOnExit<'a>(&'a Line);

impl Drop for EndOnExit<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Removes a segment. If that fails it is tried again at the next start.
pub(crate) fn remove(folder: &Path, start: Position) {
    let segment = segment::name(start);
    if let Err(error) = fs::remove_file(folder.join(&segment)) {
        tracing::warn!(%error, segment, "cannot remove a segment of the journal");
    }
}

/// A segment that is open to be added to.
#[derive(Debug)]
struct Open {
    /// With the bytes that were written whole.
    segment: Segment,
    file: File,
    /// Bytes of it that are on the disk.
    synced: u64,
}

impl Open {
    fn create(folder: &Path, segment: Segment) -> io::Result<Self> {
        let path = folder.join(segment::name(segment.start()));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { segment, file, synced: 0 })
    }

    /// Adds blocks with as few calls of the system as it allows, and tells
    /// where they begin. After an error the file may have a part of them.
    fn append(&mut self, blocks: &[Block]) -> io::Result<Vec<(u64, u64)>> {
        let beginning = self.segment.header();
        let headers: Vec<_> = blocks.iter().map(Block::header).collect();
        let mut slices = Vec::with_capacity(1 + 2 * blocks.len());
        let mut at = self.segment.bytes;
        if at == 0 {
            slices.push(IoSlice::new(&beginning));
            at = HEADER_END;
        }
        let mut begin = Vec::with_capacity(blocks.len());
        for (block, header) in blocks.iter().zip(&headers) {
            slices.extend([IoSlice::new(header), IoSlice::new(&block.records)]);
            begin.push((block.first, at));
            at += block.size() as u64;
        }
        write_all(&self.file, &mut slices)?;
        self.segment.bytes = at;
        Ok(begin)
    }
}

fn write_all(mut file: &File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_was_not_synced_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Arc::new(Shelf::new(VecDeque::new()));
        let mut writer =
            Writer::new(folder.path().to_owned(), 9, u64::MAX, 1000, Arc::clone(&shelf));
        let line = Line::new(Duration::ZERO);
        let block = |seq| {
            let records = Bytes::from(vec![1; 400]);
            Block { first: seq, last: seq, at: 0, request: None, records }
        };
        writer.write(&[block(1)], &line);
        writer.sync(&line);
        writer.write(&[block(2), block(3), block(4), block(5)], &line);
        assert_eq!(shelf.segments().len(), 3);

        writer.cut_unsynced();

        let synced = HEADER_END + block(1).size() as u64;
        let left: Vec<_> = shelf.segments().iter().map(|one| (one.first, one.bytes)).collect();
        assert_eq!(left, [(1, synced)]);
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].metadata().unwrap().len(), synced);
        writer.write(&[block(6)], &line);
        let starts: Vec<_> = shelf.segments().iter().map(|one| one.first).collect();
        assert_eq!(starts, [1, 6]);
    }
}
