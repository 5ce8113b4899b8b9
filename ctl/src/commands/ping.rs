use core::time::Duration;

use pilot_flags::HumanDuration;
use pilot_local_api::peers::PingView;
use pilot_local_api::proto::PeerRef;
use pilot_local_api::{CallError, ErrorCode};

use crate::Ctl;
use crate::failure::Failure;

/// Time between an answer and the next probe.
const PAUSE: Duration = Duration::from_millis(200);

/// Measure the round trip to a peer, and the path it takes.
///
/// Prints a line for each answer. Exit code 0 if there was one, 7 if none.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    peer: PeerRef,
    /// How many probes to send.
    #[arg(short = 'c', long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
    /// How long to wait for each answer, such as 30, 30s or 5m.
    #[arg(long, default_value = "10s")]
    timeout: HumanDuration,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let mut answered = false;
    let mut last: Option<CallError> = None;
    for probe in 0..args.count {
        if probe > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match ctl.client.ping(&args.peer, args.timeout.0).await {
            Ok(view) => {
                answered = true;
                ctl.ui.answer(&view, text)?;
            }
            Err(error) if error.api().code == ErrorCode::PeerUnreachable => {
                if !ctl.ui.json() && args.count > 1 {
                    ctl.ui.say(&format!("no answer: {error}"));
                }
                last = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    match last {
        Some(error) if !answered => Err(error.into()),
        Some(_) | None => Ok(()),
    }
}

fn text(view: &PingView) -> String {
    let millis = Duration::from_micros(view.rtt_us).as_secs_f64() * 1e3;
    let endpoint = view.endpoint.as_deref().unwrap_or("-");
    format!("{millis:.3} ms  {}  {endpoint}", view.path.word())
}
