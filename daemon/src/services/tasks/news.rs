//! Says what becomes of tasks, to whoever subscribes on this node.

use std::collections::BTreeMap;

use pilot_identity::NodeId;
use pilot_proto::TaskId;
use pilot_tasks::{History, ReceivedTask, SubmittedTask, TaskState};
use serde_json::json;

use super::TasksService;
use crate::store::bodies::Side;

/// The states that were said last, of the tasks that are not settled.
#[derive(Default)]
pub(super) struct Said(BTreeMap<(Side, TaskId), TaskState>);

/// A new state of a task.
pub(super) struct News {
    side: Side,
    id: TaskId,
    peer: NodeId,
    state: TaskState,
    cause: String,
}

impl Said {
    /// A task as it was when the daemon started.
    pub(super) fn begin_submitted(&mut self, task: &SubmittedTask) {
        self.0.insert((Side::Submitted, task.terms.id), task.state());
    }

    /// The same of one that others gave to this node.
    pub(super) fn begin_received(&mut self, task: &ReceivedTask) {
        self.0.insert((Side::Received, task.terms.id), task.state());
    }

    /// What is to be said of a task that is being written.
    pub(super) fn of_submitted(&mut self, task: &SubmittedTask) -> Option<News> {
        let key = (Side::Submitted, task.terms.id);
        self.of(key, task.peer, task.state(), &task.history, task.is_settled())
    }

    /// The same of one that others gave to this node.
    pub(super) fn of_received(&mut self, task: &ReceivedTask) -> Option<News> {
        let key = (Side::Received, task.terms.id);
        self.of(key, task.peer, task.state(), &task.history, task.is_settled())
    }

    fn of(
        &mut self,
        key: (Side, TaskId),
        peer: NodeId,
        state: TaskState,
        history: &History,
        is_settled: bool,
    ) -> Option<News> {
        // One that is settled already is only written once more.
        let before = if is_settled { self.0.remove(&key) } else { self.0.insert(key, state) };
        let is_new = if is_settled {
            before.is_some_and(|before| before != state)
        } else {
            before != Some(state)
        };
        let (side, id) = key;
        let cause = history.changes().last().map(|change| change.cause.clone());
        is_new.then(|| News { side, id, peer, state, cause: cause.unwrap_or_default() })
    }
}

impl TasksService {
    pub(super) fn say(&self, news: &News) {
        let News { side, id, peer, state, cause } = news;
        let (role, state) = match (side, state) {
            // In this node's queue, as its submitter sees it, too.
            (Side::Received, TaskState::Queued) => ("received", TaskState::Delivered.word()),
            (Side::Received, state) => ("received", state.word()),
            (Side::Submitted, state) => ("submitted", state.word()),
        };
        let peer = self.events.label(*peer);
        let data = json!({"id": id, "role": role, "state": state, "peer": peer, "cause": cause});
        self.events.say(&format!("task.{state}"), &data);
    }
}
