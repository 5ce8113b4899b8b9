use std::ffi::OsString;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use pilot_flags::HumanDuration;
use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::{Params, SubmitRequest, Target};
use serde_json::{Map, Value};

use super::ending::WAIT;
use super::many;
use super::planned::Planned;
use crate::Ctl;
use crate::failure::Failure;
use crate::payload::{Param, Payload, Payloads};
use crate::random::fresh_id;
use crate::waiting::until_signal;

/// Submit a task for each line of a file, all in one group.
///
/// A line is a JSON object whose fields become parameters of its task, or any
/// other JSON value, which becomes the parameter `item`. Prints an id a line;
/// with --wait a line of JSON for each task, in their order, once it has ended.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file, or `-` for stdin.
    #[arg(long, value_name = "FILE")]
    each: OsString,
    /// Who is to do them: `any` of the peers, one with a tag, `tag:gpu=a100`, or one peer.
    #[arg(long, value_name = "PEER", default_value = "any")]
    to: Target,
    /// What is to be done: text, `-` for stdin or `@FILE`.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    #[arg(value_parser = OsStringValueParser::new().map(Payload::from))]
    description: Payload,
    /// A parameter of all of them; those of a line come after it. Repeatable.
    #[arg(long, value_name = "NAME=VALUE")]
    #[arg(value_parser = OsStringValueParser::new().try_map(Param::try_from))]
    param: Vec<Param>,
    /// Higher is accepted first; 0 is usual.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    priority: Option<i16>,
    /// Each expires after this time, whatever has become of it.
    #[arg(long, value_name = "DURATION")]
    deadline: Option<HumanDuration>,
    /// Each expires if it runs longer than this.
    #[arg(long, value_name = "DURATION")]
    run_timeout: Option<HumanDuration>,
    /// Mapping again with the same key gives the first tasks, not second ones.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    planned: Planned,
    /// Wait for the results and print them.
    #[arg(long)]
    wait: bool,
    /// How long to wait; the tasks go on beyond it (exit code 24).
    #[arg(long, value_name = "DURATION", default_value = WAIT, requires = "wait")]
    timeout: HumanDuration,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let (wait, limit) = (args.wait, args.timeout.0);
    let requests = requests(args)?;
    let Some(group) = requests.first().and_then(|request| request.group.clone()) else {
        ctl.ui.say("no lines, no tasks");
        return Ok(());
    };
    let views = many::submit(ctl, &requests).await?;
    let ids: Vec<TaskId> = views.iter().map(|view| view.id).collect();
    if !wait {
        ctl.ui.say(&format!("{} tasks in the group {group}", ids.len()));
        return ctl.ui.answer(&ids, |ids| ids.iter().map(|id| format!("{id}\n")).collect());
    }
    ctl.ui.say(&format!("{} tasks submitted in the group {group}", ids.len()));
    let told = || super::ending::group_goes_on(&group);
    until_signal(many::wait(ctl, &ids, limit), told).await
}

fn requests(args: Args) -> Result<Vec<SubmitRequest>, Failure> {
    let mut payloads = Payloads::default();
    let lines = payloads.text(&Payload::of_path(args.each), "--each")?;
    let description = payloads.text(&args.description, "--description")?;
    let common = payloads.params(args.param)?;
    let fresh = fresh_id(TaskId::new)?;
    let planned = args.planned.in_group(|| format!("map-{fresh}"));
    let mut requests = Vec::new();
    let lines = (1_usize..).zip(lines.lines()).filter(|(_, line)| !line.trim().is_empty());
    for (number, line) in lines {
        let mut params = common.clone();
        params.extend(params_of(line).map_err(|error| {
            Failure::usage(format!("--each, line {number}: {error}; nothing was submitted"))
        })?);
        let request = SubmitRequest {
            id: Some(fresh_id(TaskId::new)?),
            params: Params(params),
            priority: args.priority,
            deadline_in_ms: args.deadline.map(HumanDuration::as_millis),
            run_timeout_ms: args.run_timeout.map(HumanDuration::as_millis),
            idempotency_key: args.idempotency_key.as_ref().map(|key| format!("{key}:{number}")),
            ..SubmitRequest::new(args.to.clone(), description.clone())
        };
        requests.push(planned.clone().of(request));
    }
    Ok(requests)
}

/// The parameters of a line: texts as they are, other values as JSON.
fn params_of(line: &str) -> Result<Vec<(String, String)>, serde_json::Error> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => other.to_string(),
    };
    let fields: Map<String, Value> = match serde_json::from_str(line)? {
        Value::Object(fields) => fields,
        item @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)) => Map::from_iter([("item".to_owned(), item)]),
    };
    Ok(fields.into_iter().map(|(name, value)| (name, text(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_parameters() {
        let of = |line| params_of(line).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());

        assert_eq!(of(r#"{"a":"x","b":[1,2]}"#), [pair("a", "x"), pair("b", "[1,2]")]);
        assert_eq!(of("\"x\""), [pair("item", "x")]);
        assert_eq!(of("7"), [pair("item", "7")]);
        assert!(params_of("{").is_err());
    }
}
