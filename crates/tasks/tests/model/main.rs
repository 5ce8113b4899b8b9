//! Random lives of tasks among honest and hostile peers.
//!
//! Whatever arrives, from whomever, in whatever order, and whenever the node
//! dies: a task ends once, stays as it ended, and is touched by nobody but
//! the two nodes it belongs to. In the end, honest peers can always bring
//! every task to its end and nothing stays in memory.

#[cfg(test)]
mod submitter;
#[cfg(test)]
mod worker;

#[cfg(test)]
mod world {
    //! What both models share: few keys, few ids, so that things collide.

    use std::collections::BTreeMap;
    use std::sync::{Arc, LazyLock};

    use pilot_identity::{NodeId, NodeKey, Outcome, Timestamp};
    use pilot_proto::tasks::{Attached, TaskRefusal};
    use pilot_proto::{TaskId, TransferId};
    use pilot_tasks::TaskState;
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    static KEYS: LazyLock<[Arc<NodeKey>; 3]> = LazyLock::new(|| {
        [1, 2, 3].map(|seed| Arc::new(NodeKey::from_seed(&Zeroizing::new([seed; 32]))))
    });

    /// Key 0 is ours, the others are peers.
    pub(crate) fn key(index: usize) -> Arc<NodeKey> {
        KEYS[index].clone()
    }

    pub(crate) fn node(index: usize) -> NodeId {
        KEYS[index].id()
    }

    pub(crate) fn id(number: u8) -> TaskId {
        TaskId::from_bytes([number; 16])
    }

    /// The files of a task, or of its result.
    pub(crate) fn attached(number: u8) -> Attached {
        let transfer = TransferId::from_bytes([number; 16]);
        Attached { transfer, manifest_hash: [number; 32], files: 1, bytes: 1 }
    }

    pub(crate) fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1_000)
    }

    pub(crate) fn peer() -> impl Strategy<Value = usize> {
        1..3_usize
    }

    pub(crate) fn number() -> impl Strategy<Value = u8> {
        0..4_u8
    }

    /// Mostly the only one there is.
    pub(crate) fn attempt() -> impl Strategy<Value = u32> {
        prop_oneof![8 => Just(1), 1 => Just(0), 1 => Just(2), 1 => Just(u32::MAX)]
    }

    pub(crate) fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Succeeded),
            Just(Outcome::Failed),
            Just(Outcome::Declined),
            Just(Outcome::Cancelled),
            Just(Outcome::Expired),
        ]
    }

    pub(crate) fn refusal() -> impl Strategy<Value = TaskRefusal> {
        prop_oneof![
            Just(TaskRefusal::NotAllowed),
            Just(TaskRefusal::Unknown),
            Just(TaskRefusal::QueueFull),
            Just(TaskRefusal::DiskFull),
            Just(TaskRefusal::Invalid),
            Just(TaskRefusal::Superseded),
            Just(TaskRefusal::Internal),
        ]
    }

    /// Watches the states that were ever put on disk.
    #[derive(Debug, Default)]
    pub(crate) struct Watch(BTreeMap<TaskId, (u64, TaskState, bool)>);

    impl Watch {
        /// A new attempt at this task begins.
        pub(crate) fn forget(&mut self, id: &TaskId) {
            self.0.remove(id);
        }

        /// `over` says that the state is never to change any more.
        pub(crate) fn see(&mut self, id: TaskId, revision: u64, state: TaskState, over: bool) {
            if let Some((last, before, was_over)) = self.0.insert(id, (revision, state, over)) {
                assert!(revision >= last, "revision {revision} after {last}");
                assert!(revision > last || state == before, "one revision, two states");
                assert!(!was_over || (over && state == before), "{state} after {before}");
            }
        }
    }
}
