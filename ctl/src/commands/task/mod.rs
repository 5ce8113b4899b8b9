mod accept;
mod attachments;
mod cancel;
mod dead;
mod decline;
mod ending;
mod explain;
mod fail;
mod get;
mod list;
mod logs;
mod many;
mod map;
mod merge;
mod plan;
mod planned;
mod progress;
mod release;
mod result;
mod retry;
mod send_results;
mod submit;
mod wait;
mod watch;

use clap::Subcommand;
use pilot_local_api::tasks::{AttachedFiles, Attachment, Params};

use super::{called, cell};
use crate::Ctl;
use crate::failure::Failure;
use crate::shown;

/// Submit tasks to peers, and serve the tasks of peers.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Submit(submit::Args),
    Map(map::Args),
    Plan(plan::Args),
    Accept(accept::Args),
    SendResults(send_results::Args),
    Get(get::Args),
    List(list::Args),
    Wait(wait::Args),
    Result(result::Args),
    Watch(watch::Args),
    Progress(progress::Args),
    Release(release::Args),
    Logs(logs::Args),
    Decline(decline::Args),
    Fail(fail::Args),
    Cancel(cancel::Args),
    Retry(retry::Args),
    Explain(explain::Args),
    #[command(subcommand)]
    Dead(dead::Command),
    Attachments(attachments::Args),
    Merge(merge::Args),
}

pub(crate) async fn run(command: Command, ctl: &Ctl) -> Result<(), Failure> {
    match command {
        // Much larger than the others; boxed so that they do not carry it.
        Command::Submit(args) => Box::pin(submit::run(args, ctl)).await,
        Command::Accept(args) => accept::run(args, ctl).await,
        Command::SendResults(args) => send_results::run(args, ctl).await,
        Command::Get(args) => get::run(args, ctl).await,
        Command::List(args) => list::run(args, ctl).await,
        Command::Wait(args) => Box::pin(wait::run(args, ctl)).await,
        Command::Result(args) => result::run(args, ctl).await,
        Command::Watch(args) => Box::pin(watch::run(args, ctl)).await,
        Command::Progress(args) => progress::run(args, ctl).await,
        Command::Logs(args) => Box::pin(logs::run(args, ctl)).await,
        Command::Release(args) => release::run(args, ctl).await,
        Command::Decline(args) => decline::run(args, ctl).await,
        Command::Fail(args) => fail::run(args, ctl).await,
        Command::Map(args) => Box::pin(map::run(args, ctl)).await,
        Command::Plan(args) => Box::pin(plan::run(args, ctl)).await,
        Command::Cancel(args) => cancel::run(args, ctl).await,
        Command::Retry(args) => retry::run(args, ctl).await,
        Command::Explain(args) => explain::run(args, ctl).await,
        Command::Dead(command) => dead::run(command, ctl).await,
        Command::Attachments(args) => attachments::run(args, ctl).await,
        Command::Merge(args) => Box::pin(merge::run(args, ctl)).await,
    }
}

/// What its submitter wrote into a task, a line for each part.
fn content(
    params: &Params,
    attachments: &[Attachment],
    attached: Option<&AttachedFiles>,
    description: &str,
) -> String {
    let mut text = String::new();
    for (name, value) in &params.0 {
        text.push_str(&format!("param {}: {}\n", shown::line(name), shown::line(value)));
    }
    for file in attachments {
        let name = shown::path(file.name.as_bytes());
        let at = file.path.as_ref();
        let at = at.map(|path| format!(", {}", shown::path(path.as_bytes()))).unwrap_or_default();
        text.push_str(&format!("attachment {name}: {} bytes{at}\n", file.size));
    }
    if let Some(AttachedFiles { transfer, files, bytes, .. }) = attached {
        text.push_str(&format!("attached: {files} files, {bytes} bytes, transfer {transfer}\n"));
    }
    text.push_str(&format!("description: {}\n", shown::lines(description)));
    text
}
