//! What who comes later still hears.

use pilot_local_api::ErrorCode;
use pilot_local_api::events::{AckRequest, NewEvent, SubscribeRequest};
use pilot_tests::Team;

use super::{Listener, client, durable, event, heard_by, numbers, publish, trust, wanting};

async fn pair() -> Team {
    let team = Team::start(&["manager", "backend"]).unwrap();
    trust(&team, "manager", "backend").await;
    team
}

#[tokio::test]
async fn values_that_are_kept_come_first_until_they_are_ended() {
    let mut team = pair().await;
    let [manager, backend] = ["manager", "backend"].map(|name| client(&team, name));
    let kept = |data: &str| NewEvent { retain: true, ..event("backend.ready", data) };
    backend.publish(&[kept("1"), event("backend.ready", 5), kept("2")], None).await.unwrap();
    backend.publish(&[event("backend.other", 3)], None).await.unwrap();

    let mut late = Listener::new(&manager, &wanting("backend.*")).await;
    let line = late.line().await;
    assert_eq!((line.data.unwrap().get(), line.retained), ("2", true));
    heard_by(&backend, 1).await;
    publish(&backend, "backend.ready", 4).await;
    assert_eq!(late.event().await.1, "4");

    // Also after a restart, and for those of the same node.
    team.node_mut("backend").restart().unwrap();
    let mut local = Listener::new(&backend, &wanting("backend.*")).await;
    assert_eq!(local.event().await.1, "2");
    backend.publish(&[kept("null")], None).await.unwrap();
    assert_eq!(local.event().await.1, "null");
    let mut later = Listener::new(&backend, &wanting("backend.*")).await;
    publish(&backend, "backend.ready", 6).await;
    assert_eq!(later.event().await.1, "6");
}

#[tokio::test]
async fn the_past_is_there_by_number_by_time_and_by_id() {
    let mut team = pair().await;
    let [manager, backend] = ["manager", "backend"].map(|name| client(&team, name));
    let mut ids = Vec::new();
    for number in 0..20 {
        let topic = if number % 2 == 0 { "even" } else { "odd" };
        ids.push(publish(&backend, topic, number).await.id);
    }
    // What was published in an earlier run counts, too.
    team.node_mut("backend").restart().unwrap();
    publish(&backend, "even", 20).await;

    for node in [&manager, &backend] {
        let ask = async |request: SubscribeRequest| {
            let mut listener = Listener::new(node, &request).await;
            numbers(&listener.until("20").await)
        };
        let last = SubscribeRequest { last: Some(3), ..wanting("even") };
        assert_eq!(ask(last).await, [16, 18, 20]);
        let both = || {
            let topics = ["even", "odd"].map(|topic| topic.parse().unwrap()).to_vec();
            SubscribeRequest { topics, ..SubscribeRequest::default() }
        };
        let all = SubscribeRequest { since_ms: Some(600_000), ..both() };
        assert!(ask(all).await.into_iter().eq(0..=20));
        let after = SubscribeRequest { after: Some(ids[12]), ..both() };
        assert!(ask(after).await.into_iter().eq(13..=20));
    }
}

#[tokio::test]
async fn a_name_goes_on_where_it_was_acknowledged() {
    let mut team = pair().await;
    let [manager, backend] = ["manager", "backend"].map(|name| client(&team, name));
    let mut listener = Listener::new(&manager, &durable("n.*", "worker")).await;
    heard_by(&backend, 1).await;
    for number in 0..10 {
        publish(&backend, "n.x", number).await;
    }
    let lines = listener.until("9").await;
    assert!(numbers(&lines).into_iter().eq(0..10));
    let cursors = vec![lines[4].cursor.clone().unwrap()];
    manager.acknowledge("worker", &AckRequest { cursors }).await.unwrap();
    // One reads by it at a time.
    let twice = manager.subscribe(&durable("n.*", "worker")).await.unwrap_err();
    assert_eq!(twice.api().code, ErrorCode::Conflict);
    drop(listener);

    // Both go, and events are published meanwhile, of which one says for how
    // many peers they are kept.
    team.node_mut("manager").kill().unwrap();
    heard_by(&backend, 0).await;
    team.node_mut("backend").restart().unwrap();
    assert_eq!(publish(&backend, "n.x", 10).await.peers, 1);
    assert_eq!(publish(&backend, "other", 11).await.peers, 0);
    team.node_mut("manager").restart().unwrap();

    let mut listener = Listener::new(&manager, &durable("n.*", "worker")).await;
    let lines = listener.until("10").await;
    assert!(numbers(&lines).into_iter().eq(5..=10), "{:?}", numbers(&lines));
    drop(listener);
    let cursors = manager.event_cursors().await.unwrap();
    assert_eq!(cursors.len(), 1);
    manager.remove_event_cursor("worker").await.unwrap();
    let error = manager.remove_event_cursor("worker").await.unwrap_err();
    assert_eq!(error.api().code, ErrorCode::UnknownCursor);
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_a_gap() {
    let mut team = Team::start(&["manager"]).unwrap();
    team.add("backend", &["--event-journal", "1M"]).unwrap();
    trust(&team, "manager", "backend").await;
    let [manager, backend] = ["manager", "backend"].map(|name| client(&team, name));
    let mut listener = Listener::new(&manager, &durable("n.*", "worker")).await;
    heard_by(&backend, 1).await;
    publish(&backend, "n.x", 0).await;
    let lines = listener.until("0").await;
    let cursors = vec![lines[0].cursor.clone().unwrap()];
    manager.acknowledge("worker", &AckRequest { cursors }).await.unwrap();
    drop(listener);
    heard_by(&backend, 0).await;

    let pad = "x".repeat(1000);
    for from in (1_u64..=20_000).step_by(1000) {
        let batch = (from..from + 1000).map(|n| event("n.x", format!("[{n},\"{pad}\"]")));
        backend.publish(&batch.collect::<Vec<_>>(), None).await.unwrap();
    }
    publish(&backend, "n.x", 77).await;

    let mut listener = Listener::new(&manager, &durable("n.*", "worker")).await;
    let lines = listener.until("77").await;
    let lost: u64 = lines.iter().filter_map(|line| line.gap).sum();
    let events = lines.iter().filter(|line| line.gap.is_none()).count() as u64;
    assert_eq!(lost + events, 20_001, "{lost} lost and {events} events");
    assert!(lost > 0 && events > 1, "{lost} lost and {events} events");
}
