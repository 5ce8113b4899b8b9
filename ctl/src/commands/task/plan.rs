use std::collections::BTreeMap;
use std::ffi::OsString;

use pilot_flags::HumanDuration;
use pilot_local_api::errors::{ApiError, ErrorCode};
use pilot_local_api::proto::{Tag, TaskId};
use pilot_local_api::tasks::{OnDepFailure, Params, Preference, SubmitRequest, Target};
use serde::Deserialize;

use super::ending::WAIT;
use super::many;
use crate::Ctl;
use crate::failure::Failure;
use crate::payload::{Payload, Payloads};
use crate::random::fresh_id;
use crate::waiting::{AtFirst, patiently, until_signal};

/// Submit tasks that come after each other, all of them or none.
///
/// FILE has a JSON object a line: {"name": "test", "to": "any", "description": "…",
/// "after": ["build"], "input_from": ["build"]}, and further params, retries, group,
/// exclusive, require, prefer, priority, deadline, run_timeout, on_dep_failure,
/// leave_result. `after` and `input_from` name other lines, before or behind, or
/// are ids. Tasks that would wait for each other are refused, and shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file, or `-` for stdin.
    #[arg(value_name = "FILE")]
    file: OsString,
    /// Wait for the results and print a line of JSON for each.
    #[arg(long)]
    wait: bool,
    /// How long to wait; the tasks go on beyond it (exit code 24).
    #[arg(long, value_name = "DURATION", default_value = WAIT, requires = "wait")]
    timeout: HumanDuration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    name: Option<String>,
    to: String,
    description: String,
    #[serde(default)]
    params: Params,
    #[serde(default)]
    after: Vec<String>,
    #[serde(default)]
    input_from: Vec<String>,
    #[serde(default)]
    on_dep_failure: OnDepFailure,
    #[serde(default)]
    retries: u32,
    group: Option<String>,
    exclusive: Option<String>,
    #[serde(default)]
    require: Vec<String>,
    #[serde(default)]
    prefer: Vec<Preference>,
    priority: Option<i16>,
    deadline: Option<String>,
    run_timeout: Option<String>,
    #[serde(default)]
    leave_result: bool,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let text = Payloads::default().text(&Payload::of_path(args.file), "FILE")?;
    let (requests, names) = requests(&text)?;
    if requests.is_empty() {
        ctl.ui.say("no lines, no tasks");
        return Ok(());
    }
    // With ids of its own, so that the same may be sent again.
    let submit = || ctl.client.submit_all(&requests);
    let submitted = patiently(ctl, AtFirst::Fail, submit).await;
    let views = submitted.map_err(|error| named(error.into(), &names))?;
    let ids: Vec<TaskId> = views.iter().map(|view| view.id).collect();
    let shown = |id: &TaskId| match names.get(id) {
        Some(name) => format!("{id}  {name}\n"),
        None => format!("{id}\n"),
    };
    if !args.wait {
        return ctl.ui.answer(&ids, |ids| ids.iter().map(shown).collect());
    }
    ctl.ui.say(ids.iter().map(shown).collect::<String>().trim_end());
    let Some(first) = ids.first().copied() else { return Ok(()) };
    let told = || super::ending::goes_on(first);
    until_signal(many::wait(ctl, &ids, args.timeout.0), told).await
}

/// What is asked for, and what each task is called in the file.
fn requests(text: &str) -> Result<(Vec<SubmitRequest>, BTreeMap<TaskId, String>), Failure> {
    let mut steps = Vec::new();
    let mut ids = BTreeMap::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let step: Step = serde_json::from_str(line).map_err(|error| wrong(number, &error))?;
        let id = fresh_id(TaskId::new)?;
        if let Some(name) = &step.name
            && ids.insert(name.clone(), id).is_some()
        {
            return Err(wrong(number, &format!("a second task is called {name}")));
        }
        steps.push((number, id, step));
    }
    let mut requests = Vec::with_capacity(steps.len());
    for (number, id, step) in steps {
        let find = |name: &String| {
            let known = ids.get(name).copied().or_else(|| name.parse().ok());
            known.ok_or_else(|| wrong(number, &format!("no task is called {name}")))
        };
        let time = |text: &Option<String>| {
            let time = text.as_ref().map(|text| text.parse::<HumanDuration>()).transpose();
            time.map(|time| time.map(HumanDuration::as_millis))
                .map_err(|error| wrong(number, &error))
        };
        let to: Target = step.to.parse().map_err(|error| wrong(number, &error))?;
        let require: Result<Vec<Tag>, _> = step.require.iter().map(|tag| tag.parse()).collect();
        requests.push(SubmitRequest {
            id: Some(id),
            params: step.params.clone(),
            priority: step.priority,
            deadline_in_ms: time(&step.deadline)?,
            run_timeout_ms: time(&step.run_timeout)?,
            require: require.map_err(|error| wrong(number, &error))?,
            prefer: step.prefer.clone(),
            retries: step.retries,
            group: step.group.clone(),
            after: step.after.iter().map(find).collect::<Result<_, _>>()?,
            on_dep_failure: step.on_dep_failure,
            input_from: step.input_from.iter().map(find).collect::<Result<_, _>>()?,
            exclusive: step.exclusive.clone(),
            leave_result: step.leave_result,
            ..SubmitRequest::new(to, step.description)
        });
    }
    let names = ids.into_iter().map(|(name, id)| (id, name)).collect();
    Ok((requests, names))
}

fn wrong(number: usize, why: &dyn core::fmt::Display) -> Failure {
    Failure::usage(format!("line {number}: {why}; nothing was submitted"))
}

/// An error with the names of the file instead of the ids made for them.
fn named(error: ApiError, names: &BTreeMap<TaskId, String>) -> ApiError {
    if error.code == ErrorCode::DaemonNotRunning {
        return error;
    }
    let replaced = |text: String| {
        names.iter().fold(text, |text, (id, name)| text.replace(&id.to_string(), name))
    };
    ApiError { message: replaced(error.message), ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_ids_before_and_behind() {
        let text = r#"{"name":"b","to":"any","description":"x","after":["a"]}

{"name":"a","to":"tag:gpu=a100","description":"y","run_timeout":"5m"}"#;

        let (requests, names) = requests(text).unwrap();

        assert_eq!(requests[0].after, [requests[1].id.unwrap()]);
        assert_eq!(names[&requests[1].id.unwrap()], "a");
        assert_eq!(requests[1].run_timeout_ms, Some(300_000));
        let ring = ApiError::new(ErrorCode::InvalidArgument, requests[0].id.unwrap().to_string());
        assert_eq!(named(ring, &names).message, "b");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, why) in [
            ("{}", "line 1"),
            (r#"{"to":"any","description":"","after":["x"]}"#, "no task is called x"),
            (r#"{"to":"any","description":"","colour":1}"#, "colour"),
            (r#"{"to":"any","description":"","run_timeout":"soon"}"#, "line 1"),
        ] {
            let Err(Failure::Error(error)) = requests(text) else { panic!("{text}") };
            assert!(error.message.contains(why), "{}", error.message);
        }
    }
}
