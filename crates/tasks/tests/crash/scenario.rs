//! What the user and the worker process do.

use pilot_tasks::TaskState;

/// One way in which a task can go, apart from crashes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    /// How often each request arrives.
    pub(crate) copies: usize,
    /// Whose turn it is when several could act.
    pub(crate) order: Order,
    /// When the user cancels.
    pub(crate) cancel: Option<Stage>,
    /// What the worker process does with the task.
    pub(crate) agent: Agent,
    /// Milliseconds from submission to the deadline.
    pub(crate) deadline: Option<u64>,
    /// What becomes of the files that go with the task, if some do.
    pub(crate) task_files: Option<Files>,
    /// And of those that go with its result.
    pub(crate) result_files: Option<Files>,
    /// How the task may end for the submitter.
    pub(crate) ends: &'static [TaskState],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    Arrive,
    /// Their receiver does not take them, say.
    Fail,
    /// Their receiver is away.
    Wait,
}

/// Whose turn it is when several could act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nobody acts before all that is owed was sent and answered.
    Calm,
    /// People act before what is owed is sent.
    Busy,
    /// People act even before what was sent arrives.
    Hasty,
}

/// How far the task has to be before the user cancels it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Submitted,
    Accepted,
    Running,
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agent {
    /// Accepts, tells its progress, gives a result.
    Works,
    /// Accepts, tells its progress, never gives a result.
    Hangs,
    /// Accepts and declines.
    Declines,
}

impl Scenario {
    pub(crate) const fn plain() -> Self {
        Self {
            copies: 1,
            order: Order::Calm,
            cancel: None,
            agent: Agent::Works,
            deadline: None,
            task_files: None,
            result_files: None,
            ends: &[TaskState::Succeeded],
        }
    }

    pub(crate) fn cancelled() -> Vec<Self> {
        let cancelled =
            |stage, agent, ends| {
                [(Order::Calm, 1), (Order::Busy, 3), (Order::Hasty, 1)].map(|(order, copies)| {
                    Self { cancel: Some(stage), agent, ends, order, copies, ..Self::plain() }
                })
            };
        // Whoever works to the end may be faster than the cancellation.
        const EITHER: &[TaskState] = &[TaskState::Cancelled, TaskState::Succeeded];
        const CANCELLED: &[TaskState] = &[TaskState::Cancelled];
        [
            cancelled(Stage::Submitted, Agent::Works, EITHER),
            cancelled(Stage::Submitted, Agent::Hangs, CANCELLED),
            cancelled(Stage::Accepted, Agent::Works, EITHER),
            cancelled(Stage::Accepted, Agent::Hangs, CANCELLED),
            cancelled(Stage::Running, Agent::Works, EITHER),
            cancelled(Stage::Running, Agent::Hangs, CANCELLED),
            cancelled(Stage::Finished, Agent::Works, EITHER),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    pub(crate) const fn expiring() -> Self {
        Self {
            agent: Agent::Hangs,
            deadline: Some(10_000),
            ends: &[TaskState::Expired],
            ..Self::plain()
        }
    }

    /// With files of both kinds, which get there.
    pub(crate) const fn with_files() -> Self {
        let files = Some(Files::Arrive);
        Self { task_files: files, result_files: files, ..Self::plain() }
    }

    /// With files that do not get there, or not before the task has ended.
    pub(crate) const fn without_their_files() -> [Self; 4] {
        [
            Self {
                task_files: Some(Files::Fail),
                ends: &[TaskState::Cancelled],
                ..Self::with_files()
            },
            Self {
                result_files: Some(Files::Fail),
                ends: &[TaskState::Failed],
                ..Self::with_files()
            },
            Self {
                task_files: Some(Files::Wait),
                deadline: Some(10_000),
                ends: &[TaskState::Expired],
                ..Self::with_files()
            },
            Self {
                task_files: Some(Files::Wait),
                cancel: Some(Stage::Submitted),
                ends: &[TaskState::Cancelled],
                ..Self::with_files()
            },
        ]
    }

    pub(crate) const fn declined() -> Self {
        Self { agent: Agent::Declines, ends: &[TaskState::Declined], ..Self::plain() }
    }
}
