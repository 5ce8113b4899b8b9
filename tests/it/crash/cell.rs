//! The two lists that make the matrix.

/// When the victims are killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The submission was acknowledged; the worker's node cannot have heard of it yet.
    Submitted,
    /// The task is safe at the worker's node, and the manager's node knows.
    Delivered,
    /// The worker was told to begin.
    Accepted,
    /// The worker has sent the results and was not answered yet.
    Sending,
    /// The results were acknowledged; the manager's node cannot have heard of them yet.
    Sent,
    /// The manager's node has the result.
    Arrived,
    /// The worker's node has the receipt.
    Confirmed,
}

/// What can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// The submitter's daemon.
    Manager,
    /// The worker's daemon.
    Worker,
    /// The rendezvous.
    Rendezvous,
}

/// One case: these programs are killed at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) moment: Moment,
    pub(super) victims: &'static [Program],
}

/// In the order of a task's life.
pub(super) const MOMENTS: [Moment; 7] = [
    Moment::Submitted,
    Moment::Delivered,
    Moment::Accepted,
    Moment::Sending,
    Moment::Sent,
    Moment::Arrived,
    Moment::Confirmed,
];

pub(super) const VICTIMS: [&[Program]; 5] = [
    &[Program::Manager],
    &[Program::Worker],
    &[Program::Manager, Program::Worker],
    &[Program::Rendezvous],
    &[Program::Manager, Program::Worker, Program::Rendezvous],
];
