//! A submitter, a worker, their disks, the network between them, and crashes.

mod actors;
mod checks;
mod files;
mod nodes;

use std::collections::VecDeque;
use std::sync::Arc;

use pilot_identity::{NodeKey, Timestamp};
use pilot_proto::tasks::{TaskAnswer, TaskRequest};
use pilot_tasks::{MAX_LIVE_TASKS, OutgoingKey, Submitter, Worker, WorkerLimits};
use zeroize::Zeroizing;

use crate::disk::Disk;
use crate::scenario::{Order, Scenario};
use actors::Told;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Submitter,
    Worker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    One,
    Both,
}

/// `side` dies when it comes to its point number `at`, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crash {
    pub(crate) side: Side,
    pub(crate) at: usize,
    pub(crate) extent: Extent,
}

#[derive(Debug)]
enum Packet {
    Request { from: Side, key: OutgoingKey, request: Box<TaskRequest> },
    Answer { to: Side, key: OutgoingKey, answer: TaskAnswer },
}

/// Milliseconds on the clock when the world begins.
const STARTED: u64 = 1_000_000;

/// Steps after which a run is taken for endless.
const MAX_STEPS: usize = 2_000;

#[derive(Debug)]
pub(crate) struct World {
    scenario: Scenario,
    crashes: Vec<Crash>,
    seen: [usize; 2],
    now: Timestamp,
    keys: [Arc<NodeKey>; 2],
    submitter: Submitter,
    worker: Worker,
    disks: [Disk; 2],
    network: VecDeque<Packet>,
    in_flight: [Vec<OutgoingKey>; 2],
    link_failed: [bool; 2],
    /// Every request that was ever sent.
    sent: Vec<(Side, TaskRequest)>,
    /// How many transfers there were.
    transfers: u8,
    told: Told,
}

const fn index(side: Side) -> usize {
    match side {
        Side::Submitter => 0,
        Side::Worker => 1,
    }
}

impl World {
    pub(crate) fn new(scenario: Scenario, crashes: Vec<Crash>) -> Self {
        let keys = [1, 2].map(|seed| Arc::new(NodeKey::from_seed(&Zeroizing::new([seed; 32]))));
        Self {
            scenario,
            crashes,
            seen: [0; 2],
            now: Timestamp::from_millis(STARTED),
            submitter: Submitter::new(keys[0].clone(), MAX_LIVE_TASKS),
            worker: Worker::new(keys[1].clone(), WorkerLimits::default()),
            keys,
            disks: [Disk::default(), Disk::default()],
            network: VecDeque::new(),
            in_flight: [Vec::new(), Vec::new()],
            link_failed: [false; 2],
            sent: Vec::new(),
            transfers: 0,
            told: Told::default(),
        }
    }

    /// How many points this side passed.
    pub(crate) fn points(&self, side: Side) -> usize {
        self.seen[index(side)]
    }

    pub(crate) fn crashes_left(&self) -> usize {
        self.crashes.len()
    }

