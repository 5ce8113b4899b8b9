//! What must hold, whatever died when.

use pilot_identity::Digest;
use pilot_proto::TaskId;
use pilot_tasks::{OutgoingKey, TaskState};

use super::actors::{result_body, task_body, task_id};
use super::{Packet, Side, World};
use crate::disk::Way;

impl World {
    /// What somebody was told is on the disk that told it.
    pub(super) fn check_promises(&self) {
        if let Some(id) = self.told.submitted {
            assert_eq!(id, task_id());
            assert!(self.disks[0].submitted(&id).is_some(), "a submitted task is lost");
            assert_eq!(self.disks[0].tasks.get(&id), Some(&task_body()));
        }
        if let Some(Ok(_)) = self.told.cancel {
            let task = self.disks[0].submitted(&task_id()).unwrap();
            assert!(task.cancel.is_some(), "a cancellation is lost");
        }
        if let Some(id) = self.told.accepted {
            let task = self.disks[1].received(&id).unwrap();
            assert!(task.accepted_at().is_some(), "an accepted task is not accepted any more");
        }
        if self.told.finished == Some(true) {
            let task = self.disks[1].received(&task_id()).unwrap();
            assert!(task.ending().is_some(), "a result is lost");
        }
    }

    /// A message is sent of nothing that is not on disk.
    pub(super) fn check_backed(&self, from: Side, key: &OutgoingKey) {
        let revision = match from {
            Side::Submitter => self.disks[0].submitted(&key.id).map(|task| task.revision),
            Side::Worker => self.disks[1].received(&key.id).map(|task| task.revision),
        };
        assert!(revision >= Some(key.revision), "sent what is not on disk: {key:?}");
    }

    /// The worker lets go of a result only when the submitter has it.
    pub(super) fn check_may_forget(&self, id: &TaskId) {
        let theirs = self.disks[0].results.get(id);
        assert!(theirs.is_some(), "the worker forgets a result that nobody else has");
        assert_eq!(theirs, self.disks[1].results.get(id));
    }

    /// After the end, everything that was ever sent arrives three times more.
    pub(crate) fn replay_everything(&mut self) {
        let before = (self.disks[0].submitted(&task_id()), self.disks[1].received(&task_id()));
        let crashes = core::mem::take(&mut self.crashes);
        let seen = self.seen;
        for _ in 0..3 {
            for (from, request) in self.sent.clone() {
                let heard = match from {
                    Side::Submitter => self.worker_hears(request),
                    Side::Worker => self.submitter_hears(request),
                };
                assert!(heard.is_ok());
            }
        }
        self.network.retain(|packet| matches!(packet, Packet::Request { .. }));
        self.run();
        self.crashes = crashes;
        self.seen = seen;
        let after = (self.disks[0].submitted(&task_id()), self.disks[1].received(&task_id()));
        assert_eq!(before, after, "old messages changed a task that has ended");
    }

    /// The task ended once, rightly, on both sides, and nothing is left over.
    pub(crate) fn check(&self) {
        self.check_promises();
        let id = task_id();
        let task = self.disks[0].submitted(&id).unwrap();
        let state = task.state();
        assert!(self.scenario.ends.contains(&state), "{state}: {task:#?}");
        assert_eq!(terminal(self.disks[0].states(&id)), 1, "{:?}", self.disks[0].states(&id));
        assert_eq!(self.disks[0].ids(), [id], "one submission, one task");
        assert!(self.submitter.is_empty(), "the submitter keeps {:#?}", self.submitter);
        assert!(self.worker.is_empty(), "the worker keeps {:#?}", self.worker);
        assert_eq!((self.submitter.next_deadline(), self.worker.next_deadline()), (None, None));

        for disk in &self.disks {
            assert!(disk.strays.is_empty(), "nobody answers for {:?}", disk.strays);
            assert!(!disk.transfers.values().any(|way| *way == Way::Moving), "{disk:#?}");
        }
        if task.awaits_files().is_some() {
            assert_eq!(self.disks[1].ids(), [], "the worker has heard of it");
            assert!(self.disks[1].inbox.is_empty());
            return;
        }

        let delivery = task.ending().unwrap().delivery.as_ref().expect("the worker's word");
        let work = self.disks[1].received(&id).unwrap();
        assert!(work.is_closed());
        assert_eq!(terminal(self.disks[1].states(&id)), 1);
        let accepted =
            self.disks[1].states(&id).iter().filter(|state| **state == TaskState::Accepted);
        assert!(accepted.count() <= 1, "worked on twice");
        assert_eq!(work.ending().unwrap().outcome, delivery.outcome);
        assert_eq!(work.ending().unwrap().digest, delivery.digest);
        assert_eq!(task.has_late_result(), delivery.outcome != task.state().outcome().unwrap());

        let result = self.disks[0].results.get(&id).expect("the result");
        assert_eq!(Digest::of(result), delivery.digest);
        if self.told.finished == Some(true)
            && TaskState::from(delivery.outcome) == TaskState::Succeeded
        {
            assert_eq!(*result, result_body());
        }
        assert!(!self.disks[1].results.contains_key(&id), "the worker keeps a result for ever");
    }
}

fn terminal(states: &[TaskState]) -> usize {
    states.iter().filter(|state| state.is_terminal()).count()
}
