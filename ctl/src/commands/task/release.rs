use core::time::Duration;

use pilot_flags::HumanDuration;
use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::ReleaseRequest;

use crate::Ctl;
use crate::failure::Failure;

/// Put an accepted task back into the queue, in its old place.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
    /// How long nobody gets it: 30, 30s, 5m; at most 30d.
    #[arg(long, value_name = "DURATION")]
    delay: Option<HumanDuration>,
    /// Why; at most 4096 bytes.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, default_value = "")]
    reason: String,
}

pub(crate) async fn run(Args { id, delay, reason }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let delay = delay.map_or(Duration::ZERO, |delay| delay.0);
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let view = ctl.client.release(id, &ReleaseRequest { delay_ms, reason }).await?;
    ctl.ui.answer(&view, |view| format!("{}  {}", view.id, view.state))
}
