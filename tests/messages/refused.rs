//! Messages that a peer does not take, or not now.

use pilot_local_api::ErrorCode;
use pilot_local_api::messages::MessageState;
use pilot_local_api::trust::{Allowed, TrustRequest, TrustState};
use pilot_proto::MessageId;
use pilot_tests::{Team, eventually};

use crate::post::Post;
use crate::{befriend, code, team};

#[test]
fn a_full_inbox_is_told_and_delivery_goes_on_as_room_is_made() {
    let mut team = Team::start(&["manager"]).unwrap();
    team.add("worker", &["--messages-limit-per-peer", "3"]).unwrap();
    befriend(&team);
    let (manager, worker) = (Post::of(team.node("manager")), Post::of(team.node("worker")));
    let to = team.peer("worker");
    let ids: Vec<MessageId> = (0..10).map(|n| manager.send(&to, &n.to_string()).id).collect();

    let waiting = manager.until_trouble(ids[9], "inbox_full");

    assert_eq!(waiting.state, MessageState::Queued);
    manager.until(ids[2], MessageState::Delivered);
    assert_eq!(worker.peek().len(), 3);
    let mut got = Vec::new();
    while got.len() < 10 {
        let read = worker.read();
        assert!(read.len() <= 3, "{read:?}");
        worker.ack(&read.iter().map(|message| message.id).collect::<Vec<_>>());
        got.extend(read.into_iter().map(|message| message.id));
    }
    assert_eq!(got, ids);
    let last = manager.until(ids[9], MessageState::Acked);
    assert_eq!(last.trouble, None);
}

#[test]
fn a_full_inbox_is_an_error_for_whoever_waits_and_the_message_is_kept() {
    let mut team = Team::start(&["manager"]).unwrap();
    team.add("worker", &["--messages-limit", "1"]).unwrap();
    befriend(&team);
    let manager = team.node("manager");
    manager.ok(&["msg", "send", "worker", "one", "--wait"]).unwrap();

    let full = manager.ctl(&["msg", "send", "worker", "two", "--wait", "--json"]).unwrap();

    assert_eq!(full.code, Some(10), "{}", full.stderr);
    assert!(full.stderr.contains("\"code\":\"inbox_full\""), "{}", full.stderr);
    assert!(full.stderr.contains("is kept here") && full.stderr.contains("pilotctl msg status"));
    assert_eq!(manager.json(&["status"]).unwrap()["queues"]["messages_queued"], 1);
    team.node("worker").ok(&["inbox", "ack", "--all"]).unwrap();
    let worker = Post::of(team.node("worker"));
    assert_eq!(worker.read()[0].text, "two");
}

#[test]
fn without_trust_nothing_is_taken_and_what_waits_goes_when_trust_returns() {
    let mut team = team();
    let to = team.peer("worker");
    let manager = Post::of(team.node("manager"));
    team.node_mut("worker").kill().unwrap();
    let waiting = manager.send(&to, "kept");
    let api = team.api("manager").unwrap();
    api.untrust(&to).unwrap();
    assert_eq!(manager.status(waiting.id).trouble.as_deref(), Some("not_trusted"));
    assert_eq!(code(manager.try_send(&to, "refused")), ErrorCode::NotTrusted);
    team.node_mut("worker").restart().unwrap();
    let worker_api = team.api("worker").unwrap();
    let peer = team.peer("manager");
    eventually("the worker hears of it", || Ok(!worker_api.stands(&peer, TrustState::Trusted)?))
        .unwrap();
    assert_eq!(Post::of(team.node("worker")).peek(), vec![]);

    team.trust("manager", "worker").unwrap();

    manager.until(waiting.id, MessageState::Delivered);
    assert_eq!(Post::of(team.node("worker")).read()[0].text, "kept");
    assert_eq!(manager.list().len(), 1);
}

#[test]
fn a_peer_that_may_do_other_things_may_not_send_messages() {
    let team = Team::start(&["manager", "worker"]).unwrap();
    let narrow = TrustRequest {
        peer: team.peer("manager"),
        fingerprint: None,
        allow: Some(vec![Allowed::Tasks]),
        expires_in_ms: None,
    };
    let (manager_api, worker_api) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    worker_api.trust_as(&narrow).unwrap();
    manager_api.trust(&team.peer("worker")).unwrap();
    let (manager, worker) = (Post::of(team.node("manager")), Post::of(team.node("worker")));
    eventually("they trust each other", || {
        Ok(worker_api.stands(&team.peer("manager"), TrustState::Trusted)?
            && manager_api.stands(&team.peer("worker"), TrustState::Trusted)?)
    })
    .unwrap();

    assert_eq!(code(manager.try_send(&team.peer("worker"), "x")), ErrorCode::NotAllowed);

    // The other direction is open, and its receipts come back all the same.
    let back = worker.send(&team.peer("manager"), "you may not, I may");
    manager.read();
    manager.ack(&[back.id]);
    worker.until(back.id, MessageState::Acked);
    let nobody = team.node("manager").ctl(&["msg", "broadcast", "x", "--json"]).unwrap();
    assert_eq!((nobody.code, nobody.error_code().as_deref()), (Some(3), Some("unknown_peer")));
}
