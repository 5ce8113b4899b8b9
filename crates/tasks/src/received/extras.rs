//! What was added to the worker's record since its first layout.

use pilot_identity::Timestamp;
use serde::{Deserialize, Serialize};

/// A process of this machine, told apart from every other that has its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Process {
    /// Its number, which is given again once it is gone.
    pub pid: u32,
    /// When it started, in ticks since the boot. Zero where it cannot be told.
    pub started: u64,
    /// Of which run of the machine. Zero where it cannot be told.
    pub boot: u128,
}

/// The part of a [`ReceivedTask`](super::ReceivedTask) that its first layout has not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReceivedExtras {
    /// While it is accepted or running: the lease ends with this process.
    pub bound: Option<Process>,
    /// How often the process of its lease was gone.
    pub lost: u32,
    /// How often a worker gave it back.
    pub released: u32,
    /// While it is queued: nobody gets it before.
    pub not_before: Option<Timestamp>,
    /// Of all tasks with this key one is worked on at a time.
    pub exclusive: Option<String>,
    /// That files of its result stay here for whoever shows a permission.
    pub leave_result: bool,
    /// That its time is over, and its worker has the grace to stop.
    pub overtime: bool,
}
