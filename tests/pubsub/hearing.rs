//! Who hears what.

use pilot_local_api::ErrorCode;
use pilot_tests::Team;

use super::{Listener, client, event, heard_by, publish, trust, wanting};

/// A manager that both specialists trust, and who do not know each other.
async fn team() -> Team {
    let team = Team::start(&["manager", "backend", "qa"]).unwrap();
    trust(&team, "manager", "backend").await;
    trust(&team, "manager", "qa").await;
    team
}

#[tokio::test]
async fn each_hears_what_it_wants_of_those_it_trusts() {
    let team = team().await;
    let [manager, backend, qa] = ["manager", "backend", "qa"].map(|name| client(&team, name));
    let mut all = Listener::new(&manager, &wanting("specialist.*")).await;
    let mut ready = Listener::new(&manager, &wanting("specialist.*.ready")).await;
    let mut own = Listener::new(&backend, &wanting("specialist.backend.*")).await;
    let mut stranger = Listener::new(&qa, &wanting("specialist.*")).await;
    heard_by(&backend, 1).await;
    heard_by(&qa, 1).await;

    let published = publish(&backend, "specialist.backend.ready", r#"{"a": 1}"#).await;
    assert_eq!((published.peers, published.first_seq, published.last_seq), (1, 1, 1));
    publish(&qa, "specialist.qa.started", 2).await;
    publish(&manager, "specialist.none", 3).await;

    let line = all.line().await;
    let first = (line.topic.as_deref(), line.data.as_ref().map(|data| data.get()));
    if first.0 == Some("specialist.backend.ready") {
        assert_eq!(first.1, Some(r#"{"a": 1}"#));
        assert_eq!(line.id, Some(published.id));
        assert_eq!((line.from.as_str(), line.seq), (team.address("backend"), Some(1)));
        assert_eq!(line.from_name.as_deref(), Some("backend"));
    }
    let mut topics = vec![line.topic.unwrap(), all.event().await.0, all.event().await.0];
    topics.sort();
    assert_eq!(topics, ["specialist.backend.ready", "specialist.none", "specialist.qa.started"]);
    assert_eq!(ready.event().await.0, "specialist.backend.ready");
    assert_eq!(own.event().await.0, "specialist.backend.ready");
    // It hears itself and the manager, and not who trusts it not.
    let mut heard = vec![stranger.event().await.0, stranger.event().await.0];
    heard.sort();
    assert_eq!(heard, ["specialist.none", "specialist.qa.started"]);
}

#[tokio::test]
async fn many_at_once_stay_in_order_and_each_goes_once() {
    let team = team().await;
    let [manager, backend] = ["manager", "backend"].map(|name| client(&team, name));
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(Listener::new(&manager, &wanting("n.*")).await);
    }
    heard_by(&backend, 1).await;

    for from in (0_u64..10_000).step_by(500) {
        let batch: Vec<_> = (from..from + 500).map(|number| event("n.x", number)).collect();
        backend.publish(&batch, None).await.unwrap();
    }

    for listener in &mut listeners {
        let lines = listener.until("9999").await;
        assert!(super::numbers(&lines).into_iter().eq(0..10_000));
    }
    let metrics = manager.metrics().await.unwrap();
    let heard = metrics.lines().find(|line| line.starts_with("pilot_events_heard_total "));
    assert_eq!(heard, Some("pilot_events_heard_total 10000"), "{metrics}");
}

#[tokio::test]
async fn a_request_that_is_repeated_publishes_once() {
    let team = Team::start(&["backend"]).unwrap();
    let backend = client(&team, "backend");
    let request = Some(uuid(7));

    let first = backend.publish(&[event("a", 1), event("a", 2)], request).await.unwrap();
    let again = backend.publish(&[event("a", 1), event("a", 2)], request).await.unwrap();

    assert_eq!(first, again);
    let next = publish(&backend, "a", 3).await;
    assert_eq!(next.last_seq, 3);
}

fn uuid(byte: u8) -> uuid::Uuid {
    uuid::Uuid::from_bytes([byte; 16])
}

#[tokio::test]
async fn what_nobody_may_publish_is_refused_whole() {
    let team = Team::start(&["backend"]).unwrap();
    let backend = client(&team, "backend");
    let long = format!("\"{}\"", "x".repeat(300_000));
    let table = [
        (vec![event("ok", 1), event("task.done", 1)], ErrorCode::NotAllowed),
        (vec![event("ok", 1), event("a.*", 1)], ErrorCode::InvalidArgument),
        (vec![event("ok", 1), event("", 1)], ErrorCode::InvalidArgument),
        (vec![event("ok", 1), event("a", long)], ErrorCode::TooLarge),
        (vec![], ErrorCode::InvalidArgument),
    ];
    for (events, code) in table {
        let error = backend.publish(&events, None).await.unwrap_err();
        assert_eq!(error.api().code, code, "{error}");
    }
    let error =
        backend.publish_lines("{\"topic\":\"a\",\"data\":}".into(), None).await.unwrap_err();
    assert_eq!(error.api().code, ErrorCode::InvalidArgument);
    assert_eq!(publish(&backend, "a", 1).await.last_seq, 1);
}

#[tokio::test]
async fn the_daemon_says_what_becomes_of_tasks_and_peers_to_its_own_user_alone() {
    let team = Team::start(&["manager", "backend"]).unwrap();
    let [manager, backend] = ["manager", "backend"].map(|name| client(&team, name));
    let mut mine = Listener::new(&manager, &wanting("*")).await;

    trust(&team, "manager", "backend").await;
    let task = pilot_tests::api::task_for(&team.peer("backend"), "say hello");
    let submitted = manager.submit(&task).await.unwrap();

    let mut topics = Vec::new();
    while !topics.contains(&"task.delivered".to_owned()) {
        let line = mine.line().await;
        assert_eq!(line.from, team.address("manager"), "{line:?}");
        let topic = line.topic.unwrap();
        if topic.starts_with("task.") {
            assert!(line.data.unwrap().get().contains(&submitted.id.to_string()));
        }
        topics.push(topic);
    }
    for topic in ["peer.trusted", "peer.up", "task.queued"] {
        assert!(topics.contains(&topic.to_owned()), "{topics:?}");
    }
    drop(backend);
}
