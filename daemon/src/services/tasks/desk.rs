//! The two machines over one set of tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use pilot_identity::{NodeId, NodeKey, Timestamp};
use pilot_proto::tasks::Attached;
use pilot_proto::{TaskId, TransferId};
use pilot_store::{Batch, Epoch, ReadError, Store};
use pilot_tasks::{
    MAX_LIVE_TASKS, Outgoing, Plan, Process, SubmittedTask, Submitter, SubmitterOutput, Worker,
    WorkerLimits, WorkerOutput,
};

use super::news::{News, Said};
use super::receipts::Owing;
use crate::store::bodies::{self, Kind, Side};
use crate::store::strays;
use crate::store::tasks as rows;

/// Both halves, as they are on disk or about to be.
pub(super) struct Desk {
    pub(super) submitter: Submitter,
    pub(super) worker: Worker,
    /// Of the rows from which the machines were made.
    pub(super) epoch: Epoch,
    /// The deadline that the clock's driver waits for.
    armed: Option<Timestamp>,
    sends: Vec<Outgoing>,
    /// Tasks of which more is known that their commands wrote.
    pub(super) logged: Vec<TaskId>,
    said: Said,
    owing: Owing,
}

/// Tasks that wait for files, each with the transfer that brings them.
pub(super) type Awaiting = Vec<(TaskId, TransferId)>;

/// What is done once a turn is on disk.
pub(super) enum Effect {
    PersistedSubmitted(TaskId, u64),
    PersistedReceived(TaskId, u64),
    Changed(TaskId, u64),
    Say(News),
    Ready,
    Owed(NodeId),
    Unload(TransferId),
    Place,
    Bound(Process),
    Unbound(Process),
    /// The rendezvous is to be told of a receipt.
    Receipt,
    Logged(TaskId),
}

impl Effect {
    pub(super) const fn is_persisted(&self) -> bool {
        match self {
            Self::PersistedSubmitted(..) | Self::PersistedReceived(..) => true,
            Self::Changed(..)
            | Self::Say(_)
            | Self::Ready
            | Self::Owed(_)
            | Self::Unload(_)
            | Self::Place
            | Self::Bound(_)
            | Self::Unbound(_)
            | Self::Receipt
            | Self::Logged(_) => false,
        }
    }
}

impl Desk {
    /// The machines as they are on disk, with the tasks that are not settled.
    pub(super) fn load(store: &Store, key: &Arc<NodeKey>) -> Result<Self, ReadError> {
        let epoch = store.epoch();
        let mut submitter = Submitter::new(Arc::clone(key), MAX_LIVE_TASKS);
        let mut worker = Worker::new(Arc::clone(key), WorkerLimits::default());
        let mut said = Said::default();
        for record in store.read(rows::live_submitted)? {
            said.begin_submitted(&record);
            submitter.restore(record);
        }
        for record in store.read(rows::live_received)? {
            said.begin_received(&record);
            worker.restore(record);
        }
        let owing = Owing::new(key);
        Ok(Self {
            submitter,
            worker,
            epoch,
            armed: None,
            sends: Vec::new(),
            logged: Vec::new(),
            said,
            owing,
        })
    }

    /// Makes sure that a submitted task is in memory if it exists.
    pub(super) fn fetch_submitted(&mut self, store: &Store, id: TaskId) -> Result<(), ReadError> {
        if !self.submitter.knows(&id)
            && let Some(record) = store.read(|connection| rows::submitted(connection, id))?
        {
            self.submitter.restore(record);
        }
        Ok(())
    }

    /// Makes sure that the tasks that one comes after are in memory, if they exist.
    pub(super) fn fetch_all(&mut self, store: &Store, plan: &Plan) -> Result<(), ReadError> {
        plan.after.iter().try_for_each(|after| self.fetch_submitted(store, after.id))
    }

    /// Makes sure that the task of an idempotency key is in memory if it exists.
    pub(super) fn fetch_by_key(&mut self, store: &Store, key: &str) -> Result<(), ReadError> {
        if !self.submitter.knows_key(key)
            && let Some(record) =
                store.read(|connection| rows::submitted_by_key(connection, key))?
        {
            self.submitter.restore(record);
        }
        Ok(())
    }

    /// Makes sure that a received task is in memory if it exists.
    pub(super) fn fetch_received(&mut self, store: &Store, id: TaskId) -> Result<(), ReadError> {
        if !self.worker.knows(&id)
            && let Some(record) = store.read(|connection| rows::received(connection, id))?
        {
            self.worker.restore(record);
        }
        Ok(())
    }

