//! Tasks as the API shows them.

use pilot_local_api::Time;
use pilot_local_api::tasks::{LIST_DESCRIPTION, Params, Role, StateChange, TaskState, TaskView};
use pilot_proto::text::Text;
use pilot_tasks::{History, MAX_LOST, ReceivedTask, SubmittedTask};

use super::failure::Failure;
use super::task_files::files;
use crate::node::Node;
use crate::services::tasks::Row;
use crate::store::bodies::Side;

/// The words of the machines in the words of the API: what waits in the
/// worker's queue is `delivered` on both nodes.
pub(super) const fn state(role: Role, state: pilot_tasks::TaskState) -> TaskState {
    match state {
        pilot_tasks::TaskState::Queued => match role {
            Role::Submitted => TaskState::Queued,
            Role::Received => TaskState::Delivered,
        },
        pilot_tasks::TaskState::Delivered => TaskState::Delivered,
        pilot_tasks::TaskState::Accepted => TaskState::Accepted,
        pilot_tasks::TaskState::Running => TaskState::Running,
        pilot_tasks::TaskState::Succeeded => TaskState::Succeeded,
        pilot_tasks::TaskState::Failed => TaskState::Failed,
        pilot_tasks::TaskState::Declined => TaskState::Declined,
        pilot_tasks::TaskState::Cancelled => TaskState::Cancelled,
        pilot_tasks::TaskState::Expired => TaskState::Expired,
    }
}

/// The state the API names, as that half's machine has it; none if it never is in it.
pub(super) const fn wanted(role: Role, wanted: TaskState) -> Option<pilot_tasks::TaskState> {
    match wanted {
        TaskState::Queued => match role {
            Role::Submitted => Some(pilot_tasks::TaskState::Queued),
            Role::Received => None,
        },
        TaskState::Delivered => match role {
            Role::Submitted => Some(pilot_tasks::TaskState::Delivered),
            Role::Received => Some(pilot_tasks::TaskState::Queued),
        },
        TaskState::Accepted => Some(pilot_tasks::TaskState::Accepted),
        TaskState::Running => Some(pilot_tasks::TaskState::Running),
        TaskState::InputRequired => None,
        TaskState::Succeeded => Some(pilot_tasks::TaskState::Succeeded),
        TaskState::Failed => Some(pilot_tasks::TaskState::Failed),
        TaskState::Declined => Some(pilot_tasks::TaskState::Declined),
        TaskState::Cancelled => Some(pilot_tasks::TaskState::Cancelled),
        TaskState::Expired => Some(pilot_tasks::TaskState::Expired),
    }
}

/// One line of a list or a watch: cut description, no history.
pub(super) fn brief(node: &Node, row: &Row) -> TaskView {
    match row {
        Row::Submitted(task) => submitted(node, task),
        Row::Received(task) => received(node, task),
    }
}

/// Everything about a task; the body is read from the store, and the names of
/// its files from the disk.
pub(super) async fn whole(node: &Node, row: &Row) -> Result<TaskView, Failure> {
    let mut view = brief(node, row);
    let (side, peer, history) = match row {
        Row::Submitted(task) => (Side::Submitted, task.peer, &task.history),
        Row::Received(task) => (Side::Received, task.peer, &task.history),
    };
    if let Some(body) = node.tasks().task_body(side, view.id)? {
        let files = files(node, peer, &body.files, body.attached.as_ref()).await?;
        view.description = body.description;
        view.params = Params(body.params);
        view.attachments = files.attachments;
        view.attached = files.attached;
    }
    view.history = changes(view.role, history);
    Ok(view)
}

fn changes(role: Role, history: &History) -> Vec<StateChange> {
    let changes = history.changes().iter().map(|change| StateChange {
        at: change.at.into(),
        state: state(role, change.state),
        cause: change.cause.clone(),
    });
    changes.collect()
}

fn submitted(node: &Node, task: &SubmittedTask) -> TaskView {
    let terms = &task.terms;
    let delivery = task.ending().and_then(|ending| ending.delivery.as_ref());
    TaskView {
        id: terms.id,
        role: Role::Submitted,
        state: state(Role::Submitted, task.state()),
        peer: Some(node.peer_identity(task.peer)),
        description: cut(&terms.summary),
        params: Params::default(),
        attachments: Vec::new(),
        attached: None,
        attempt: terms.attempt,
        retries_left: 0,
        dead: false,
        attempts: Vec::new(),
        group: None,
        after: Vec::new(),
        input_from: Vec::new(),
        priority: terms.priority,
        created_at: task.created.into(),
        deadline_at: terms.deadline.map(Time::from),
        percent: task.percent,
        note: some(&task.note),
        reason: some(task.reason()),
        cancel_requested: task.cancel.is_some(),
        result_pending: false,
        result_size: delivery.map(|delivery| delivery.len),
        late_result: task.has_late_result(),
        history: Vec::new(),
        revision: task.revision,
    }
}

/// Why a task that was put back is not to be had yet.
fn waits(task: &ReceivedTask) -> Option<String> {
    task.extras.not_before?;
    task.history.changes().last().map(|change| change.cause.clone())
}

fn received(node: &Node, task: &ReceivedTask) -> TaskView {
    let terms = &task.terms;
    let ending = task.ending();
    TaskView {
        id: terms.id,
        role: Role::Received,
        state: state(Role::Received, task.state()),
        peer: Some(node.peer_identity(task.peer)),
        description: cut(&terms.summary),
        params: Params::default(),
        attachments: Vec::new(),
        attached: None,
        attempt: terms.attempt,
        retries_left: 0,
        dead: task.extras.lost >= MAX_LOST && task.state() == pilot_tasks::TaskState::Failed,
        attempts: Vec::new(),
        group: None,
        after: Vec::new(),
        input_from: Vec::new(),
        priority: terms.priority,
        created_at: task.received.into(),
        deadline_at: terms.deadline.map(Time::from),
        percent: task.percent,
        note: some(&task.note),
        reason: ending.map_or_else(|| waits(task), |ending| some(&ending.reason)),
        cancel_requested: task.cancel.is_some(),
        result_pending: task.is_result_pending(),
        result_size: ending.map(|ending| ending.len),
        late_result: false,
        history: Vec::new(),
        revision: task.revision,
    }
}

fn cut(summary: &str) -> String {
    Text::<LIST_DESCRIPTION>::clipped(summary).into_string()
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
