//! A disk that is full when messages come and go.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use pilot_local_api::ErrorCode;
use pilot_local_api::messages::MessageState;
use pilot_proto::MessageId;
use pilot_tests::on_small_disk;

use crate::post::Post;
use crate::{code, team};

#[test]
fn a_full_disk_loses_no_message_and_goes_on_when_there_is_room() {
    let this = "full::a_full_disk_loses_no_message_and_goes_on_when_there_is_room";
    on_small_disk(this, "120m", fills_up).unwrap();
}

/// Both nodes live on the same disk.
#[expect(clippy::indexing_slicing, reason = "this is a test")]
fn fills_up(disk: &Path) {
    let team = team();
    let (manager, worker) = (Post::of(team.node("manager")), Post::of(team.node("worker")));
    let to = team.peer("worker");
    let before = manager.send(&to, "before").id;
    manager.until(before, MessageState::Delivered);
    let ballast = disk.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    for block in [1 << 20, 4096] {
        while file.write_all(&vec![1; block]).is_ok() {}
    }

    let mut refused = 0;
    for _ in 0..20 {
        let answer = manager.try_send(&to, &"x".repeat(60_000));
        refused += usize::from(answer.is_err());
        if answer.is_err() {
            assert_eq!(code(answer), ErrorCode::DiskFull);
        }
    }
    assert!(refused > 0, "the disk is not full");
    // What is there can be read, if not marked as read.
    assert_eq!(worker.peek()[0].id, before);

    drop(file);
    fs::remove_file(&ballast).unwrap();
    // The answer of the file system may be a quarter of a second old.
    let after: Vec<MessageId> = std::iter::repeat_with(|| manager.try_send(&to, "after"))
        .filter_map(Result::ok)
        .map(|view| view.id)
        .take(3)
        .collect();
    manager.until(after[2], MessageState::Delivered);
    let there = worker.read();
    assert_eq!(there[0].text, "before");
    let last: Vec<MessageId> = there.iter().rev().take(3).rev().map(|message| message.id).collect();
    assert_eq!(last, after);
    let taken = manager.list().len();
    assert_eq!((there.len(), taken), (taken, taken), "each that was taken has come, once");
    worker.ack(&[before]);
    manager.until(before, MessageState::Acked);
}
