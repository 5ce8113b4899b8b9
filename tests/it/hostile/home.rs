//! A daemon's own machine: its folder, its disk, its end.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use pilot_local_api::tasks::TaskState;
use pilot_local_api::{ApiError, ErrorCode};
use pilot_tests::api::refusal;
use pilot_tests::{Api, Team, eventually, on_small_disk};

#[test]
fn a_second_daemon_on_a_home_is_told_which_one_has_it_and_harms_nothing() {
    let team = Team::start(&["node"]).unwrap();
    let node = team.node("node");
    let pid = node.api().unwrap().whoami().unwrap().pid;

    let second = node.daemon().stdin(Stdio::null()).output().unwrap();

    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(8), "{said}");
    assert!(said.contains(&format!("process {pid}")), "{said}");
    assert!(said.contains("already_running") && said.contains("hint: "), "{said}");
    assert!(second.stdout.is_empty());
    assert_eq!(node.api().unwrap().whoami().unwrap().pid, pid);
}

#[test]
fn a_key_that_others_may_read_is_refused_until_it_is_closed_again() {
    let mut team = Team::start(&["node"]).unwrap();
    let before = team.api("node").unwrap().whoami().unwrap().identity;
    team.node_mut("node").kill().unwrap();
    let key = team.node("node").home().join("node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();

    let refused = team.node("node").daemon().stdin(Stdio::null()).output().unwrap();

    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("mode 640") && said.contains("chmod 600"), "{said}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    team.node_mut("node").restart().unwrap();
    assert_eq!(team.api("node").unwrap().whoami().unwrap().identity, before);
}

#[test]
fn a_daemon_stops_at_once_while_its_rendezvous_is_dead_or_hangs_and_peers_are_gone() {
    const AT_ONCE: Duration = Duration::from_secs(2);
    for hangs in [false, true] {
        let mut team = Team::start(&["one", "other", "gone"]).unwrap();
        for peer in ["other", "gone"] {
            team.trust("one", peer).unwrap();
            let one = team.api("one").unwrap();
            one.ping(&team.peer(peer), Duration::from_secs(5)).unwrap();
        }
        team.node_mut("gone").kill().unwrap();
        team.api("one").unwrap().submit(&team.peer("gone"), "keeps it dialling").unwrap();
        if hangs {
            team.rendezvous.process().freeze().unwrap();
        } else {
            team.rendezvous.kill().unwrap();
        }
        // One has a line that is dead, the other looks for one in vain.
        team.node_mut("other").restart().unwrap();

        for name in ["one", "other"] {
            let began = Instant::now();
            let status = team.node_mut(name).process().unwrap().stop(AT_ONCE).unwrap();
            assert!(status.success(), "{name}, hangs: {hangs}: {status}");
            assert!(began.elapsed() < AT_ONCE, "{name}, hangs: {hangs}: {:?}", began.elapsed());
        }
    }
}

#[test]
fn a_full_disk_refuses_new_work_and_loses_nothing() {
    let this = "hostile::home::a_full_disk_refuses_new_work_and_loses_nothing";
    on_small_disk(this, "96m", fills_up).unwrap();
}

/// The disk is full, and the error says what helps.
fn disk_full(error: &ApiError) -> bool {
    assert_eq!(error.code, ErrorCode::DiskFull, "{error:?}");
    assert!(error.retryable && error.hint.as_ref().is_some_and(|hint| hint.contains("df")));
    true
}

fn fills_up(disk: &Path) {
    let mut team = Team::start(&["manager", "worker"]).unwrap();
    team.trust("manager", "worker").unwrap();
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    let to = team.peer("worker");
    let ids = ["first", "second"].map(|words| {
        let id = manager.submit(&to, words).unwrap().id;
        assert_eq!(worker.accept().unwrap().id, id);
        manager.until_state(id, TaskState::Accepted).unwrap();
        id
    });
    let large = "r".repeat(1 << 20);
    // More than the journal has room for from before.
    let larger = "r".repeat(8 << 20);

    // Into the reserve: no new work, but results and receipts go on.
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; 70 << 20]).unwrap();
    // How much is free is asked a few times a second.
    eventually("new work is refused", || Ok(manager.submit(&to, "too much").is_err())).unwrap();
    assert!(disk_full(&refusal(manager.submit(&to, "too much")).unwrap()));
    let status = manager.status().unwrap();
    assert!(status.disk.full && status.warnings.iter().any(|text| text.contains("disk is full")));
    worker.send_results(ids[0], &large).unwrap();
    manager.until_state(ids[0], TaskState::Succeeded).unwrap();

    // Down to the last byte: nothing is taken, and nothing is forgotten.
    let mut file = fs::OpenOptions::new().append(true).open(&ballast).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    assert!(disk_full(&refusal(worker.send_results(ids[1], &larger)).unwrap()));
    assert_eq!(worker.task(ids[1]).unwrap().state, TaskState::Accepted);
    assert_eq!(manager.result(ids[0]).unwrap().data.as_ref(), Some(&large));

    drop(file);
    fs::remove_file(&ballast).unwrap();
    eventually("results are taken again", || Ok(worker.send_results(ids[1], &larger).is_ok()))
        .unwrap();
    eventually("new work is taken again", || Ok(manager.submit(&to, "third").is_ok())).unwrap();
    manager.until_state(ids[1], TaskState::Succeeded).unwrap();
    for name in ["manager", "worker"] {
        team.node_mut(name).kill().unwrap();
        team.node_mut(name).restart().unwrap();
    }
    all_is_there(&team.api("manager").unwrap(), ids, [&large, &larger]);
    // What was taken before the disk was seen to be full is there, too.
    while team.api("worker").unwrap().accept().unwrap().description != "third" {}
}

fn all_is_there(manager: &Api, ids: [pilot_proto::TaskId; 2], results: [&str; 2]) {
    for (id, result) in ids.into_iter().zip(results) {
        assert_eq!(manager.task(id).unwrap().state, TaskState::Succeeded);
        assert!(manager.result(id).unwrap().data.is_some_and(|data| data == result));
    }
}
