//! One transfer as a node remembers it, at either end.
//!
//! What it consists of is in its manifest and which pieces are there in the
//! journal of its receiver, both on disk beside the record. A transfer ends
//! once, and what ended first stays.

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::data::MAX_REASON;
use pilot_proto::manifest::Entry;
use pilot_proto::record::{self, RecordError};
use pilot_proto::text::Text;
use pilot_proto::{Component, TaskId, TransferId};
use serde::{Deserialize, Serialize};

use crate::manifest::{Manifest, Totals};

/// Names at the top that a record keeps, for people.
pub const MAX_NAMES: usize = 10;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Its id, given by its sender.
    pub id: TransferId,
    /// The node at the other end.
    pub peer: NodeId,
    /// Which end this is.
    pub direction: Direction,
    /// What its sender calls it.
    pub label: String,
    /// The task that it belongs to, if any.
    pub task: Option<TaskId>,
    /// Bytes and hash of its manifest.
    pub manifest: ManifestDigest,
    /// How much is in it.
    pub totals: Totals,
    /// The first names at its top.
    pub names: Vec<Component>,
    /// When it was sent here, or offered here first.
    pub created: Timestamp,
    /// Bytes a second that its sender gives it at most.
    pub limit: Option<u64>,
    /// When it is given up, if nothing else has ended it.
    pub expires: Option<Timestamp>,
    /// How far it is.
    pub phase: Phase,
    /// Grows with each change.
    pub revision: u64,
}

/// Which manifest an id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestDigest {
    /// Its length.
    pub bytes: u32,
    /// Its BLAKE3 hash.
    pub hash: [u8; 32],
}

/// Whether a node sends a transfer or receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// This node has the source.
    Sent,
    /// It comes to this node's inbox.
    Received,
}

/// How far a transfer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It goes on until something ends it.
    Live,
    /// It is over.
    Ended {
        /// Since when.
        at: Timestamp,
        /// How.
        ending: Ending,
        /// Whether the other end is to be told yet.
        owed: bool,
    },
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// All of it is in the receiver's inbox.
    Complete,
    /// It cannot be done.
    Failed {
        /// Whose doing it is.
        blame: Blame,
        /// Why, for people.
        reason: Text<MAX_REASON>,
    },
    /// A user at this end, or the other, did not want it any more.
    Cancelled,
    /// Its time was over.
    Expired,
}

/// Whose doing a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Blame {
    /// A file was changed or went away, or cannot be read.
    Source,
    /// The receiver does not take it.
    Receiver,
    /// What came is not as it must be.
    Sender,
    /// Trust ended.
    Trust,
}

impl Transfer {
    /// One that begins now.
    #[must_use]
    pub fn begin(
        id: TransferId,
        peer: NodeId,
        direction: Direction,
        manifest: &Manifest,
        digest: ManifestDigest,
        now: Timestamp,
    ) -> Self {
        let at_the_top = |entry: &&Entry| entry.parent == 0;
        let names = manifest.entries().iter().filter(at_the_top).take(MAX_NAMES);
        Self {
            id,
            peer,
            direction,
            label: String::new(),
            task: None,
            manifest: digest,
            totals: manifest.totals(),
            names: names.map(|entry| entry.name.clone()).collect(),
            created: now,
            limit: None,
            expires: None,
            phase: Phase::Live,
            revision: 1,
        }
    }

    /// Ends it, if nothing has yet; whether that is so. What its receiver
    /// decides the sender learns when it asks; what the sender decides it
    /// tells.
    pub fn end(&mut self, ending: Ending, now: Timestamp) -> bool {
        if !self.is_live() {
            return false;
        }
        let owed = self.direction == Direction::Sent && ending != Ending::Complete;
        self.phase = Phase::Ended { at: now, ending, owed };
        self.revision += 1;
        true
    }

