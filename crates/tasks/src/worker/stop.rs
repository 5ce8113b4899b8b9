//! Cancellations, and peers that are no longer trusted.

use core::cmp::Ordering;
use core::time::Duration;

use pilot_identity::{NodeId, Outcome, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::{Cancel, TaskAnswer, TaskRefusal};

use super::Worker;
use crate::received::{CancelNotice, ReceivedPhase, ReceivedTask};

/// How long whoever works on a task may take to stop once its submitter is no
/// longer trusted: enough to end in order, and too little to go on with it.
const TRUST_GRACE: Duration = Duration::from_secs(30);

const NO_TRUST: &str = "the submitter is no longer trusted";

impl Worker {
    /// A submitter wants a task stopped. The answer may be sent once this
    /// drain's commit is on disk.
    ///
    /// A queued task ends at once; a worker process that has accepted one sees
    /// the wish and has the grace to end it itself. Of a task not known, a
    /// record is made that keeps a late offer from running; such records count
    /// as tasks of the peer (`QueueFull`). So it is of an attempt that is not
    /// known, once the one before it is out of the way (`Internal` until then).
    pub fn handle_cancel(&mut self, peer: NodeId, cancel: &Cancel, now: Timestamp) -> TaskAnswer {
        if !self.shelf.contains(&cancel.id) {
            return self.on_cancel_ahead(peer, cancel, now);
        }
        let answer = match self.on_cancel(peer, cancel, now) {
            Ok(()) => TaskAnswer::Cancelling,
            Err(refusal) => TaskAnswer::Refused(refusal),
        };
        self.sweep(&cancel.id);
        answer
    }

    /// The peer may not submit tasks here any more: what nobody has accepted
    /// is declined; whoever works on one sees that it should stop, and has
    /// 30 seconds to end it.
    pub fn handle_trust_lost(&mut self, peer: NodeId, now: Timestamp) {
        let of_peer = self.shelf.iter().filter(|task| task.peer == peer);
        let live = of_peer.filter(|task| task.ending().is_none());
        let live: Vec<_> = live.map(|task| (task.terms.id, task.is_leased())).collect();
        for (id, is_leased) in live {
            if is_leased {
                self.ask_to_stop(&id, TRUST_GRACE, NO_TRUST, now);
            } else {
                self.end_by_daemon(&id, Outcome::Declined, NO_TRUST, now);
            }
        }
    }

    /// Whoever works on a task sees from now on that it should stop. Does
    /// nothing if it has less time for that already.
    pub(super) fn ask_to_stop(
        &mut self,
        id: &TaskId,
        grace: Duration,
        reason: &str,
        now: Timestamp,
    ) {
        let until = now.saturating_add(grace);
        let leased = self.shelf.get_mut(id).filter(|task| task.is_leased());
        let sooner = |task: &&mut ReceivedTask| {
            task.cancel.as_ref().is_none_or(|cancel| cancel.until > until)
        };
        let Some(task) = leased.filter(sooner) else { return };
        task.cancel = Some(CancelNotice { at: now, until, reason: reason.to_owned() });
        task.history.note(now, task.state(), reason);
        self.commit(id, None);
    }

    fn on_cancel_ahead(&mut self, peer: NodeId, cancel: &Cancel, now: Timestamp) -> TaskAnswer {
        if cancel.attempt == 0 {
            return TaskAnswer::Refused(TaskRefusal::Invalid);
        }
        if self.is_full_for(&peer) {
            return TaskAnswer::Refused(TaskRefusal::QueueFull);
        }
        self.shelf.insert(ReceivedTask::tombstone(cancel.id, cancel.attempt, peer, now));
        self.end_by_daemon(&cancel.id, Outcome::Cancelled, reason(cancel), now);
        TaskAnswer::Cancelling
    }

    fn on_cancel(
        &mut self,
        peer: NodeId,
        cancel: &Cancel,
        now: Timestamp,
    ) -> Result<(), TaskRefusal> {
        let known = self.shelf.get(&cancel.id).filter(|task| task.peer == peer);
        let Some(known) = known.map(|task| task.terms.attempt) else {
            return Err(TaskRefusal::Unknown);
        };
        match cancel.attempt.cmp(&known) {
            Ordering::Less => return Err(TaskRefusal::Superseded),
            Ordering::Equal => {}
            Ordering::Greater => {
                self.make_way(&cancel.id, &peer, now)?;
                self.replace(ReceivedTask::tombstone(cancel.id, cancel.attempt, peer, now));
                self.end_by_daemon(&cancel.id, Outcome::Cancelled, reason(cancel), now);
                return Ok(());
            }
        }
        let Some(task) = self.shelf.get_mut(&cancel.id) else { return Err(TaskRefusal::Unknown) };
        match task.phase {
            ReceivedPhase::Queued => {
                self.end_by_daemon(&cancel.id, Outcome::Cancelled, reason(cancel), now);
            }
            ReceivedPhase::Accepted { .. } | ReceivedPhase::Running { .. }
                if task.cancel.is_none() =>
            {
                let until = now.saturating_add(Duration::from_millis(cancel.grace_ms));
                let reason = cancel.reason.as_str().to_owned();
                task.cancel = Some(CancelNotice { at: now, until, reason });
                task.history.note(now, task.state(), "the submitter wants it stopped");
                self.commit(&cancel.id, None);
            }
            ReceivedPhase::Accepted { .. }
            | ReceivedPhase::Running { .. }
            | ReceivedPhase::Finished { .. }
            | ReceivedPhase::Closed { .. } => self.promise_again(&cancel.id),
        }
        Ok(())
    }
}

fn reason(cancel: &Cancel) -> &str {
    match cancel.reason.as_str() {
        "" => "cancelled by the submitter",
        reason => reason,
    }
}
