//! The submitter among workers who lie.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use pilot_identity::{Digest, NodeId, Outcome, Receipt, ReceiptTimes, Timestamp};
use pilot_proto::tasks::{TaskAnswer, TaskRefusal, TaskResult, Update, WorkState};
use pilot_proto::text::Text;
use pilot_proto::{TaskId, TransferId};
use pilot_tasks::{
    Dependency, OutgoingKey, OutgoingKind, Plan, ResultFacts, Submission, SubmittedPhase,
    SubmittedTask, Submitter, SubmitterOutput, TrustLoss,
};
use proptest::prelude::*;

use crate::world::{Watch, at, attached, attempt, id, key, node, number, outcome, peer, refusal};

#[derive(Debug, Clone)]
enum Step {
    Submit(Wanted),
    Cancel { number: u8 },
    Retry { number: u8 },
    Files { number: u8, arrived: bool },
    Ready { peer: usize, max: usize },
    Answer { which: usize, from: usize, answer: Option<TaskRefusal> },
    OddAnswer { which: usize, from: usize },
    Fail { peer: usize },
    Update { number: u8, from: usize, attempt: u32, revision: u64, state: WorkState },
    Result { number: u8, from: usize, attempt: u32, outcome: Outcome, body: u8, lie: Lie },
    Trust { peer: usize, lost: Option<TrustLoss> },
    Wait { seconds: u64 },
    Crash,
}

/// A task to be submitted.
#[derive(Debug, Clone)]
struct Wanted {
    number: u8,
    to: usize,
    content: u8,
    keyed: bool,
    deadline: Option<u64>,
    files: bool,
    retries: u32,
    exclusive: bool,
    after: Option<u8>,
}

/// What is wrong with a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    Signer,
    Submitter,
    Digest,
    Attempt,
    Task,
    Files,
}

fn step() -> impl Strategy<Value = Step> {
    let work =
        prop_oneof![Just(WorkState::Queued), Just(WorkState::Accepted), Just(WorkState::Running)];
    let loss =
        prop_oneof![Just(TrustLoss::Here), Just(TrustLoss::There), Just(TrustLoss::Narrowed)];
    let lie = prop_oneof![
        5 => Just(Lie::None),
        1 => Just(Lie::Signer),
        1 => Just(Lie::Submitter),
        1 => Just(Lie::Digest),
        1 => Just(Lie::Attempt),
        1 => Just(Lie::Task),
        1 => Just(Lie::Files),
    ];
    prop_oneof![
        6 => (
            number(),
            peer(),
            0..2_u8,
            any::<bool>(),
            prop::option::weighted(0.3, 0..60_u64),
            any::<bool>(),
            (0..3_u32, prop::bool::weighted(0.2), prop::option::weighted(0.3, number())),
        )
            .prop_map(|(number, to, content, keyed, deadline, files, plan)| {
                let (retries, exclusive, after) = plan;
                let wanted = Wanted {
                    number,
                    to,
                    content,
                    keyed,
                    deadline,
                    files,
                    retries,
                    exclusive,
                    after,
                };
                Step::Submit(wanted)
            }),
        1 => number().prop_map(|number| Step::Retry { number }),
        2 => number().prop_map(|number| Step::Cancel { number }),
        4 => (number(), prop::bool::weighted(0.7))
            .prop_map(|(number, arrived)| Step::Files { number, arrived }),
        6 => (peer(), 0..4_usize).prop_map(|(peer, max)| Step::Ready { peer, max }),
        6 => (0..8_usize, peer(), prop::option::of(refusal()))
            .prop_map(|(which, from, answer)| Step::Answer { which, from, answer }),
        1 => (0..8_usize, peer()).prop_map(|(which, from)| Step::OddAnswer { which, from }),
        2 => peer().prop_map(|peer| Step::Fail { peer }),
        4 => (number(), peer(), attempt(), 0..9_u64, work).prop_map(
            |(number, from, attempt, revision, state)| {
                Step::Update { number, from, attempt, revision, state }
            }
        ),
        4 => (number(), peer(), attempt(), outcome(), 0..2_u8, lie).prop_map(
            |(number, from, attempt, outcome, body, lie)| {
                Step::Result { number, from, attempt, outcome, body, lie }
            }
        ),
        1 => (peer(), prop::option::of(loss))
            .prop_map(|(peer, lost)| Step::Trust { peer, lost }),
        2 => (0..40_u64).prop_map(|seconds| Step::Wait { seconds }),
        2 => Just(Step::Crash),
    ]
}

