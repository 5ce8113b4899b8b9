//! Programs are killed as `kill -9` does, and no message suffers from it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use pilot_local_api::messages::{MessageState, SendMessageRequest};
use pilot_proto::{MessageId, PeerRef};

use crate::post::{PATIENCE, Post, message_for};
use crate::team;

const MESSAGES: usize = 500;

/// Messages between two kills.
const BETWEEN: usize = 25;

#[test]
fn whoever_is_killed_whenever_messages_arrive_once_and_in_order() {
    let mut team = team();
    let to = team.peer("worker");
    let home = team.node("manager").home().to_owned();
    let sent = AtomicUsize::new(0);
    let mut kills = 0;

    let ids: Vec<MessageId> = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let manager = Post::at(&home);
            (0..MESSAGES).map(|number| send(&manager, &to, number, &sent)).collect()
        });
        for victims in VICTIMS.iter().cycle() {
            let until = sent.load(Ordering::Acquire) + BETWEEN;
            while sent.load(Ordering::Acquire) < until.min(MESSAGES) {
                std::thread::yield_now();
            }
            if until >= MESSAGES {
                break;
            }
            for victim in *victims {
                team.node_mut(victim).kill().unwrap();
                kills += 1;
            }
            for victim in *victims {
                team.node_mut(victim).restart().unwrap();
            }
        }
        sender.join().unwrap()
    });

    let (manager, worker) = (Post::of(team.node("manager")), Post::of(team.node("worker")));
    manager.until(ids[MESSAGES - 1], MessageState::Delivered);
    let there = worker.peek();
    let texts: Vec<String> = there.iter().map(|message| message.text.clone()).collect();
    let wanted: Vec<String> = (0..MESSAGES).map(|number| format!("message {number}")).collect();
    assert_eq!(texts, wanted, "after {kills} kills");
    assert_eq!(there.iter().map(|message| message.id).collect::<Vec<_>>(), ids);
    assert!(kills > 15, "only {kills} kills");
}

const VICTIMS: [&[&str]; 3] = [&["manager"], &["worker"], &["manager", "worker"]];

/// Sends until it is acknowledged, under one id, as `pilotctl` does.
fn send(manager: &Post, to: &PeerRef, number: usize, sent: &AtomicUsize) -> MessageId {
    let id = fresh_id(number);
    let request =
        SendMessageRequest { id: Some(id), ..message_for(to, &format!("message {number}")) };
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = manager.send_as(&request) {
        assert!(Instant::now() < deadline, "message {number}: {error}");
    }
    sent.fetch_add(1, Ordering::AcqRel);
    id
}

fn fresh_id(number: usize) -> MessageId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&number.to_be_bytes());
    MessageId::new(pilot_identity::Timestamp::from_millis(1), random)
}

#[test]
fn what_was_read_and_acknowledged_is_told_after_kills_of_both() {
    let mut team = team();
    let to = team.peer("worker");
    let manager = Post::of(team.node("manager"));
    let ids: Vec<MessageId> = (0..20).map(|n| manager.send(&to, &n.to_string()).id).collect();
    manager.until(ids[19], MessageState::Delivered);
    drop(manager);
    team.node_mut("manager").kill().unwrap();
    let worker = Post::of(team.node("worker"));
    assert_eq!(worker.read().len(), 20);
    worker.ack(&ids[..10]);
    drop(worker);
    team.node_mut("worker").kill().unwrap();

    team.node_mut("worker").restart().unwrap();
    let worker = Post::of(team.node("worker"));
    let left: BTreeSet<MessageId> = worker.peek().iter().map(|message| message.id).collect();
    team.node_mut("manager").restart().unwrap();
    let manager = Post::of(team.node("manager"));

    assert_eq!(left, ids[10..].iter().copied().collect());
    for (place, id) in ids.iter().enumerate() {
        let wanted = if place < 10 { MessageState::Acked } else { MessageState::Read };
        assert_eq!(manager.until(*id, wanted).state, wanted);
    }
}

#[test]
fn messages_of_a_node_that_was_set_back_to_a_backup_arrive() {
    let mut team = team();
    let to = team.peer("worker");
    let home = team.node("manager").home().to_owned();
    let send = |text: &str| {
        let manager = Post::at(&home);
        let id = manager.send(&to, text).id;
        manager.until(id, MessageState::Delivered);
    };
    send("before");
    team.node_mut("manager").kill().unwrap();
    let backup = copy_of(&home);
    team.node_mut("manager").restart().unwrap();
    for text in ["one", "two", "three"] {
        send(text);
    }
    team.node_mut("manager").kill().unwrap();
    for (path, content) in backup {
        std::fs::write(path, content).unwrap();
    }
    team.node_mut("manager").restart().unwrap();

    send("after");

    let there = Post::of(team.node("worker")).peek();
    let texts: Vec<&str> = there.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, ["before", "one", "two", "three", "after"]);
}

/// The database of a node that does not run, with its log.
fn copy_of(home: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
    let of_database = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name == "pilot.db" || name == "pilot.db-wal"
    };
    files
        .filter(of_database)
        .map(|path| {
            let content = std::fs::read(&path).unwrap();
            (path, content)
        })
        .collect()
}
