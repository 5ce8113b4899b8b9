//! A task at its submitter, as it is on disk.

use core::time::Duration;
use std::borrow::Cow;

use pilot_identity::{Countersigned, Digest, NodeId, Outcome, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::record::{self, RecordError};
use pilot_proto::tasks::Attached;
use serde::{Deserialize, Serialize};

use crate::freight::{self, Freight};
use crate::history::History;
use crate::plan::{SubmittedExtras, Wait};
use crate::shelf::Record;
use crate::state::TaskState;
use crate::terms::{Terms, earlier};

/// How long after the end of its run timeout a worker is waited for.
const LOST: Duration = Duration::from_secs(60);

/// The submitter's record of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmittedTask {
    /// What is asked.
    pub terms: Terms,
    /// Who is to do it; this node itself as long as nobody was chosen.
    pub peer: NodeId,
    /// When it was submitted here.
    pub created: Timestamp,
    /// The key under which submitting again finds this task.
    pub idempotency_key: Option<String>,
    /// Grows with every change; the first is 1.
    pub revision: u64,
    /// How far it is.
    pub phase: SubmittedPhase,
    /// 0 to 100, if the worker said so.
    pub percent: Option<u8>,
    /// What the worker last said of it.
    pub note: String,
    /// The revision of the worker's latest update.
    pub heard: u64,
    /// That it was to be stopped, and whether the worker knows.
    pub cancel: Option<CancelRequest>,
    /// Its state changes.
    pub history: History,
    /// Files that go ahead of it. Until they are there, nothing of it is sent,
    /// and nothing that the peer says of it counts.
    pub freight: Option<Freight>,
    /// What is wanted beyond one offer, and what came of it. On disk behind the
    /// other fields, and only if there is anything.
    #[serde(skip)]
    pub extras: SubmittedExtras,
}

/// How far a task is, seen from its submitter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubmittedPhase {
    /// The peer has not confirmed that it has it.
    Queued {
        /// What the peer said when it did not take it.
        trouble: Option<String>,
    },
    /// It is safe in the worker's queue.
    Delivered {
        /// Since when.
        at: Timestamp,
    },
    /// A worker took it.
    Accepted {
        /// When, translated to this node's clock.
        at: Timestamp,
    },
    /// The worker is at it.
    Running {
        /// When it was accepted, translated to this node's clock.
        accepted: Timestamp,
    },
    /// It has ended.
    Ended(Ending),
    /// It is not offered to anybody yet.
    Held {
        /// Since when.
        since: Timestamp,
        /// Why not.
        wait: Wait,
    },
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// How. Never changes.
    pub outcome: Outcome,
    /// When this node knew.
    pub at: Timestamp,
    /// Why it was not done; empty if it was.
    pub reason: String,
    /// The worker's result; none if the task ended here and the worker has
    /// not been heard since.
    pub delivery: Option<Delivery>,
}

/// A worker's result that is on this node's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// How the worker says that it ended.
    pub outcome: Outcome,
    /// When it arrived.
    pub at: Timestamp,
    /// The digest of the encoded result body.
    pub digest: Digest,
    /// Bytes of the encoded result body.
    pub len: u64,
    /// The worker's statement under both signatures.
    pub receipt: Box<Countersigned>,
}

/// A request to stop a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// When it was made.
    pub at: Timestamp,
    /// How long a running worker may take to stop.
    pub grace: Duration,
    /// Why.
    pub reason: String,
    /// Whether the worker still has to be told.
    pub owed: bool,
}

impl SubmittedTask {
    /// The state as people see it.
    #[must_use]
    pub const fn state(&self) -> TaskState {
        match &self.phase {
            SubmittedPhase::Queued { .. } | SubmittedPhase::Held { .. } => TaskState::Queued,
            SubmittedPhase::Delivered { .. } => TaskState::Delivered,
            SubmittedPhase::Accepted { .. } => TaskState::Accepted,
            SubmittedPhase::Running { .. } => TaskState::Running,
            SubmittedPhase::Ended(ending) => match ending.outcome {
                Outcome::Succeeded => TaskState::Succeeded,
                Outcome::Failed => TaskState::Failed,
                Outcome::Declined => TaskState::Declined,
                Outcome::Cancelled => TaskState::Cancelled,
                Outcome::Expired => TaskState::Expired,
            },
        }
    }

    /// How it ended, if it has.
    #[must_use]
    pub const fn ending(&self) -> Option<&Ending> {
        match &self.phase {
            SubmittedPhase::Ended(ending) => Some(ending),
            SubmittedPhase::Held { .. }
            | SubmittedPhase::Queued { .. }
            | SubmittedPhase::Delivered { .. }
            | SubmittedPhase::Accepted { .. }
            | SubmittedPhase::Running { .. } => None,
        }
    }

    /// Whether a result came that says otherwise than how the task had
    /// already ended here. It is kept and changes nothing.
    #[must_use]
    pub fn has_late_result(&self) -> bool {
        self.ending().is_some_and(|ending| {
            ending.delivery.as_ref().is_some_and(|delivery| delivery.outcome != ending.outcome)
        })
    }

    /// The files for which it waits before it is sent, or waited when it ended.
    #[must_use]
    pub fn awaits_files(&self) -> Option<&Attached> {
        freight::awaited(self.freight.as_ref())
    }

    /// The worker's result, if it is here.
    #[must_use]
    pub const fn delivery(&self) -> Option<&Delivery> {
        match self.ending() {
            Some(ending) => ending.delivery.as_ref(),
            None => None,
        }
    }

