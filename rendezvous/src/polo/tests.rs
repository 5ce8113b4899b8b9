//! The rules of the book, one by one.

use pilot_identity::{Digest, NodeKey, Outcome, ReceiptTimes};
use proptest::prelude::*;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::*;

const DAY: u64 = 24 * 60 * 60 * 1000;
const HOUR: u64 = 60 * 60 * 1000;
const NOW: u64 = 20_000 * DAY + HOUR;

fn node(seed: u32) -> NodeId {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&seed.to_be_bytes());
    NodeKey::from_seed(&Zeroizing::new(bytes)).id()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Of node 2 for node 1: accepted a second before it ended well, just now.
fn receipt(task: u128) -> Receipt {
    Receipt {
        task: Uuid::from_u128(task),
        attempt: 1,
        submitter: node(1),
        worker: node(2),
        outcome: Outcome::Succeeded,
        digest: Digest::of(b"done"),
        times: times(NOW - 1000, NOW),
    }
}

fn times(accepted: u64, finished: u64) -> ReceiptTimes {
    ReceiptTimes { received: at(0), accepted: Some(at(accepted)), finished: at(finished) }
}

fn put(book: &mut Book, receipt: &Receipt, kind: Option<u64>, now: u64) -> ReceiptPut {
    if let Some(refused) = book.refuses(receipt, at(now)) {
        return refused;
    }
    book.count(receipt, kind, at(now));
    ReceiptPut::Counted
}

/// The faded sum of node 2 for node 1, in thousandths.
fn sum(book: &Book, now: u64) -> i64 {
    let detail = book.detail(&node(2), |submitter| *submitter == node(1), at(now));
    detail.parts.first().map_or(0, |part| part.sum_milli)
}

#[test]
fn an_attempt_counts_once_and_another_one_again() {
    let mut book = Book::default();
    let again = Receipt { times: times(NOW - 5, NOW - 4), ..receipt(1) };

    assert_eq!(put(&mut book, &receipt(1), None, NOW), ReceiptPut::Counted);
    assert_eq!(put(&mut book, &receipt(1), Some(3), NOW), ReceiptPut::Known);
    assert_eq!(put(&mut book, &again, None, NOW), ReceiptPut::Known, "with other times");
    assert_eq!(sum(&book, NOW), 1000);

    let second = Receipt { attempt: 2, outcome: Outcome::Failed, ..receipt(1) };
    assert_eq!(put(&mut book, &second, None, NOW), ReceiptPut::Counted);
    assert_eq!(sum(&book, NOW), 0);
}

#[test]
fn several_attempts_at_a_task_that_all_succeeded_count_once() {
    let mut book = Book::default();
    let attempt = |attempt| Receipt { attempt, ..receipt(1) };

    let failed = Receipt { outcome: Outcome::Failed, ..attempt(1) };
    assert_eq!(put(&mut book, &failed, None, NOW), ReceiptPut::Counted);
    assert_eq!(put(&mut book, &attempt(3), None, NOW), ReceiptPut::Counted);
    assert_eq!(put(&mut book, &attempt(2), None, NOW), ReceiptPut::Known, "it came late");
    let again = Receipt { outcome: Outcome::Failed, ..attempt(3) };
    assert_eq!(put(&mut book, &again, None, NOW), ReceiptPut::Known, "it ends once");
    assert_eq!(sum(&book, NOW), 0);
    assert_eq!(put(&mut book, &receipt(2), None, NOW), ReceiptPut::Counted, "another task");
}

#[test]
fn success_earns_failure_costs_and_abandoned_work_costs_more() {
    let ended = |outcome, accepted| {
        let mut book = Book::default();
        let times = ReceiptTimes { accepted, ..receipt(1).times };
        let put = put(&mut book, &Receipt { outcome, times, ..receipt(1) }, None, NOW);
        (put, sum(&book, NOW), book.remembered())
    };
    let accepted = Some(at(NOW - 1000));

    assert_eq!(ended(Outcome::Succeeded, accepted), (ReceiptPut::Counted, 1000, 1));
    assert_eq!(ended(Outcome::Failed, accepted), (ReceiptPut::Counted, -1000, 1));
    assert_eq!(ended(Outcome::Declined, accepted), (ReceiptPut::Counted, -1000, 1));
    assert_eq!(ended(Outcome::Expired, accepted), (ReceiptPut::Counted, -2000, 1));
    for (outcome, accepted) in [
        (Outcome::Expired, None),
        (Outcome::Declined, None),
        (Outcome::Cancelled, None),
        (Outcome::Cancelled, accepted),
    ] {
        assert_eq!(ended(outcome, accepted), (ReceiptPut::Counted, 0, 0), "{outcome:?}");
    }
}

