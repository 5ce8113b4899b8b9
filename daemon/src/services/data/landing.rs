//! Transfers that are coming in just now.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilot_files::{Count, Ending, FileHash, Layout, PIECE, Piece, PieceHash, Progress, Transfer};
use pilot_identity::NodeId;
use pilot_proto::TransferId;
use pilot_proto::data::{DataRefusal, MAX_RANGES, Ranges};
use pilot_tree::{Held, Incoming, PieceBuffer, Verified, WriteError, Written};
use tokio::sync::watch;

use super::pack::Unpacker;

/// Buffers that a landing keeps: as many as its stream has ahead.
const MAX_SPARE: usize = 10;

/// The landings under way, by id.
#[derive(Default)]
pub(super) struct Landings(Mutex<BTreeMap<TransferId, Arc<Landing>>>);

/// One transfer that comes in: its files, and who waits for news of it.
pub(super) struct Landing {
    pub(super) id: TransferId,
    pub(super) peer: NodeId,
    pub(super) layout: Layout,
    /// Taken out when it is complete.
    incoming: Mutex<Option<Files>>,
    news: watch::Sender<News>,
    /// Buffers to be used again: new memory costs more than what is done to it.
    spare: Mutex<Vec<PieceBuffer>>,
}

/// What has arrived, on disk, and how much that is.
struct Files {
    incoming: Incoming,
    count: Count,
}

/// How far a landing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// So many pieces are there.
    Arrived { pieces: u64, progress: Progress },
    /// All of it is in the inbox.
    Complete,
    /// It is over, or broke off.
    Refused(DataRefusal, String),
}

/// A piece as it came.
pub(super) struct Arrival {
    pub(super) number: u64,
    pub(super) hash: PieceHash,
    pub(super) content: Content,
}

/// Why a piece was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum PieceError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("piece {0} does not unpack")]
    Packed(u64),
    #[error("there is no memory to unpack pieces")]
    Memory(#[source] io::Error),
}

/// Bytes of a piece.
pub(super) enum Content {
    /// A whole one, where the disk can take it from.
    Whole(PieceBuffer),
    /// A shorter one.
    Short(Vec<u8>),
    /// One of so many bytes, packed.
    Packed(Vec<u8>, usize),
}

impl AsRef<[u8]> for Content {
    /// What is written.
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Whole(buffer) => buffer.get(PIECE),
            Self::Short(bytes) | Self::Packed(bytes, _) => bytes,
        }
    }
}

impl Content {
    /// Where what comes of it goes to.
    pub(super) fn get_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Whole(buffer) => buffer.get_mut(PIECE),
            Self::Short(bytes) | Self::Packed(bytes, _) => bytes,
        }
    }
}

impl Landings {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TransferId, Arc<Landing>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: TransferId) -> Option<Arc<Landing>> {
        self.lock().get(&id).cloned()
    }

    /// The landing of this id: the one that is there already, or the new one.
    pub(super) fn add(&self, landing: Landing) -> Arc<Landing> {
        Arc::clone(self.lock().entry(landing.id).or_insert_with(|| Arc::new(landing)))
    }

    pub(super) fn remove(&self, id: TransferId) -> Option<Arc<Landing>> {
        self.lock().remove(&id)
    }

    /// Ends the landing of a transfer that has ended otherwise.
    pub(super) fn refuse(&self, id: TransferId, transfer: &Transfer) {
        let Some((_, ending)) = transfer.ended() else { return };
        if let Some(landing) = self.remove(id)
            && let Some((code, reason)) = refusal(ending)
        {
            landing.refuse(code, reason);
        }
    }
}

/// What the sender is told of a transfer that ended so here; nothing if it is
/// complete.
pub(super) fn refusal(ending: &Ending) -> Option<(DataRefusal, String)> {
    match ending {
        Ending::Complete => None,
        Ending::Failed { reason, .. } => Some((DataRefusal::Invalid, reason.as_str().to_owned())),
        Ending::Cancelled => Some((DataRefusal::Cancelled, "it was cancelled there".to_owned())),
        Ending::Expired => Some((DataRefusal::Cancelled, "its time was over".to_owned())),
    }
}

impl Landing {
    pub(super) fn new(transfer: &Transfer, incoming: Incoming) -> Self {
        let layout = incoming.layout().clone();
        let missing = (0..layout.pieces()).filter(|number| !incoming.arrived().contains(*number));
        let count = Count::without(&layout, &transfer.totals, missing);
        let files = Files { incoming, count };
        let news = files.news();
        Self {
            id: transfer.id,
            peer: transfer.peer,
            layout,
            incoming: Mutex::new(Some(files)),
            news: watch::Sender::new(news),
            spare: Mutex::default(),
        }
    }

    fn incoming(&self) -> MutexGuard<'_, Option<Files>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is missing; none if there is nothing left to say it of.
    pub(super) fn missing(&self) -> Option<Ranges> {
        Ranges::new(self.incoming().as_ref()?.incoming.arrived().missing(MAX_RANGES))
    }

