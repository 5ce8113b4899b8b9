//! `pilotctl worker run` and `task merge`, as whole programs.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

mod chain;
mod contents;
mod merging;
mod outcomes;
mod serving;
mod stopping;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pilot_local_api::tasks::{ResultView, TaskState, TaskView};
use pilot_proto::TaskId;
use pilot_tests::{Process, Team, eventually};
use rustix::process::{Pid, Signal, kill_process};

/// After which a program must have done what is expected of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A manager and a worker that trust each other and have met.
fn team() -> Team {
    let team = Team::start(&["manager", "worker"]).unwrap();
    team.trust("manager", "worker").unwrap();
    team.api("manager").unwrap().ping(&team.peer("worker"), Duration::from_secs(5)).unwrap();
    team
}

/// `worker run` with these words in the background.
fn start(team: &Team, words: &[&str]) -> Process {
    let words = [&["worker", "run"], words].concat();
    Process::start(team.node("worker").command(&words)).unwrap()
}

/// The same that runs a script of the shell.
fn shell(team: &Team, flags: &[&str], script: &str) -> Process {
    start(team, &[flags, &["--", "sh", "-c", script]].concat())
}

fn submit(team: &Team, description: &str) -> TaskId {
    team.api("manager").unwrap().submit(&team.peer("worker"), description).unwrap().id
}

/// A task as its submitter sees it once it has ended.
fn ended(team: &Team, id: TaskId) -> TaskView {
    let api = team.api("manager").unwrap();
    api.until(id, "the task has ended", |view| view.state.is_terminal()).unwrap()
}

/// The result of a task that succeeds.
fn result(team: &Team, id: TaskId) -> ResultView {
    let view = ended(team, id);
    assert_eq!(view.state, TaskState::Succeeded, "{view:?}");
    team.api("manager").unwrap().result(id).unwrap()
}

/// The data of the result of a task that succeeds.
fn data(team: &Team, id: TaskId) -> String {
    result(team, id).data.unwrap()
}

fn code(process: &mut Process) -> Option<i32> {
    process.wait(PATIENCE).unwrap().code()
}

/// Until a program has said this on stderr, which may be read after its end.
fn said(process: &Process, words: &str) {
    eventually(&format!("{words:?} is said"), || Ok(process.errors().contains(words))).unwrap();
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// What is in a file, once it ends with a newline.
fn lines(path: &Path) -> Vec<String> {
    let mut text = String::new();
    eventually(&format!("{} is written", path.display()), || {
        text = fs::read_to_string(path).unwrap_or_default();
        Ok(text.ends_with('\n'))
    })
    .unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Whether no such process runs; one that only waits to be buried does not.
fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}

fn until_gone(pids: &[String]) {
    for pid in pids {
        eventually(&format!("process {pid} is gone"), || Ok(is_gone(pid))).unwrap();
    }
}

/// A pipe with a name that a command can be kept waiting at.
fn gate(team: &Team, name: &str) -> PathBuf {
    let path = team.path(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}
