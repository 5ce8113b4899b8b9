//! What the commands of tasks write, on its way from worker to submitter.
//!
//! Best effort: the worker keeps the end of it in memory and pushes it a few
//! times a second, the submitter keeps the newest on disk. What is lost in
//! between is a gap, which the offsets show. Tasks do not depend on it.

mod tails;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use pilot_identity::{NodeId, Timestamp};
use pilot_overlay::{Overlay, Session};
use pilot_proto::tasks::{
    Logs, MAX_ANSWER_FRAME, MAX_LOG_OFFSET, MAX_LOG_PIECE, MAX_TASK_FRAME, TaskAnswer, TaskRefusal,
    TaskRequest,
};
use pilot_proto::{Service, TaskId};
use pilot_store::ReadError;
use pilot_tasks::{NotAtWork, ReceivedTask, SubmittedTask};
use pilot_transport::{FramedError, next_frame, send_frame};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::calls::{CallError, Row};
use super::{TasksService, clock};
use crate::services::ledger::Turn;
use crate::services::links::{AFTER_FAILURE, Links, Owing};
use crate::services::watch::Watch;
use crate::store::logs::{self as kept, Kept};
use crate::store::tasks as rows;

use tails::{Cursor, Outgoing, Tails, Writer};

/// Pause between two pushes to a peer: soon enough for whoever looks on, rare
/// enough that lines go together.
const PAUSE: Duration = Duration::from_millis(200);

/// Tasks of which a push brings a piece.
const ROUND: usize = 64;

/// How long the answers to a push may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pushes that may fail one after the other on sessions that are alive; after
/// that the peer is taken for one that knows no logs, and is spared them.
const FAILURES: u32 = 3;

/// How often tails are looked through for those that nobody needs.
const SWEEP: Duration = Duration::from_secs(30);

/// The worker's half: what was written, and its way to the submitters.
pub(super) struct LogSender {
    tails: Mutex<Tails>,
    /// Since when no tail was forgotten while its task went on.
    since: Mutex<Timestamp>,
    failures: Mutex<BTreeMap<NodeId, u32>>,
    links: Links,
    overlay: OnceLock<Overlay>,
    stop: CancellationToken,
}

/// How far somebody has read what a task's command wrote.
#[derive(Debug)]
pub(crate) struct LogReader {
    id: TaskId,
    side: ReaderSide,
    watch: Watch<TaskId>,
}

#[derive(Debug)]
enum ReaderSide {
    /// Of these attempts, behind so many bytes of one of them.
    Submitter {
        attempts: RangeInclusive<u32>,
        seen: (u32, u64),
    },
    Worker {
        attempt: Option<u32>,
        cursor: Option<Cursor>,
    },
}

