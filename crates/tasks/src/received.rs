//! A task at its worker, as it is on disk.

mod extras;

use pilot_identity::{
    Countersigned, Digest, NodeId, Outcome, Receipt, ReceiptTimes, SignedReceipt, Timestamp,
};
use pilot_proto::TaskId;
use pilot_proto::record::{self, RecordError};
use pilot_proto::tasks::Attached;
use serde::{Deserialize, Serialize};

use crate::freight::{self, Freight};
use crate::history::History;
use crate::shelf::Record;
use crate::state::TaskState;
use crate::terms::{Terms, earlier};

pub use extras::{Process, ReceivedExtras};

/// The worker's record of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedTask {
    /// What is asked. Deadlines are translated to this node's clock.
    pub terms: Terms,
    /// Who asks.
    pub peer: NodeId,
    /// When it arrived here.
    pub received: Timestamp,
    /// Grows with every change; the first is 1.
    pub revision: u64,
    /// How far it is.
    pub phase: ReceivedPhase,
    /// 0 to 100, if the worker said so.
    pub percent: Option<u8>,
    /// What the worker last said of it.
    pub note: String,
    /// That the submitter wants it stopped.
    pub cancel: Option<CancelNotice>,
    /// Its state changes.
    pub history: History,
    /// Files that go ahead of its result. Until they are there, the result is
    /// not sent; if they cannot be brought there, it becomes a failed one.
    pub freight: Option<Freight>,
    /// What was added to the first layout.
    #[serde(skip)]
    pub extras: ReceivedExtras,
}

/// How far a task is, seen from its worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReceivedPhase {
    /// Nobody has taken it.
    Queued,
    /// A worker process took it.
    Accepted {
        /// When.
        at: Timestamp,
        /// Which, as it called itself.
        acceptor: String,
    },
    /// A worker process is at it.
    Running {
        /// When it was accepted.
        accepted: Timestamp,
        /// By which worker process.
        acceptor: String,
    },
    /// It has ended; the submitter has not confirmed that it has the result.
    Finished {
        /// How it ended.
        ending: WorkEnding,
        /// Our statement for the submitter.
        receipt: Box<SignedReceipt>,
        /// Why the result is not being sent, if it is not.
        hold: Option<Hold>,
    },
    /// The submitter has the result.
    Closed {
        /// How it ended.
        ending: WorkEnding,
        /// The statement under both signatures.
        receipt: Box<Countersigned>,
    },
}

/// How a task ended, by its worker's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkEnding {
    /// How. Never changes, once its files are there.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
    /// When it was accepted, if it was.
    pub accepted: Option<Timestamp>,
    /// Why it was not done; empty if it was.
    pub reason: String,
    /// The digest of the encoded result body.
    pub digest: Digest,
    /// Bytes of the encoded result body.
    pub len: u64,
}

/// A result that the submitter does not want. It stays on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Since when.
    pub at: Timestamp,
    /// What the submitter said.
    pub reason: String,
}

/// The submitter's request to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelNotice {
    /// When it arrived.
    pub at: Timestamp,
    /// When the daemon ends the task by itself.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

impl ReceivedTask {
    /// The state as people see it.
    #[must_use]
    pub fn state(&self) -> TaskState {
        match &self.phase {
            ReceivedPhase::Queued => TaskState::Queued,
            ReceivedPhase::Accepted { .. } => TaskState::Accepted,
            ReceivedPhase::Running { .. } => TaskState::Running,
            ReceivedPhase::Finished { ending, .. } | ReceivedPhase::Closed { ending, .. } => {
                TaskState::from(ending.outcome)
            }
        }
    }

    /// How it ended, if it has.
    #[must_use]
    pub const fn ending(&self) -> Option<&WorkEnding> {
        match &self.phase {
            ReceivedPhase::Finished { ending, .. } | ReceivedPhase::Closed { ending, .. } => {
                Some(ending)
            }
            ReceivedPhase::Queued
            | ReceivedPhase::Accepted { .. }
            | ReceivedPhase::Running { .. } => None,
        }
    }

    /// When it was accepted, if it was.
    #[must_use]
    pub const fn accepted_at(&self) -> Option<Timestamp> {
        match &self.phase {
            ReceivedPhase::Queued => None,
            ReceivedPhase::Accepted { at, .. } | ReceivedPhase::Running { accepted: at, .. } => {
                Some(*at)
            }
            ReceivedPhase::Finished { ending, .. } | ReceivedPhase::Closed { ending, .. } => {
                ending.accepted
            }
        }
    }