    /// Why it is as it is: why it ended, or why the peer does not have it.
    #[must_use]
    pub fn reason(&self) -> Cow<'_, str> {
        match &self.phase {
            SubmittedPhase::Queued { .. } if self.awaits_files().is_some() => {
                Cow::Borrowed("its files are on their way")
            }
            SubmittedPhase::Queued { trouble } => {
                Cow::Borrowed(trouble.as_deref().unwrap_or_default())
            }
            SubmittedPhase::Held { wait, .. } => self.waits_for(wait),
            SubmittedPhase::Ended(ending) => Cow::Borrowed(&ending.reason),
            SubmittedPhase::Delivered { .. }
            | SubmittedPhase::Accepted { .. }
            | SubmittedPhase::Running { .. } => Cow::Borrowed(""),
        }
    }

    fn waits_for(&self, wait: &Wait) -> Cow<'_, str> {
        match wait {
            Wait::Tasks => {
                let mut awaited = self.extras.plan.awaited();
                match (awaited.next(), awaited.count()) {
                    (Some(id), 0) => format!("waits for task {id}").into(),
                    (Some(id), more) => format!("waits for task {id} and {more} more").into(),
                    (None, _) => Cow::Borrowed("waits for other tasks"),
                }
            }
            Wait::Pause { .. } => format!("attempt {} begins soon", self.terms.attempt).into(),
            Wait::Key => {
                let key = self.extras.plan.exclusive.as_deref().unwrap_or_default();
                format!("waits until another task with the key {key} is over").into()
            }
            Wait::Worker { why } if why.is_empty() => Cow::Borrowed("a worker is looked for"),
            Wait::Worker { why } => why.clone().into(),
        }
    }

    /// Whether it is not offered to anybody yet.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self.phase, SubmittedPhase::Held { .. })
    }

    /// Why it still waits for a worker, or for what goes with it; none if it
    /// does not, and nothing if nobody has looked yet.
    #[must_use]
    pub fn unplaced(&self) -> Option<&str> {
        match &self.phase {
            SubmittedPhase::Held { wait: Wait::Worker { why }, .. } => Some(why),
            SubmittedPhase::Held { .. }
            | SubmittedPhase::Queued { .. }
            | SubmittedPhase::Delivered { .. }
            | SubmittedPhase::Accepted { .. }
            | SubmittedPhase::Running { .. }
            | SubmittedPhase::Ended(_) => None,
        }
    }

    /// Who is to do it, or did; none as long as nobody was chosen.
    #[must_use]
    pub fn worker(&self) -> Option<NodeId> {
        (self.extras.plan.pool.is_none() || self.extras.placed).then_some(self.peer)
    }

    /// Whether it has ended and nothing is owed to the worker. Settled tasks
    /// need not be restored at start.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.ending().is_some() && !self.owes_cancel()
    }

    /// The moment at which it expires if it is not accepted before.
    #[must_use]
    pub fn queue_until(&self) -> Option<Timestamp> {
        let since = self.extras.ready.unwrap_or(self.created);
        self.terms.queue_timeout.map(|timeout| since.saturating_add(timeout))
    }

    /// When it was accepted, if a worker is at it.
    pub(crate) const fn accepted(&self) -> Option<Timestamp> {
        match &self.phase {
            SubmittedPhase::Accepted { at: accepted } | SubmittedPhase::Running { accepted } => {
                Some(*accepted)
            }
            SubmittedPhase::Held { .. }
            | SubmittedPhase::Queued { .. }
            | SubmittedPhase::Delivered { .. }
            | SubmittedPhase::Ended(_) => None,
        }
    }

    /// The moment at which its worker is given up that has not been heard of,
    /// though the run timeout is long over: only if there is another attempt.
    fn lost_at(&self, accepted: Timestamp) -> Option<Timestamp> {
        let timeout = self.terms.run_timeout.filter(|_| self.extras.plan.retries_left > 0)?;
        Some(accepted.saturating_add(timeout).saturating_add(LOST))
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
        let (task, extras) = record::decode_with::<Self, SubmittedExtras>(bytes)?;
        Ok(Self { extras, ..task })
    }

    pub(crate) fn owes_cancel(&self) -> bool {
        self.cancel.as_ref().is_some_and(|cancel| cancel.owed)
    }

    /// Moves it to a new phase.
    pub(crate) fn enter(&mut self, phase: SubmittedPhase, now: Timestamp, cause: &str) {
        self.phase = phase;
        self.history.note(now, self.state(), cause);
    }

    /// Ends it.
    pub(crate) fn end(&mut self, ending: Ending, cause: &str) {
        let at = ending.at;
        self.enter(SubmittedPhase::Ended(ending), at, cause);
    }
}

impl Record for SubmittedTask {
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
            SubmittedPhase::Queued { .. } => earlier(self.terms.deadline, self.queue_until()),
            SubmittedPhase::Delivered { .. } => self.terms.deadline,
            SubmittedPhase::Accepted { at: accepted } | SubmittedPhase::Running { accepted } => {
                earlier(self.terms.deadline, self.lost_at(*accepted))
            }
            SubmittedPhase::Held { wait: Wait::Pause { until }, .. } => {
                earlier(self.terms.deadline, Some(*until))
            }
            SubmittedPhase::Held { wait: Wait::Worker { .. }, .. } => {
                earlier(self.terms.deadline, self.queue_until())
            }
            SubmittedPhase::Held { wait: Wait::Tasks | Wait::Key, .. } => self.terms.deadline,
            SubmittedPhase::Ended(_) => None,
        }
    }
}
