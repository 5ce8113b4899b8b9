//! What goes over the line, and what need not. Each of these transfers has a
//! limit at which it would take far longer than anybody waits here, if all of
//! its bytes were sent.

use std::fs;
use std::os::unix::fs::FileExt as _;

use pilot_local_api::transfers::{SendRequest, TransferState, TransferView};
use pilot_tests::api::sending;
use pilot_tests::{Team, eventually};

use crate::{PATIENCE, large, received, team};

/// Bytes a second: a minute for the least that is sent here.
const SLOW: u64 = 100_000;

const SIZE: usize = 6_000_000;

/// Sends it slowly, until it has ended; at the receiver.
fn slowly(team: &Team, from: &str, path: &std::path::Path) -> TransferView {
    let request = SendRequest { limit: Some(SLOW), ..sending(&team.peer("worker"), &[path]) };
    let view = team.api(from).unwrap().send(&request).unwrap();
    let ended = team.api(from).unwrap().until_ended(view.id, PATIENCE).unwrap();
    assert_eq!(ended.state, TransferState::Done, "{ended:?}");
    team.api("worker").unwrap().transfer(view.id).unwrap()
}

#[test]
fn what_the_receiver_holds_already_is_not_sent_again() {
    let team = team();
    let folder = team.folder().join("twice");
    fs::create_dir(&folder).unwrap();
    fs::rename(large(&team, SIZE), folder.join("large")).unwrap();
    fs::write(folder.join("small"), vec![7; 700]).unwrap();
    let first = team.api("manager").unwrap().send(&sending(&team.peer("worker"), &[&folder]));
    let first = received(&team, first.unwrap().id);

    // Elsewhere, by another name, with another mode: the content counts.
    fs::rename(folder.join("large"), folder.join("renamed")).unwrap();
    let second = slowly(&team, "manager", &folder);

    let there = second.folder.unwrap().as_path().join("twice");
    let content = fs::read(folder.join("renamed")).unwrap();
    assert_eq!(fs::read(there.join("renamed")).unwrap(), content);
    assert_eq!(fs::read(there.join("small")).unwrap(), vec![7; 700]);

    // What its user has changed since is no copy of anything.
    for held in [first.join("twice/large"), there.join("renamed")] {
        fs::File::options().write(true).open(held).unwrap().write_all_at(b"mine", 77).unwrap();
    }
    let third = team.api("manager").unwrap().send(&sending(&team.peer("worker"), &[&folder]));
    let third = received(&team, third.unwrap().id);
    assert_eq!(fs::read(third.join("twice/renamed")).unwrap(), content);
}

#[test]
fn what_packs_goes_packed_where_the_line_is_slow() {
    let team = team();
    let log = team.folder().join("log");
    let line = "2026-11-21T19:40:57Z INFO request served in 17 ms\n";
    fs::write(&log, line.repeat(SIZE / line.len())).unwrap();

    let view = slowly(&team, "manager", &log);

    let there = view.folder.unwrap().as_path().join("log");
    assert_eq!(fs::read(there).unwrap(), fs::read(&log).unwrap());
}

#[test]
fn a_small_transfer_does_not_wait_for_large_ones() {
    let team = team();
    let manager = team.api("manager").unwrap();
    let file = large(&team, 40_000_000);
    let request = SendRequest { limit: Some(SLOW), ..sending(&team.peer("worker"), &[&file]) };
    let many: Vec<TransferView> = (0..6).map(|_| manager.send(&request).unwrap()).collect();
    let small = team.folder().join("small");
    fs::write(&small, "at once").unwrap();

    let small = manager.send(&sending(&team.peer("worker"), &[&small])).unwrap();

    let ended = manager.until_ended(small.id, PATIENCE).unwrap();
    assert_eq!(ended.state, TransferState::Done);
    for view in &many {
        assert!(!manager.transfer(view.id).unwrap().state.is_terminal());
    }
    // Nor do they keep each other from going on: those that go on all do.
    eventually("three of them go on", || {
        let views = many.iter().map(|view| manager.transfer(view.id));
        let views: Vec<TransferView> = views.collect::<Result<_, _>>()?;
        Ok(views.iter().filter(|view| view.bytes_done > 0).count() == 3)
    })
    .unwrap();
}