    /// Whether it has ended and the submitter has not confirmed the result.
    #[must_use]
    pub const fn is_result_pending(&self) -> bool {
        matches!(self.phase, ReceivedPhase::Finished { .. })
    }

    /// The files for which its result waits before it is sent.
    #[must_use]
    pub fn awaits_files(&self) -> Option<&Attached> {
        freight::awaited(self.freight.as_ref())
    }

    /// How it ends if it does now that its worker was asked to stop.
    pub(crate) const fn stopped_as(&self) -> Outcome {
        if self.extras.overtime { Outcome::Expired } else { Outcome::Cancelled }
    }

    /// Whether its result stays on this node, for whoever may fetch it.
    #[must_use]
    pub fn leaves_result(&self) -> bool {
        let outcome = self.ending().map(|ending| ending.outcome);
        self.extras.leave_result && outcome == Some(Outcome::Succeeded)
    }

    /// Whether the submitter has the result.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, ReceivedPhase::Closed { .. })
    }

    /// Whether it has ended and nothing is owed to the submitter. Settled
    /// tasks need not be restored at start.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        match &self.phase {
            ReceivedPhase::Queued
            | ReceivedPhase::Accepted { .. }
            | ReceivedPhase::Running { .. } => false,
            ReceivedPhase::Finished { hold, .. } => hold.is_some(),
            ReceivedPhase::Closed { .. } => true,
        }
    }

    /// The moment at which it expires if it is not accepted before. One that
    /// was accepted and came back was accepted in time.
    #[must_use]
    pub fn queue_until(&self) -> Option<Timestamp> {
        if self.extras.lost > 0 || self.extras.released > 0 {
            return None;
        }
        self.terms.queue_timeout.map(|timeout| self.received.saturating_add(timeout))
    }

    /// The moment at which it expires if it is not finished before, once it
    /// has been accepted.
    #[must_use]
    pub fn run_until(&self) -> Option<Timestamp> {
        let accepted = self.accepted_at()?;
        let timed_out = self.terms.run_timeout.map(|timeout| accepted.saturating_add(timeout));
        earlier(self.terms.deadline, timed_out)
    }

    /// The bytes for the disk.
    ///
    /// # Errors
    ///
    /// [`RecordError::Encode`]; no value of this type is known to cause it.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        record::encode_with(self, &self.extras)
    }

    /// The record from the disk, also one of an older version.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if a newer program wrote it or it is damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (mut task, extras): (Self, _) = record::decode_with(bytes)?;
        task.extras = extras;
        Ok(task)
    }

    /// Whether a worker process has it.
    pub(crate) const fn is_leased(&self) -> bool {
        match self.phase {
            ReceivedPhase::Accepted { .. } | ReceivedPhase::Running { .. } => true,
            ReceivedPhase::Queued
            | ReceivedPhase::Finished { .. }
            | ReceivedPhase::Closed { .. } => false,
        }
    }

    /// Moves it to a new phase.
    pub(crate) fn enter(&mut self, phase: ReceivedPhase, now: Timestamp, cause: &str) {
        self.phase = phase;
        if !self.is_leased() {
            self.extras.bound = None;
        }
        if !matches!(self.phase, ReceivedPhase::Queued) {
            self.extras.not_before = None;
        }
        self.history.note(now, self.state(), cause);
    }

    /// What `worker` has to sign about such an ending of this task.
    pub(crate) fn receipt(&self, worker: NodeId, ending: &WorkEnding) -> Receipt {
        Receipt {
            task: self.terms.id.uuid(),
            attempt: self.terms.attempt,
            submitter: self.peer,
            worker,
            outcome: ending.outcome,
            digest: ending.digest,
            times: ReceiptTimes {
                received: self.received,
                accepted: ending.accepted,
                finished: ending.at,
            },
        }
    }
}

impl Record for ReceivedTask {
    fn id(&self) -> TaskId {
        self.terms.id
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn bump(&mut self) {
        self.revision = self.revision.saturating_add(1);
    }

    fn due(&self) -> Option<Timestamp> {
        match &self.phase {
            ReceivedPhase::Queued => {
                let over = earlier(self.terms.deadline, self.queue_until());
                earlier(over, self.extras.not_before)
            }
            ReceivedPhase::Accepted { .. } | ReceivedPhase::Running { .. } => {
                let run_until = self.run_until().filter(|_| !self.extras.overtime);
                earlier(run_until, self.cancel.as_ref().map(|cancel| cancel.until))
            }
            ReceivedPhase::Finished { .. } | ReceivedPhase::Closed { .. } => None,
        }
    }
}
