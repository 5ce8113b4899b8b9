use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use pilot_flags::HumanDuration;
use pilot_local_api::errors::{ApiError, ErrorCode};
use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::{Params, SubmitRequest, Target};

use super::ending::{WAIT, ended, goes_on, show_result, verdict};
use super::planned::Planned;
use crate::Ctl;
use crate::failure::Failure;
use crate::load::{Given, Load};
use crate::payload::{Param, Payload, Payloads};
use crate::random::fresh_id;
use crate::waiting::{AtFirst, patiently, until_signal};

/// Submit a task to a peer. Prints its id once it is safe on disk.
///
/// What is attached may change or go away then; the task is offered to the peer
/// once all of it is there.
///
/// With --wait the id goes to stderr and the result, when it is there, to
/// stdout. Ctrl-C stops waiting, not the task.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Who is to do it: a peer, `any` of them, or one with a tag, `tag:gpu=a100`.
    #[arg(long, value_name = "PEER")]
    to: Target,
    /// What is to be done: text, `-` for stdin or `@FILE`; at most 1 MiB.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    #[arg(value_parser = OsStringValueParser::new().map(Payload::from))]
    description: Payload,
    /// A parameter; the value may be `-` for stdin or `@FILE`. Repeatable, the order is kept.
    #[arg(long, value_name = "NAME=VALUE")]
    #[arg(value_parser = OsStringValueParser::new().try_map(Param::try_from))]
    param: Vec<Param>,
    /// A file or folder of any size that goes with it. Repeatable. The daemon keeps a copy.
    #[arg(long, value_name = "PATH")]
    attach: Vec<PathBuf>,
    /// Higher is accepted first; 0 is usual.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    priority: Option<i16>,
    /// It expires after this time, whatever has become of it.
    #[arg(long, value_name = "DURATION")]
    deadline: Option<HumanDuration>,
    /// It expires if no worker accepts it within this time.
    #[arg(long, value_name = "DURATION")]
    queue_timeout: Option<HumanDuration>,
    /// It expires if it runs longer than this.
    #[arg(long, value_name = "DURATION")]
    run_timeout: Option<HumanDuration>,
    /// Submitting again with the same key gives the first task, not a second one.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    planned: Planned,
    /// Wait for the result and print it.
    #[arg(long)]
    wait: bool,
    /// How long to wait; the task goes on beyond it (exit code 24).
    #[arg(long, value_name = "DURATION", default_value = WAIT, requires = "wait")]
    timeout: HumanDuration,
    /// Write the files of the result into this folder.
    #[arg(long, value_name = "DIR", requires = "wait")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let (wait, limit, out) = (args.wait, args.timeout.0, args.out.clone());
    let (id, request) = request(args)?;
    // The id is made here, so that the same request may be sent again.
    let submit = async {
        let sent = patiently(ctl, AtFirst::Fail, || ctl.client.submit(&request)).await;
        sent.map_err(|error| Failure::from(unsure(error.into(), id)))
    };
    let view = until_signal(submit, || unknown(id)).await?;
    if !wait {
        return ctl.ui.answer(&view, |view| view.id.to_string());
    }
    // With an idempotency key it may be an earlier task.
    let id = view.id;
    ctl.ui.say(&if ctl.ui.json() {
        format!("{{\"id\":\"{id}\"}}")
    } else {
        format!("task {id} submitted")
    });
    let waited = async {
        let view = ended(ctl, id, limit).await?;
        if view.state.is_terminal() {
            show_result(ctl, id, out.as_deref()).await
        } else {
            Ok(verdict(id, view.state, view.reason.as_deref())?)
        }
    };
    until_signal(waited, || goes_on(id)).await
}

fn request(args: Args) -> Result<(TaskId, SubmitRequest), Failure> {
    let mut payloads = Payloads::default();
    let description = payloads.text(&args.description, "--description")?;
    let params = payloads.params(args.param)?;
    let mut given = Given::default();
    for path in &args.attach {
        given.add(path, "--attach")?;
    }
    let Load { files, attach } = given.load()?;
    let id = fresh_id(TaskId::new)?;
    let request = SubmitRequest {
        id: Some(id),
        params: Params(params),
        files,
        attach,
        priority: args.priority,
        deadline_in_ms: args.deadline.map(HumanDuration::as_millis),
        queue_timeout_ms: args.queue_timeout.map(HumanDuration::as_millis),
        run_timeout_ms: args.run_timeout.map(HumanDuration::as_millis),
        idempotency_key: args.idempotency_key,
        ..SubmitRequest::new(args.to, description)
    };
    Ok((id, args.planned.of(request)))
}

/// The connection was lost between request and answer, and stayed lost.
fn unsure(error: ApiError, id: TaskId) -> ApiError {
    if error.code != ErrorCode::DaemonNotRunning || error.hint.is_some() {
        return error;
    }
    ApiError {
        message: format!("{}; whether task {id} was taken is not known", error.message),
        ..error
    }
    .with_hint(format!("pilotctl task get {id}"))
    .with_detail("task", id.to_string())
}

/// A signal came before the daemon's answer.
fn unknown(id: TaskId) -> ApiError {
    ApiError::new(
        ErrorCode::StillRunning,
        format!("stopped before the daemon answered; whether task {id} was taken is not known"),
    )
    .with_hint(format!("pilotctl task get {id}"))
    .with_detail("task", id.to_string())
}
