//! What a command finds, and what it cannot reach.

use std::fs;

use pilot_local_api::Base64;
use pilot_local_api::tasks::{ContentFile, Params, SubmitRequest};
use pilot_tests::api::{task_for, with_files};

use crate::{PATIENCE, code, data, ended, shell, submit, team};

#[test]
fn a_command_finds_the_task_in_its_environment_and_its_folder() {
    let team = team();
    let (large, more) = (team.path("large"), team.path("more"));
    fs::write(&large, "from a transfer").unwrap();
    fs::create_dir(&more).unwrap();
    fs::write(more.join("deep"), "deeper").unwrap();
    let file = |name: &str, content: &'static str| ContentFile {
        name: name.parse().unwrap(),
        content_base64: Base64(content.into()),
    };
    let params = [("api-key", "a'b\"c $(x)\n"), ("API_KEY", "second"), ("große", "3")];
    let params = params.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let request = SubmitRequest {
        params: Params(params),
        files: vec![file("small", "inside"), file("-rf", "odd")],
        ..with_files(&team.peer("worker"), "what\nto do", &[&large, &more])
    };
    let id = team.api("manager").unwrap().submit_as(&request).unwrap().id;
    let script = r#"cmp - "$PILOT_TASK_DIR/task.json" && echo same
echo "$PILOT_TASK_ID $PILOT_TASK_ATTEMPT $PILOT_TASK_FROM $PILOT_TASK_FROM_NAME"
echo "$PILOT_TASK_DESCRIPTION|$PILOT_PARAM_API_KEY|$PILOT_PARAM_GRO_E"
cmp "$PILOT_TASK_DIR/description" - <<end && echo described
what
to do
end
cd "$PILOT_TASK_DIR/files" && ls && cat ./small ./-rf ./large more/deep
echo; echo "${PILOT_INPUTS_DIR-none} $PILOT_RESULT_DIR $PILOT_TASK_DIR"; ls "$PILOT_RESULT_DIR"
pilotctl task get "$PILOT_TASK_ID" >/dev/null && echo reached"#;
    let path = format!(
        "{}:{}",
        team.programs().folder().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let words = ["worker", "run", "--once", "--", "sh", "-c", script];
    let mut command = team.node("worker").command(&words);
    command.env("PATH", path).env("PILOT_PARAM_STALE", "1");

    let mut worker = pilot_tests::Process::start(command).unwrap();

    let printed = data(&team, id);
    assert_eq!(code(&mut worker), Some(0), "{}", worker.errors());
    let manager = team.address("manager");
    let wanted = format!(
        "same\n{id} 1 {manager} manager\nwhat\nto do|a'b\"c $(x)\n|3\n-rf\nlarge\nmore\nsmall\n\
         insideoddfrom a transferdeeper\nnone "
    );
    assert!(printed.starts_with(&wanted), "{printed}\n{}", worker.errors());
    assert!(printed.ends_with("\nreached\n"), "{printed}");
    crate::said(&worker, "parameter API_KEY not in the environment");
    let folder = printed.lines().rev().nth(1).unwrap().rsplit(' ').next().unwrap();
    assert!(!fs::exists(folder).unwrap(), "{folder} is left");
}

#[test]
fn names_of_a_hostile_submitter_lead_nowhere() {
    let team = team();
    let names = ["PATH", "../../x", "a=b", "LD_PRELOAD\n", "\u{1b}[2J", "x".repeat(500).as_str()]
        .map(|name| (name.to_owned(), "evil".to_owned()));
    let request = SubmitRequest {
        params: Params(names.to_vec()),
        ..task_for(&team.peer("worker"), "$(touch evil); `touch evil`")
    };
    let id = team.api("manager").unwrap().submit_as(&request).unwrap().id;
    let script = r#"env | grep evil | grep -v ^PILOT_PARAM_ | grep -v ^PILOT_TASK_DESC; env | grep -c =evil"#;

    let mut worker = shell(&team, &["--once"], script);

    assert_eq!(data(&team, id), "6\n");
    assert_eq!(code(&mut worker), Some(0), "{}", worker.errors());
}

#[test]
fn what_a_command_says_is_heard_here_and_by_its_submitter() {
    let team = team();
    let id = submit(&team, "talk");
    let script = "echo first; printf 'on its \\033[31mway' >&2; sleep 60";
    let mut worker = shell(&team, &["--slots", "2", "--grace", "1s"], script);

    let api = team.api("manager").unwrap();
    let told = |line: &str| api.until(id, line, |view| view.note.as_deref() == Some(line));
    told("first").unwrap();

    api.cancel(id).unwrap();
    assert_eq!(ended(&team, id).state.word(), "cancelled");
    worker.error("] on its \u{1b}[31mway", PATIENCE).unwrap();
    assert_eq!(worker.stop(PATIENCE).unwrap().code(), Some(143));
}
