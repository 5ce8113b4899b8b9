//! The worker among submitters who lie.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use pilot_identity::{Countersigned, Digest, NodeId, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::{Cancel, Offer, TaskAnswer, TaskRefusal, TaskRequest, TaskResult};
use pilot_proto::text::Text;
use pilot_tasks::{
    MAX_LOST, OfferFacts, OutgoingKey, Process, ReceivedPhase, ReceivedTask, TaskState, Work,
    WorkOutcome, Worker, WorkerLimits, WorkerOutput,
};
use proptest::prelude::*;

use crate::world::{Watch, at, attached, id, key, node, number, peer, refusal};

const LIMITS: WorkerLimits = WorkerLimits { in_all: 3, per_submitter: 2 };

#[derive(Debug, Clone)]
enum Step {
    Offer {
        number: u8,
        from: usize,
        attempt: u32,
        content: u8,
        may: bool,
        ms: Option<u64>,
        here: bool,
        exclusive: bool,
    },
    Cancel {
        number: u8,
        from: usize,
        attempt: u32,
        grace: u64,
    },
    Accept {
        from: Option<usize>,
        process: Option<u32>,
    },
    PutBack {
        number: u8,
        seconds: u64,
    },
    Gone {
        process: u32,
    },
    Progress {
        number: u8,
    },
    Finish {
        number: u8,
        outcome: WorkOutcome,
        body: u8,
        files: bool,
    },
    Files {
        number: u8,
        arrived: bool,
    },
    Decline {
        number: u8,
    },
    Ready {
        peer: usize,
        max: usize,
    },
    Answer {
        which: usize,
        from: usize,
        refusal: Option<TaskRefusal>,
    },
    Receipt {
        which: usize,
        from: usize,
        of: usize,
        signer: usize,
    },
    Fail {
        peer: usize,
    },
    Trust {
        peer: usize,
        lost: bool,
    },
    Wait {
        seconds: u64,
    },
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let done = prop_oneof![Just(WorkOutcome::Succeeded), Just(WorkOutcome::Failed)];
    let ms = prop::option::weighted(0.3, prop_oneof![0..60_000_u64, Just(u64::MAX)]);
    prop_oneof![
        8 => (
            number(),
            peer(),
            attempt(),
            0..2_u8,
            prop::bool::weighted(0.9),
            ms,
            prop::bool::weighted(0.8),
            any::<bool>(),
        )
            .prop_map(|(number, from, attempt, content, may, ms, here, exclusive)| {
                Step::Offer { number, from, attempt, content, may, ms, here, exclusive }
            }),
        3 => (number(), peer(), attempt(), prop_oneof![0..9_000_u64, Just(u64::MAX)]).prop_map(
            |(number, from, attempt, grace)| Step::Cancel { number, from, attempt, grace }
        ),
        5 => (prop::option::weighted(0.3, peer()), prop::option::of(0..2_u32))
            .prop_map(|(from, process)| Step::Accept { from, process }),
        2 => (number(), 0..30_u64).prop_map(|(number, seconds)| Step::PutBack { number, seconds }),
        2 => (0..2_u32).prop_map(|process| Step::Gone { process }),
        3 => number().prop_map(|number| Step::Progress { number }),
        4 => (number(), done, 0..2_u8, any::<bool>()).prop_map(|(number, outcome, body, files)| {
            Step::Finish { number, outcome, body, files }
        }),
        4 => (number(), prop::bool::weighted(0.7))
            .prop_map(|(number, arrived)| Step::Files { number, arrived }),
        1 => number().prop_map(|number| Step::Decline { number }),
        5 => (peer(), 0..4_usize).prop_map(|(peer, max)| Step::Ready { peer, max }),
        2 => (0..8_usize, peer(), prop::option::of(refusal()))
            .prop_map(|(which, from, refusal)| Step::Answer { which, from, refusal }),
        6 => (0..8_usize, peer(), 0..8_usize, peer())
            .prop_map(|(which, from, of, signer)| Step::Receipt { which, from, of, signer }),
        2 => peer().prop_map(|peer| Step::Fail { peer }),
        1 => (peer(), any::<bool>()).prop_map(|(peer, lost)| Step::Trust { peer, lost }),
        2 => (0..40_u64).prop_map(|seconds| Step::Wait { seconds }),
        2 => Just(Step::Crash),
    ]
}