#[derive(Debug)]
struct Model {
    machine: Submitter,
    disk: BTreeMap<TaskId, SubmittedTask>,
    in_flight: Vec<(NodeId, OutgoingKey)>,
    /// Transfers that were cancelled, and tasks whose files are at the worker.
    unloaded: BTreeSet<TransferId>,
    loaded: BTreeSet<TaskId>,
    watch: Watch,
    now: u64,
}

impl Model {
    fn new() -> Self {
        Self {
            machine: Submitter::new(key(0), 100),
            disk: BTreeMap::new(),
            in_flight: Vec::new(),
            unloaded: BTreeSet::new(),
            loaded: BTreeSet::new(),
            watch: Watch::default(),
            now: 0,
        }
    }

    fn now(&self) -> Timestamp {
        at(self.now)
    }

    fn load(&mut self, id: &TaskId) {
        if !self.machine.knows(id)
            && let Some(record) = self.disk.get(id)
        {
            self.machine.restore(record.clone());
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                SubmitterOutput::Persist(record) => {
                    let (id, revision) = (record.terms.id, record.revision);
                    self.watch.see(id, revision, record.state(), record.state().is_terminal());
                    self.disk.insert(id, *record);
                    self.machine.handle_persisted(&id, revision);
                }
                SubmitterOutput::Send { to, requests } => {
                    for request in requests {
                        let record = &self.disk[&request.key.id];
                        assert_eq!((record.peer, record.revision), (to, request.key.revision));
                        let has_files =
                            record.freight.is_none() || self.loaded.contains(&record.terms.id);
                        assert!(has_files, "sent before its files were there: {record:?}");
                        self.in_flight.push((to, request.key));
                    }
                }
                SubmitterOutput::Changed { id, revision } => {
                    assert!(self.disk[&id].revision >= revision, "told before it was on disk");
                }
                SubmitterOutput::Owed { .. } | SubmitterOutput::Place => {}
                SubmitterOutput::Unload(transfer) => {
                    assert!(self.unloaded.insert(transfer), "cancelled twice");
                }
            }
        }
        for task in self.disk.values() {
            let waits = task.awaits_files().map(|files| files.transfer);
            let of_no_use = waits.is_some_and(|transfer| self.unloaded.contains(&transfer));
            assert_eq!(of_no_use, waits.is_some() && task.ending().is_some(), "{task:?}");
            assert!(waits.is_none() || task.delivery().is_none(), "a result of no offer");
        }
        for task in self.machine.tasks() {
            assert_eq!(Some(task), self.disk.get(&task.terms.id), "memory and disk differ");
            assert!(!task.is_settled(), "a settled task stays in memory");
        }
        let under_way = |task: &&SubmittedTask| {
            let is_offered = matches!(
                task.phase,
                SubmittedPhase::Queued { .. }
                    | SubmittedPhase::Delivered { .. }
                    | SubmittedPhase::Accepted { .. }
                    | SubmittedPhase::Running { .. }
            );
            task.extras.plan.exclusive.is_some() && is_offered
        };
        assert!(self.disk.values().filter(under_way).count() <= 1, "two with one key");
        for task in self.disk.values().filter(|task| task.ending().is_none()) {
            let stuck = |awaited: TaskId| self.disk[&awaited].ending().is_some();
            assert!(!task.extras.plan.awaited().any(stuck), "waits for what is over: {task:?}");
        }
    }

    fn apply(&mut self, step: Step) {
        let now = self.now();
        match step {
            Step::Submit(wanted) => self.submit(wanted),
            Step::Retry { number } => {
                self.load(&id(number));
                if self.machine.retry(&id(number), now).is_ok() {
                    // The one step by which a task that has ended goes on.
                    self.watch.forget(&id(number));
                    self.unloaded.remove(&attached(number).transfer);
                }
            }
            Step::Files { number, arrived } => self.files(number, arrived),
            Step::Cancel { number } => {
                self.load(&id(number));
                // Whether it could be cancelled is the user's concern.
                let _told = self.machine.cancel(&id(number), Duration::from_secs(1), "", now);
            }
            Step::Ready { peer, max } => {
                self.machine.handle_link_ready(node(peer), max, u64::MAX, now);
            }
            Step::Answer { which, from, answer } => {
                if let Some((to, key)) = self.in_flight.get(which).copied() {
                    let agreed = match key.kind {
                        OutgoingKind::Offer => TaskAnswer::Offered,
                        OutgoingKind::Cancel => TaskAnswer::Cancelling,
                        OutgoingKind::Update | OutgoingKind::Result => panic!("{key:?}"),
                    };
                    let answer = answer.map_or(agreed, TaskAnswer::Refused);
                    self.answer(to, from, key, &answer);
                }
            }
            Step::OddAnswer { which, from } => {
                if let Some((to, key)) = self.in_flight.get(which).copied() {
                    self.answer(to, from, key, &TaskAnswer::Updated);
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
            Step::Update { number, from, attempt, revision, state } => {
                self.update(number, from, attempt, revision, state);
            }
            Step::Result { number, from, attempt, outcome, body, lie } => {
                self.result(number, from, attempt, outcome, body, lie);
            }
            Step::Trust { peer, lost: None } => self.machine.handle_trust_changed(node(peer)),
            Step::Trust { peer, lost: Some(loss) } => {
                self.machine.handle_trust_lost(node(peer), loss, now);
            }
            Step::Wait { seconds } => {
                self.now += seconds;
                self.machine.handle_timeout(self.now());
                assert!(self.machine.next_deadline().is_none_or(|due| due > self.now()));
            }
            Step::Crash => {
                self.machine = Submitter::new(key(0), 100);
                self.in_flight.clear();
                for record in self.disk.values().filter(|record| !record.is_settled()) {
                    self.machine.restore(record.clone());
                }
                self.machine.resume(now);
            }
        }
        self.drain();
    }

    fn answer(&mut self, to: NodeId, from: usize, key: OutgoingKey, answer: &TaskAnswer) {
        let before = self.disk.get(&key.id).cloned();
        self.machine.handle_answer(node(from), &key, answer, self.now());
        self.drain();
        if node(from) == to {
            self.in_flight.retain(|(_, flying)| *flying != key);
        } else {
            assert_eq!(self.disk.get(&key.id), before.as_ref(), "a stranger's answer counted");
        }
    }

    /// The transfer of a task's files has ended, as it does once.
    fn files(&mut self, number: u8, arrived: bool) {
        let id = id(number);
        self.load(&id);
        let before = self.disk.get(&id).cloned();
        let waits = before
            .as_ref()
            .is_some_and(|task| task.awaits_files().is_some() && task.ending().is_none());
        if arrived && waits {
            self.loaded.insert(id);
        }
        match arrived {
            true => self.machine.handle_files_arrived(&id, self.now()),
            false => self.machine.handle_files_failed(&id, "why", self.now()),
        }
        self.drain();
        let after = self.disk.get(&id);
        if !waits {
            assert_eq!(after, before.as_ref());
        } else if !arrived {
            assert_eq!(after.unwrap().ending().unwrap().outcome, Outcome::Cancelled);
        }
    }

    fn submit(&mut self, wanted: Wanted) {
        let Wanted { number, to, content, keyed, deadline, files, .. } = wanted;
        let dependency = |over: &u8| Dependency { id: id(*over), over: false };
        let plan = Plan {
            retries_left: wanted.retries,
            exclusive: wanted.exclusive.then(|| "key".to_owned()),
            after: wanted.after.iter().map(dependency).collect(),
            ..Plan::default()
        };
        wanted.after.iter().for_each(|over| self.load(&id(*over)));
        let key = keyed.then(|| format!("key {number}"));
        self.load(&id(number));
        if let Some(key) = &key
            && !self.machine.knows_key(key)
        {
            let found = self.disk.values().find(|task| task.idempotency_key.as_ref() == Some(key));
            found.cloned().into_iter().for_each(|record| self.machine.restore(record));
        }
        let submission = Submission {
            id: id(number),
            to: node(to),
            priority: i16::from(content),
            deadline: deadline.map(|seconds| at(self.now + seconds)),
            queue_timeout: None,
            run_timeout: None,
            summary: String::new(),
            body_len: 1,
            body_digest: Digest::of(&[content]),
            idempotency_key: key,
            attached: files.then(|| attached(number)),
            plan,
        };
        let now = self.now();
        let submitted = self.machine.submit(submission, now);
        self.drain();
        if let Ok(submitted) = submitted {
            assert!(self.disk.contains_key(&submitted.id), "told before it was on disk");
        }
    }

    fn update(&mut self, number: u8, from: usize, attempt: u32, revision: u64, state: WorkState) {
        let before = self.disk.get(&id(number)).cloned();
        self.load(&id(number));
        let update = Update {
            id: id(number),
            attempt,
            revision,
            state,
            percent: Some(1),
            note: Text::clipped("n"),
            accepted_ms_ago: Some(u64::MAX),
        };
        let answer = self.machine.handle_update(node(from), &update, self.now());
        self.drain();
        let is_offered = |task: &SubmittedTask| {
            let is_held = matches!(task.phase, SubmittedPhase::Held { .. });
            task.peer == node(from) && task.awaits_files().is_none() && !is_held
        };
        let entitled = before.as_ref().is_some_and(|task| {
            is_offered(task) && attempt == task.terms.attempt && task.ending().is_none()
        });
        if !entitled {
            assert_eq!(self.disk.get(&id(number)), before.as_ref());
        }
        if before.is_none_or(|task| !is_offered(&task)) {
            assert_eq!(answer, TaskAnswer::Refused(TaskRefusal::Unknown));
        }
    }

    fn result(
        &mut self,
        number: u8,
        from: usize,
        attempt: u32,
        outcome: Outcome,
        body: u8,
        lie: Lie,
    ) {
        let before = self.disk.get(&id(number)).cloned();
        self.load(&id(number));
        let digest = Digest::of(&[body]);
        let statement = Receipt {
            task: id(number).uuid(),
            attempt,
            submitter: node(0),
            worker: node(from),
            outcome,
            digest,
            times: ReceiptTimes::default(),
        };
        let receipt = match lie {
            Lie::None | Lie::Files => statement.sign(&key(from)),
            Lie::Signer => statement.sign(&key(3 - from)),
            Lie::Submitter => Receipt { submitter: node(from), ..statement }.sign(&key(from)),
            Lie::Digest => Receipt { digest: Digest::of(b"lie"), ..statement }.sign(&key(from)),
            Lie::Attempt => Receipt { attempt: 7, ..statement }.sign(&key(from)),
            Lie::Task => Receipt { task: id(9).uuid(), ..statement }.sign(&key(from)),
        };
        let result =
            TaskResult { id: id(number), attempt, outcome, body: vec![body].into(), receipt };
        let files = if lie == Lie::Files { Err(TaskRefusal::Invalid) } else { Ok(()) };
        let facts = ResultFacts {
            digest,
            len: 1,
            reason: String::new(),
            files,
            for_good: false,
            is_left: false,
        };
        let verdict = self.machine.handle_result(node(from), &result, &facts, self.now());
        self.drain();
        let after = self.disk.get(&id(number));
        match verdict.answer {
            TaskAnswer::Receipt(receipt) => {
                let task = after.unwrap();
                let past = task.extras.past.iter().find(|past| past.attempt == attempt);
                let delivery = match past {
                    Some(past) => past.delivery.as_ref().unwrap(),
                    None => task.ending().unwrap().delivery.as_ref().unwrap(),
                };
                assert_eq!((&delivery.receipt, delivery.digest), (&receipt, digest));
                let signed = receipt.verify().unwrap();
                assert_eq!((signed.worker, signed.submitter), (node(from), node(0)));
                assert!(lie == Lie::None || verdict.keep.is_none(), "a lie was believed");
            }
            TaskAnswer::Offered
            | TaskAnswer::Cancelling
            | TaskAnswer::Updated
            | TaskAnswer::Load(_)
            | TaskAnswer::Passed(_)
            | TaskAnswer::Logged { .. }
            | TaskAnswer::Refused(_) => assert_eq!(after, before.as_ref()),
        }
    }

    /// Honest workers bring everything to its end.
    fn settle(&mut self) {
        // Each has at most so many attempts, and may come after all others.
        for _ in 0..4 * 100 {
            if self.disk.values().all(|task| task.ending().is_some()) {
                break;
            }
            self.now += 1_000;
            let now = self.now();
            self.machine.handle_timeout(now);
            self.drain();
            for number in 0..4 {
                self.files(number, true);
                let attempt = self.disk.get(&id(number)).map_or(1, |task| task.terms.attempt);
                for from in [1, 2] {
                    self.result(number, from, attempt, Outcome::Failed, 0, Lie::None);
                }
            }
        }
        for number in 0..4 {
            for from in [1, 2] {
                let attempt = self.disk.get(&id(number)).map_or(1, |task| task.terms.attempt);
                self.result(number, from, attempt, Outcome::Failed, 0, Lie::None);
            }
        }
        assert!(self.disk.values().all(|task| task.ending().is_some()));
        assert!(self.machine.is_empty(), "{:#?}", self.machine);
        assert_eq!(self.machine.peers_owed().count(), 0);
        assert_eq!(self.machine.next_deadline(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_submitted_task_ends_once_whatever_its_peers_say(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut model = Model::new();

        steps.into_iter().for_each(|step| model.apply(step));

        model.settle();
    }
}
