//! What is gone when, and what is not.

use std::fs;

use pilot_local_api::tasks::{CancelRequest, TaskState};
use pilot_tests::{Process, Team};
use rustix::process::Signal;

use crate::{
    PATIENCE, code, data, ended, gate, is_gone, lines, shell, signal, submit, team, until_gone,
};

/// Writes the numbers of itself, a child and a grandchild, none of which heeds SIGTERM.
fn stubborn(team: &Team) -> (String, std::path::PathBuf) {
    let pids = team.path("pids");
    let script = format!(
        r#"trap '' TERM; sh -c 'trap "" TERM; sleep 600 & echo $! >> "$0"; echo $$ >> "$0"; wait' "{0}.tmp" &
sleep 600 & echo $! >> "{0}.tmp"
until test "$(wc -l < "{0}.tmp")" = 3; do :; done
echo $$ >> "{0}.tmp"; mv "{0}.tmp" "{0}"; wait; wait; wait"#,
        pids.display()
    );
    (script, pids)
}

#[test]
fn a_command_that_ignores_sigterm_is_gone_after_a_cancel_with_all_it_started() {
    let team = team();
    let (script, pids) = stubborn(&team);
    let id = submit(&team, "stay");
    let mut worker = shell(&team, &[], &script);
    let pids = lines(&pids);
    assert_eq!(pids.len(), 4);
    assert!(!pids.iter().any(|pid| is_gone(pid)));

    team.node("manager").ok(&["task", "cancel", &id.to_string(), "--grace", "1s"]).unwrap();

    assert_eq!(ended(&team, id).state, TaskState::Cancelled);
    until_gone(&pids);
    worker.line(&id.to_string(), PATIENCE).unwrap();
    assert_eq!(worker.stop(PATIENCE).unwrap().code(), Some(143), "{}", worker.errors());
}

#[test]
fn what_left_the_group_of_its_command_is_gone_after_a_cancel_and_with_its_worker() {
    let team = team();
    let ids = ["cancel", "kill"].map(|name| submit(&team, name));
    let pids = ids.map(|id| team.path(&id.to_string()));
    let script = format!(
        r#"cd "{}"; setsid sh -c 'sleep 600 & echo "$!
$$" > "$0.tmp"; mv "$0.tmp" "$0"; wait' "$PILOT_TASK_ID" & wait; wait"#,
        team.path("").display()
    );
    let mut worker = shell(&team, &["--slots", "2", "--grace", "100ms"], &script);
    let pids = pids.map(|path| lines(&path));

    team.node("manager").ok(&["task", "cancel", &ids[0].to_string(), "--grace", "1s"]).unwrap();

    assert_eq!(ended(&team, ids[0]).state, TaskState::Cancelled);
    until_gone(&pids[0]);
    assert!(!pids[1].iter().any(|pid| is_gone(pid)));
    worker.kill().unwrap();
    until_gone(&pids[1]);
}

