//! Files and folders between two nodes, as whole programs.
//!
//! Apart from `it`, whose tests of time should not share the machine with these.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod commands;
mod full;
mod line;
mod many;
mod tree;
mod troubles;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pilot_local_api::ErrorCode;
use pilot_local_api::transfers::{Direction, SendRequest, TransferState, TransferView};
use pilot_proto::TransferId;
use pilot_tests::api::{refusal, sending};
use pilot_tests::{Team, eventually};

use tree::{Tree, plant};

/// After which a transfer of a test must be through.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two nodes that trust each other.
fn team() -> Team {
    let team = Team::start(&["manager", "worker"]).unwrap();
    team.trust("manager", "worker").unwrap();
    team
}

/// Where the worker has what was sent, once it is there.
fn received(team: &Team, id: TransferId) -> PathBuf {
    let worker = team.api("worker").unwrap();
    eventually("the worker hears of it", || Ok(worker.transfer(id).is_ok())).unwrap();
    let view = worker.until_ended(id, PATIENCE).unwrap();
    assert_eq!(
        (view.state, view.direction),
        (TransferState::Done, Direction::Received),
        "{view:?}"
    );
    view.folder.unwrap().into()
}

fn sent(team: &Team, paths: &[&Path]) -> TransferView {
    team.api("manager").unwrap().send(&sending(&team.peer("worker"), paths)).unwrap()
}

/// A file of so many bytes of noise, which does not pack.
fn large(team: &Team, bytes: usize) -> PathBuf {
    let path = team.folder().join("large");
    let mut content = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    fs::write(&path, content).unwrap();
    path
}

/// Bytes that do not pack.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    fastrand::Rng::with_seed(seed).fill(&mut content);
    content
}

#[test]
fn a_tree_with_everything_odd_in_it_arrives_identical() {
    let team = team();
    let source = team.folder().join("source");
    plant(&source).unwrap();

    let view = sent(&team, &[&source]);

    let done = team.api("manager").unwrap().until_ended(view.id, PATIENCE).unwrap();
    assert_eq!((done.state, done.bytes_done), (TransferState::Done, done.bytes));
    let arrived = received(&team, view.id).join("source");
    assert_eq!(Tree::of(&arrived).unwrap(), Tree::of(&source).unwrap());
    assert!(done.links > 0 && done.folders > 1 && done.files > 5, "{done:?}");
}

#[test]
fn what_is_sent_to_a_peer_that_is_away_arrives_when_it_returns() {
    let mut team = team();
    team.node_mut("worker").kill().unwrap();
    let file = large(&team, 3_000_000);

    let view = sent(&team, &[&file]);
    assert_eq!(view.state, TransferState::Waiting);
    team.node_mut("manager").kill().unwrap();
    team.node_mut("manager").restart().unwrap();
    team.node_mut("worker").restart().unwrap();

    let arrived = received(&team, view.id);
    assert_eq!(fs::read(arrived.join("large")).unwrap(), fs::read(&file).unwrap());
}

#[test]
fn a_transfer_outlives_twenty_kills_at_either_end_and_both() {
    let mut team = team();
    let file = large(&team, 300 * 1024 * 1024);
    // Slow enough to be killed twenty times on its way.
    let request =
        SendRequest { limit: Some(30_000_000), ..sending(&team.peer("worker"), &[&file]) };
    let view = team.api("manager").unwrap().send(&request).unwrap();

    let mut done = 0;
    for kills in 0..20 {
        let api = team.api("worker").unwrap();
        let goes_on = |view: &TransferView| view.bytes_done > done || view.state.is_terminal();
        let deadline = Instant::now() + PATIENCE;
        while !api.transfer(view.id).is_ok_and(|view| goes_on(&view)) {
            assert!(Instant::now() < deadline, "it stands still after {kills} kills");
            std::thread::yield_now();
        }
        let now = api.transfer(view.id).unwrap();
        assert!(!now.state.is_terminal(), "{now:?} after {kills} kills");
        done = now.bytes_done;
        let victims: &[&str] = match kills % 3 {
            0 => &["manager"],
            1 => &["worker"],
            _ => &["manager", "worker"],
        };
        for victim in victims {
            team.node_mut(victim).kill().unwrap();
        }
        for victim in victims {
            team.node_mut(victim).restart().unwrap();
        }
        // What was there before is not sent again: when it goes on, it counts.
        let api = team.api("worker").unwrap();
        let mut again = 0;
        eventually("it goes on", || {
            again = api.transfer(view.id)?.bytes_done;
            Ok(again > 0)
        })
        .unwrap();
        assert!(again >= done, "{again} instead of {done} after {kills} kills");
    }

    let arrived = received(&team, view.id);
    assert_eq!(fs::read(arrived.join("large")).unwrap(), fs::read(&file).unwrap());
    let manager = team.api("manager").unwrap();
    assert_eq!(manager.until_ended(view.id, PATIENCE).unwrap().state, TransferState::Done);
}

