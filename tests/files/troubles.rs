//! What keeps a transfer, and what ends it, as people on both sides hear of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pilot_local_api::transfers::{SendRequest, TransferProblem, TransferState, TransferView};
use pilot_proto::TransferId;
use pilot_tests::api::{Api, sending};
use pilot_tests::{Team, eventually, skip};

use super::{PATIENCE, noise, received, team};

/// A manager and a worker whose inbox takes so much of each peer.
fn team_with_quota(quota: &str) -> Team {
    let mut team = Team::start(&["manager"]).unwrap();
    team.add("worker", &["--inbox-quota-per-peer", quota]).unwrap();
    team.trust("manager", "worker").unwrap();
    team
}

/// A file of this many bytes that nobody has yet.
fn file(team: &Team, name: &str, bytes: usize) -> PathBuf {
    let path = team.path(name);
    fs::write(&path, noise(name.bytes().map(u64::from).sum(), bytes)).unwrap();
    path
}

fn send(team: &Team, path: &Path) -> TransferId {
    let request = sending(&team.peer("worker"), &[path]);
    team.api("manager").unwrap().send(&request).unwrap().id
}

/// What keeps a transfer, once something does.
fn trouble(api: &Api, id: TransferId) -> TransferProblem {
    let kept = || Ok(api.transfer(id)?.trouble.is_some());
    eventually("something keeps it", kept).unwrap();
    api.transfer(id).unwrap().trouble.unwrap()
}

fn failed(api: &Api, id: TransferId) -> TransferProblem {
    let view = api.until_ended(id, PATIENCE).unwrap();
    assert_eq!(view.state, TransferState::Failed, "{view:?}");
    view.error.unwrap()
}

/// What may be seen in the inbox.
fn inbox(team: &Team) -> Vec<TransferView> {
    let shown = team.node("worker").home().join("inbox");
    // It is made for the first transfer.
    let entries = fs::read_dir(shown).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name());
    let seen = names.filter(|name| !name.as_encoded_bytes().starts_with(b".")).count();
    let views = team.api("worker").unwrap().transfers().unwrap();
    let whole: Vec<TransferView> =
        views.into_iter().filter(|view| view.state == TransferState::Done).collect();
    assert_eq!(seen, whole.len(), "{whole:?}");
    whole
}

#[test]
fn over_the_quota_a_transfer_waits_until_there_is_room() {
    let team = team_with_quota("1M");
    let (manager, worker) = (team.api("manager").unwrap(), team.node("worker"));
    let first = send(&team, &file(&team, "first", 700_000));
    received(&team, first);

    let second = file(&team, "second", 700_000);
    let waited = team
        .node("manager")
        .ctl(&["data", "send", "worker", second.to_str().unwrap(), "--timeout", "3s", "--json"])
        .unwrap();
    assert_eq!(waited.code, Some(24), "{}", waited.stderr);
    assert!(waited.stderr.contains(r#""cause":"quota_exceeded""#), "{}", waited.stderr);
    let listed = manager.transfers().unwrap();
    let second = listed.iter().find(|view| view.id != first).unwrap().id;

    let problem = trouble(&manager, second);
    assert_eq!(problem.code, "quota_exceeded");
    assert!(problem.message.contains("inbox takes 1000000 bytes"), "{problem:?}");
    let shown = team.node("manager").ok(&["data", "list"]).unwrap();
    assert!(shown.contains("(quota_exceeded)"), "{shown}");
    let told = worker.ok(&["status"]).unwrap();
    assert!(told.contains(&format!("transfer {second} of manager")), "{told}");

    worker.ok(&["data", "rm", &first.to_string()]).unwrap();

    let done = manager.until_ended(second, PATIENCE).unwrap();
    assert_eq!((done.state, done.trouble), (TransferState::Done, None));
    assert_eq!(inbox(&team).len(), 1);
    assert!(!worker.ok(&["status"]).unwrap().contains("not let in"));
}

#[test]
fn more_than_the_whole_quota_fails_at_once() {
    let team = team_with_quota("1M");
    let large = file(&team, "large", 1_500_000);

    let refused = team.node("manager").ctl(&["data", "send", "worker", large.to_str().unwrap()]);

    let refused = refused.unwrap();
    assert_eq!(refused.code, Some(20), "{}", refused.stderr);
    let why = "the receiver's inbox takes 1000000 bytes of one peer; these are 1500000";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
    assert_eq!(inbox(&team), []);
    let told = team.node("worker").ok(&["status"]).unwrap();
    let warning = "of manager (1500000 bytes) is not let in: the receiver's inbox takes 1000000";
    assert!(told.contains(warning), "{told}");
}

#[test]
fn a_source_that_goes_away_half_way_ends_the_transfer_on_both_sides() {
    let team = team();
    let source = team.path("source");
    fs::create_dir(&source).unwrap();
    for number in 0..12 {
        fs::write(source.join(format!("part {number:02}")), noise(number, 1_000_000)).unwrap();
    }
    let mut request: SendRequest = sending(&team.peer("worker"), &[&source]);
    request.limit = Some(2_000_000);
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    let id = manager.send(&request).unwrap().id;
    let arrives = || Ok(worker.transfer(id).is_ok_and(|view| view.bytes_done > 0));
    eventually("some of it is there", arrives).unwrap();

    fs::remove_dir_all(&source).unwrap();

    for (api, side) in [(&manager, "the sender"), (&worker, "the receiver")] {
        let problem = failed(api, id);
        assert!(problem.message.contains("part "), "{side}: {problem:?}");
        assert!(problem.message.contains("not there any more"), "{side}: {problem:?}");
    }
    assert_eq!(inbox(&team), []);
    let told = team.node("worker").ok(&["data", "inbox"]).unwrap();
    assert!(told.is_empty(), "{told}");
}

/// Something that this user may not read; none if it may read everything here.
fn unreadable(team: &Team) -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        let path = file(team, "secret", 10);
        fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        return Some(path);
    }
    // What the kernel takes orders by, and shows to nobody.
    let mut buses = fs::read_dir("/sys/bus").ok()?.flatten();
    buses.find_map(|bus| Some(bus.path().join("uevent")).filter(|path| fs::read(path).is_err()))
}

#[test]
fn what_may_not_be_read_is_named_and_not_sent() {
    let team = team();
    let Some(path) = unreadable(&team) else {
        return skip("this user may read everything");
    };
    let (manager, path) = (team.node("manager"), path.to_str().unwrap());

    // It is found when everything is listed or, by root, when it is read.
    let listed = manager.ctl(&["data", "send", "worker", path, "--dry-run"]).unwrap();
    let refused = manager.ctl(&["data", "send", "worker", path]).unwrap();

    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains(path), "{}", refused.stderr);
    let said = (listed.stderr + &refused.stderr).to_lowercase();
    assert!(said.contains("permission"), "{said}");
    assert_eq!(inbox(&team), []);
}

#[test]
fn an_inbox_that_takes_nothing_keeps_a_transfer_until_it_is_mended() {
    let team = team();
    // Not even root writes into a file as if it were a folder.
    let in_the_way = team.node("worker").home().join("inbox");
    fs::write(&in_the_way, "no folder").unwrap();

    let id = send(&team, &file(&team, "content", 100_000));

    let manager = team.api("manager").unwrap();
    let problem = trouble(&manager, id);
    assert_eq!(problem.code, "receiver_failed");
    assert!(problem.message.contains("the receiver"), "{problem:?}");
    fs::remove_file(&in_the_way).unwrap();
    assert_eq!(manager.until_ended(id, PATIENCE).unwrap().state, TransferState::Done);
    received(&team, id);
}