    /// Goes on until nobody has anything left to do.
    pub(crate) fn run(&mut self) {
        for _ in 0..MAX_STEPS {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return,
                Err(crash) => self.crash(crash),
            }
        }
        panic!("no end in sight: {self:#?}");
    }

    /// A moment at which this side may die.
    fn point(&mut self, side: Side) -> Result<(), Crash> {
        let seen = &mut self.seen[index(side)];
        *seen += 1;
        let at = *seen;
        match self.crashes.iter().position(|crash| crash.side == side && crash.at == at) {
            Some(found) => Err(self.crashes.remove(found)),
            None => Ok(()),
        }
    }

    /// Takes everything but the disk away.
    fn crash(&mut self, crash: Crash) {
        self.network.clear();
        self.link_failed = [true; 2];
        for side in [Side::Submitter, Side::Worker] {
            if side == crash.side || crash.extent == Extent::Both {
                self.restart(side);
            }
        }
        self.check_promises();
    }

    fn restart(&mut self, side: Side) {
        self.in_flight[index(side)].clear();
        let key = self.keys[index(side)].clone();
        self.cancel_strays(side);
        let disk = &self.disks[index(side)];
        match side {
            Side::Submitter => {
                self.submitter = Submitter::new(key, MAX_LIVE_TASKS);
                let records = disk.ids().into_iter().filter_map(|id| disk.submitted(&id));
                records.filter(|task| !task.is_settled()).for_each(|task| {
                    self.submitter.restore(task);
                });
            }
            Side::Worker => {
                self.worker = Worker::new(key, WorkerLimits::default());
                let records = disk.ids().into_iter().filter_map(|id| disk.received(&id));
                records.filter(|task| !task.is_settled()).for_each(|task| {
                    self.worker.restore(task);
                });
            }
        }
    }

    fn step(&mut self) -> Result<bool, Crash> {
        self.tell_failed_links()?;
        if self.scenario.order == Order::Hasty && self.act()? {
            return Ok(true);
        }
        if let Some(packet) = self.network.pop_front() {
            self.deliver(packet)?;
            return Ok(true);
        }
        if self.scenario.order == Order::Calm && self.send_owed()? {
            return Ok(true);
        }
        Ok(self.act()?
            || self.send_owed()?
            || self.files_move()?
            || self.look_at_files()?
            || self.let_time_pass()?)
    }

    fn tell_failed_links(&mut self) -> Result<(), Crash> {
        let [submitter, worker] = self.keys.clone().map(|key| key.id());
        for side in [Side::Submitter, Side::Worker] {
            if !core::mem::take(&mut self.link_failed[index(side)]) {
                continue;
            }
            let keys = core::mem::take(&mut self.in_flight[index(side)]);
            match side {
                Side::Submitter => self.submitter.handle_link_failed(worker, &keys),
                Side::Worker => self.worker.handle_link_failed(submitter, &keys),
            }
            self.drain(side, None)?;
        }
        Ok(())
    }

    fn send_owed(&mut self) -> Result<bool, Crash> {
        let [submitter, worker] = self.keys.clone().map(|key| key.id());
        if self.submitter.has_owed(&worker) {
            self.submitter.handle_link_ready(worker, 16, u64::MAX, self.now);
            self.drain(Side::Submitter, None)?;
            return Ok(true);
        }
        if self.worker.has_owed(&submitter) {
            self.worker.handle_link_ready(submitter, 16, u64::MAX, self.now);
            self.drain(Side::Worker, None)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn let_time_pass(&mut self) -> Result<bool, Crash> {
        let deadlines = [self.submitter.next_deadline(), self.worker.next_deadline()];
        let Some(next) = deadlines.into_iter().flatten().min() else { return Ok(false) };
        self.now = self.now.max(next);
        self.submitter.handle_timeout(self.now);
        self.worker.handle_timeout(self.now);
        self.drain(Side::Submitter, None)?;
        self.drain(Side::Worker, None)?;
        Ok(true)
    }

    fn deliver(&mut self, packet: Packet) -> Result<(), Crash> {
        match packet {
            Packet::Request { from: Side::Submitter, key, request } => {
                let answer = self.worker_hears(*request)?;
                self.answer(Side::Worker, Side::Submitter, key, answer)
            }
            Packet::Request { from: Side::Worker, key, request } => {
                let answer = self.submitter_hears(*request)?;
                self.answer(Side::Submitter, Side::Worker, key, answer)
            }
            Packet::Answer { to, key, answer } => {
                let [submitter, worker] = self.keys.clone().map(|key| key.id());
                self.in_flight[index(to)].retain(|flying| *flying != key);
                match to {
                    Side::Submitter => {
                        self.submitter.handle_answer(worker, &key, &answer, self.now);
                    }
                    Side::Worker => self.worker.handle_answer(submitter, &key, &answer, self.now),
                }
                self.drain(to, None)
            }
        }
    }

    fn answer(
        &mut self,
        from: Side,
        to: Side,
        key: OutgoingKey,
        answer: TaskAnswer,
    ) -> Result<(), Crash> {
        self.point(from)?;
        self.network.push_back(Packet::Answer { to, key, answer });
        self.point(from)
    }
}
