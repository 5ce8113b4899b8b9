//! The window over a path that is made up: packets of one size wait in one
//! queue, each leaves it in its time, and is acknowledged a round trip later.
//! The sender sends evenly, as quinn does: a quarter faster than its window in
//! a round trip, ten packets at once at most.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::model::Model;

const MTU: u64 = 1400;

/// A path.
#[derive(Debug, Clone, Copy)]
struct Path {
    /// Bytes a second.
    rate: f64,
    rtt: Duration,
    /// Bytes that wait in front of it at most.
    queue: f64,
    /// The part that is lost.
    loses: f64,
}

/// A sender that always has more to send, and what has become of that.
struct Run {
    model: Model,
    now: Instant,
    /// Sent and not yet heard of: when sent, when that is heard, and whether it arrived.
    under_way: VecDeque<(Instant, Instant, bool)>,
    /// When the queue is empty.
    free: Instant,
    /// When the next packet may be sent, and the last round trip.
    next: Instant,
    rtt: Duration,
    in_flight: u64,
    delivered: u64,
    /// The longest wait in the queue.
    longest: Duration,
    random: u64,
}

impl Run {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            model: Model::new(now, MTU),
            now,
            under_way: VecDeque::new(),
            free: now,
            next: now,
            rtt: ms(10),
            in_flight: 0,
            delivered: 0,
            longest: Duration::ZERO,
            random: 7,
        }
    }

    /// A part of 1: xorshift (Marsaglia 2003), the same in each run.
    fn chance(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % 1_000_000) as f64 / 1e6
    }

    fn send(&mut self, path: &Path) {
        let waits = self.free.saturating_duration_since(self.now);
        let queued = waits.as_secs_f64() * path.rate;
        let arrives = queued + MTU as f64 <= path.queue && self.chance() >= path.loses;
        if arrives {
            let takes = Duration::from_secs_f64(MTU as f64 / path.rate);
            self.free = self.free.max(self.now) + takes;
            self.longest = self.longest.max(waits);
        }
        // A loss is noticed by what was sent after it: a little later.
        let heard = self.free.max(self.now) + path.rtt;
        self.under_way.push_back((self.now, heard, arrives));
        self.in_flight += MTU;
        self.model.sent(self.now, MTU);
        let apart = self.rtt.mul_f64(MTU as f64 / self.model.window() as f64 / 1.25);
        self.next = self.next.max(self.now - 10 * apart) + apart;
    }

    /// Goes on for so long; the part of the rate of the path that was delivered.
    fn over(&mut self, path: Path, lasts: Duration) -> f64 {
        let (begun, before) = (self.now, self.delivered);
        self.longest = Duration::ZERO;
        while self.now < begun + lasts {
            let has_window = self.in_flight + MTU <= self.model.window();
            let first = self.under_way.front().map(|(_, heard, _)| *heard);
            if has_window && first.is_none_or(|heard| self.next <= heard) {
                self.now = self.now.max(self.next);
                self.send(&path);
                continue;
            }
            let (sent, heard, arrived) = self.under_way.pop_front().unwrap();
            self.now = self.now.max(heard);
            self.rtt = self.now - sent;
            self.in_flight -= MTU;
            if arrived {
                self.delivered += MTU;
                self.model.delivered(self.now, sent, MTU, false);
            } else {
                self.model.lost(MTU);
            }
            self.model.acknowledged(self.now, self.in_flight, false);
        }
        let took = (self.now - begun).as_secs_f64();
        (self.delivered - before) as f64 / took / path.rate
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const WIDE: Path = Path { rate: 20e6, rtt: ms(50), queue: 2_000_000.0, loses: 0.0 };

#[test]
fn a_path_is_filled_soon_and_its_queue_stays_short() {
    for rate in [0.2e6, 2e6, 20e6, 100e6] {
        for rtt in [ms(1), ms(20), ms(100)] {
            let queue = 4.0 * rate * rtt.as_secs_f64() + 100_000.0;
            let path = Path { rate, rtt, queue, loses: 0.0 };
            let mut run = Run::new();
            run.over(path, 40 * rtt + ms(100));

            let used = run.over(path, ms(4000));

            assert!(used > 0.93, "{used} of {path:?}");
            // The least window itself may take long on a slow path.
            let least = Duration::from_secs_f64(5600.0 / rate);
            assert!(run.longest < rtt / 2 + ms(10) + least, "{:?} at {path:?}", run.longest);
        }
    }
}

#[test]
fn random_loss_costs_little_more_than_itself() {
    for loses in [0.01, 0.03] {
        let mut run = Run::new();
        run.over(Path { loses, ..WIDE }, ms(1000));

        let used = run.over(Path { loses, ..WIDE }, ms(10_000));

        assert!(used > 0.9 - loses, "{used} at {loses}");
    }
}

#[test]
fn a_longer_path_is_learnt_and_so_is_a_shorter_and_a_slower_one() {
    let near = Path { rtt: ms(1), rate: 100e6, queue: 1_000_000.0, loses: 0.0 };
    let slow = Path { rate: 1e6, queue: 100_000.0, ..WIDE };
    for (from, to) in [(near, WIDE), (WIDE, near), (WIDE, slow), (slow, WIDE)] {
        let mut run = Run::new();
        run.over(from, ms(5000));

        run.over(to, ms(4000));
        let used = run.over(to, ms(5000));

        assert!(used > 0.9, "{used} from {from:?} to {to:?}");
    }
}

#[test]
fn a_queue_that_is_too_short_is_not_flooded() {
    // What a path polices away, or a switch has no memory for.
    let shallow = Path { queue: 30_000.0, ..WIDE };
    let mut run = Run::new();
    run.over(shallow, ms(3000));

    let used = run.over(shallow, ms(5000));

    assert!(used > 0.6, "{used}");
}

#[test]
fn a_pause_says_nothing_about_the_path() {
    let mut run = Run::new();
    run.over(WIDE, ms(3000));
    // What is under way arrives, and nothing is sent for long.
    while let Some((sent, heard, _)) = run.under_way.pop_front() {
        run.now = heard;
        run.in_flight -= MTU;
        run.model.delivered(heard, sent, MTU, true);
        run.model.acknowledged(heard, run.in_flight, true);
    }
    run.now += Duration::from_secs(60);

    let used = run.over(WIDE, ms(500));

    assert!(used > 0.7, "{used}");
}

#[test]
fn messages_now_and_then_keep_the_window_that_they_had() {
    let mut run = Run::new();
    run.over(WIDE, ms(3000));
    let before = run.model.window();
    while let Some((sent, heard, _)) = run.under_way.pop_front() {
        run.now = heard;
        run.in_flight -= MTU;
        run.model.delivered(heard, sent, MTU, true);
        run.model.acknowledged(heard, run.in_flight, true);
    }

    // One packet a second for a minute.
    for _ in 0..60 {
        run.now += Duration::from_secs(1);
        run.model.sent(run.now, MTU);
        run.model.delivered(run.now + WIDE.rtt, run.now, MTU, true);
        run.model.acknowledged(run.now + WIDE.rtt, 0, true);
    }

    assert!(run.model.window() >= before, "{} of {before}", run.model.window());
}

#[test]
fn after_long_silence_it_begins_anew() {
    let mut run = Run::new();
    run.over(WIDE, ms(3000));
    assert!(run.model.window() > 500_000);

    run.model.begin_anew(run.now);

    assert_eq!(run.model.window(), run.model.first_window());
    run.model.set_mtu(1200);
    assert_eq!(run.model.first_window(), 12_000);
    let used = run.over(WIDE, ms(3000));
    assert!(used > 0.7, "{used}");
}