impl LogSender {
    pub(super) fn new(tasks: &TaskTracker, stop: &CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            tails: Mutex::default(),
            since: Mutex::new(clock::now()),
            failures: Mutex::default(),
            links: Links::new(tasks, stop),
            overlay: OnceLock::new(),
            stop: stop.clone(),
        })
    }

    pub(super) fn connect(&self, overlay: Overlay) {
        // Connected once, as the service is.
        drop(self.overlay.set(overlay));
    }

    fn tails(&self) -> MutexGuard<'_, Tails> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all that was written of a task is known here: nothing was
    /// before it was accepted, and nothing was forgotten since.
    fn knows_all_of(&self, task: &ReceivedTask) -> bool {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = task.extras.lost == 0 && task.extras.released == 0;
        is_first && task.accepted_at().is_some_and(|at| at > since)
    }

    fn write(self: &Arc<Self>, task: &ReceivedTask, bytes: &[u8]) {
        let writer = Writer {
            id: task.terms.id,
            peer: task.peer,
            attempt: task.terms.attempt,
            is_fresh: self.knows_all_of(task),
        };
        if self.tails().write(writer, bytes) {
            *self.since.lock().unwrap_or_else(PoisonError::into_inner) = clock::now();
        }
        if let Some(overlay) = self.overlay.get() {
            self.links.wake(self, overlay, task.peer);
        }
    }

    /// Sends a round and takes in its answers; how many there were.
    async fn push(&self, session: &Session, round: &[Outgoing]) -> Result<usize, FramedError> {
        let stream = session.open(Service::Tasks).await?;
        let (mut send, mut recv) = (stream.send, stream.recv);
        let sending = async {
            for piece in round {
                let request = TaskRequest::Logs(piece.logs.clone());
                send_frame(&mut send, &request, MAX_TASK_FRAME).await?;
            }
            send.finish().map_err(|_| FramedError::Closed)
        };
        let receiving = async {
            for piece in round {
                let answer = next_frame::<TaskAnswer>(&mut recv, MAX_ANSWER_FRAME).await?;
                self.settle(piece, &answer.ok_or(FramedError::Ended)?);
            }
            Ok(())
        };
        tokio::try_join!(sending, receiving)?;
        Ok(round.len())
    }

    fn settle(&self, piece: &Outgoing, answer: &TaskAnswer) {
        let mut tails = self.tails();
        match answer {
            TaskAnswer::Logged { end } => tails.on_logged(piece, *end),
            TaskAnswer::Refused(refusal) => match refusal {
                TaskRefusal::QueueFull
                | TaskRefusal::DiskFull
                | TaskRefusal::Internal
                | TaskRefusal::Inputs
                | TaskRefusal::NoInputs => {
                    tails.on_lost(piece);
                }
                TaskRefusal::NotAllowed
                | TaskRefusal::Unknown
                | TaskRefusal::Invalid
                | TaskRefusal::Superseded => tails.on_refused(piece),
            },
            TaskAnswer::Offered
            | TaskAnswer::Cancelling
            | TaskAnswer::Updated
            | TaskAnswer::Receipt(_)
            | TaskAnswer::Load(_)
            | TaskAnswer::Passed(_) => tails.on_refused(piece),
        }
    }

    /// Counts how a push went. One that failed too often is the last.
    fn note(&self, peer: NodeId, succeeded: bool) {
        let is_last = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            if succeeded {
                failures.remove(&peer);
                return;
            }
            let failed = failures.entry(peer).or_default();
            *failed = failed.saturating_add(1);
            *failed >= FAILURES && failures.remove(&peer).is_some()
        };
        if is_last {
            self.tails().mute(&peer);
        }
    }
}

impl Owing for LogSender {
    const WHAT: &'static str = "logs";

    fn has_owed(&self, peer: &NodeId) -> bool {
        self.tails().has_owed(peer)
    }