#[test]
fn either_side_ends_a_transfer_and_nothing_is_left_of_it() {
    let mut team = team();
    let file = large(&team, 1_000);
    team.node_mut("worker").kill().unwrap();
    let view = sent(&team, &[&file]);

    let manager = team.api("manager").unwrap();
    let cancelled = manager.cancel_transfer(view.id).unwrap();
    assert_eq!(cancelled.state, TransferState::Cancelled);
    assert_eq!(manager.cancel_transfer(view.id).unwrap(), cancelled, "once more");
    team.node_mut("worker").restart().unwrap();

    eventually("it can be removed", || Ok(manager.remove_transfer(view.id).is_ok())).unwrap();
    assert_eq!(manager.transfers().unwrap(), []);
    let gone = refusal(manager.transfer(view.id)).unwrap();
    assert_eq!(gone.code, ErrorCode::UnknownTransfer);
    let outgoing = team.node("manager").home().join("outgoing");
    assert_eq!(fs::read_dir(outgoing).unwrap().count(), 0);
}

#[test]
fn what_was_received_is_removed_with_its_files() {
    let team = team();
    let file = large(&team, 1_000);
    let view = sent(&team, &[&file]);
    let arrived = received(&team, view.id);

    let worker = team.api("worker").unwrap();
    worker.remove_transfer(view.id).unwrap();

    assert!(!arrived.exists());
    assert_eq!(worker.transfers().unwrap(), []);
}

#[test]
fn a_source_that_changed_meanwhile_is_noticed_and_said() {
    let mut team = team();
    team.node_mut("worker").kill().unwrap();
    let file = large(&team, 5_000_000);
    let view = sent(&team, &[&file]);
    fs::write(&file, b"another content").unwrap();

    team.node_mut("worker").restart().unwrap();

    let failed = team.api("manager").unwrap().until_ended(view.id, PATIENCE).unwrap();
    assert_eq!(failed.state, TransferState::Failed);
    let problem = failed.error.unwrap();
    assert_eq!(problem.code, "source_failed");
    assert!(problem.message.contains("large"), "{problem:?}");
    eventually("the worker drops it", || {
        let views = team.api("worker")?.transfers()?;
        Ok(views.iter().all(|view| view.state.is_terminal()))
    })
    .unwrap();
    let inbox = team.node("worker").home().join("inbox");
    let shown = fs::read_dir(inbox)
        .unwrap()
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name() != ".incoming"));
    assert_eq!(shown.count(), 0);
}

#[test]
fn nothing_goes_to_whom_this_node_does_not_trust_and_nothing_that_is_not_there() {
    let team = Team::start(&["manager", "worker"]).unwrap();
    let manager = team.api("manager").unwrap();
    let file = large(&team, 10);
    let to_worker = sending(&team.peer("worker"), &[&file]);

    let refused = refusal(manager.send(&to_worker)).unwrap();
    assert_eq!(refused.code, ErrorCode::NotTrusted);
    team.trust("manager", "worker").unwrap();
    let missing = team.folder().join("missing");
    for wrong in [
        sending(&team.peer("worker"), &[&missing]),
        sending(&team.peer("worker"), &[]),
        sending(&team.peer("worker"), &[Path::new("relative")]),
    ] {
        let refused = refusal(manager.send(&wrong)).unwrap();
        assert_eq!(refused.code, ErrorCode::InvalidArgument, "{refused:?}");
    }

    assert_eq!(manager.transfers().unwrap(), []);
}

#[test]
fn people_send_look_get_and_remove_with_pilotctl() {
    let team = team();
    let (manager, worker) = (team.node("manager"), team.node("worker"));
    let source = team.folder().join("src");
    plant(&source).unwrap();
    let source = source.to_str().unwrap();

    let said = manager.ok(&["data", "send", "worker", &format!("{source}/"), "--label", "for you"]);
    assert!(said.unwrap().starts_with("sent 9 files"));
    let inbox = worker.json(&["data", "inbox"]).unwrap();
    let id = inbox[0]["id"].as_str().unwrap();
    assert_eq!((&inbox[0]["label"], &inbox[0]["state"]), (&"for you".into(), &"done".into()));
    let out = team.folder().join("out");
    let got = worker.ok(&["data", "get", id, "--out", out.to_str().unwrap()]).unwrap();

    assert_eq!(got.trim_end(), out.join("src").to_str().unwrap());
    assert_eq!(Tree::of(&out.join("src")).unwrap(), Tree::of(Path::new(source)).unwrap());
    let again = worker.ctl(&["data", "get", id, "--out", out.to_str().unwrap()]).unwrap();
    assert_eq!(again.code, Some(8), "{}", again.stderr);
    for node in [manager, worker] {
        assert_eq!(node.json(&["data", "list"]).unwrap().as_array().unwrap().len(), 1);
        node.ok(&["data", "rm", id]).unwrap();
        assert_eq!(node.json(&["data", "list"]).unwrap(), serde_json::json!([]));
    }
    let gone = manager.ctl(&["data", "cancel", id]).unwrap();
    assert_eq!((gone.code, gone.stdout.is_empty()), (Some(3), true), "{}", gone.stderr);
    let missing = manager.ctl(&["data", "send", "worker", "/nowhere/at/all"]).unwrap();
    assert_eq!(missing.code, Some(2), "{}", missing.stderr);
    let both = manager.ctl(&["data", "send", "worker", "-", "/"]).unwrap();
    assert_eq!(both.code, Some(2), "{}", both.stderr);
}
