use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;
use std::time::Instant;

use pilot_flags::HumanDuration;
use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::{TaskState, TaskView};

use super::ending::{WAIT, ended, goes_on, group_goes_on, verdict};
use super::many;
use crate::Ctl;
use crate::failure::Failure;
use crate::waiting::until_signal;

/// Wait until tasks have ended; the exit code says how.
///
/// With several, of the first (in the order given) that did not succeed, or
/// with --any of the first that ended. Ctrl-C stops waiting, not the tasks.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(required_unless_present = "group")]
    id: Vec<TaskId>,
    /// Those of this group, as far as they are submitted now.
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    group: Option<String>,
    /// Until one of them has ended.
    #[arg(long, conflicts_with = "all")]
    any: bool,
    /// Until all of them have ended (as without it).
    #[arg(long)]
    all: bool,
    /// How long to wait; the tasks go on beyond it (exit code 24).
    #[arg(long, value_name = "DURATION", default_value = WAIT)]
    timeout: HumanDuration,
}

/// Tasks that are waited for at once, a connection each; of more, the others
/// are looked at in between.
const AT_ONCE: usize = 128;

/// How long some are waited for before the others are looked at.
const IN_TURN: Duration = Duration::from_millis(500);

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let ids = match &args.group {
        Some(group) => many::of_group(ctl, group).await?.iter().map(|view| view.id).collect(),
        None => args.id.clone(),
    };
    let Some(first) = ids.first().copied() else {
        return Err(Failure::usage("at least one task id is needed"));
    };
    let single = args.id.len() == 1;
    let waited = async {
        let limit = args.timeout.0;
        let views = if args.any {
            vec![any(ctl, &ids, limit).await?]
        } else {
            all(ctl, &ids, limit).await?
        };
        match views.first() {
            Some(view) if single || args.any => ctl.ui.answer(view, line)?,
            Some(_) | None => ctl
                .ui
                .answer(&views, |views| views.iter().map(|view| line(view) + "\n").collect())?,
        }
        for view in &views {
            verdict(view.id, view.state, view.reason.as_deref())?;
        }
        Ok(())
    };
    let told = || match &args.group {
        Some(group) => group_goes_on(group),
        None => goes_on(first),
    };
    until_signal(waited, told).await
}

async fn all(ctl: &Ctl, ids: &[TaskId], limit: Duration) -> Result<Vec<TaskView>, Failure> {
    let began = Instant::now();
    let mut views = Vec::with_capacity(ids.len());
    for id in ids {
        views.push(ended(ctl, *id, limit.saturating_sub(began.elapsed())).await?);
    }
    Ok(views)
}

/// The first that has ended; one that has not, if the time is over.
async fn any(ctl: &Ctl, ids: &[TaskId], limit: Duration) -> Result<TaskView, Failure> {
    let began = Instant::now();
    let parts = ids.chunks(AT_ONCE);
    let alone = parts.len() == 1;
    for some in parts.cycle() {
        let left = limit.saturating_sub(began.elapsed());
        let view = any_of(ctl, some, if alone { left } else { left.min(IN_TURN) }).await?;
        if view.state.is_terminal()
            || view.state == TaskState::InputRequired
            || began.elapsed() >= limit
        {
            return Ok(view);
        }
    }
    Err(Failure::usage("at least one task id is needed"))
}

async fn any_of(ctl: &Ctl, ids: &[TaskId], limit: Duration) -> Result<TaskView, Failure> {
    let mut waits: Vec<Pin<Box<dyn Future<Output = _> + '_>>> = Vec::with_capacity(ids.len());
    for id in ids {
        waits.push(Box::pin(ended(ctl, *id, limit)));
    }
    poll_fn(|cx| {
        let ended = waits.iter_mut().find_map(|wait| match wait.as_mut().poll(cx) {
            Poll::Ready(view) => Some(view),
            Poll::Pending => None,
        });
        ended.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

fn line(view: &TaskView) -> String {
    format!("{}  {}", view.id, view.state)
}