    async fn use_link(self: &Arc<Self>, peer: NodeId, session: &Session, _wake: &Notify) -> usize {
        let mut answered = 0;
        loop {
            let round = self.tails().round(&peer, ROUND);
            if round.is_empty() {
                return answered;
            }
            let pushed = tokio::select! {
                () = self.stop.cancelled() => return answered,
                pushed = tokio::time::timeout(PATIENCE, self.push(session, &round)) => pushed,
            };
            match pushed {
                Ok(Ok(count)) => {
                    self.note(peer, true);
                    answered += count;
                }
                failed => {
                    tracing::debug!(peer = %peer.short(), ?failed, "logs could not be pushed");
                    if session.connection().is_closed() {
                        return answered;
                    }
                    self.note(peer, false);
                    tokio::time::sleep(AFTER_FAILURE).await;
                    return answered;
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return answered,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

impl TasksService {
    /// Takes what the command of an accepted task wrote.
    pub(crate) async fn write_log(&self, id: TaskId, bytes: &[u8]) -> Result<(), CallError> {
        let task = match self.row(id).await? {
            Some(Row::Received(task)) => task,
            Some(Row::Submitted(_)) | None => return Err(NotAtWork::Unknown.into()),
        };
        if task.ending().is_some() {
            return Err(NotAtWork::Ended { state: task.state() }.into());
        }
        if task.accepted_at().is_none() {
            return Err(NotAtWork::NotAccepted.into());
        }
        for piece in bytes.chunks(MAX_LOG_PIECE) {
            self.logs.write(&task, piece);
        }
        self.log_watchers.tell(id, 0);
        Ok(())
    }

    /// Begins to read what a task's command wrote: of one attempt, or of the
    /// newest and those that follow it.
    pub(crate) fn log_reader(&self, row: &Row, attempt: Option<u32>) -> LogReader {
        let (id, side) = match row {
            Row::Submitted(task) => {
                let first = attempt.unwrap_or(task.terms.attempt);
                let attempts = first..=attempt.unwrap_or(u32::MAX);
                (task.terms.id, ReaderSide::Submitter { attempts, seen: (first, 0) })
            }
            Row::Received(task) => (task.terms.id, ReaderSide::Worker { attempt, cursor: None }),
        };
        LogReader { id, side, watch: self.log_watchers.watch(id) }
    }

    /// The next of it that is there; nothing if there is none yet.
    pub(crate) async fn read_log(&self, reader: &mut LogReader) -> Result<Vec<Kept>, ReadError> {
        let id = reader.id;
        match &mut reader.side {
            ReaderSide::Submitter { attempts, seen } => {
                let (range, from) = (attempts.clone(), *seen);
                let read = move |connection: &_| kept::after(connection, id, range, from);
                let pieces = self.store.read_blocking(read).await?;
                if let Some(last) = pieces.last() {
                    *seen = (last.attempt, last.offset.saturating_add(length(&last.bytes)));
                }
                Ok(pieces)
            }
            ReaderSide::Worker { attempt, cursor } => {
                let read = self.logs.tails().read(&id, *cursor);
                let read = read.filter(|read| attempt.is_none_or(|only| only == read.attempt));
                *cursor = read.as_ref().map_or(*cursor, |read| Some(read.cursor));
                let piece = read.map(|read| Kept {
                    attempt: read.attempt,
                    offset: read.offset,
                    bytes: read.bytes.into(),
                });
                Ok(piece.into_iter().collect())
            }
        }
    }

    /// What a worker says that its command wrote.
    pub(super) async fn decide_logs(
        &self,
        peer: NodeId,
        logs: Logs,
    ) -> Result<(TaskAnswer, Turn), TaskRefusal> {
        if logs.bytes.len() > MAX_LOG_PIECE || logs.offset > MAX_LOG_OFFSET {
            return Err(TaskRefusal::Invalid);
        }
        let Logs { id, attempt, offset, bytes } = logs;
        let (answer, turn) = self
            .begin(|desk, batch, _| {
                let task = match desk.submitter.task(&id) {
                    Some(task) => Some(task.clone()),
                    None => self
                        .store
                        .read(|connection| rows::submitted(connection, id))
                        .map_err(|_| TaskRefusal::Internal)?,
                };
                may_log(task.as_ref(), peer, attempt)?;
                let end = if bytes.is_empty() {
                    let read = self.store.read(|connection| kept::end(connection, id, attempt));
                    read.map_err(|_| TaskRefusal::Internal)?
                } else {
                    offset.saturating_add(length(&bytes))
                };
                if !bytes.is_empty() {
                    kept::put(batch, id, Kept { attempt, offset, bytes: bytes.into() });
                    desk.logged.push(id);
                }
                Ok(TaskAnswer::Logged { end })
            })
            .await
            .map_err(|_| TaskRefusal::Internal)?;
        Ok((answer?, turn))
    }

    /// Lets go of tails that nobody needs, for ever.
    pub(super) async fn sweep_logs(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(SWEEP) => {}
            }
            let mut over = self.logs.tails().ids();
            {
                let desk = self.desk();
                let goes_on = |task: &ReceivedTask| task.ending().is_none();
                over.retain(|id| !desk.worker.task(id).is_some_and(goes_on));
            }
            self.logs.tails().sweep(Instant::now(), |id| over.contains(id));
        }
    }
}

impl LogReader {
    /// Waits until there may be more. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        self.watch.changed().await;
    }
}

/// Whether this peer's word counts about what the task's command wrote.
fn may_log(task: Option<&SubmittedTask>, peer: NodeId, attempt: u32) -> Result<(), TaskRefusal> {
    let task = task.filter(|task| task.peer == peer).ok_or(TaskRefusal::Unknown)?;
    if attempt == task.terms.attempt { Ok(()) } else { Err(TaskRefusal::Superseded) }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
