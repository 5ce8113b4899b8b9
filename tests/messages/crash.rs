//! Programs are killed as `kill -9` does, and no message suffers from it.

use std::collections::BTreeSet;

use pilot_local_api::messages::{MessageState, SendMessageRequest};
use pilot_proto::MessageId;
use pilot_tests::Team;

use crate::post::{Post, message_for};
use crate::team;

const MESSAGES: usize = 500;

#[test]
fn whoever_is_killed_whenever_messages_arrive_once_and_in_order() {
    let mut team = team();
    let to = team.peer("worker");
    let mut ids = Vec::new();
    let mut random = fastrand::Rng::with_seed(5);
    let mut kills = 0;

    while ids.len() < MESSAGES {
        let victims: &[&str] = match kills % 3 {
            0 => &["manager"],
            1 => &["worker"],
            _ => &["manager", "worker"],
        };
        let request = |number: usize| message_for(&to, &format!("message {number}"));
        let manager = Post::of(team.node("manager"));
        for _ in 0..random.usize(20..40) {
            ids.push(manager.send_as(&request(ids.len())).unwrap().id);
        }
        drop(manager);
        kill_in_mid_stream(&mut team, victims, &mut ids, &request);
        kills += 1;
    }

    let (manager, worker) = (Post::of(team.node("manager")), Post::of(team.node("worker")));
    manager.until(*ids.last().unwrap(), MessageState::Delivered);
    let there = worker.peek();
    let texts: Vec<String> = there.iter().map(|message| message.text.clone()).collect();
    let wanted: Vec<String> = (0..ids.len()).map(|number| format!("message {number}")).collect();
    assert_eq!(texts, wanted, "after {kills} kills");
    assert_eq!(there.iter().map(|message| message.id).collect::<Vec<_>>(), ids);
    assert!(kills > 10, "only {kills} kills");
}

/// Kills them, one after the other, while messages are being sent. What was not
/// acknowledged then is sent again under its id, as `pilotctl` does.
fn kill_in_mid_stream(
    team: &mut Team,
    victims: &[&str],
    ids: &mut Vec<MessageId>,
    request: &impl Fn(usize) -> SendMessageRequest,
) {
    for victim in victims {
        let number = ids.len();
        let again = SendMessageRequest { id: Some(fresh_id(number)), ..request(number) };
        let manager = Post::of(team.node("manager"));
        std::thread::scope(|scope| {
            let node = team.node_mut(victim);
            scope.spawn(|| node.kill().unwrap());
            // It may be answered before, or never.
            drop(manager.send_as(&again));
        });
        if *victim == "manager" {
            team.node_mut(victim).restart().unwrap();
        }
        ids.push(Post::of(team.node("manager")).send_as(&again).unwrap().id);
        if *victim != "manager" {
            team.node_mut(victim).restart().unwrap();
        }
    }
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
