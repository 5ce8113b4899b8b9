//! Which events are wanted: the arguments that `subscribe` and `on` share.

use core::str::FromStr;
use core::time::Duration;

use clap::ValueEnum;
use pilot_flags::HumanDuration;
use pilot_local_api::events::{Slow, SubscribeRequest};
use pilot_local_api::proto::events::EventId;
use pilot_local_api::proto::{PeerRef, TopicFilter};
use pilot_local_api::{ApiError, ErrorCode};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("past").args(["since", "last", "durable"])))]
pub(super) struct Selection {
    /// What about, such as build.done or "specialist.*". Repeatable.
    #[arg(long = "topic", value_name = "TOPIC", required = true)]
    topics: Vec<TopicFilter>,
    /// Only what this node published, not all that this node may hear.
    #[arg(long, value_name = "PEER")]
    from: Option<PeerRef>,
    /// First those of this last time (such as 10m), or those after the event of this id.
    #[arg(long, value_name = "DURATION|ID")]
    since: Option<Since>,
    /// First the last so many of each publisher.
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    last: Option<u32>,
    /// Go on where this name stopped, across restarts of any node; the first time, begin now.
    #[arg(long, value_name = "NAME")]
    durable: Option<String>,
    /// What happens when events come faster than they are read: a gap, which is told, or catch
    /// up from the publisher's log [default: gap; with --durable, catch-up].
    #[arg(long, value_enum, value_name = "POLICY")]
    slow: Option<SlowArg>,
    /// End after so many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this time; exit code 5 if no event came [default: never].
    #[arg(long, value_name = "DURATION")]
    timeout: Option<HumanDuration>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SlowArg {
    Gap,
    CatchUp,
}

/// From where on events of the past are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Ago(HumanDuration),
    After(EventId),
}

/// Text that is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a duration such as 10m, or the id of an event, is wanted")]
struct SinceError;

impl FromStr for Since {
    type Err = SinceError;

    fn from_str(text: &str) -> Result<Self, SinceError> {
        let ago = || text.parse().map(Self::Ago);
        text.parse().map(Self::After).or_else(|_| ago()).map_err(|_| SinceError)
    }
}

impl Selection {
    pub(super) fn request(&self) -> SubscribeRequest {
        let (since_ms, after) = match self.since {
            Some(Since::Ago(time)) => (Some(time.as_millis()), None),
            Some(Since::After(id)) => (None, Some(id)),
            None => (None, None),
        };
        SubscribeRequest {
            topics: self.topics.clone(),
            from: self.from.as_ref().map(ToString::to_string),
            since_ms,
            after,
            last: self.last,
            durable: self.durable.clone(),
            slow: self.slow.map(|slow| match slow {
                SlowArg::Gap => Slow::Gap,
                SlowArg::CatchUp => Slow::CatchUp,
            }),
        }
    }

    /// The name by which it goes on.
    pub(super) const fn durable(&self) -> Option<&String> {
        self.durable.as_ref()
    }

    /// Events after which it ends.
    pub(super) const fn count(&self) -> u64 {
        match self.count {
            Some(count) => count,
            None => u64::MAX,
        }
    }

    /// Time after which it ends.
    pub(super) fn limit(&self) -> Duration {
        self.timeout.map_or(Duration::MAX, |limit| limit.0)
    }

    /// The end of one that heard nothing in its time.
    pub(super) fn nothing(&self) -> ApiError {
        let time = self.timeout.map(|limit| format!(" within {limit}")).unwrap_or_default();
        ApiError::new(ErrorCode::NoEvent, format!("no event came{time}"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        selection: Selection,
    }

    fn asked(words: &[&str]) -> Option<SubscribeRequest> {
        let words = [&["subscribe", "--topic", "a.*"], words].concat();
        Some(Words::try_parse_from(words).ok()?.selection.request())
    }

    #[test]
    fn at_most_one_way_into_the_past_is_asked_for() {
        let id = "019ab000-0000-8000-8000-000000000007";
        let plain = asked(&[]).unwrap();

        let wanted = |change: fn(&mut SubscribeRequest)| {
            let mut request = plain.clone();
            change(&mut request);
            Some(request)
        };
        assert_eq!(asked(&["--since", "10m"]), wanted(|asked| asked.since_ms = Some(600_000)));
        assert_eq!(asked(&["--since", id]).unwrap().after, id.parse().ok());
        assert_eq!(asked(&["--last", "1"]), wanted(|asked| asked.last = Some(1)));
        let durable = wanted(|asked| asked.durable = Some("me".to_owned()));
        assert_eq!(asked(&["--durable", "me"]), durable);
        let slow = wanted(|asked| asked.slow = Some(Slow::CatchUp));
        assert_eq!(asked(&["--slow", "catch-up"]), slow);
        for wrong in [
            &["--since", "10m", "--last", "1"][..],
            &["--last", "1", "--durable", "me"],
            &["--since", id, "--durable", "me"],
            &["--since", "yesterday"],
            &["--last", "0"],
            &["--last", "10001"],
            &["--count", "0"],
            &["--slow", "never"],
            &["--topic", "a..b"],
        ] {
            assert_eq!(asked(wrong), None, "{wrong:?}");
        }
    }
}