#[test]
fn nobody_works_for_itself() {
    let own = Receipt { submitter: node(2), ..receipt(1) };

    assert_eq!(put(&mut Book::default(), &own, Some(1), NOW), ReceiptPut::Invalid);
}

#[test]
fn what_is_older_than_ninety_days_or_of_the_future_is_not_counted() {
    let ended = |finished| {
        let receipt = Receipt { times: times(finished, finished), ..receipt(1) };
        put(&mut Book::default(), &receipt, None, NOW)
    };

    assert_eq!(ended(NOW - 90 * DAY), ReceiptPut::Counted);
    assert_eq!(ended(NOW - 90 * DAY - 1), ReceiptPut::TooOld);
    assert_eq!(ended(NOW + 600_000), ReceiptPut::Counted);
    assert_eq!(ended(NOW + 600_001), ReceiptPut::NotYet);
    assert_eq!(ended(NOW + 90 * DAY), ReceiptPut::NotYet);
    assert_eq!(ended(NOW + 90 * DAY + 1), ReceiptPut::Invalid);
    assert_eq!(ended(u64::MAX), ReceiptPut::Invalid);
    assert_eq!(ended(0), ReceiptPut::TooOld);
}

#[test]
fn a_receipt_that_comes_late_has_faded_as_one_that_came_in_time() {
    let (mut early, mut late) = (Book::default(), Book::default());
    let then = Receipt { times: times(NOW - 30 * DAY, NOW - 30 * DAY), ..receipt(1) };
    put(&mut early, &then, None, NOW - 30 * DAY);
    put(&mut late, &then, None, NOW);

    assert_eq!((sum(&early, NOW), sum(&late, NOW)), (500, 500));
    assert_eq!(sum(&early, NOW + 60 * DAY), 125);
    put(&mut early, &receipt(2), None, NOW);
    assert_eq!(sum(&early, NOW), 1500);
    assert_eq!(sum(&early, NOW + 30 * DAY), 750);
}

#[test]
fn work_is_prompt_against_the_workers_own_usual_time_for_its_kind() {
    let mut book = Book::default();
    let worth = |book: &mut Book, task, kind, took| {
        let before = sum(book, NOW);
        let receipt = Receipt { times: times(NOW - took, NOW), ..receipt(task) };
        assert_eq!(put(book, &receipt, kind, NOW), ReceiptPut::Counted);
        sum(book, NOW) - before
    };

    assert_eq!(worth(&mut book, 1, Some(1), 1000), 1000, "the first of a kind");
    assert_eq!(worth(&mut book, 2, Some(1), 1000), 1000);
    assert_eq!(worth(&mut book, 3, Some(1), 800), 1250);
    assert_eq!(worth(&mut book, 4, Some(2), 10_000_000), 1000, "long work of another kind");
    assert_eq!(worth(&mut book, 5, Some(2), 10_000_000), 1000, "and again");
    assert_eq!(worth(&mut book, 6, Some(1), 10_000_000), 500);
    assert_eq!(worth(&mut book, 7, Some(2), 0), 1500);
    assert_eq!(worth(&mut book, 8, None, 1), 1000, "what the submitter puts has no kind");
}

#[test]
fn the_kind_that_was_used_least_recently_is_forgotten() {
    let mut book = Book::new(Limits { kinds: 2, ..Limits::default() });
    let mut worth = |task: u64, kind, took| {
        let now = NOW + task;
        let before = sum(&book, now);
        let receipt = Receipt { times: times(now - took, now), ..receipt(task.into()) };
        assert_eq!(put(&mut book, &receipt, Some(kind), now), ReceiptPut::Counted);
        sum(&book, now) - before
    };

    assert_eq!((worth(1, 1, 1000), worth(2, 2, 1000)), (1000, 1000));
    assert_eq!(worth(3, 1, 100), 1500);
    assert_eq!(worth(4, 3, 1000), 1000, "the second kind goes");
    assert_eq!(worth(5, 1, 10), 1500, "the first is still there");
    assert_eq!(worth(6, 2, 10), 1000, "the second is new again");
}

#[test]
fn a_pair_remembers_its_newest_and_counts_nothing_older() {
    let mut book = Book::default();
    let ended = |task: u64| Receipt { times: times(0, NOW - HOUR + task), ..receipt(task.into()) };
    for task in 0..1025 {
        assert_eq!(put(&mut book, &ended(task), None, NOW), ReceiptPut::Counted);
    }

    assert_eq!(book.remembered(), 1024);
    assert_eq!(put(&mut book, &ended(0), None, NOW), ReceiptPut::TooOld, "it was forgotten");
    assert_eq!(put(&mut book, &ended(1), None, NOW), ReceiptPut::Known);
    let late = Receipt { times: times(0, NOW - 2 * HOUR), ..receipt(9999) };
    assert_eq!(put(&mut book, &late, None, NOW), ReceiptPut::TooOld);
    assert_eq!(put(&mut book, &ended(1025), None, NOW), ReceiptPut::Counted);
}

