//! A disk that fills up while a transfer comes in.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use pilot_local_api::transfers::{SendRequest, TransferState};
use pilot_tests::api::sending;
use pilot_tests::{eventually, on_small_disk};

use crate::{PATIENCE, large, received, team};

/// Bytes of the file, and of it each second.
const SIZE: usize = 30_000_000;
const LIMIT: u64 = 6_000_000;

#[test]
fn a_disk_that_fills_up_half_way_keeps_a_transfer_until_there_is_room() {
    let this = "full::a_disk_that_fills_up_half_way_keeps_a_transfer_until_there_is_room";
    on_small_disk(this, "180m", fills_up_half_way).unwrap();
}

fn fills_up_half_way(disk: &Path) {
    let team = team();
    let source = large(&team, SIZE);
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    let request =
        SendRequest { limit: Some(LIMIT), ..sending(&team.peer("worker"), &[source.as_path()]) };
    let id = manager.send(&request).unwrap().id;
    let arrives = || Ok(worker.transfer(id).is_ok_and(|view| view.bytes_done > 0));
    eventually("some of it is there", arrives).unwrap();

    // Down to the last byte.
    let ballast = disk.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    for block in [1 << 20, 4096] {
        while file.write_all(&vec![1; block]).is_ok() {}
    }

    for api in [&manager, &worker] {
        let kept = || Ok(api.transfer(id)?.trouble.is_some());
        eventually("the full disk keeps it", kept).unwrap();

        let view = api.transfer(id).unwrap();
        assert_eq!(view.trouble.as_ref().unwrap().code, "disk_full", "{view:?}");
        assert!(!view.state.is_terminal() && view.bytes_done < SIZE as u64, "{view:?}");
        assert_eq!(view.folder, None);
    }

    let inbox = team.node("worker").home().join("inbox");
    assert!(!inbox.join(id.to_string()).exists(), "a part is shown as whole");

    drop(file);
    fs::remove_file(&ballast).unwrap();

    let ended = manager.until_ended(id, PATIENCE).unwrap();
    assert_eq!((ended.state, ended.trouble), (TransferState::Done, None));

    let there = received(&team, id).join(source.file_name().unwrap());
    assert!(fs::read(there).unwrap() == fs::read(&source).unwrap());
}
