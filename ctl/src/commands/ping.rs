use core::time::Duration;
use std::time::Instant;

use pilot_flags::HumanDuration;
use pilot_local_api::peers::{PathKind, PingView};
use pilot_local_api::proto::PeerRef;
use pilot_local_api::{ApiError, CallError, ErrorCode};

use super::{by, millis};
use crate::Ctl;
use crate::failure::Failure;

/// Time between an answer and the next probe.
const PAUSE: Duration = Duration::from_millis(200);

/// Probes that are sent if nothing is said.
const COUNT: u32 = 3;

/// Measure the round trip to a peer, and the path it takes.
///
/// Prints a line for each answer: its time, its path, and where its packets
/// went: to the peer if the path is direct, to the beacon if it is relayed.
/// Exit code 0 if there was an answer, 7 if there was none. With
/// --until-direct 0 once an answer took the direct path, and 5 if the peer
/// answers, but through a relay only; tasks pass there as well.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    peer: PeerRef,
    /// How many probes to send [default: 3; with --until-direct any number].
    #[arg(short = 'c', long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: Option<u32>,
    /// Every 200 ms until an answer takes the direct path.
    #[arg(long)]
    until_direct: bool,
    /// How long to wait for each answer, such as 30, 30s or 5m; with
    /// --until-direct, for all of it.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    timeout: HumanDuration,
}

/// What the answers came to.
#[derive(Default)]
struct Outcome {
    /// The last answer.
    answer: Option<PingView>,
    /// The last probe without one.
    silence: Option<CallError>,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let began = Instant::now();
    let mut outcome = Outcome::default();
    let count = match (args.count, args.until_direct) {
        (Some(count), _) => count,
        (None, true) => u32::MAX,
        (None, false) => COUNT,
    };
    for probe in 0..count {
        let left = match args.until_direct {
            true => args.timeout.0.saturating_sub(began.elapsed()),
            false => args.timeout.0,
        };
        if probe > 0 {
            if args.until_direct && left <= PAUSE {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        match ctl.client.ping(&args.peer, left.saturating_sub(pause_of(&args, probe))).await {
            Ok(answer) => {
                ctl.ui.answer(&answer, text)?;
                let direct = answer.path == PathKind::Direct;
                outcome.answer = Some(answer);
                if args.until_direct && direct {
                    return Ok(());
                }
            }
            Err(error) if error.api().code == ErrorCode::PeerUnreachable => {
                if !ctl.ui.json() && count > 1 {
                    ctl.ui.say(&format!("no answer: {error}"));
                }
                outcome.silence = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    match (outcome.answer, outcome.silence) {
        (None, Some(error)) => Err(error.into()),
        (Some(answer), _) if args.until_direct => Err(not_direct(&args, &answer).into()),
        (Some(_) | None, _) => Ok(()),
    }
}

/// What was spent on the pause before this probe, of the time for all of them.
fn pause_of(args: &Args, probe: u32) -> Duration {
    if args.until_direct && probe > 0 { PAUSE } else { Duration::ZERO }
}

fn not_direct(args: &Args, answer: &PingView) -> ApiError {
    let Args { peer, timeout, .. } = args;
    let way = by(answer.endpoint.as_deref(), answer.transport);
    let message = format!(
        "{peer} answers through the relay at {way}, and no direct path was found within \
         {timeout}; the relayed one goes on working"
    );
    ApiError::new(ErrorCode::NotDirect, message)
        .with_hint("pilotctl netcheck")
        .with_detail("peer", peer.to_string())
        .with_detail("path", answer.path.word())
        .with_detail("endpoint", answer.endpoint.clone())
}

fn text(view: &PingView) -> String {
    let way = by(view.endpoint.as_deref(), view.transport);
    format!("{}  {}  {way}", millis(view.rtt_us), view.path.word())
}