    /// The numbers of the files that may be held here already; none if
    /// something has arrived, for then they were asked for before.
    pub(super) fn candidates(&self, held: &Held) -> Vec<u32> {
        let files = self.incoming();
        let Some(files) = files.as_ref().filter(|files| files.incoming.arrived().count() == 0)
        else {
            return Vec::new();
        };
        held.candidates(files.incoming.manifest())
    }

    /// Takes the file of this entry and hash from what is held, if it is;
    /// blocks.
    pub(super) fn fill(&self, entry: u32, hash: &FileHash, held: &Held) -> Result<(), WriteError> {
        let mut files = self.incoming();
        let Some(files) = files.as_mut() else { return Ok(()) };
        let pieces = self.layout.of_entry(entry);
        let before: Vec<u64> = pieces.filter(|number| !files.has(*number)).collect();
        let filled = files.incoming.fill(entry, hash, held);
        for number in before {
            if files.has(number)
                && let Some(piece) = self.layout.piece(number)
            {
                files.count.done(&piece);
            }
        }
        self.tell(files);
        filled.map(drop)
    }

    pub(super) fn watch(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// Room for the content of a piece that comes in so many bytes.
    pub(super) fn room(&self, len: usize, stored: usize) -> Content {
        match len {
            _ if stored < len => Content::Packed(vec![0; stored], len),
            PIECE => Content::Whole(self.spare().pop().unwrap_or_default()),
            _ => Content::Short(vec![0; len]),
        }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<PieceBuffer>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reuse(&self, pieces: Vec<Verified<Content>>) {
        let mut spare = self.spare();
        for piece in pieces {
            match piece.into_content() {
                Content::Whole(buffer) if spare.len() < MAX_SPARE => spare.push(buffer),
                Content::Whole(_) | Content::Short(_) | Content::Packed(..) => {}
            }
        }
    }

    pub(super) fn piece(&self, number: u64) -> Option<Piece> {
        self.layout.piece(number)
    }

    /// Unpacks and verifies what came; blocks.
    pub(super) fn verify(
        &self,
        mut arrivals: Vec<Arrival>,
    ) -> Result<Vec<Verified<Content>>, PieceError> {
        self.unpack(&mut arrivals)?;
        let verified = arrivals.into_iter().map(|Arrival { number, hash, content }| {
            Verified::of(&self.layout, number, content, &hash).map_err(PieceError::from)
        });
        verified.collect()
    }

    /// Writes what was verified; blocks. True if that was the last of it.
    pub(super) fn write(&self, pieces: Vec<Verified<Content>>) -> Result<bool, PieceError> {
        let mut files = self.incoming();
        let Some(files) = files.as_mut() else { return Ok(false) };
        let mut wrote = false;
        for verified in &pieces {
            if files.incoming.write(verified)? == Written::New
                && let Some(piece) = self.layout.piece(verified.number())
            {
                files.count.done(&piece);
                wrote = true;
            }
        }
        self.reuse(pieces);
        if wrote {
            self.tell(files);
        }
        Ok(files.incoming.arrived().is_complete())
    }

    fn unpack(&self, arrivals: &mut [Arrival]) -> Result<(), PieceError> {
        let mut unpacker = None;
        for Arrival { number, content, .. } in arrivals {
            let Content::Packed(packed, len) = content else { continue };
            let unpacker = match &mut unpacker {
                Some(unpacker) => unpacker,
                None => unpacker.insert(Unpacker::new().map_err(PieceError::Memory)?),
            };
            let mut whole = self.room(*len, *len);
            if !unpacker.unpack(packed, whole.get_mut()) {
                return Err(PieceError::Packed(*number));
            }
            *content = whole;
        }
        Ok(())
    }

    fn tell(&self, files: &Files) {
        let arrived = files.news();
        self.news.send_if_modified(|news| match news {
            News::Arrived { .. } => {
                *news = arrived;
                true
            }
            News::Complete | News::Refused(..) => false,
        });
    }

    /// Takes the files out to finish them, if all of it is there; once.
    pub(super) fn take_complete(&self) -> Option<Incoming> {
        let complete = self.incoming().take_if(|files| files.incoming.arrived().is_complete());
        complete.map(|files| files.incoming)
    }

    /// How much is there; none once that is over.
    pub(super) fn progress(&self) -> Option<Progress> {
        match &*self.news.borrow() {
            News::Arrived { progress, .. } => Some(*progress),
            News::Complete | News::Refused(..) => None,
        }
    }

    pub(super) fn complete(&self) {
        self.news.send_replace(News::Complete);
    }

    pub(super) fn refuse(&self, code: DataRefusal, reason: String) {
        self.news.send_replace(News::Refused(code, reason));
    }
}

impl Files {
    fn has(&self, number: u64) -> bool {
        self.incoming.arrived().contains(number)
    }

    fn news(&self) -> News {
        let pieces = self.incoming.arrived().count();
        News::Arrived { pieces, progress: self.count.progress() }
    }
}
