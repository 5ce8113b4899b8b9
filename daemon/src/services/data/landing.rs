//! Transfers that are coming in just now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilot_files::{Ending, Layout, PIECE, Piece, PieceHash, Transfer};
use pilot_identity::NodeId;
use pilot_proto::TransferId;
use pilot_proto::data::{DataRefusal, MAX_RANGES, Ranges};
use pilot_tree::{Incoming, PieceBuffer, WriteError, Written};
use tokio::sync::watch;

/// Buffers that a landing keeps: two batches of each of a few streams.
const MAX_SPARE: usize = 4;

/// The landings under way, by id.
#[derive(Default)]
pub(super) struct Landings(Mutex<BTreeMap<TransferId, Arc<Landing>>>);

/// One transfer that comes in: its files, and who waits for news of it.
pub(super) struct Landing {
    pub(super) id: TransferId,
    pub(super) peer: NodeId,
    pub(super) layout: Layout,
    /// Taken out when it is complete.
    incoming: Mutex<Option<Incoming>>,
    news: watch::Sender<News>,
    /// Buffers to be used again: new memory costs more than what is done to it.
    spare: Mutex<Vec<PieceBuffer>>,
}

/// How far a landing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// So many pieces are there, of so many bytes.
    Arrived { pieces: u64, bytes: u64 },
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

/// Bytes of a piece.
pub(super) enum Content {
    /// A whole one, where the disk can take it from.
    Whole(PieceBuffer),
    /// A shorter one.
    Short(Vec<u8>),
}

impl Content {
    /// Room for `len` bytes.
    fn of(len: usize, spare: Option<PieceBuffer>) -> Self {
        match len {
            PIECE => Self::Whole(spare.unwrap_or_default()),
            _ => Self::Short(vec![0; len]),
        }
    }

    pub(super) fn get_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Whole(buffer) => buffer.get_mut(PIECE),
            Self::Short(bytes) => bytes,
        }
    }

    fn get(&self) -> &[u8] {
        match self {
            Self::Whole(buffer) => buffer.get(PIECE),
            Self::Short(bytes) => bytes,
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
        let news = News::arrived(&incoming);
        Self {
            id: transfer.id,
            peer: transfer.peer,
            layout: incoming.layout().clone(),
            incoming: Mutex::new(Some(incoming)),
            news: watch::Sender::new(news),
            spare: Mutex::default(),
        }
    }

    fn incoming(&self) -> MutexGuard<'_, Option<Incoming>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is missing; none if there is nothing left to say it of.
    pub(super) fn missing(&self) -> Option<Ranges> {
        Ranges::new(self.incoming().as_ref()?.arrived().missing(MAX_RANGES))
    }

    pub(super) fn watch(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// Room for the content of a piece.
    pub(super) fn room(&self, len: usize) -> Content {
        Content::of(len, self.spare().pop())
    }

    fn spare(&self) -> MutexGuard<'_, Vec<PieceBuffer>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reuse(&self, arrivals: Vec<Arrival>) {
        let mut spare = self.spare();
        for arrival in arrivals {
            match arrival.content {
                Content::Whole(buffer) if spare.len() < MAX_SPARE => spare.push(buffer),
                Content::Whole(_) | Content::Short(_) => {}
            }
        }
    }

    pub(super) fn piece(&self, number: u64) -> Option<Piece> {
        self.layout.piece(number)
    }

    /// Writes what came; blocks. True if that was the last of it.
    pub(super) fn write(&self, arrivals: Vec<Arrival>) -> Result<bool, WriteError> {
        let mut incoming = self.incoming();
        let Some(files) = incoming.as_mut() else { return Ok(false) };
        let mut wrote = false;
        for Arrival { number, hash, content } in &arrivals {
            wrote |= files.write_piece(*number, content.get(), hash)? == Written::New;
        }
        self.reuse(arrivals);
        if wrote {
            let arrived = News::arrived(files);
            self.news.send_if_modified(|news| match news {
                News::Arrived { .. } => {
                    *news = arrived;
                    true
                }
                News::Complete | News::Refused(..) => false,
            });
        }
        Ok(files.arrived().is_complete())
    }

    /// Takes the files out to finish them, if all of it is there; once.
    pub(super) fn take_complete(&self) -> Option<Incoming> {
        self.incoming().take_if(|incoming| incoming.arrived().is_complete())
    }

    pub(super) fn bytes_done(&self) -> u64 {
        match &*self.news.borrow() {
            News::Arrived { bytes, .. } => *bytes,
            News::Complete | News::Refused(..) => 0,
        }
    }

    pub(super) fn complete(&self) {
        self.news.send_replace(News::Complete);
    }

    pub(super) fn refuse(&self, code: DataRefusal, reason: String) {
        self.news.send_replace(News::Refused(code, reason));
    }
}

impl News {
    fn arrived(incoming: &Incoming) -> Self {
        Self::Arrived { pieces: incoming.arrived().count(), bytes: incoming.bytes() }
    }
}
