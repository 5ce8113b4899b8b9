//! What `pilotctl data` does beyond sending paths that stay where they are.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use pilot_local_api::ErrorCode;
use pilot_local_api::transfers::{TransferState, TransferView};
use pilot_proto::TransferId;
use pilot_tests::api::{refusal, sending};
use pilot_tests::{Node, Reply, Team, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::tree::{Tree, plant};
use super::{PATIENCE, noise, received, team};

/// A `pilotctl` that reads stdin, which is a pipe from here.
fn piped(node: &Node, args: &[&str]) -> Child {
    let mut command = node.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn ended(child: Child) -> Reply {
    child.wait_with_output().unwrap().into()
}

/// The one transfer that the node lists.
fn only(node: &Node) -> TransferView {
    let mut listed = node.api().unwrap().transfers().unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    listed.swap_remove(0)
}

fn spooled(node: &Node) -> usize {
    fs::read_dir(node.home().join("spool")).unwrap().count()
}

/// The most memory that a process has had, in kB.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The sockets of the daemon of this home: the one that listens, and one for
/// each caller, even if it was not heard yet.
fn sockets(home: &Path) -> usize {
    let socket = home.join("pilot.sock").display().to_string();
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    sockets.lines().filter(|line| line.ends_with(&socket)).count()
}

fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

#[test]
fn stdin_of_any_size_is_sent_without_being_held_in_memory_and_leaves_nothing() {
    let team = team();
    let (manager, content) = (team.node("manager"), noise(1, 50 * 1024 * 1024));

    let mut child = piped(manager, &["data", "send", "worker", "-", "--name", "all of it.tar"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&content).unwrap();
    let memory = peak_memory(child.id());
    drop(stdin);
    let reply = ended(child);

    assert_eq!(reply.code, Some(0), "{}", reply.stderr);
    assert_eq!(reply.text(), "sent 1 file, 52.4 MB to worker\n");
    assert!(memory < 40_000, "{memory} kB");
    assert_eq!(spooled(manager), 0);
    let arrived = received(&team, only(manager).id);
    assert!(fs::read(arrived.join("all of it.tar")).unwrap() == content, "another content");
}

#[test]
fn stdin_is_read_to_its_end_before_anything_is_sent() {
    let team = team();
    let manager = team.node("manager");
    let mut child = piped(manager, &["data", "send", "worker", "-"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&[7; 100_000]).unwrap();
    let spool = manager.home().join("spool");
    eventually("it has its folder", || {
        Ok(fs::read_dir(&spool).is_ok_and(|mut all| all.next().is_some()))
    })
    .unwrap();

    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let reply = ended(child);

    assert_eq!(reply.code, Some(130), "{}", reply.stderr);
    assert!(reply.stderr.contains("nothing was sent"), "{}", reply.stderr);
    assert_eq!(spooled(manager), 0);
    assert_eq!(manager.api().unwrap().transfers().unwrap(), []);
    drop(stdin);
}

#[test]
fn stdin_is_not_read_for_a_peer_that_would_not_get_it() {
    let team = Team::start(&["manager", "worker"]).unwrap();
    let manager = team.node("manager");

    // Its stdin stays open: it would never come to an end.
    let mut child = piped(manager, &["data", "send", team.address("worker"), "-", "--json"]);
    let stdin = child.stdin.take();
    let reply = ended(child);

    assert_eq!(reply.code, Some(4), "{}", reply.stderr);
    assert_eq!(reply.error_code().as_deref(), Some("not_trusted"));
    assert!(!manager.home().join("spool").exists());
    drop(stdin);
}

#[test]
fn a_limit_is_kept_and_shown() {
    let team = team();
    let (manager, file) = (team.node("manager"), team.path("noise"));
    fs::write(&file, noise(2, 3_000_000)).unwrap();
    let began = Instant::now();

    manager.ok(&["data", "send", "worker", file.to_str().unwrap(), "--limit", "1M"]).unwrap();

    let took = began.elapsed();
    assert!((2_500..6_000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(only(manager).limit, Some(1_000_000));
    let slow = manager.ctl(&["data", "send", "worker", "/", "--limit", "999"]).unwrap();
    assert_eq!(slow.code, Some(2), "{}", slow.stderr);
}

#[test]
fn a_dry_run_lists_what_would_go_and_sends_nothing() {
    let team = team();
    let (manager, source) = (team.node("manager"), team.path("src"));
    plant(&source).unwrap();
    fs::write(source.join("skipped.o"), "object").unwrap();
    let path = source.to_str().unwrap();
    let dry = ["data", "send", "worker", path, "--exclude=*.o", "--dry-run"];

    let shown = manager.ok(&dry).unwrap();
    let value = manager.json(&dry).unwrap();

    assert_eq!((&value["files"], &value["folders"]), (&json!(9), &json!(4)));
    let paths: Vec<&Value> = value["paths"].as_array().unwrap().iter().collect();
    assert_eq!(paths.len(), 16);
    assert!(paths.contains(&&json!({"path": "src/plain", "kind": "file", "size": 0})));
    let bytes: u64 = paths.iter().map(|path| path["size"].as_u64().unwrap()).sum();
    assert_eq!(value["bytes"], bytes);
    assert!(shown.contains("src/line\\nfeed") && !shown.contains("skipped"), "{shown}");
    assert!(!shown.contains('\x1b'), "{shown}");
    let last = shown.lines().last().unwrap();
    assert!(
        last.starts_with("9 files, 4 folders, 3 links, ") && last.ends_with("nothing was sent")
    );
    assert_eq!(manager.api().unwrap().transfers().unwrap(), []);

    manager.ok(&["data", "send", "worker", path, "--exclude=*.o"]).unwrap();
    let sent = only(manager);
    assert_eq!((sent.files, sent.folders, sent.links, sent.bytes), (9, 4, 3, bytes));
    for (peer, code) in [("1:0001.0000.0001", 4), ("nobody", 3)] {
        let refused = manager.ctl(&["data", "send", peer, path, "--dry-run"]).unwrap();
        assert_eq!((refused.code, refused.stdout.len()), (Some(code), 0), "{}", refused.stderr);
    }
}

#[test]
fn what_was_copied_first_may_go_away_at_once() {
    let mut team = team();
    team.node_mut("worker").kill().unwrap();
    let source = team.path("src");
    plant(&source).unwrap();
    let wanted = Tree::of(&source).unwrap();
    let manager = team.node("manager");

    let id = manager
        .ok(&["data", "send", "worker", source.to_str().unwrap(), "--copy", "--no-wait"])
        .unwrap();
    fs::remove_dir_all(&source).unwrap();
    team.node_mut("worker").restart().unwrap();

    let arrived = received(&team, id.parse().unwrap());
    assert_eq!(Tree::of(&arrived.join("src")).unwrap(), wanted);
    let outgoing = team.node("manager").home().join("outgoing");
    let gone = || Ok(fs::read_dir(&outgoing)?.next().is_none());
    eventually("the copy is removed", gone).unwrap();
}

#[test]
fn the_task_that_files_belong_to_is_shown_on_both_sides() {
    let team = team();
    let (manager, worker) = (team.node("manager"), team.node("worker"));
    let file = team.path("notes");
    fs::write(&file, "notes").unwrap();
    let task = manager.ok(&["task", "submit", "--to", "worker", "--description", "d"]).unwrap();

    let file = file.to_str().unwrap();
    manager.ok(&["data", "send", "worker", file, "--task", &task]).unwrap();

    assert_eq!(manager.json(&["data", "list"]).unwrap()[0]["task"], task);
    let inbox = worker.json(&["data", "inbox"]).unwrap();
    assert_eq!(inbox[0]["task"], task);
    assert!(worker.ok(&["data", "inbox"]).unwrap().contains(&task));
    let out = team.path("out");
    let id = inbox[0]["id"].as_str().unwrap();
    let got = worker.ctl(&["data", "get", id, "--out", out.to_str().unwrap()]).unwrap();
    assert!(got.stderr.contains(&task), "{}", got.stderr);
}

#[test]
fn lists_are_of_one_peer_if_it_is_named() {
    let mut team = team();
    team.add("other", &[]).unwrap();
    team.trust("manager", "other").unwrap();
    let (manager, file) = (team.node("manager"), team.path("f"));
    fs::write(&file, "f").unwrap();
    let file = file.to_str().unwrap();
    for to in ["worker", "other"] {
        manager.ok(&["data", "send", to, file, "--label", to]).unwrap();
    }
    team.node("worker").ok(&["data", "send", "manager", file, "--label", "back"]).unwrap();

    let labels = |args: &[&str]| -> Vec<String> {
        let listed = manager.json(args).unwrap();
        let views = listed.as_array().unwrap().iter();
        views.map(|view| view["label"].as_str().unwrap().to_owned()).collect()
    };

    assert_eq!(labels(&["data", "list", "--peer", "worker"]), ["back", "worker"]);
    assert_eq!(labels(&["data", "list", "--peer", team.address("other")]), ["other"]);
    assert_eq!(labels(&["data", "list", "--peer", "worker", "--sent"]), ["worker"]);
    assert_eq!(labels(&["data", "inbox", "--from", "worker"]), ["back"]);
    assert!(labels(&["data", "inbox", "--from", "other"]).is_empty());
    let unknown = manager.ctl(&["data", "list", "--peer", "nobody"]).unwrap();
    assert_eq!(unknown.code, Some(3), "{}", unknown.stderr);
}

#[test]
fn a_request_that_is_repeated_sends_once() {
    let mut team = team();
    team.add("other", &[]).unwrap();
    team.trust("manager", "other").unwrap();
    let (manager, file) = (team.api("manager").unwrap(), team.path("f"));
    fs::write(&file, "f").unwrap();
    let id = TransferId::from_bytes([0x77; 16]);
    let to = |name: &str| {
        let mut request = sending(&team.peer(name), &[&file]);
        request.id = Some(id);
        request
    };

    let first = manager.send(&to("worker")).unwrap();
    received(&team, id);
    let again = manager.send(&to("worker")).unwrap();

    assert_eq!((first.id, again.id, again.created_at), (id, id, first.created_at));
    assert_eq!(only(team.node("manager")).id, id);
    assert_eq!(team.api("worker").unwrap().transfers().unwrap().len(), 1);
    let taken = refusal(manager.send(&to("other"))).unwrap();
    assert_eq!(taken.code, ErrorCode::Conflict);
}

#[test]
fn an_answer_that_never_comes_is_asked_for_again() {
    let mut team = team();
    let file = team.path("f");
    fs::write(&file, "f").unwrap();
    let manager = team.node_mut("manager");
    let process = manager.process().unwrap();
    process.freeze().unwrap();
    let pid = process.pid();
    eventually("it stands still", || Ok(is_stopped(pid))).unwrap();
    // Callers that have gone since still count, until it goes on.
    let before = sockets(manager.home());
    let child =
        manager.spawn(&["data", "send", "worker", file.to_str().unwrap(), "--no-wait"]).unwrap();
    eventually("it is connected", || Ok(sockets(manager.home()) > before)).unwrap();

    manager.kill().unwrap();
    manager.restart().unwrap();
    let reply = ended(child);

    assert_eq!(reply.code, Some(0), "{}", reply.stderr);
    assert!(reply.stderr.contains("trying again"), "{}", reply.stderr);
    let id = reply.text().trim().parse().unwrap();
    let done = team.api("manager").unwrap().until_ended(id, PATIENCE).unwrap();
    assert_eq!(done.state, TransferState::Done);
    assert_eq!(only(team.node("manager")).id, id);
}
