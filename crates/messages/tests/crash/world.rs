//! Both nodes, and what happens to them.

use core::time::Duration;

use pilot_identity::Timestamp;
use pilot_proto::MessageId;
use pilot_proto::messages::{Deliver, Letter};
use pilot_proto::text::Text;
use proptest::sample::Index;

use crate::nodes::{Receiver, Sender, SentRow};

/// Where an exchange breaks off. After a crash, what is not on disk is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fail {
    Nowhere,
    SenderBeforeSent,
    SenderAfterSent,
    RequestLost,
    ReceiverBeforeCommit,
    ReceiverAfterCommit,
    AnswerLost,
    SenderBeforeSettled,
    SenderAfterSettled,
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Submit {
        count: u8,
        short: bool,
    },
    Exchange(Fail),
    Wait(u64),
    /// A request of a broken connection is dealt with after all.
    Late(Index),
    Read,
    Ack(usize),
    /// The receiver tells what it owes; or the answer to that is lost.
    Tell(bool),
}

pub(crate) struct World {
    now: Timestamp,
    sender: Sender,
    receiver: Receiver,
    /// Requests that the receiver has not dealt with, of connections that broke.
    late: Vec<Deliver>,
    submitted: Vec<MessageId>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            now: Timestamp::from_millis(1_000_000),
            sender: Sender::new(),
            receiver: Receiver::new(),
            late: Vec::new(),
            submitted: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, op: Op) {
        match op {
            Op::Submit { count, short } => {
                for _ in 0..count {
                    let number = u8::try_from(self.submitted.len() % 250).unwrap();
                    let mut random = [number; 10];
                    random[0] = u8::try_from(self.submitted.len() / 250).unwrap();
                    let id = MessageId::new(Timestamp::from_millis(1), random);
                    let time = Duration::from_secs(if short { 3 } else { 100_000 });
                    self.sender.submit(id, self.now.saturating_add(time));
                    self.submitted.push(id);
                }
            }
            Op::Exchange(fail) => self.exchange(fail),
            Op::Wait(millis) => self.wait(millis),
            Op::Late(which) => {
                if !self.late.is_empty() {
                    let deliver = self.late.remove(which.index(self.late.len()));
                    self.deal_with(&deliver);
                }
            }
            Op::Read => {
                let shown = self.receiver.shown();
                self.receiver.inbox.read(&shown, self.now);
                self.receiver.commit(&[]);
            }
            Op::Ack(count) => {
                let shown = self.receiver.shown();
                self.receiver.inbox.ack(&shown[..count.min(shown.len())], self.now);
                self.receiver.commit(&[]);
            }
            Op::Tell(lost) => self.tell(lost),
        }
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now.saturating_add(Duration::from_millis(millis));
        self.sender.outbox.handle_timeout(self.now);
        self.sender.commit();
    }

    fn crash_receiver(&mut self) {
        self.receiver.crash();
        // Its streams died with it.
        self.late.clear();
    }

    fn deal_with(&mut self, deliver: &Deliver) {
        let (_, taken) = self.receiver.decide(deliver);
        self.receiver.commit(&taken);
    }

    fn exchange(&mut self, fail: Fail) {
        let to = Sender::receiver();
        let Some(batch) = self.sender.outbox.next_batch(&to, self.now) else {
            return self.sender.commit();
        };
        if fail == Fail::SenderBeforeSent {
            return self.sender.crash();
        }
        self.sender.commit();
        if fail == Fail::SenderAfterSent {
            return self.sender.crash();
        }
        let letter = |(seq, id): &(u64, MessageId)| Letter {
            seq: *seq,
            id: *id,
            age_ms: 0,
            text: Text::clipped("0123456789"),
        };
        let messages = batch.messages.iter().map(letter).collect();
        let deliver = Deliver { epoch: batch.epoch, stamp: batch.stamp, messages };
        if fail == Fail::RequestLost {
            self.late.push(deliver);
            return self.sender.outbox.handle_link_failed(to, batch.stamp);
        }
        let (answer, taken) = self.receiver.decide(&deliver);
        if fail == Fail::ReceiverBeforeCommit {
            self.crash_receiver();
            return self.sender.outbox.handle_link_failed(to, batch.stamp);
        }
        self.receiver.commit(&taken);
        if fail == Fail::ReceiverAfterCommit {
            self.crash_receiver();
        }
        if matches!(fail, Fail::ReceiverAfterCommit | Fail::AnswerLost) {
            return self.sender.outbox.handle_link_failed(to, batch.stamp);
        }
        self.sender.outbox.handle_answer(to, batch.stamp, answer, self.now);
        if fail == Fail::SenderBeforeSettled {
            return self.sender.crash();
        }
        self.sender.commit();
        if fail == Fail::SenderAfterSettled {
            self.sender.crash();
        }
    }

    fn tell(&mut self, lost: bool) {
        let from = Receiver::sender();
        let notes = self.receiver.inbox.next_receipts(&from);
        for (id, note) in &notes {
            let row = self.row_mut(*id);
            row.read = true;
            row.acked |= note.acked.is_some();
        }
        if !lost {
            self.receiver.inbox.handle_noted(from, &notes);
        }
        if self.receiver.inbox.owes_room(&from) && !lost {
            self.sender.outbox.handle_room(Sender::receiver(), self.now);
            self.receiver.inbox.handle_room_told(&from);
        }
        self.sender.commit();
        self.receiver.commit(&[]);
    }

    fn row_mut(&mut self, id: MessageId) -> &mut SentRow {
        self.sender.rows.values_mut().find(|row| row.message.id == id).unwrap()
    }

    pub(crate) fn deliver_all_late(&mut self) {
        for deliver in std::mem::take(&mut self.late) {
            self.deal_with(&deliver);
        }
    }

    /// Goes on without failures until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        self.deliver_all_late();
        for _ in 0..500 {
            self.exchange(Fail::Nowhere);
            self.run(Op::Ack(usize::MAX));
            self.tell(false);
            if self.sender.outbox.is_empty() {
                self.tell(false);
                return;
            }
            self.wait(1_500);
            self.check();
        }
        panic!("no end in sight");
    }

    /// What holds at every moment.
    pub(crate) fn check(&self) {
        let received = self.receiver.ids();
        let mut places = received.iter().map(|id| self.place(*id));
        assert!(places.by_ref().is_sorted_by(|a, b| a < b), "out of order or twice");
        for row in self.sender.rows.values() {
            let id = row.message.id;
            assert!(!row.delivered || received.contains(&id), "{id} is not there");
            assert!(!row.expired || !received.contains(&id), "{id} came after all");
            assert!(!(row.delivered && row.expired));
        }
    }

    fn place(&self, id: MessageId) -> usize {
        self.submitted.iter().position(|other| *other == id).unwrap()
    }

    /// What holds in the end.
    pub(crate) fn check_settled(&self) {
        self.check();
        assert_eq!(self.sender.rows.len(), self.submitted.len());
        for row in self.sender.rows.values() {
            assert!(row.delivered != row.expired, "{row:?}");
            let there = self.receiver.state(row.message.id);
            assert_eq!(there, row.delivered.then_some((row.read, row.acked)), "{row:?}");
            assert_eq!(row.acked, row.delivered, "everything was acknowledged: {row:?}");
        }
    }

    pub(crate) fn is_delivered(&self, place: usize) -> bool {
        self.row(place).delivered
    }

    pub(crate) fn is_expired(&self, place: usize) -> bool {
        self.row(place).expired
    }

    pub(crate) fn is_unsure(&self, place: usize) -> bool {
        let row = self.row(place);
        row.sent && !row.delivered && !row.expired
    }

    pub(crate) fn received(&self) -> usize {
        self.receiver.ids().len()
    }

    fn row(&self, place: usize) -> &SentRow {
        let id = self.submitted[place];
        self.sender.rows.values().find(|row| row.message.id == id).unwrap()
    }
}
