//! Receipts and polo: whose receipts are taken, and who is told of whose polo.

use std::collections::BTreeSet;

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::registry::{
    Answer, Polo, PoloIds, PutReceipt, ReceiptPut, Receipts, Refusal, RefusalCode,
};

use super::{Moment, Output, Record, Registry, not_found, refusal};

impl Registry {
    pub(super) fn on_put_receipts(
        &mut self,
        from: NodeId,
        receipts: &Receipts,
        at: Moment,
    ) -> Result<Answer, Refusal> {
        if !at.room {
            return Err(refusal(RefusalCode::DiskFull, "the disk of the rendezvous is full"));
        }
        let receipts = receipts.as_slice();
        let mut outcomes: Vec<ReceiptPut> = Vec::with_capacity(receipts.len());
        for put in receipts {
            let mut before = receipts.iter().zip(&outcomes);
            let same = before.find(|(earlier, _)| earlier.receipt == put.receipt);
            // What was refused once is not verified again.
            outcomes.push(match same.map(|(_, outcome)| *outcome) {
                Some(ReceiptPut::Counted) => ReceiptPut::Known,
                Some(refused) => refused,
                None => self.put_receipt(from, put, at.now),
            });
        }
        Ok(Answer::ReceiptsPut(outcomes))
    }

    /// What is cheap to see comes first: two signatures cost a tenth of a
    /// millisecond, the rest next to nothing.
    fn put_receipt(&mut self, from: NodeId, put: &PutReceipt, now: Timestamp) -> ReceiptPut {
        let claimed = put.receipt.assume_verified();
        let (submitter, worker) = (claimed.submitter, claimed.worker);
        if from != submitter && from != worker {
            return ReceiptPut::NotYours;
        }
        if let Some(refused) = self.book.refuses(claimed, now) {
            return refused;
        }
        if !self.ledger.is_mutual(&submitter, &worker, now) {
            return ReceiptPut::NotMutual;
        }
        let Ok(receipt) = put.receipt.verify() else { return ReceiptPut::Invalid };
        let kind = (from == worker).then_some(put.kind);
        for entry in self.book.count(receipt, kind, now) {
            self.outputs.push_back(Output::Persist(Record::Polo(entry)));
        }
        ReceiptPut::Counted
    }

    pub(super) fn on_polo(&self, asking: NodeId, ids: &PoloIds, now: Timestamp) -> Answer {
        let mut asked = BTreeSet::new();
        let ids = ids.as_slice().iter().filter(|id| asked.insert(**id));
        let visible = ids.filter(|id| self.may_see(asking, id, now));
        let polo = |id: &NodeId| {
            let polo = self.book.polo(id, |submitter| self.counts(asking, submitter, now), now);
            Polo { id: *id, polo }
        };
        Answer::Polos(visible.map(polo).collect())
    }

    pub(super) fn on_polo_of(
        &self,
        asking: NodeId,
        id: &NodeId,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        if !self.may_see(asking, id, now) {
            return Err(not_found());
        }
        let detail = self.book.detail(id, |submitter| self.counts(asking, submitter, now), now);
        Ok(Answer::PoloOf(detail))
    }

    fn may_see(&self, asking: NodeId, id: &NodeId, now: Timestamp) -> bool {
        self.directory.get(id).is_some_and(|node| self.sees(asking, *id, node, now))
    }

    /// Whether `submitter` is in the circle of the asking node: itself, and
    /// whom it trusts mutually.
    fn counts(&self, asking: NodeId, submitter: &NodeId, now: Timestamp) -> bool {
        asking == *submitter || self.ledger.is_mutual(&asking, submitter, now)
    }
}
