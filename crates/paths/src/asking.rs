//! STUN questions that are repeated until they are answered or given up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::stun::AskId;

/// How often a question is asked.
const TRIES: u8 = 3;

/// After how long it is asked again, and given up after the last time: longer
/// than the round trip to most servers.
const AGAIN: Duration = Duration::from_millis(400);

/// Questions of a kind that the machine decides.
#[derive(Debug)]
pub(crate) struct Asking<Q> {
    open: BTreeMap<Q, Open>,
    ids: BTreeMap<AskId, Q>,
    last_id: u32,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    tries: u8,
    next: Instant,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due<Q> {
    /// Ask it now, by this name.
    Ask(AskId, Q),
    /// There was no answer.
    Lost(Q),
}

impl<Q: Ord + Copy> Asking<Q> {
    pub(crate) const fn new() -> Self {
        Self { open: BTreeMap::new(), ids: BTreeMap::new(), last_id: 0 }
    }

    pub(crate) fn ask(&mut self, question: Q, first: Instant) {
        self.open.insert(question, Open { tries: 0, next: first });
    }

    /// Which question an answer is to, open or not.
    pub(crate) fn question(&self, id: AskId) -> Option<Q> {
        self.ids.get(&id).copied()
    }

    /// It needs no answer any more; whether it was open.
    pub(crate) fn close(&mut self, question: Q) -> bool {
        self.open.remove(&question).is_some()
    }

    pub(crate) fn is_open(&self, is: impl Fn(&Q) -> bool) -> bool {
        self.open.keys().any(is)
    }

    pub(crate) fn poll(&mut self, now: Instant) -> Option<Due<Q>> {
        let (question, open) = self.open.iter_mut().find(|(_, open)| open.next <= now)?;
        let question = *question;
        if open.tries >= TRIES {
            self.open.remove(&question);
            return Some(Due::Lost(question));
        }
        open.tries += 1;
        open.next = now + AGAIN;
        self.last_id = self.last_id.wrapping_add(1);
        let id = AskId(self.last_id);
        self.ids.insert(id, question);
        Some(Due::Ask(id, question))
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.open.values().map(|open| open.next).min()
    }

    /// Begins anew; answers to what was asked before are not understood.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
        self.ids.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_three_times_and_then_lost() {
        let start = crate::clock::start();
        let mut asking = Asking::new();
        asking.ask('q', start);

        let mut seen = Vec::new();
        while let Some(at) = asking.deadline() {
            seen.extend(asking.poll(at).map(|due| ((at - start).as_millis(), due)));
        }

        let ask = |id| Due::Ask(AskId(id), 'q');
        assert_eq!(seen, [(0, ask(1)), (400, ask(2)), (800, ask(3)), (1200, Due::Lost('q'))]);
    }

    #[test]
    fn an_answer_to_any_of_the_repeats_is_one() {
        let start = crate::clock::start();
        let mut asking = Asking::new();
        asking.ask('q', start);
        asking.poll(start);
        asking.poll(start + AGAIN);

        assert_eq!(asking.question(AskId(1)), Some('q'));
        assert_eq!(asking.question(AskId(2)), Some('q'));
        assert!(asking.close('q'));
        assert!(!asking.close('q'));
        asking.forget();
        assert_eq!(asking.question(AskId(1)), None);
    }
}
