//! What a task's command writes is read on both nodes.

use std::io::Read as _;
use std::time::Duration;

use pilot_local_api::ErrorCode;
use pilot_local_api::tasks::TaskState;
use pilot_tests::api::refusal;
use pilot_tests::{Team, eventually};

fn team() -> Team {
    let team = Team::start(&["manager", "worker"]).unwrap();
    team.trust("manager", "worker").unwrap();
    team.api("manager").unwrap().ping(&team.peer("worker"), Duration::from_secs(5)).unwrap();
    team
}

#[test]
fn whoever_follows_reads_each_byte_once_until_the_task_has_ended() {
    let team = team();
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    let id = manager.submit(&team.peer("worker"), "x").unwrap().id;
    manager.until_state(id, TaskState::Delivered).unwrap();
    let early = refusal(worker.write_log(id, b"too early")).unwrap();
    assert_eq!(early.code, ErrorCode::Conflict);
    worker.accept().unwrap();
    let text = id.to_string();
    let mut followers = ["manager", "worker"]
        .map(|name| team.node(name).spawn(&["task", "logs", &text, "--follow"]).unwrap());

    let mut written = Vec::new();
    for number in 0..50 {
        let line = format!("line {number} \u{e9}\n").into_bytes();
        worker.write_log(id, &line).unwrap();
        written.extend(line);
    }
    worker.write_log(id, &[0xff, 0, 0x1b]).unwrap();
    written.extend([0xff, 0, 0x1b]);
    worker.send_results(id, "done").unwrap();

    for follower in &mut followers {
        let mut read = Vec::new();
        follower.stdout.take().unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(&written));
        assert!(follower.wait().unwrap().success());
    }
    let shown = team.node("manager").ctl(&["task", "logs", &text]).unwrap();
    assert_eq!((shown.code, shown.stdout), (Some(0), written));
    let late = refusal(worker.write_log(id, b"too late")).unwrap();
    assert_eq!(late.code, ErrorCode::Conflict);
}

#[test]
fn logs_go_on_after_a_restart_of_the_worker() {
    let mut team = team();
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    let id = manager.submit(&team.peer("worker"), "x").unwrap().id;
    worker.accept().unwrap();
    worker.write_log(id, b"before ").unwrap();
    let text = id.to_string();
    let manager_reads = |team: &Team, wanted: &str| {
        let node = team.node("manager");
        eventually(wanted, || Ok(node.ctl(&["task", "logs", &text])?.stdout == wanted.as_bytes()))
            .unwrap();
    };
    manager_reads(&team, "before ");

    team.node_mut("worker").kill().unwrap();
    team.node_mut("worker").restart().unwrap();
    team.api("worker").unwrap().write_log(id, b"after").unwrap();

    manager_reads(&team, "before after");
}

#[test]
fn what_is_not_kept_any_more_is_told_beside_what_is() {
    let team = team();
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    let id = manager.submit(&team.peer("worker"), "x").unwrap().id;
    worker.accept().unwrap();
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..8 {
        worker.write_log(id, &piece).unwrap();
    }
    let whole = vec![b'x'; 64 * 1024 + 1];
    assert_eq!(refusal(worker.write_log(id, &whole)).unwrap().code, ErrorCode::TooLarge);
    manager.until_state(id, TaskState::Accepted).unwrap();

    let shown = team.node("worker").ctl(&["task", "logs", &id.to_string()]).unwrap();

    assert_eq!(shown.stdout.len(), 256 * 1024);
    assert!(shown.stderr.contains("(262144 bytes of attempt 1 are not kept)"), "{}", shown.stderr);
}
