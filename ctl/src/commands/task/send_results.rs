use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::{ResultStatus, SendResultsRequest, data_fields};
use serde::de::IgnoredAny;

use crate::Ctl;
use crate::failure::Failure;
use crate::load::{Given, Load};
use crate::payload::{Payload, Payloads};
use crate::waiting::{AtFirst, patiently};

/// End an accepted task with its result; safe on disk once this returns.
///
/// Its files may change or go away then; the submitter has the result once all
/// of them are there. Sending the same result again is harmless. If the daemon restarts
/// meanwhile, the result is sent when it is back, within 30 s.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The task, as `task accept` gave it.
    #[arg(long, value_name = "ID")]
    task_id: TaskId,
    /// The result: text, `-` for stdin or `@FILE`; may be empty or begin with a hyphen.
    #[arg(long, value_name = "DATA", allow_hyphen_values = true)]
    #[arg(value_parser = OsStringValueParser::new().map(Payload::from))]
    data: Option<Payload>,
    /// A file or folder of any size that goes with it. Repeatable. The daemon keeps a copy.
    #[arg(long, value_name = "PATH")]
    file: Vec<PathBuf>,
    /// A folder all content of which goes with it, folders in it, too.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How it ended.
    #[arg(long, value_enum, default_value = "ok")]
    status: Status,
    /// Why it failed.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    reason: Option<String>,
    /// With `--status failed`: another attempt would fail, too, so the submitter makes none by
    /// itself.
    #[arg(long, requires = "status")]
    no_retry: bool,
    /// The data is a JSON document; refused if it is not.
    #[arg(long, requires = "data")]
    json_data: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Ok,
    Failed,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let id = args.task_id;
    let request = request(args)?;
    let call = || ctl.client.send_results(id, &request);
    let view = patiently(ctl, AtFirst::Wait, call).await?;
    ctl.ui.answer(&view, |view| format!("{}  {}", view.id, view.state))
}

fn request(args: Args) -> Result<SendResultsRequest, Failure> {
    let (mut data, mut data_base64) = (None, None);
    if let Some(payload) = &args.data {
        let bytes = Payloads::default().read(payload, "--data")?;
        if args.json_data {
            serde_json::from_slice::<IgnoredAny>(&bytes).map_err(|error| {
                Failure::usage(format!("--data is no JSON document: {error}; nothing was sent"))
            })?;
        }
        (data, data_base64) = data_fields(bytes);
    }
    let mut given = Given::default();
    for path in &args.file {
        given.add(path, "--file")?;
    }
    if let Some(dir) = &args.dir {
        given.add_all_in(dir, "--dir")?;
    }
    let Load { files, attach } = given.load()?;
    let status = match args.status {
        Status::Ok => ResultStatus::Ok,
        Status::Failed => ResultStatus::Failed,
    };
    let (is_json, reason) = (args.json_data, args.reason);
    let no_retry = args.no_retry;
    Ok(SendResultsRequest { status, data, data_base64, is_json, reason, no_retry, files, attach })
}
