//! Events of 256 bytes through the local API of two daemons, and of eleven.
//!
//! Publisher and subscribers are clients in this process, each with a
//! connection of its own; a request publishes [`BATCH`] events. The publisher
//! is never further ahead of the slowest subscriber than [`AHEAD`], so that
//! what is measured is what arrives. An event counts when its line is here.

use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use pilot_local_api::Client;
use pilot_local_api::client::Lines;
use pilot_local_api::events::{EventLine, SubscribeRequest};
use pilot_tests::{Programs, Team};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::line::Line;
use crate::load::{PATIENCE, block_on};
use crate::pair::{client, trust};
use crate::procfs;
use crate::samples::{Samples, median};

/// Bytes of an event's data, with its quotes.
const DATA: usize = 256;

/// Events in one request.
const BATCH: u64 = 500;

/// How far the publisher may be ahead, in events: some 2.5 MB, which is less than
/// a daemon has in memory of each peer.
const AHEAD: u64 = 8_000;

/// Turns; the first warms up.
const TURNS: usize = 6;

/// Events of a turn with one subscriber, and with ten.
const ONE: u64 = 400_000;
const TEN: u64 = 50_000;

/// Events whose time is taken, at this pause.
const TIMED: u32 = 4_000;
const PAUSE: Duration = Duration::from_micros(500);

const TOPIC: &str = "bench.events";

/// No journal, or one.
const MODES: [(&str, &[&str]); 2] = [("", &["--event-journal", "0"]), ("_durable", &[])];

/// Events a second from one daemon to another.
pub(crate) fn one_subscriber(_: &Programs) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for ((mode, flags), target) in MODES.into_iter().zip([300_000.0, 150_000.0]) {
        let rates = rates(1, ONE, flags)?;
        lines.push(
            Line::value(&format!("events_one{mode}"), "events/s", median(&rates.all))
                .with_all(&rates.all)
                .with_number("cpu_us_publisher", rates.cpu_publisher)
                .with_number("cpu_us_subscriber", rates.cpu_subscriber)
                .with_number("cpu_us_bench", rates.cpu_bench)
                .at_least(target),
        );
    }
    Ok(lines)
}

/// Deliveries a second from one daemon to ten.
pub(crate) fn ten_subscribers(_: &Programs) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for ((mode, flags), target) in MODES.into_iter().zip([300_000.0, 150_000.0]) {
        let rates = rates(10, TEN, flags)?;
        lines.push(
            Line::value(&format!("events_ten{mode}"), "deliveries/s", median(&rates.all))
                .with_all(&rates.all)
                .with_number("cpu_us_publisher", rates.cpu_publisher)
                .with_number("cpu_us_subscribers", rates.cpu_subscriber)
                .with_number("cpu_us_bench", rates.cpu_bench)
                .at_least(target),
        );
    }
    Ok(lines)
}

/// How long an event takes from `POST events` until its line is here.
pub(crate) fn latency(_: &Programs) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for ((mode, flags), target) in MODES.into_iter().zip([150.0, 300.0]) {
        let samples = latencies(flags)?;
        lines.push(Line::micros(&format!("events_latency{mode}"), &samples).at_most(target));
    }
    Ok(lines)
}

/// One publisher and some daemons that subscribe, each pair with trust.
struct Crowd {
    team: Team,
    publisher: Client,
    subscribers: Vec<Client>,
}

impl Crowd {
    async fn start(subscribers: usize, flags: &[&str]) -> anyhow::Result<Self> {
        let mut team = Team::start(&[])?;
        team.add("publisher", flags)?;
        let names: Vec<String> = (0..subscribers).map(|number| format!("s{number}")).collect();
        for name in &names {
            team.add(name, flags)?;
        }
        let publisher = client(team.node("publisher"));
        let mut clients = Vec::new();
        for name in &names {
            let node = client(team.node(name));
            trust(&publisher, &team.peer("publisher"), &node, &team.peer(name)).await?;
            clients.push(node);
        }
        Ok(Self { team, publisher, subscribers: clients })
    }

    /// A subscriber on each, once the publisher knows them all.
    async fn listen(&self) -> anyhow::Result<Vec<Lines<EventLine>>> {
        let topics = vec![TOPIC.parse()?];
        let request = SubscribeRequest { topics, ..SubscribeRequest::default() };
        let mut lines = Vec::new();
        for subscriber in &self.subscribers {
            lines.push(subscriber.subscribe(&request).await?);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let topics = self.publisher.topics().await?;
            if topics.peers.iter().filter(|peer| peer.listening).count() == lines.len() {
                return Ok(lines);
            }
            if Instant::now() > deadline {
                bail!("the subscribers are not known: {topics:?}");
            }
        }
    }

    fn cpu(&mut self, name: &str) -> anyhow::Result<Duration> {
        procfs::cpu_time(self.team.node_mut(name).process().context("no process")?.pid())
    }
}

/// What some turns came to; CPU time for each delivery, in µs.
struct Rates {
    all: Vec<f64>,
    cpu_publisher: f64,
    cpu_subscriber: f64,
    cpu_bench: f64,
}

