//! What a node puts and asks about work that was done: receipts and polo.
//!
//! Numbers that are not whole travel in thousandths: a wire of floats would
//! have values that equal nothing.

use pilot_identity::{Countersigned, NodeId};
use serde::{Deserialize, Deserializer, Serialize};

use crate::list;

/// Receipts in one [`super::Request::PutReceipts`].
pub const MAX_RECEIPTS: usize = 64;
/// Nodes in one [`super::Request::Polo`].
pub const MAX_POLOS: usize = 256;
/// Submitters in one [`PoloDetail`]; those that count least are summed up.
pub const MAX_PARTS: usize = 256;
/// Days in one [`PoloDetail`]: receipts are never older when they are put.
pub const MAX_DAYS: usize = 90;

/// A receipt as it is put, and what only the worker can say of its task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutReceipt {
    /// Signed by both.
    pub receipt: Countersigned,
    /// Which of the worker's tasks were alike: a hash under a secret of the
    /// worker, which says nothing to anybody else. Not regarded in receipts
    /// that the submitter puts.
    pub kind: u64,
}

/// What became of one receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReceiptPut {
    /// It counts, and is on disk.
    Counted,
    /// It has been counted before.
    Known,
    /// Too old, or older than what is remembered of this pair.
    TooOld,
    /// Worker and submitter do not trust each other mutually.
    NotMutual,
    /// Not believed: a signature, the times, or one node on both sides.
    Invalid,
    /// The asking node is neither the worker nor the submitter.
    NotYours,
    /// There is no room for another pair; later there may be.
    Full,
    /// Its task ended in the future, by a clock that is ahead; later it counts.
    NotYet,
}

/// How well a node works, as the asking node may count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polo {
    /// The node.
    pub id: NodeId,
    /// Its polo.
    pub polo: i32,
}

/// How a polo comes about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoloDetail {
    /// The polo.
    pub polo: i32,
    /// Of the submitters that the asking node trusts mutually and of itself,
    /// those that count most first; at most [`MAX_PARTS`].
    #[serde(deserialize_with = "list::at_most::<MAX_PARTS, _, _>")]
    pub parts: Vec<PoloPart>,
    /// How many more of these there are.
    pub more: u32,
    /// What those add, in thousandths.
    pub more_milli: i64,
    /// All other submitters together.
    pub strangers: Strangers,
    /// Days on which work for the submitters of `parts` and `more` ended,
    /// ascending; at most [`MAX_DAYS`].
    #[serde(deserialize_with = "list::at_most::<MAX_DAYS, _, _>")]
    pub history: Vec<PoloDay>,
}

/// What one submitter adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoloPart {
    /// The submitter.
    pub id: NodeId,
    /// Its receipts, ever.
    pub counts: PoloCounts,
    /// The faded sum of their values, in thousandths.
    pub sum_milli: i64,
    /// Mean promptness of those that succeeded, in thousandths; 1,000 if none did.
    pub promptness_milli: u32,
    /// What it adds to the polo, in thousandths.
    pub adds_milli: i64,
}

/// Receipts by their outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoloCounts {
    /// Done.
    pub succeeded: u32,
    /// Tried and not done.
    pub failed: u32,
    /// Accepted and not ended in time.
    pub abandoned: u32,
}

/// What submitters add that the asking node does not trust mutually.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Strangers {
    /// How many there are.
    pub submitters: u32,
    /// What they add together, in thousandths.
    pub adds_milli: i64,
    /// The most that they could add, in thousandths.
    pub cap_milli: i64,
}

/// The receipts of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoloDay {
    /// Days since 1970-01-01 (UTC).
    pub day: u32,
    /// Its receipts.
    pub counts: PoloCounts,
}

/// At most [`MAX_RECEIPTS`] receipts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Receipts(Vec<PutReceipt>);

impl Receipts {
    /// The first [`MAX_RECEIPTS`] of `receipts`.
    pub fn first_of(receipts: impl IntoIterator<Item = PutReceipt>) -> Self {
        Self(receipts.into_iter().take(MAX_RECEIPTS).collect())
    }

    /// The receipts.
    #[must_use]
    pub fn as_slice(&self) -> &[PutReceipt] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Receipts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        list::at_most::<MAX_RECEIPTS, _, _>(deserializer).map(Self)
    }
}

/// At most [`MAX_POLOS`] keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PoloIds(Vec<NodeId>);

impl PoloIds {
    /// Splits `ids` into lists that each fit into one request.
    #[must_use]
    pub fn batches(ids: &[NodeId]) -> Vec<Self> {
        ids.chunks(MAX_POLOS).map(|ids| Self(ids.to_vec())).collect()
    }

    /// The keys.
    #[must_use]
    pub fn as_slice(&self) -> &[NodeId] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PoloIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        list::at_most::<MAX_POLOS, _, _>(deserializer).map(Self)
    }
}
