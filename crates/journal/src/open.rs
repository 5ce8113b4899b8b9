//! From a folder to a journal: what is in it, and what the last run left.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilot_proto::Position;

use crate::scan::{MAX_CHUNK, Scan, Step};
use crate::segment::{self, Beginning, HEADER_END, Segment};
use crate::shelf::{Entry, Shelf};
use crate::writer;

/// Requests of earlier runs that are told at a start, the newest. A publisher
/// that asks again after more of them is not recognised.
const MAX_REQUESTS: usize = 4096;

/// How much is kept, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bound of the folder, in bytes: the oldest segments go beyond it. The
    /// segment being written stays, so a single block may be above it.
    pub bytes: u64,
    /// Size at which a segment is full, in bytes; at most a quarter of `bytes`.
    pub segment: u64,
    /// How long the writer lets appends gather before it writes while nobody
    /// waits and less than 1 MiB is there.
    pub pause: Duration,
}

impl Default for Settings {
    /// 128 MiB in segments of 4 MiB, written at once.
    fn default() -> Self {
        Self { bytes: 128 << 20, segment: 4 << 20, pause: Duration::ZERO }
    }
}

/// What earlier runs left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The last event: sequence numbers count on from it. None in a new journal.
    pub last: Option<Position>,
    /// The requests in the newest segments, at most 4,096, the newest last.
    pub requests: Vec<Request>,
}

/// Which events a request published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The id of the request ([`Block::request`](crate::Block::request)).
    pub id: [u8; 16],
    /// Its first event.
    pub first: Position,
    /// Its last event.
    pub last: Position,
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A later version of the program wrote it. Start that version.
    #[error("{path} was written by a later version: start that version, or move the file away")]
    Newer {
        /// The segment.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot open {path}")]
    Io {
        /// The folder or the segment.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A folder that was looked through.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) epoch: u64,
    pub(crate) shelf: Shelf,
    pub(crate) recovered: Recovered,
}

pub(crate) fn open(folder: &Path, now_ms: u64, settings: &Settings) -> Result<Opened, OpenError> {
    make_private(folder).map_err(|source| at(folder, source))?;
    let starts = list(folder).map_err(|source| at(folder, source))?;
    let newest = starts.last().map_or(0, |start| start.epoch);
    let mut entries = VecDeque::new();
    for start in starts {
        entries.extend(entry(folder, start)?);
    }
    let recovered = recover(folder, &mut entries, settings.segment)?;
    let shelf = Shelf::new(entries);
    for gone in shelf.prune(settings.bytes) {
        writer::remove(folder, gone.start());
    }
    Ok(Opened { epoch: now_ms.max(newest.saturating_add(1)), shelf, recovered })
}

fn at(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), source }
}

/// Makes the folder if it is not there; either way it is for the owner alone.
fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if fs::metadata(folder)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Where the segments in the folder start, the oldest first. Files of other
/// names are left alone.
fn list(folder: &Path) -> io::Result<Vec<Position>> {
    let mut starts = Vec::new();
    for file in fs::read_dir(folder)? {
        starts.extend(file?.file_name().to_str().and_then(segment::start));
    }
    starts.sort_unstable();
    Ok(starts)
}

/// What is known of a segment without reading it through; none if it is no
/// segment, in which case it is removed.
fn entry(folder: &Path, start: Position) -> Result<Option<Entry>, OpenError> {
    let path = folder.join(segment::name(start));
    let read = || -> io::Result<(Beginning, u64)> {
        let file = File::open(&path)?;
        Ok((segment::beginning(&file, start)?, file.metadata()?.len()))
    };
    match read().map_err(|source| at(&path, source))? {
        (Beginning::Of { started_at }, bytes) => {
            let Position { epoch, seq: first } = start;
            Ok(Some(Entry::new(Segment { epoch, first, started_at, bytes })))
        }
        (Beginning::Later, _) => Err(OpenError::Newer { path }),
        (Beginning::Damaged, _) => {
            tracing::warn!(path = %path.display(), "a segment is unreadable and removed");
            writer::remove(folder, start);
            Ok(None)
        }
    }
}

/// Reads the newest segment, and those before it for their requests while all
/// are no larger than one: after many restarts they are short.
fn recover(
    folder: &Path,
    entries: &mut VecDeque<Entry>,
    segment: u64,
) -> Result<Recovered, OpenError> {
    let mut recovered = Recovered::default();
    let mut requests: VecDeque<Request> = VecDeque::new();
    let (mut index, mut left) = (entries.len(), segment);
    while let Some(entry) = index.checked_sub(1).and_then(|index| entries.get_mut(index)) {
        index -= 1;
        if recovered.last.is_some()
            && (left < entry.segment.bytes || requests.len() >= MAX_REQUESTS)
        {
            break;
        }
        left = left.saturating_sub(entry.segment.bytes);
        let Contents { last, requests: older } = contents(folder, entry)?;
        if recovered.last.is_none() {
            recovered.last = last;
            cut(folder, entry)?;
            if last.is_none() {
                writer::remove(folder, entry.segment.start());
                entries.remove(index);
            }
        }
        for request in older.into_iter().rev() {
            requests.push_front(request);
        }
    }
    let many = requests.len().saturating_sub(MAX_REQUESTS);
    recovered.requests = requests.into_iter().skip(many).collect();
    Ok(recovered)
}

struct Contents {
    last: Option<Position>,
    requests: Vec<Request>,
}

/// Reads a segment through, and notes in its entry where it can be read to.
fn contents(folder: &Path, entry: &mut Entry) -> Result<Contents, OpenError> {
    let segment = entry.segment;
    let path = folder.join(segment::name(segment.start()));
    let file = File::open(&path).map_err(|source| at(&path, source))?;
    let mut found = Contents { last: None, requests: Vec::new() };
    let mut scan =
        Scan::new(file, HEADER_END, segment.bytes, segment.first.saturating_sub(1), MAX_CHUNK);
    loop {
        match scan.next().map_err(|source| at(&path, source))? {
            Step::Block { at, block } => {
                entry.mark(block.first, at);
                let of = |seq| Position { epoch: segment.epoch, seq };
                let (first, last) = (of(block.first), of(block.last));
                found.last = Some(last);
                found.requests.extend(block.request.map(|id| Request { id, first, last }));
            }
            Step::End => return Ok(found),
            Step::Damaged { at } => {
                tracing::warn!(path = %path.display(), at, "the journal ends in what is no event");
                entry.cut(at);
                return Ok(found);
            }
        }
    }
}

/// Cuts off what a crash tore, so that it is not found again.
fn cut(folder: &Path, entry: &mut Entry) -> Result<(), OpenError> {
    if entry.readable < entry.segment.bytes {
        let path = folder.join(segment::name(entry.segment.start()));
        let cut = OpenOptions::new().write(true).open(&path);
        cut.and_then(|file| file.set_len(entry.readable)).map_err(|source| at(&path, source))?;
        entry.segment.bytes = entry.readable;
    }
    Ok(())
}