#[test]
fn receipts_too_old_to_be_put_again_are_forgotten_without_a_trace() {
    let mut book = Book::default();
    put(&mut book, &receipt(1), None, NOW);

    let later = NOW + 91 * DAY;
    let new = Receipt { times: times(later, later), ..receipt(2) };
    assert_eq!(put(&mut book, &new, None, later), ReceiptPut::Counted);

    assert_eq!(book.remembered(), 1);
    assert_eq!(put(&mut book, &receipt(1), None, later), ReceiptPut::TooOld);
    let between = Receipt { times: times(NOW + 2 * DAY, NOW + 2 * DAY), ..receipt(3) };
    assert_eq!(put(&mut book, &between, None, later), ReceiptPut::Counted);
}

#[test]
fn all_pairs_together_remember_a_bounded_number_of_receipts() {
    let mut book = Book::new(Limits { remembered: 10, ..Limits::default() });
    for task in 0..100 {
        let of = |submitter| Receipt {
            submitter: node(submitter),
            times: times(0, NOW - HOUR + u64::from(task)),
            ..receipt(task.into())
        };
        assert_eq!(put(&mut book, &of(task % 3 + 10), None, NOW), ReceiptPut::Counted);
        assert_ne!(put(&mut book, &of(task % 3 + 10), None, NOW), ReceiptPut::Counted);
    }

    assert!(book.remembered() <= 12, "{}", book.remembered());
}

#[test]
fn what_was_quiet_for_ninety_days_is_forgotten_before_what_may_be_put_again() {
    let mut book = Book::new(Limits { remembered: 10, ..Limits::default() });
    let of = |submitter, now, task: u128| Receipt {
        submitter: node(submitter),
        times: times(now, now),
        ..receipt(task)
    };
    for task in 0..8 {
        put(&mut book, &of(3, NOW, task), None, NOW);
    }
    let late = NOW + 91 * DAY;
    for task in 0..5 {
        let ended = late + u64::try_from(task).unwrap();
        assert_eq!(put(&mut book, &of(1, ended, task), None, late), ReceiptPut::Counted);
    }

    assert_eq!((book.pairs(), book.remembered()), (1, 5), "the quiet one is gone");
    assert_eq!(put(&mut book, &of(1, late, 0), None, late), ReceiptPut::Known);
    assert_eq!(put(&mut book, &of(3, NOW, 0), None, late), ReceiptPut::TooOld);
    for task in 5..20 {
        let ended = late + u64::try_from(task).unwrap();
        assert_eq!(put(&mut book, &of(1, ended, task), None, late), ReceiptPut::Counted);
    }
    assert_eq!((book.pairs(), book.remembered()), (1, 10), "a pair never goes for itself");
}

#[test]
fn a_full_book_takes_a_new_pair_for_one_that_was_quiet_for_ninety_days() {
    for limits in
        [Limits { pairs: 2, ..Limits::default() }, Limits { submitters: 2, ..Limits::default() }]
    {
        let mut book = Book::new(limits);
        let of = |submitter, now| Receipt {
            submitter: node(submitter),
            times: times(now, now),
            ..receipt(now.into())
        };
        put(&mut book, &of(1, NOW), None, NOW);
        put(&mut book, &of(3, NOW + 1), None, NOW + 1);

        let soon = NOW + 80 * DAY;
        assert_eq!(put(&mut book, &of(4, soon), None, soon), ReceiptPut::Full);
        assert_eq!(put(&mut book, &of(3, soon), None, soon), ReceiptPut::Counted, "a known pair");
        let late = NOW + 90 * DAY + 1;
        assert_eq!(put(&mut book, &of(4, late), None, late), ReceiptPut::Counted);
        assert_eq!((book.pairs(), sum(&book, late)), (2, 0), "the first is gone");
        assert_eq!(put(&mut book, &of(1, NOW), None, late), ReceiptPut::TooOld);
    }
}