/// Mostly the first, then the second.
fn attempt() -> impl Strategy<Value = u32> {
    prop_oneof![6 => Just(1), 3 => Just(2), 1 => Just(0), 1 => Just(u32::MAX)]
}

const fn process(pid: u32) -> Process {
    Process { pid, started: 1, boot: 2 }
}

#[derive(Debug)]
struct Model {
    machine: Worker,
    disk: BTreeMap<TaskId, ReceivedTask>,
    in_flight: Vec<(NodeId, OutgoingKey)>,
    /// Every result that was ever sent.
    results: Vec<TaskResult>,
    /// Tasks and attempts whose submitter signed for the result.
    confirmed: BTreeSet<(TaskId, u32)>,
    /// Tasks that a worker has.
    handed_out: BTreeSet<TaskId>,
    /// Tasks and attempts the files of whose result are at the submitter.
    loaded: BTreeSet<(TaskId, u32)>,
    /// Processes that the machine wants to be watched.
    watched: BTreeSet<Process>,
    watch: Watch,
    now: u64,
}

impl Model {
    fn new() -> Self {
        Self {
            machine: Worker::new(key(0), LIMITS),
            disk: BTreeMap::new(),
            in_flight: Vec::new(),
            results: Vec::new(),
            confirmed: BTreeSet::new(),
            handed_out: BTreeSet::new(),
            loaded: BTreeSet::new(),
            watched: BTreeSet::new(),
            watch: Watch::default(),
            now: 0,
        }
    }

    fn now(&self) -> Timestamp {
        at(self.now)
    }

