//! Answers to the peer's calls.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use pilot_proto::probe::{Call, Method};

use crate::bucket::Bucket;
use crate::campaign::LEAD;

/// Answers: an honest peer repeats a call twice, and begins few of them.
const ANSWERS: Bucket = Bucket::new(8, Duration::from_millis(400));

/// Calls that are remembered, so that none is answered more often than it is
/// sent by an honest peer over all its beacons. An older one may be heard again
/// as if it were new: that costs some pings within their limits.
const REMEMBERED: usize = 32;

/// Three times by each of four beacons.
const TIMES: u8 = 12;

/// The longest start that is agreed to.
const LATEST: Duration = Duration::from_secs(2);

/// Keeps the peer's calls apart.
#[derive(Debug)]
pub(crate) struct Answerer {
    limit: Bucket,
    seen: VecDeque<(u64, u8)>,
}

impl Answerer {
    pub(crate) const fn new() -> Self {
        Self { limit: ANSWERS, seen: VecDeque::new() }
    }

    /// After how long to start, if the call is to be answered.
    ///
    /// `way` is the round trip by the relay as both ends' own measurements
    /// have it, for a caller that does not know better.
    pub(crate) fn handle_call(
        &mut self,
        call: &Call,
        way: Option<Duration>,
        now: Instant,
    ) -> Option<Duration> {
        if !self.is_wanted(call.seq) || !self.limit.take(now) {
            return None;
        }
        let told = Duration::from_millis(call.start_in_ms.into());
        let round_trip = if told.is_zero() { way.unwrap_or_default() } else { told };
        // The caller starts when the answer is there.
        let together = (round_trip / 2).min(LATEST);
        Some(match call.method {
            Method::Together | Method::AnswererFirst | Method::Birthday => together,
            Method::CallerFirst => together + LEAD,
        })
    }

    fn is_wanted(&mut self, seq: u64) -> bool {
        if let Some((_, times)) = self.seen.iter_mut().find(|(seen, _)| *seen == seq) {
            *times = times.saturating_add(1);
            return *times <= TIMES;
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back((seq, 1));
        true
    }
}

#[cfg(test)]
mod tests {
    use pilot_proto::probe::{BeaconTimes, Candidates, Nat};

    use super::*;

    fn call(seq: u64, method: Method, start_in_ms: u16) -> Call {
        Call {
            seq,
            answer: false,
            method,
            start_in_ms,
            nat: Nat::UNKNOWN,
            mapped: None,
            candidates: Candidates::default(),
            beacons: BeaconTimes::default(),
        }
    }

    #[test]
    fn the_start_is_when_the_answer_is_there() {
        let now = crate::clock::start();
        let way = Some(Duration::from_millis(60));
        let start = |method, told| Answerer::new().handle_call(&call(1, method, told), way, now);

        assert_eq!(start(Method::Together, 0), Some(Duration::from_millis(30)));
        assert_eq!(start(Method::Together, 80), Some(Duration::from_millis(40)));
        assert_eq!(start(Method::AnswererFirst, 80), Some(Duration::from_millis(40)));
        assert_eq!(start(Method::CallerFirst, 80), Some(Duration::from_millis(40) + LEAD));
        assert_eq!(start(Method::Together, u16::MAX), Some(LATEST));
    }

    #[test]
    fn one_call_is_not_answered_for_ever_and_many_not_all() {
        let now = crate::clock::start();
        let mut answerer = Answerer::new();

        let mut answered = |seq, times: u32| {
            (0..times)
                .filter(|time| {
                    let at = now + Duration::from_secs(60 * u64::from(*time));
                    answerer.handle_call(&call(seq, Method::Together, 0), None, at).is_some()
                })
                .count()
        };
        assert_eq!(answered(1, 50), usize::from(TIMES));

        let mut answerer = Answerer::new();
        let flood = (0..1_000)
            .filter(|seq| {
                answerer.handle_call(&call(*seq, Method::Together, 0), None, now).is_some()
            })
            .count();
        assert_eq!(flood, 8);
    }
}
