use std::time::Instant;

use pilot_flags::HumanDuration;
use pilot_local_api::errors::{ApiError, ErrorCode};
use pilot_local_api::proto::PeerRef;
use pilot_local_api::tasks::{AcceptRequest, AcceptedTask};

use super::content;
use crate::Ctl;
use crate::failure::Failure;
use crate::ui::pairs;
use crate::waiting::{AtFirst, patiently};
use crate::{process, random, shown};

/// Accept the next task of this node's queue; exit code 5 if none came in time.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long to wait for one: 30, 30s, 5m; 0 does not wait.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    timeout: HumanDuration,
    /// Only tasks of this submitter.
    #[arg(long, value_name = "PEER")]
    from: Option<PeerRef>,
    /// The task goes back to the queue as soon as the process that called this command is gone.
    #[arg(long)]
    bind_parent: bool,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    // Made here, so that the same request may be sent again: if the daemon dies
    // between accepting and answering, it gives the same task after its restart.
    let claim = format!("{:016x}", u64::from_be_bytes(random::bytes()?));
    // Now, while it is surely there: later its number may be another's.
    let parent = || {
        let nobody = "the process that called this command is not of this machine";
        process::parent().ok_or_else(|| Failure::usage(nobody))
    };
    let bind = args.bind_parent.then(parent).transpose()?;
    let began = Instant::now();
    let accept = || {
        let left = args.timeout.0.saturating_sub(began.elapsed());
        let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let (from, claim) = (args.from.clone(), Some(claim.clone()));
        let request = AcceptRequest { timeout_ms, from, claim, bind };
        async move { ctl.client.accept(&request).await }
    };
    let Some(task) = patiently(ctl, AtFirst::Fail, accept).await? else {
        let message = format!("no task came within {}", args.timeout);
        return Err(ApiError::new(ErrorCode::NoTask, message).into());
    };
    let id = task.id;
    ctl.ui.answer(&task, text).inspect_err(|_| {
        ctl.ui.say(&format!("task {id} was accepted, and its description could not be printed"));
    })
}

fn text(task: &AcceptedTask) -> String {
    let from = match &task.from_name {
        Some(name) => format!("{} ({})", shown::line(name), shown::line(&task.from)),
        None => shown::line(&task.from),
    };
    let mut text = pairs([
        ("id", Some(task.id.to_string())),
        ("from", Some(from)),
        ("attempt", (task.attempt > 1).then(|| task.attempt.to_string())),
        ("deadline", task.deadline_at.as_ref().map(ToString::to_string)),
        ("ends at the latest", task.lease_expires_at.as_ref().map(ToString::to_string)),
    ]);
    text.push_str(&content(
        &task.params,
        &task.attachments,
        task.attached.as_ref(),
        &task.description,
    ));
    text
}
