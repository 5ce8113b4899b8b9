//! The user at the submitter and the process at the worker. They try again
//! until they are told that it is done, as people and scripts do.

use core::time::Duration;

use pilot_identity::{Digest, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::{ResultBody, TaskBody};
use pilot_tasks::{CancelError, ReceivedPhase, Submission, TaskState, Work, WorkOutcome};

use super::{Crash, STARTED, Side, World};
use crate::scenario::{Agent, Stage};

/// What the two were told. Crashes of the nodes do not touch it.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) submitted: Option<TaskId>,
    pub(super) cancel: Option<Result<TaskState, CancelError>>,
    pub(super) accepted: Option<TaskId>,
    pub(super) running: bool,
    /// The worker process has done what it does; true if its result was taken.
    pub(super) finished: Option<bool>,
}

pub(super) fn task_body() -> Vec<u8> {
    postcard::to_allocvec(&TaskBody { description: "do it".to_owned(), ..TaskBody::default() })
        .unwrap()
}

pub(super) fn result_body() -> Vec<u8> {
    postcard::to_allocvec(&ResultBody { data: "-done".into(), ..ResultBody::default() }).unwrap()
}

pub(super) fn task_id() -> TaskId {
    TaskId::from_bytes([7; 16])
}

impl World {
    /// Does the next thing that somebody wants, if there is one.
    pub(super) fn act(&mut self) -> Result<bool, Crash> {
        Ok(self.user_submits()? || self.user_cancels()? || self.agent_acts()?)
    }

    fn user_submits(&mut self) -> Result<bool, Crash> {
        if self.told.submitted.is_some() {
            return Ok(false);
        }
        let (id, body) = (task_id(), task_body());
        self.submitter_loads(&id);
        let known = self.submitter.task(&id).map(|task| task.freight);
        let attached = match (known, self.scenario.task_files) {
            (Some(freight), _) => freight.map(|freight| freight.attached),
            (None, Some(_)) => Some(self.begin_transfer(Side::Submitter)?),
            (None, None) => None,
        };
        let submission = Submission { attached, ..self.submission(id, &body) };
        let submitted = self.submitter.submit(submission, self.now);
        let new = submitted.as_ref().is_ok_and(|submitted| submitted.new);
        self.drain(Side::Submitter, new.then_some((id, body)))?;
        self.point(Side::Submitter)?;
        self.told.submitted = submitted.ok().map(|submitted| submitted.id);
        self.point(Side::Submitter)?;
        Ok(true)
    }

    fn submission(&self, id: TaskId, body: &[u8]) -> Submission {
        let deadline = self.scenario.deadline.map(|ms| Timestamp::from_millis(STARTED + ms));
        Submission {
            id,
            to: self.keys[1].id(),
            priority: 0,
            deadline,
            queue_timeout: None,
            run_timeout: None,
            summary: "do it".to_owned(),
            body_len: body.len() as u64,
            body_digest: Digest::of(body),
            idempotency_key: Some("once".to_owned()),
            attached: None,
            plan: pilot_tasks::Plan::default(),
        }
    }

    fn user_cancels(&mut self) -> Result<bool, Crash> {
        let Some(stage) = self.scenario.cancel else { return Ok(false) };
        let reached = match stage {
            Stage::Submitted => self.told.submitted.is_some(),
            Stage::Accepted => self.told.accepted.is_some(),
            Stage::Running => self.told.running,
            Stage::Finished => self.told.finished.is_some(),
        };
        if !reached || self.told.cancel.is_some() {
            return Ok(false);
        }
        let id = task_id();
        self.submitter_loads(&id);
        let answer = self.submitter.cancel(&id, Duration::from_secs(30), "no need", self.now);
        self.drain(Side::Submitter, None)?;
        self.point(Side::Submitter)?;
        self.told.cancel = Some(answer);
        self.point(Side::Submitter)?;
        Ok(true)
    }

    fn agent_acts(&mut self) -> Result<bool, Crash> {
        let Some(id) = self.told.accepted else { return self.agent_accepts() };
        if self.told.finished.is_some() {
            return Ok(false);
        }
        self.worker_loads(&id);
        let mut body = None;
        if self.scenario.agent == Agent::Declines {
            let done = self.worker.decline(&id, "not mine", self.now).is_ok();
            self.drain(Side::Worker, None)?;
            self.point(Side::Worker)?;
            self.told.finished = Some(done);
        } else if !self.told.running {
            let running = self.worker.progress(&id, Some(40), Some("at it"), self.now).is_ok();
            self.drain(Side::Worker, None)?;
            self.point(Side::Worker)?;
            self.told.running = true;
            if !running || self.scenario.agent == Agent::Hangs {
                self.told.finished = Some(false);
            }
        } else {
            let bytes = result_body();
            let task = self.worker.task(&id);
            let is_at_work = task.is_some_and(|task| task.ending().is_none());
            let attached = match self.scenario.result_files {
                Some(_) if is_at_work => Some(self.begin_transfer(Side::Worker)?),
                Some(_) | None => None,
            };
            let work = Work {
                outcome: WorkOutcome::Succeeded,
                digest: Digest::of(&bytes),
                len: bytes.len() as u64,
                reason: String::new(),
                attached,
            };
            let finished = self.worker.finish(&id, &work, self.now);
            if finished.is_ok_and(|finished| finished.new) {
                body = Some((id, bytes));
            }
            self.drain(Side::Worker, body)?;
            self.point(Side::Worker)?;
            self.told.finished = Some(finished.is_ok());
        }
        self.point(Side::Worker)?;
        Ok(true)
    }

    /// Takes up what it accepted before its node died, or accepts.
    fn agent_accepts(&mut self) -> Result<bool, Crash> {
        let mine = self.worker.tasks().find(|task| match &task.phase {
            ReceivedPhase::Accepted { acceptor, .. } | ReceivedPhase::Running { acceptor, .. } => {
                acceptor == "agent"
            }
            ReceivedPhase::Queued
            | ReceivedPhase::Finished { .. }
            | ReceivedPhase::Closed { .. } => false,
        });
        let mine = mine.map(|task| task.terms.id);
        let Some(id) = mine.or_else(|| self.worker.accept(None, "agent", self.now)) else {
            return Ok(false);
        };
        self.drain(Side::Worker, None)?;
        self.point(Side::Worker)?;
        self.told.accepted = Some(id);
        self.point(Side::Worker)?;
        Ok(true)
    }
}
