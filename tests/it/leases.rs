//! Leases end with the process that has them; tasks are put back for later.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pilot_local_api::ErrorCode;
use pilot_local_api::tasks::{AcceptRequest, ProcessRef, ReleaseRequest, TaskState};
use pilot_proto::TaskId;
use pilot_tests::api::refusal;
use pilot_tests::{Api, Team};

/// Time in which a task has to be queued again once its process was killed.
const AT_ONCE: Duration = Duration::from_secs(1);

fn team() -> Team {
    let team = Team::start(&["manager", "worker"]).unwrap();
    team.trust("manager", "worker").unwrap();
    team.api("manager").unwrap().ping(&team.peer("worker"), Duration::from_secs(5)).unwrap();
    team
}

/// A process that does nothing, and is killed when the test is over.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    fn named(&self) -> ProcessRef {
        ProcessRef { pid: self.0.id(), started: None }
    }

    /// As `kill -9` does.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn bound_to(process: ProcessRef) -> AcceptRequest {
    AcceptRequest { timeout_ms: 10_000, bind: Some(process), ..AcceptRequest::default() }
}

fn accept(worker: &Api, process: &Sleeper) -> (TaskId, u32) {
    let task = worker.accept_as_asked(&bound_to(process.named())).unwrap().unwrap();
    (task.id, task.attempt)
}

#[test]
fn what_a_killed_process_had_is_queued_again_at_once_and_the_third_time_it_has_failed() {
    let team = team();
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    let id = manager.submit(&team.peer("worker"), "dangerous").unwrap().id;

    for lost in 1..=3 {
        let mut process = Sleeper::new();
        assert_eq!(accept(&worker, &process), (id, 1));
        manager.until_state(id, TaskState::Accepted).unwrap();
        let began = Instant::now();
        process.kill();
        if lost < 3 {
            worker.until_state(id, TaskState::Delivered).unwrap();
            assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
            manager.until(id, "queued again", |view| view.state == TaskState::Delivered).unwrap();
        }
    }

    let ended = worker.until_state(id, TaskState::Failed).unwrap();
    assert!(ended.dead, "{ended:?}");
    let failed = manager.until_state(id, TaskState::Failed).unwrap();
    assert!(failed.reason.unwrap().contains("died under it 3 times"));
    assert_eq!(worker.accept_within(Duration::ZERO).unwrap(), None);
}

#[test]
fn a_lease_outlives_the_daemon_if_its_process_does() {
    let mut team = team();
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    let submit = |what| manager.submit(&team.peer("worker"), what).unwrap().id;
    let (kept, lost) = (submit("kept"), submit("lost"));
    let (living, mut dying) = (Sleeper::new(), Sleeper::new());
    assert_eq!(accept(&worker, &living), (kept, 1));
    assert_eq!(accept(&worker, &dying), (lost, 1));

    team.node_mut("worker").kill().unwrap();
    dying.kill();
    team.node_mut("worker").restart().unwrap();

    let worker = team.api("worker").unwrap();
    worker.until_state(lost, TaskState::Delivered).unwrap();
    assert_eq!(worker.task(kept).unwrap().state, TaskState::Accepted);
    assert_eq!(worker.accept().unwrap().id, lost);
    worker.send_results(kept, "done").unwrap();
    manager.until_state(kept, TaskState::Succeeded).unwrap();
}

#[test]
fn a_lease_ends_with_whoever_called_the_command() {
    let team = team();
    let (manager, worker) = (team.api("manager").unwrap(), team.node("worker"));
    let id = manager.submit(&team.peer("worker"), "x").unwrap().id;
    // It says the word once the task is its own, and then works.
    let script = "\"$@\" task accept --bind-parent && echo taken && exec sleep 600";
    let ctl = worker.command(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(ctl.get_program()).args(ctl.get_args());
    let variables = ctl.get_envs().filter_map(|(name, value)| Some((name, value?)));
    shell.envs(variables).stdin(Stdio::null()).stdout(Stdio::null());
    let mut shell = Sleeper(shell.spawn().unwrap());
    let api = team.api("worker").unwrap();
    api.until_state(id, TaskState::Accepted).unwrap();

    shell.kill();

    api.until_state(id, TaskState::Delivered).unwrap();
}

#[test]
fn a_process_that_is_gone_gets_no_lease() {
    let team = team();
    let worker = team.api("worker").unwrap();
    let mut process = Sleeper::new();
    let gone = process.named();
    process.kill();

    let none = refusal(worker.accept_as_asked(&bound_to(gone))).unwrap();
    assert_eq!(none.code, ErrorCode::InvalidArgument, "{none:?}");
    let living = Sleeper::new();
    let another = ProcessRef { started: Some(1), ..living.named() };
    let another = refusal(worker.accept_as_asked(&bound_to(another))).unwrap();
    assert_eq!(another.code, ErrorCode::InvalidArgument, "{another:?}");
}

#[test]
fn what_is_put_back_for_later_is_accepted_later() {
    let team = team();
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    let id = manager.submit(&team.peer("worker"), "x").unwrap().id;
    worker.accept().unwrap();
    let node = team.node("worker");

    let began = Instant::now();
    let said =
        node.ok(&["task", "release", &id.to_string(), "--delay", "1500ms", "--reason", "no gpu"]);
    assert!(said.unwrap().contains("delivered"));

    assert_eq!(worker.accept_within(Duration::ZERO).unwrap(), None);
    assert_eq!(worker.task(id).unwrap().reason.as_deref(), Some("no gpu"));
    assert_eq!(worker.accept().unwrap().id, id);
    assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
    let again = worker.release(id, &ReleaseRequest::default()).unwrap();
    assert_eq!(again.state, TaskState::Delivered);
    let refused = refusal(worker.release(id, &ReleaseRequest::default())).unwrap();
    assert_eq!(refused.code, ErrorCode::Conflict);
    let month = ReleaseRequest { delay_ms: 31 * 24 * 3600 * 1000, ..ReleaseRequest::default() };
    worker.accept().unwrap();
    assert_eq!(refusal(worker.release(id, &month)).unwrap().code, ErrorCode::InvalidArgument);
}