    /// The other end knows now how it ended, or needs not.
    pub fn note_told(&mut self) -> bool {
        match &mut self.phase {
            Phase::Ended { owed: owed @ true, .. } => {
                *owed = false;
                true
            }
            Phase::Ended { owed: false, .. } | Phase::Live => false,
        }
    }

    /// Whether it goes on.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// Whether there is nothing left to do about it.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Ended { owed: false, .. })
    }

    /// How it ended, and when; none if it goes on.
    #[must_use]
    pub const fn ended(&self) -> Option<(Timestamp, &Ending)> {
        match &self.phase {
            Phase::Live => None,
            Phase::Ended { at, ending, .. } => Some((*at, ending)),
        }
    }

    /// Whether its time is over and nobody has said so yet.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.is_live() && self.expires.is_some_and(|expires| expires <= now)
    }

    /// The bytes of its record.
    ///
    /// # Errors
    ///
    /// [`RecordError::Encode`].
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        record::encode(self)
    }

    /// The transfer of a record.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        record::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use pilot_identity::NodeKey;
    use pilot_proto::manifest::{EntryKind, Mode, Modified};
    use zeroize::Zeroizing;

    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn transfer(direction: Direction) -> Transfer {
        let entry = |parent, name: &str, kind| Entry {
            parent,
            name: Component::new(name.as_bytes()).unwrap(),
            kind,
            mode: Mode::of(0o755),
            modified: Modified::new(0, 0).unwrap(),
        };
        let mut entries = vec![entry(0, "d", EntryKind::Folder)];
        entries.push(entry(1, "inside", EntryKind::File { size: 3 }));
        entries.extend((0..20).map(|n| entry(0, &n.to_string(), EntryKind::File { size: 1 })));
        let peer = NodeKey::from_seed(&Zeroizing::new([7; 32])).id();
        let digest = ManifestDigest { bytes: 9, hash: [1; 32] };
        let id = TransferId::from_bytes([3; 16]);
        Transfer::begin(id, peer, direction, &Manifest::new(entries).unwrap(), digest, at(5))
    }

    #[test]
    fn what_ended_first_stays() {
        let mut sent = transfer(Direction::Sent);
        assert!(sent.is_live() && !sent.is_settled() && sent.ended().is_none());

        assert!(sent.end(Ending::Complete, at(8)));
        assert!(!sent.end(Ending::Cancelled, at(9)));

        assert_eq!(sent.ended(), Some((at(8), &Ending::Complete)));
        assert!(sent.is_settled() && sent.revision == 2);
    }

    #[test]
    fn the_sender_owes_an_end_of_its_own_to_the_other_side() {
        let (mut sent, mut received) = (transfer(Direction::Sent), transfer(Direction::Received));
        assert!(sent.end(Ending::Cancelled, at(8)) && received.end(Ending::Cancelled, at(8)));

        assert!(!sent.is_settled() && received.is_settled());
        assert!(sent.note_told() && !sent.note_told());
        assert!(sent.is_settled());
    }

    #[test]
    fn it_is_overdue_from_its_last_moment_on_and_only_while_it_lives() {
        let mut sent = transfer(Direction::Sent);
        assert!(!sent.is_overdue(at(u64::MAX)));
        sent.expires = Some(at(100));

        assert!(!sent.is_overdue(at(99)) && sent.is_overdue(at(100)));
        sent.end(Ending::Expired, at(100));
        assert!(!sent.is_overdue(at(100)));
    }

    #[test]
    fn a_record_keeps_a_few_names_and_is_read_back() {
        let transfer = transfer(Direction::Received);

        assert_eq!(transfer.names.len(), MAX_NAMES);
        assert!(!transfer.names.iter().any(|name| name.as_bytes() == b"inside"));
        assert_eq!(Transfer::decode(&transfer.encode().unwrap()), Ok(transfer.clone()));
        let mut newer = transfer.encode().unwrap();
        newer[0] = 2;
        assert_eq!(Transfer::decode(&newer), Err(RecordError::Newer { found: 2, newest: 1 }));
    }
}