    /// Takes what the machines decided: what to write, and what to do after that.
    pub(super) fn drain(&mut self, batch: &mut Batch) -> Vec<Effect> {
        let mut effects: Vec<_> = self.logged.drain(..).map(Effect::Logged).collect();
        while let Some(output) = self.submitter.poll_output() {
            match output {
                SubmitterOutput::Persist(record) => {
                    effects.push(Effect::PersistedSubmitted(record.terms.id, record.revision));
                    effects.extend(self.said.of_submitted(&record).map(Effect::Say));
                    let owes = self.owing.submitted(batch, &record);
                    effects.extend(owes.then_some(Effect::Receipt));
                    rows::put_submitted(batch, *record);
                }
                SubmitterOutput::Changed { id, revision } => {
                    effects.push(Effect::Changed(id, revision));
                }
                SubmitterOutput::Owed { to } => effects.push(Effect::Owed(to)),
                SubmitterOutput::Send { to: _, requests } => self.sends.extend(requests),
                // With the record that needs it no more, or a crash would
                // leave it on its way.
                SubmitterOutput::Unload(transfer) => {
                    strays::put(batch, transfer);
                    effects.push(Effect::Unload(transfer));
                }
                SubmitterOutput::Place => effects.push(Effect::Place),
            }
        }
        while let Some(output) = self.worker.poll_output() {
            match output {
                WorkerOutput::Persist { record, result_body } => {
                    let id = record.terms.id;
                    effects.push(Effect::PersistedReceived(id, record.revision));
                    effects.extend(self.said.of_received(&record).map(Effect::Say));
                    let owes = self.owing.received(batch, &record);
                    effects.extend(owes.then_some(Effect::Receipt));
                    rows::put_received(batch, *record);
                    if let Some(body) = result_body {
                        bodies::put(batch, Side::Received, Kind::Result, id, Bytes::from(body));
                    }
                }
                WorkerOutput::Changed { id, revision } => {
                    effects.push(Effect::Changed(id, revision));
                }
                WorkerOutput::Ready => effects.push(Effect::Ready),
                WorkerOutput::Owed { to } => effects.push(Effect::Owed(to)),
                WorkerOutput::Send { to: _, requests } => self.sends.extend(requests),
                // With the record that says so, or a crash would leave them behind.
                WorkerOutput::ForgetBody(id) => Self::forget_bodies(batch, id),
                WorkerOutput::ForgetTask(id) => Self::forget_task(batch, id),
                WorkerOutput::ForgetResult(id) => {
                    bodies::forget(batch, Side::Received, Kind::Result, id);
                }
                WorkerOutput::Bound(process) => effects.push(Effect::Bound(process)),
                WorkerOutput::Unbound(process) => effects.push(Effect::Unbound(process)),
            }
        }
        effects
    }

    /// Tells the machines which of their records are on disk now.
    pub(super) fn note_persisted(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::PersistedSubmitted(id, revision) => {
                    self.submitter.handle_persisted(id, *revision);
                }
                Effect::PersistedReceived(id, revision) => {
                    self.worker.handle_persisted(id, *revision);
                }
                Effect::Changed(..)
                | Effect::Say(_)
                | Effect::Ready
                | Effect::Owed(_)
                | Effect::Unload(_)
                | Effect::Place
                | Effect::Bound(_)
                | Effect::Unbound(_)
                | Effect::Receipt
                | Effect::Logged(_) => {}
            }
        }
    }

    /// The requests for `peer` that fit. Only what is on disk is among them,
    /// so that nothing has to be written first.
    pub(super) fn take_requests(
        &mut self,
        peer: NodeId,
        max_requests: usize,
        max_bytes: u64,
        now: Timestamp,
    ) -> Vec<Outgoing> {
        self.submitter.handle_link_ready(peer, max_requests, max_bytes, now);
        self.worker.handle_link_ready(peer, max_requests, max_bytes, now);
        // Nothing else can come of it; if it did, it would go with the next turn.
        let mut nothing = Batch::new(self.epoch);
        drop(self.drain(&mut nothing));
        std::mem::take(&mut self.sends)
    }

    /// The tasks of both halves that wait for files, each with their transfer.
    pub(super) fn awaiting_files(&self) -> (Awaiting, Awaiting) {
        let waits = |id, files: Option<&Attached>| files.map(|files| (id, files.transfer));
        let submitted = self.submitter.tasks();
        let submitted = submitted.filter_map(|task| waits(task.terms.id, task.awaits_files()));
        let received = self.worker.tasks();
        let received = received.filter_map(|task| waits(task.terms.id, task.awaits_files()));
        (submitted.collect(), received.collect())
    }

    /// Whether a submitted task still waits for the files of this transfer.
    pub(super) fn awaits(&self, id: &TaskId, transfer: TransferId) -> bool {
        let awaited = self.submitter.task(id).and_then(SubmittedTask::awaits_files);
        awaited.is_some_and(|files| files.transfer == transfer)
    }

    /// Everybody with whom there are live tasks.
    pub(super) fn peers(&self) -> BTreeSet<NodeId> {
        let submitted = self.submitter.tasks().map(|task| task.peer);
        submitted.chain(self.worker.tasks().map(|task| task.peer)).collect()
    }

    /// The peers to which something is owed.
    pub(super) fn peers_owed(&self) -> Vec<NodeId> {
        self.submitter.peers_owed().chain(self.worker.peers_owed()).collect()
    }

    pub(super) fn has_owed(&self, peer: &NodeId) -> bool {
        self.submitter.has_owed(peer) || self.worker.has_owed(peer)
    }

    /// The bodies that a worker need not keep once its result is confirmed.
    fn forget_bodies(batch: &mut Batch, id: TaskId) {
        Self::forget_task(batch, id);
        bodies::forget(batch, Side::Received, Kind::Result, id);
    }

    /// What was asked, of which the submitter wants no result.
    fn forget_task(batch: &mut Batch, id: TaskId) {
        bodies::forget(batch, Side::Received, Kind::Task, id);
        bodies::forget_inputs(batch, id);
    }

    /// The next deadline, which the clock's driver now waits for.
    pub(super) fn arm(&mut self) -> Option<Timestamp> {
        self.armed = self.next_deadline();
        self.armed
    }

    /// Whether a deadline comes before the one that is waited for.
    pub(super) fn deadline_is_nearer(&self) -> bool {
        match (self.next_deadline(), self.armed) {
            (Some(next), Some(armed)) => next < armed,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let deadlines = [self.submitter.next_deadline(), self.worker.next_deadline()];
        deadlines.into_iter().flatten().min()
    }
}