#[expect(clippy::cast_precision_loss, reason = "there are not 2^52 events")]
fn rates(subscribers: usize, events: u64, flags: &[&str]) -> anyhow::Result<Rates> {
    block_on(async {
        let mut crowd = Crowd::start(subscribers, flags).await?;
        let mut listening = crowd.listen().await?;
        let body = batch()?;
        let mut all = Vec::new();
        let mut cpu = [Duration::ZERO; 3];
        for turn in 0..TURNS {
            let before = all_cpu(&mut crowd)?;
            let started = Instant::now();
            listening = turn_of(&crowd.publisher, listening, body.clone(), events).await?;
            let took = started.elapsed();
            if turn > 0 {
                all.push((events * subscribers as u64) as f64 / took.as_secs_f64());
                for (cpu, (now, before)) in
                    cpu.iter_mut().zip(all_cpu(&mut crowd)?.into_iter().zip(before))
                {
                    *cpu += now.saturating_sub(before);
                }
            }
        }
        let deliveries = (events * subscribers as u64 * (TURNS as u64 - 1)) as f64;
        let [cpu_publisher, cpu_subscriber, cpu_bench] =
            cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / deliveries);
        Ok(Rates { all, cpu_publisher, cpu_subscriber, cpu_bench })
    })
}

fn all_cpu(crowd: &mut Crowd) -> anyhow::Result<[Duration; 3]> {
    let mut subscribers = Duration::ZERO;
    for number in 0..crowd.subscribers.len() {
        subscribers += crowd.cpu(&format!("s{number}"))?;
    }
    Ok([crowd.cpu("publisher")?, subscribers, procfs::cpu_time(std::process::id())?])
}

/// The body of a request with [`BATCH`] events.
fn batch() -> anyhow::Result<Bytes> {
    let data = "x".repeat(DATA - 2);
    let line = format!("{{\"topic\":\"{TOPIC}\",\"data\":\"{data}\"}}\n");
    Ok(line.repeat(usize::try_from(BATCH)?).into())
}

/// Publishes so many, until each subscriber has them all.
async fn turn_of(
    publisher: &Client,
    listening: Vec<Lines<EventLine>>,
    body: Bytes,
    events: u64,
) -> anyhow::Result<Vec<Lines<EventLine>>> {
    let heard: Rc<Vec<Cell<u64>>> = Rc::new(listening.iter().map(|_| Cell::new(0)).collect());
    let news = Rc::new(Notify::new());
    let local = LocalSet::new();
    let mut readers = Vec::new();
    for (number, lines) in listening.into_iter().enumerate() {
        let (heard, news) = (Rc::clone(&heard), Rc::clone(&news));
        readers.push(local.spawn_local(async move {
            let cell = heard.get(number).context("no such subscriber")?;
            let read = read(lines, events, cell, &news).await;
            // Also if it failed: then nobody waits for it.
            cell.set(u64::MAX - AHEAD);
            news.notify_one();
            read
        }));
    }
    let publishing = async {
        let mut published = 0;
        while published < events {
            while published > heard.iter().map(Cell::get).min().unwrap_or(0) + AHEAD {
                news.notified().await;
            }
            publisher.publish_lines(body.clone(), None).await?;
            published += BATCH;
        }
        let mut done = Vec::new();
        for reader in readers {
            done.push(reader.await??);
        }
        anyhow::Ok(done)
    };
    local.run_until(publishing).await
}

/// Counts lines; each must be the next of its publisher.
async fn read(
    mut lines: Lines<EventLine>,
    events: u64,
    heard: &Cell<u64>,
    news: &Notify,
) -> anyhow::Result<Lines<EventLine>> {
    let mut last = None;
    for number in 1..=events {
        let line = match lines.ready_line() {
            Some(line) => line,
            None => {
                heard.set(number - 1);
                news.notify_one();
                tokio::time::timeout(PATIENCE, lines.next_line()).await??.context("the end")?
            }
        };
        let seq = seq_of(&line)?;
        if last.is_some_and(|last: u64| seq != last + 1) {
            bail!("event {seq} came after {last:?}");
        }
        last = Some(seq);
    }
    Ok(lines)
}

/// The number of an event. The data is at the end of a line and is not looked at.
fn seq_of(line: &[u8]) -> anyhow::Result<u64> {
    const KEY: &[u8] = b"\"seq\":";
    let at = line.windows(KEY.len()).position(|window| window == KEY);
    let rest = at.and_then(|at| line.get(at + KEY.len()..)).context("an event without a number")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    Ok(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// How long events take, of which one is published at each [`PAUSE`].
fn latencies(flags: &[&str]) -> anyhow::Result<Samples> {
    let begun = Instant::now();
    block_on(async {
        let crowd = Crowd::start(1, flags).await?;
        let mut listening = crowd.listen().await?;
        let socket = crowd.team.node("publisher").home().join("pilot.sock");
        // A thread of its own: its pauses are shorter than a timer's tick.
        let publishing = thread::spawn(move || publish_slowly(&Client::keeping(socket), begun));
        let mut lines = listening.pop().context("no subscriber")?;
        let mut samples = Samples::default();
        for number in 0..TIMED {
            let line = tokio::time::timeout(PATIENCE, lines.next()).await??.context("the end")?;
            let heard = begun.elapsed();
            let data = line.data.context("a gap")?;
            let sent: u64 = data.get().trim_matches(['"', 'x']).parse()?;
            if number >= TIMED / 10 {
                samples.push(heard.saturating_sub(Duration::from_nanos(sent)));
            }
        }
        match publishing.join() {
            Ok(published) => published?,
            Err(_) => bail!("the publisher panicked"),
        }
        Ok(samples)
    })
}

fn publish_slowly(publisher: &Client, begun: Instant) -> anyhow::Result<()> {
    block_on(async {
        let mut next = Instant::now();
        for _ in 0..TIMED {
            // Not more at once after a pause of the machine.
            next = (next + PAUSE).max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
            let sent = begun.elapsed().as_nanos().to_string();
            let pad = "x".repeat(DATA - 2 - sent.len());
            let line = format!("{{\"topic\":\"{TOPIC}\",\"data\":\"{sent}{pad}\"}}");
            publisher.publish_lines(line.into(), None).await?;
        }
        Ok(())
    })
}