    fn load(&mut self, number: u8) -> TaskId {
        let id = id(number);
        if !self.machine.knows(&id)
            && let Some(record) = self.disk.get(&id)
        {
            self.machine.restore(record.clone());
        }
        id
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                WorkerOutput::Persist { record, result_body } => {
                    let (id, revision) = (record.terms.id, record.revision);
                    if let Some(body) = result_body {
                        assert_eq!(record.ending().unwrap().digest, Digest::of(&body));
                    }
                    let over = record.ending().is_some() && record.awaits_files().is_none();
                    if self.disk.get(&id).is_some_and(|it| it.terms.attempt < record.terms.attempt)
                    {
                        self.watch.forget(&id);
                    }
                    if record.state() == TaskState::Queued {
                        self.handed_out.remove(&id);
                    }
                    self.watch.see(id, revision, record.state(), over);
                    self.disk.insert(id, *record);
                    self.machine.handle_persisted(&id, revision);
                }
                WorkerOutput::Send { to, requests } => {
                    for request in requests {
                        let key = request.key;
                        let record = &self.disk[&key.id];
                        assert_eq!((record.peer, record.revision), (to, key.revision));
                        self.in_flight.push((to, key));
                        if let TaskRequest::Result(result) =
                            request.into_request(bytes::Bytes::new())
                        {
                            let has_files = record.freight.is_none()
                                || self.loaded.contains(&(key.id, key.attempt));
                            assert!(has_files, "sent before its files were there: {record:?}");
                            self.results.push(result);
                        }
                    }
                }
                WorkerOutput::ForgetBody(id) => {
                    let record = &self.disk[&id];
                    let attempt = (id, record.terms.attempt);
                    assert!(self.confirmed.contains(&attempt), "forgotten without a receipt");
                    assert!(record.is_closed());
                }
                WorkerOutput::ForgetTask(id) => {
                    assert!(self.disk[&id].ending().is_some(), "forgotten before it ended");
                }
                WorkerOutput::Changed { id, revision } => {
                    assert!(self.disk[&id].revision >= revision, "told before it was on disk");
                }
                WorkerOutput::ForgetResult(id) => {
                    assert!(is_held(&self.disk[&id]), "forgotten while somebody wants it");
                }
                WorkerOutput::Bound(process) => assert!(self.watched.insert(process)),
                WorkerOutput::Unbound(process) => assert!(self.watched.remove(&process)),
                WorkerOutput::Owed { .. } | WorkerOutput::Ready => {}
            }
        }
        let leased = self.machine.tasks().filter(|task| is_leased(task));
        let bound: Vec<Process> = leased.filter_map(|task| task.extras.bound).collect();
        assert_eq!(self.machine.bound(), bound.len());
        assert_eq!(self.watched, bound.into_iter().collect());
        assert_eq!(self.watched, self.machine.processes().copied().collect());
        assert!(self.machine.tasks().filter(|task| holds_the_key(task)).count() <= 1);
        let queued = |task: &&ReceivedTask| task.state() == TaskState::Queued;
        assert_eq!(self.machine.queued(), self.machine.tasks().filter(queued).count());
        assert!(self.machine.len() <= LIMITS.in_all, "more than the limit");
        for task in self.machine.tasks() {
            assert_eq!(Some(task), self.disk.get(&task.terms.id), "memory and disk differ");
            assert!(!task.is_settled(), "a settled task stays in memory");
        }
    }

    fn apply(&mut self, step: Step) {
        let now = self.now();
        match step {
            Step::Offer { number, from, attempt, content, may, ms, here, exclusive } => {
                let offer = Offer {
                    id: id(number),
                    attempt,
                    priority: i16::from(content),
                    deadline_ms: ms,
                    queue_timeout_ms: ms,
                    run_timeout_ms: ms,
                    body: vec![content].into(),
                };
                let exclusive = exclusive.then(|| "key".to_owned());
                self.offer(number, from, &offer, exclusive, may, here);
            }
            Step::Cancel { number, from, attempt, grace } => {
                self.cancel(number, from, attempt, grace);
            }
            Step::Accept { from, process } => self.accept(from, process),
            Step::PutBack { number, seconds } => {
                let id = self.load(number);
                let _told = self.machine.put_back(&id, Duration::from_secs(seconds), "busy", now);
            }
            Step::Gone { process } => self.gone(process),
            Step::Progress { number } => {
                let id = self.load(number);
                let _told = self.machine.progress(&id, Some(5), Some("n"), now);
            }
            Step::Finish { number, outcome, body, files } => {
                self.finish(number, outcome, body, files);
            }
            Step::Files { number, arrived } => self.files(number, arrived),
            Step::Decline { number } => {
                let id = self.load(number);
                let _told = self.machine.decline(&id, "no", now);
            }
            Step::Ready { peer, max } => {
                self.machine.handle_link_ready(node(peer), max, u64::MAX, now);
            }
            Step::Answer { which, from, refusal } => {
                let answer = refusal.map_or(TaskAnswer::Updated, TaskAnswer::Refused);
                self.answer(which, from, &answer);
            }
            Step::Receipt { which, from, of, signer } => {
                if let Some(result) = self.results.get(of) {
                    let receipt = result.receipt.clone().countersign(&key(signer));
                    self.confirm(which, from, receipt);
                }
            }
            Step::Fail { peer } => {
                let failed: Vec<OutgoingKey> = self
                    .in_flight
                    .extract_if(.., |(to, _)| *to == node(peer))
                    .map(|(_, key)| key)
                    .collect();
                self.machine.handle_link_failed(node(peer), &failed);
            }
            Step::Trust { peer, lost: true } => self.machine.handle_trust_lost(node(peer), now),
            Step::Trust { peer, lost: false } => self.machine.handle_trust_changed(node(peer)),
            Step::Wait { seconds } => {
                self.now += seconds;
                self.machine.handle_timeout(self.now());
                assert!(self.machine.next_deadline().is_none_or(|due| due > self.now()));
            }
            Step::Crash => {
                self.machine = Worker::new(key(0), LIMITS);
                self.in_flight.clear();
                self.watched.clear();
                for record in self.disk.values().filter(|record| !record.is_settled()) {
                    self.machine.restore(record.clone());
                }
            }
        }
        self.drain();
    }

    fn offer(
        &mut self,
        number: u8,
        from: usize,
        offer: &Offer,
        exclusive: Option<String>,
        may: bool,
        here: bool,
    ) {
        let before = self.disk.get(&id(number)).cloned();
        // A full worker holds no settled task that was only looked up.
        let id = self.load(number);
        let files = if here { Ok(()) } else { Err(TaskRefusal::Internal) };
        let digest = Digest::of(&offer.body);
        let (len, summary, leave_result) = (1, String::new(), false);
        let facts = OfferFacts { digest, len, summary, exclusive, leave_result, files };
        let now = self.now();
        let verdict = self.machine.handle_offer(node(from), offer, &facts, may, now);
        self.drain();
        let after = self.disk.get(&id);
        if verdict.answer == TaskAnswer::Offered {
            let after = after.expect("on disk before it is confirmed");
            assert_eq!((after.peer, after.terms.attempt), (node(from), offer.attempt));
            let same = before.as_ref().filter(|task| task.terms.attempt == offer.attempt);
            assert_eq!(verdict.keep_body, same.is_none());
            assert!(here || same.is_some(), "taken without its files");
            if let Some(before) = before {
                let attempt = before.terms.attempt;
                assert!(attempt == offer.attempt || makes_way(&before), "in place of {before:?}");
            }
        } else {
            self.only_asked_to_stop(before.as_ref(), &id, from, offer.attempt);
        }
    }

    /// Nothing was done, but that an attempt somebody works on should end for
    /// a later one.
    fn only_asked_to_stop(
        &self,
        before: Option<&ReceivedTask>,
        id: &TaskId,
        from: usize,
        attempt: u32,
    ) {
        let after = self.disk.get(id);
        if after == before {
            return;
        }
        let (before, after) = (before.unwrap(), after.unwrap());
        assert_eq!(before.peer, node(from), "a stranger's word counted");
        assert!(attempt > before.terms.attempt && is_leased(before) && is_leased(after));
        let until = |task: &ReceivedTask| task.cancel.as_ref().map(|cancel| cancel.until);
        assert!(until(after).is_some() && until(before).is_none_or(|was| until(after) < Some(was)));
        assert_eq!(after.phase, before.phase);
    }

    fn cancel(&mut self, number: u8, from: usize, attempt: u32, grace_ms: u64) {
        let before = self.disk.get(&id(number)).cloned();
        let id = self.load(number);
        let cancel = Cancel { id, attempt, grace_ms, reason: Text::clipped("r") };
        let answer = self.machine.handle_cancel(node(from), &cancel, self.now());
        self.drain();
        let after = self.disk.get(&id);
        if answer == TaskAnswer::Cancelling {
            let after = after.expect("on disk before it is confirmed");
            assert_eq!((after.peer, after.terms.attempt), (node(from), attempt));
            assert!(after.ending().is_some() || after.cancel.is_some());
        } else {
            self.only_asked_to_stop(before.as_ref(), &id, from, attempt);
        }
    }

    /// The task whose turn it is, found the slow way.
    fn next(&self, from: Option<NodeId>) -> Option<TaskId> {
        let key_is_held = self.machine.tasks().any(holds_the_key);
        let waits = |task: &&ReceivedTask| {
            task.state() == TaskState::Queued
                && task.extras.not_before.is_none()
                && from.is_none_or(|from| task.peer == from)
                && !(key_is_held && task.extras.exclusive.is_some())
        };
        let turn =
            |task: &&ReceivedTask| (Reverse(task.terms.priority), task.received, task.terms.id);
        self.machine.tasks().filter(waits).min_by_key(turn).map(|task| task.terms.id)
    }

    fn accept(&mut self, from: Option<usize>, pid: Option<u32>) {
        let now = self.now();
        self.machine.handle_timeout(now);
        self.drain();
        let next = self.next(from.map(node));
        let accepted = self.machine.accept_bound(from.map(node), "me", pid.map(process), now);
        assert_eq!(accepted, next);
        let Some(id) = accepted else { return };
        self.drain();
        assert!(self.handed_out.insert(id), "handed out twice");
        let task = &self.disk[&id];
        assert_eq!(task.accepted_at(), Some(now));
        assert!(from.is_none_or(|from| task.peer == node(from)));
    }

    fn gone(&mut self, pid: u32) {
        let lost: Vec<ReceivedTask> = self
            .machine
            .tasks()
            .filter(|task| is_leased(task) && task.extras.bound == Some(process(pid)))
            .cloned()
            .collect();
        assert!(!self.machine.handle_process_gone(&process(pid), self.now()));
        self.drain();
        for before in lost {
            let after = &self.disk[&before.terms.id];
            let state = match before.cancel {
                Some(_) if before.extras.overtime => TaskState::Expired,
                Some(_) => TaskState::Cancelled,
                None if before.extras.lost + 1 == MAX_LOST => TaskState::Failed,
                None => TaskState::Queued,
            };
            assert_eq!((after.state(), after.extras.lost), (state, before.extras.lost + 1));
        }
    }

    /// The transfer of a result's files has ended, as it does once.
    fn files(&mut self, number: u8, arrived: bool) {
        let id = self.load(number);
        let before = self.disk.get(&id).cloned();
        let waits = before.as_ref().is_some_and(|task| task.awaits_files().is_some());
        if arrived {
            self.loaded.extend(before.iter().filter(|_| waits).map(|it| (id, it.terms.attempt)));
            self.machine.handle_files_arrived(&id, self.now());
        } else {
            let (outcome, digest) = (WorkOutcome::Failed, Digest::of(b"rest"));
            let rest = Work { outcome, digest, len: 4, reason: String::new(), attached: None };
            assert_eq!(self.machine.handle_files_failed(&id, &rest, self.now()), waits);
        }
        self.drain();
        let after = self.disk.get(&id);
        if !waits {
            assert_eq!(after, before.as_ref());
        } else if !arrived {
            assert_eq!(after.unwrap().ending().unwrap().digest, Digest::of(b"rest"));
        }
    }

    fn finish(&mut self, number: u8, outcome: WorkOutcome, body: u8, files: bool) {
        let id = self.load(number);
        let digest = Digest::of(&[body]);
        let attached = files.then(|| attached(number));
        let work = Work { outcome, digest, len: 1, reason: String::new(), attached };
        let finished = self.machine.finish(&id, &work, self.now());
        self.drain();
        if finished.is_ok() {
            let ending = self.disk[&id].ending().expect("on disk before it is told").clone();
            assert_eq!((ending.outcome, ending.digest), (outcome.into(), digest));
        }
    }

    fn answer(&mut self, which: usize, from: usize, answer: &TaskAnswer) {
        let Some((to, key)) = self.in_flight.get(which).copied() else { return };
        let before = self.disk.get(&key.id).cloned();
        self.machine.handle_answer(node(from), &key, answer, self.now());
        self.drain();
        if node(from) == to {
            self.in_flight.retain(|(_, flying)| *flying != key);
        } else {
            assert_eq!(self.disk.get(&key.id), before.as_ref(), "a stranger's answer counted");
        }
    }

    /// Answers a request with this receipt, which may be of anything.
    fn confirm(&mut self, which: usize, from: usize, receipt: Countersigned) {
        if let Ok(statement) = receipt.verify()
            && let Some((_, key)) = self.in_flight.get(which)
            && statement.task == key.id.uuid()
        {
            self.confirmed.insert((key.id, statement.attempt));
        }
        self.answer(which, from, &TaskAnswer::Receipt(Box::new(receipt)));
    }

    /// Honest submitters and worker processes bring everything to its end.
    fn settle(&mut self) {
        self.apply(Step::Wait { seconds: 30 });
        for _ in 0..4 {
            self.apply(Step::Accept { from: None, process: None });
            for number in 0..4 {
                self.finish(number, WorkOutcome::Succeeded, 0, true);
            }
        }
        for number in 0..4 {
            self.finish(number, WorkOutcome::Succeeded, 0, true);
            self.files(number, number % 2 == 0);
        }
        self.apply(Step::Crash);
        for peer in [1, 2] {
            self.apply(Step::Ready { peer, max: 10 });
        }
        for (to, key) in self.in_flight.clone() {
            let result = self.results.iter().rev().find(|result| result.id == key.id).unwrap();
            let from = if to == node(1) { 1 } else { 2 };
            let receipt = result.receipt.clone().countersign(&crate::world::key(from));
            self.confirm(0, from, receipt);
        }
        assert!(self.disk.values().all(|task| task.is_closed() || is_held(task)));
        assert!(self.machine.is_empty(), "{:#?}", self.machine);
        assert_eq!(self.machine.peers_owed().count(), 0);
        assert_eq!(self.machine.next_deadline(), None);
    }
}

const fn is_held(task: &ReceivedTask) -> bool {
    matches!(task.phase, ReceivedPhase::Finished { hold: Some(_), .. })
}

const fn is_leased(task: &ReceivedTask) -> bool {
    matches!(task.phase, ReceivedPhase::Accepted { .. } | ReceivedPhase::Running { .. })
}

const fn holds_the_key(task: &ReceivedTask) -> bool {
    is_leased(task) && task.extras.exclusive.is_some()
}

const fn makes_way(task: &ReceivedTask) -> bool {
    matches!(task.phase, ReceivedPhase::Queued) || task.is_closed() || is_held(task)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_received_task_ends_once_whatever_its_peers_say(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut model = Model::new();

        steps.into_iter().for_each(|step| model.apply(step));

        model.settle();
    }
}
