use pilot_flags::HumanDuration;
use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::CancelRequest;

use crate::Ctl;
use crate::failure::Failure;

/// Take a submitted task back. A worker that is at it has a grace time to stop.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
    /// How long a running worker may take to stop; then the task is cancelled without it.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    grace: HumanDuration,
    /// Why; at most 4096 bytes.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    reason: Option<String>,
}

pub(crate) async fn run(Args { id, grace, reason }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let request = CancelRequest { grace_ms: Some(grace.as_millis()), reason };
    let view = ctl.client.cancel(id, &request).await?;
    ctl.ui.answer(&view, |view| {
        let asked = if view.state.is_terminal() { "" } else { "  (cancel requested)" };
        format!("{}  {}{asked}", view.id, view.state)
    })
}
