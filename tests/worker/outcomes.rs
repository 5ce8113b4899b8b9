//! How commands end, and how a worker does.

use std::fs;

use pilot_local_api::tasks::TaskState;

use crate::{PATIENCE, code, data, ended, lines, shell, start, submit, team};

#[test]
fn any_other_exit_is_a_failure_with_its_reason_and_its_data() {
    let team = team();
    let ids = ["exit", "signal", "large"].map(|name| submit(&team, name));
    let script = r#"case $PILOT_TASK_DESCRIPTION in
exit) echo partial; echo earlier >&2; echo "no disk" >&2; exit 7 ;;
signal) kill -USR1 $$ ;;
large) head -c 20000000 /dev/zero ;;
esac"#;

    let mut worker = shell(&team, &["--max-tasks", "3", "--json"], script);

    let reasons = ids.map(|id| {
        let view = ended(&team, id);
        assert_eq!(view.state, TaskState::Failed, "{view:?}");
        view.reason.unwrap()
    });
    assert_eq!(reasons[0], "CMD ended with 7: no disk");
    assert_eq!(reasons[1], "CMD was ended by signal 10");
    assert!(reasons[2].starts_with("CMD wrote more than "), "{}", reasons[2]);
    let partial = team.api("manager").unwrap().result(ids[0]).unwrap();
    assert_eq!(partial.data.as_deref(), Some("partial\n"));
    let told: serde_json::Value =
        serde_json::from_str(&worker.line("", PATIENCE).unwrap()).unwrap();
    assert_eq!(told["id"], ids[0].to_string());
    assert_eq!((&told["outcome"], &told["exit_code"]), (&"failed".into(), &7.into()));
    assert_eq!(code(&mut worker), Some(0), "{}", worker.errors());
}

#[test]
fn a_command_that_says_later_gets_its_task_again() {
    let team = team();
    let id = submit(&team, "later");
    let once = team.path("once").display().to_string();
    let script = format!(r#"mkdir "{once}" 2>/dev/null && {{ echo busy >&2; exit 75; }}; echo ok"#);

    let mut worker = shell(&team, &["--max-tasks", "2"], &script);

    let told = worker.line(&id.to_string(), PATIENCE).unwrap();
    assert_eq!(told, "released  busy");
    assert_eq!(data(&team, id), "ok\n");
    assert_eq!(code(&mut worker), Some(0), "{}", worker.errors());
    let view = team.api("manager").unwrap().task(id).unwrap();
    assert_eq!(view.attempt, 1);
}

#[test]
fn a_worker_ends_after_one_task_or_when_there_is_nothing_to_do() {
    let team = team();
    let ids = ["one", "two"].map(|name| submit(&team, name));

    let mut once = shell(&team, &["--once", "--slots", "4"], "echo once");
    assert_eq!(code(&mut once), Some(0), "{}", once.errors());
    let mut idle = shell(&team, &["--idle-exit", "500ms"], "sleep 1; echo idle");
    assert_eq!(code(&mut idle), Some(0), "{}", idle.errors());
    let mut none = shell(&team, &["--once", "--idle-exit", "0s", "--json"], "true");
    assert_eq!(code(&mut none), Some(5), "{}", none.errors());

    let mut printed = ids.map(|id| data(&team, id));
    printed.sort();
    assert_eq!(printed, ["idle\n", "once\n"]);
}

#[test]
fn a_command_that_is_not_there_ends_the_worker_and_its_task_stays() {
    let team = team();
    let id = submit(&team, "do it");

    let mut bare = start(&team, &["--", "no-such-program"]);
    assert_eq!(code(&mut bare), Some(3), "{}", bare.errors());
    let mut agent = start(&team, &["--agent", "gemini"]);
    assert_eq!(code(&mut agent), Some(3), "{}", agent.errors());
    crate::said(&agent, "gemini is not installed");
    let mut path = start(&team, &["--", "/nowhere/at/all"]);
    assert_eq!(code(&mut path), Some(3), "{}", path.errors());
    crate::said(&path, "cannot run /nowhere/at/all");

    let mut worker = shell(&team, &["--once"], "echo here");
    assert_eq!(data(&team, id), "here\n");
    assert_eq!(code(&mut worker), Some(0), "{}", worker.errors());
}

#[test]
fn a_result_outlasts_a_daemon_that_is_away() {
    let mut team = team();
    let id = submit(&team, "long");
    let gate = crate::gate(&team, "gate");
    let begun = team.path("begun");
    let script = format!(
        r#"echo $$ > "{}"; cat "{}"; echo file > "$PILOT_RESULT_DIR/file"; echo done"#,
        begun.display(),
        gate.display()
    );
    let mut worker = shell(&team, &["--once"], &script);
    let pids = lines(&begun);

    team.node_mut("worker").kill().unwrap();
    fs::write(&gate, "").unwrap();
    worker.error("is kept and told later", PATIENCE).unwrap();
    team.node_mut("worker").restart().unwrap();

    let result = crate::result(&team, id);
    assert_eq!((result.data.as_deref(), result.files.len()), (Some("done\n"), 1));
    assert_eq!(code(&mut worker), Some(0), "{}", worker.errors());
    assert!(crate::is_gone(&pids[0]));
}

#[test]
fn an_agent_is_a_command_line_that_is_shown() {
    let team = team();
    let id = submit(&team, "write a test");
    let bin = team.path("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("codex"), "#!/bin/sh\necho \"$*\"; cat\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bin.join("codex"), mode).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let words = ["worker", "run", "--once", "--agent", "codex", "--", "--model", "o"];
    let mut command = team.node("worker").command(&words);
    command.env("PATH", path);

    let mut worker = pilot_tests::Process::start(command).unwrap();

    assert_eq!(data(&team, id), "exec --sandbox workspace-write --model o -\nwrite a test");
    assert_eq!(code(&mut worker), Some(0));
    crate::said(&worker, "running: sh -c 'exec codex exec");
}

#[test]
fn a_short_command_costs_no_more_than_its_result() {
    let team = team();
    let id = submit(&team, "short");

    let mut worker = shell(&team, &["--once"], "true");

    assert_eq!(data(&team, id), "");
    assert_eq!(code(&mut worker), Some(0));
    let view = team.api("worker").unwrap().task(id).unwrap();
    let states: Vec<&str> = view.history.iter().map(|step| step.state.word()).collect();
    assert!(!states.contains(&"running"), "{states:?}");
}