#[test]
fn history_is_of_the_circle_and_of_ninety_days() {
    let mut book = Book::default();
    let ended = |task: u128, submitter, day: u64, outcome| Receipt {
        submitter: node(submitter),
        times: times(0, day * DAY),
        outcome,
        ..receipt(task)
    };
    for receipt in [
        ended(1, 1, 19_915, Outcome::Succeeded),
        ended(2, 1, 19_990, Outcome::Failed),
        ended(3, 1, 19_990, Outcome::Expired),
        ended(4, 3, 19_990, Outcome::Succeeded),
        ended(5, 9, 19_991, Outcome::Succeeded),
    ] {
        assert_eq!(put(&mut book, &receipt, None, NOW), ReceiptPut::Counted);
    }

    let circle = |submitter: &NodeId| *submitter != node(9);
    let detail = |days: u64| book.detail(&node(2), circle, at(NOW + days * DAY));
    let history = |days: u64| -> Vec<(u32, [u32; 3])> {
        let days = detail(days).history.into_iter();
        let of = |counts: pilot_proto::registry::PoloCounts| {
            [counts.succeeded, counts.failed, counts.abandoned]
        };
        days.map(|day| (day.day, of(day.counts))).collect()
    };

    assert_eq!(history(0), [(19_915, [1, 0, 0]), (19_990, [1, 1, 1])]);
    assert_eq!(history(5), [(19_990, [1, 1, 1])]);
    let detail = detail(0);
    assert_eq!((detail.parts.len(), detail.more, detail.strangers.submitters), (2, 0, 1));
    assert_eq!(detail.strangers.cap_milli, 10_000);
}

#[test]
fn submitters_beyond_those_that_are_shown_are_summed_up() {
    let mut book = Book::default();
    for submitter in 0..300_u32 {
        let receipt = Receipt { submitter: node(100 + submitter), ..receipt(submitter.into()) };
        put(&mut book, &receipt, None, NOW);
    }

    let detail = book.detail(&node(2), |_| true, at(NOW));

    assert_eq!((detail.parts.len(), detail.more), (256, 44));
    let all: i64 = detail.parts.iter().map(|part| part.adds_milli).sum();
    assert_eq!(all + detail.more_milli, 300 * 995);
    assert_eq!(detail.polo, 299, "300 times 100 * (1 - exp(-0.01))");
}

#[test]
fn the_same_entries_make_the_same_book() {
    let mut book = Book::new(Limits { kinds: 3, ..Limits::default() });
    let mut again = Book::default();
    for task in 0..3000_u64 {
        let now = NOW + task * HOUR;
        let receipt = Receipt {
            submitter: node(u32::try_from(task % 5).unwrap() + 10),
            times: times(now - task, now),
            ..receipt(task.into())
        };
        let entries = book.count(&receipt, Some(task % 4), at(now));
        entries.iter().for_each(|entry| again.apply(entry));
    }

    let all = |book: &Book| book.detail(&node(2), |_| true, at(NOW + 3000 * HOUR));
    assert_eq!(all(&again), all(&book));
    assert_eq!((again.pairs(), again.remembered()), (book.pairs(), book.remembered()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// A ring of fifty nodes of one owner that work for each other, and say
    /// of others what they like, in the eyes of somebody outside of it.
    #[test]
    fn a_ring_of_own_nodes_moves_nobody_by_more_than_ten(
        pairs in prop::collection::vec((0_u32..50, 0_u32..60, 0_u8..3, 0_u64..4, 1_u64..100_000), 10_000),
        real in 0_u128..300,
    ) {
        const HONEST: u32 = 1000;
        let mut book = Book::default();
        // Ten nodes outside of it have done real work for an honest one.
        for worker in 50..60 {
            for task in 0..real {
                let receipt = Receipt {
                    submitter: node(HONEST),
                    worker: node(worker),
                    ..receipt(task)
                };
                put(&mut book, &receipt, None, NOW);
            }
        }
        let seen = |book: &Book| -> Vec<i32> {
            let polo = |worker| {
                book.polo(&node(worker), |submitter| *submitter == node(HONEST), at(NOW))
            };
            (0..60).map(polo).collect()
        };
        let before = seen(&book);

        let ring: Vec<NodeId> = (0..60).map(node).collect();
        for (task, (submitter, worker, outcome, kind, took)) in (1000_u128..).zip(pairs) {
            let receipt = Receipt {
                submitter: ring[submitter as usize],
                worker: ring[worker as usize],
                outcome: [Outcome::Succeeded, Outcome::Failed, Outcome::Expired][outcome as usize],
                times: times(NOW - took, NOW),
                ..receipt(task)
            };
            put(&mut book, &receipt, Some(kind), NOW);
        }

        for (worker, (before, after)) in before.into_iter().zip(seen(&book)).enumerate() {
            prop_assert!((before..=before + 10).contains(&after), "{worker}: {before} {after}");
        }
    }
}