#[test]
fn a_command_that_ends_by_a_signal_of_who_stops_the_worker_is_not_its_failure() {
    let team = team();
    let id = submit(&team, "again");
    let begun = team.path("begun");
    let script = format!(r#"echo $$ > "{}"; exec sleep 600"#, begun.display());
    let mut worker = shell(&team, &[], &script);
    let pids = lines(&begun);

    signal(worker.pid(), Signal::TERM);
    worker.error("stopping once what runs has ended (1)", PATIENCE).unwrap();
    signal(pids[0].parse().unwrap(), Signal::TERM);

    assert_eq!(code(&mut worker), Some(143), "{}", worker.errors());
    let mut next = shell(&team, &["--once"], "echo again");
    assert_eq!(data(&team, id), "again\n");
    assert_eq!(code(&mut next), Some(0));
}

#[test]
fn a_command_that_heeds_sigterm_ends_its_cancelled_task_at_once() {
    let team = team();
    let id = submit(&team, "stop");
    let begun = team.path("begun");
    let script = format!(r#"echo $$ > "{}"; exec sleep 600"#, begun.display());
    let mut worker = shell(&team, &["--once"], &script);
    let pids = lines(&begun);
    let grace = CancelRequest { grace_ms: Some(3_600_000), reason: Some("enough".to_owned()) };

    let api = team.api("manager").unwrap();
    api.cancel_as(id, &grace).unwrap();

    let view = api.until(id, "it is cancelled", |view| view.state.is_terminal()).unwrap();
    assert_eq!(view.state, TaskState::Cancelled, "{view:?}");
    assert_eq!(code(&mut worker), Some(0), "{}", worker.errors());
    until_gone(&pids);
}

#[test]
fn what_a_command_leaves_running_is_killed_before_its_result_is_there() {
    let team = team();
    let id = submit(&team, "leave");
    let left = team.path("left");
    let script = format!(r#"sleep 600 & echo $! > "{}"; echo done"#, left.display());

    let mut worker = shell(&team, &["--once"], &script);

    assert_eq!(data(&team, id), "done\n");
    assert!(lines(&left).iter().all(|pid| is_gone(pid)));
    assert_eq!(code(&mut worker), Some(0));
}

#[test]
fn a_worker_that_is_killed_leaves_no_command_and_its_task_goes_to_another() {
    let team = team();
    let (script, pids) = stubborn(&team);
    let id = submit(&team, "survive");
    let mut first = shell(&team, &["--slots", "2"], &script);
    let pids = lines(&pids);

    first.kill().unwrap();
    let mut second = shell(&team, &["--once"], "echo $PILOT_TASK_ATTEMPT");

    assert_eq!(data(&team, id), "1\n");
    assert!(pids.iter().all(|pid| is_gone(pid)), "a command outlived its lease");
    assert_eq!(code(&mut second), Some(0), "{}", second.errors());
}

#[test]
fn the_first_signal_lets_what_runs_end() {
    let team = team();
    let ids = ["first", "second"].map(|name| submit(&team, name));
    let (begun, gate) = (team.path("begun"), gate(&team, "gate"));
    let script = format!(r#"echo $$ > "{}"; cat "{}"; echo ok"#, begun.display(), gate.display());
    let mut worker = shell(&team, &[], &script);
    lines(&begun);

    signal(worker.pid(), Signal::TERM);
    worker.error("stopping once what runs has ended (1)", PATIENCE).unwrap();
    fs::write(&gate, "").unwrap();

    assert_eq!(code(&mut worker), Some(143), "{}", worker.errors());
    let api = team.api("manager").unwrap();
    let view = api.until(ids[0], "it has ended", |view| view.state.is_terminal()).unwrap();
    assert_eq!(view.state, TaskState::Succeeded);
    assert!(!api.task(ids[1]).unwrap().state.is_terminal());
}

#[test]
fn the_second_signal_ends_what_runs_and_its_task_goes_back() {
    let team = team();
    let id = submit(&team, "go back");
    let (script, pids) = stubborn(&team);
    let mut worker = shell(&team, &["--grace", "100ms"], &script);
    let pids = lines(&pids);

    signal(worker.pid(), Signal::INT);
    worker.error("stopping once what runs has ended", PATIENCE).unwrap();
    signal(worker.pid(), Signal::INT);

    assert_eq!(code(&mut worker), Some(130), "{}", worker.errors());
    until_gone(&pids);
    let mut next = shell(&team, &["--once"], "echo again");
    assert_eq!(data(&team, id), "again\n");
    assert_eq!(code(&mut next), Some(0));
}

#[test]
fn a_worker_whose_guard_is_gone_stops() {
    let team = team();
    let id = submit(&team, "unguarded");
    let (script, pids) = stubborn(&team);
    let mut worker: Process = shell(&team, &["--grace", "100ms"], &script);
    let pids = lines(&pids);

    signal(guard_of(worker.pid()), Signal::KILL);

    assert_eq!(code(&mut worker), Some(1), "{}", worker.errors());
    crate::said(&worker, "the guard of this worker is gone");
    until_gone(&pids);
    let mut next = shell(&team, &["--once"], "echo again");
    assert_eq!(data(&team, id), "again\n");
    assert_eq!(code(&mut next), Some(0));
}

#[test]
fn a_task_that_runs_too_long_ends_its_command() {
    let team = team();
    let (script, pids) = stubborn(&team);
    let mut task = pilot_tests::api::task_for(&team.peer("worker"), "too long");
    task.run_timeout_ms = Some(2000);
    let id = team.api("manager").unwrap().submit_as(&task).unwrap().id;
    let mut worker = shell(&team, &["--once", "--grace", "100ms"], &script);
    let pids = lines(&pids);

    assert_eq!(ended(&team, id).state, TaskState::Expired);
    until_gone(&pids);
    assert_eq!(code(&mut worker), Some(0), "{}", worker.errors());
}

#[test]
fn lost_trust_ends_the_command_of_whoever_lost_it() {
    let team = team();
    let (script, pids) = stubborn(&team);
    let id = submit(&team, "for nobody");
    let mut worker = shell(&team, &["--once", "--grace", "100ms"], &script);
    let pids = lines(&pids);

    let api = team.api("worker").unwrap();
    api.untrust(&team.peer("manager")).unwrap();

    until_gone(&pids);
    let view = api.until(id, "it is cancelled", |view| view.state.is_terminal()).unwrap();
    assert_eq!(view.state, TaskState::Cancelled, "{view:?}");
    assert_eq!(code(&mut worker), Some(0), "{}", worker.errors());
}

/// The process that guards this worker.
fn guard_of(worker: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{worker}/task/{worker}/children")).unwrap();
    let is_guard = |pid: &&str| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"guard")
    };
    children.split_whitespace().find(is_guard).unwrap().parse().unwrap()
}
