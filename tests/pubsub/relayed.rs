//! Events that a hub hands on.

use pilot_local_api::ErrorCode;
use pilot_local_api::events::RelayRule;
use pilot_tests::Team;

use super::{Listener, client, durable, heard_by, publish, trust, wanting};

fn rule(team: &Team) -> RelayRule {
    RelayRule {
        from: team.address("backend").to_owned(),
        to: "qa".to_owned(),
        topic: "specialist.backend.*".parse().unwrap(),
    }
}

#[tokio::test]
async fn a_specialist_hears_another_through_the_hub_if_the_hub_lets_it() {
    let mut team = Team::start(&["hub", "backend", "qa"]).unwrap();
    trust(&team, "hub", "backend").await;
    trust(&team, "hub", "qa").await;
    let [hub, backend, qa] = ["hub", "backend", "qa"].map(|name| client(&team, name));
    let mut listener = Listener::new(&qa, &durable("specialist.*", "tests")).await;
    heard_by(&hub, 1).await;

    // Not unless it is allowed.
    publish(&backend, "specialist.backend.ready", 1).await;
    publish(&hub, "specialist.hub", 2).await;
    let own = listener.line().await;
    assert_eq!(own.data.as_ref().map(|data| data.get()), Some("2"));

    hub.add_relay(&rule(&team)).await.unwrap();
    heard_by(&backend, 1).await;
    let published = publish(&backend, "specialist.backend.ready", 3).await;
    publish(&backend, "specialist.other", 4).await;
    let line = listener.line().await;
    assert_eq!(line.data.as_ref().map(|data| data.get()), Some("3"));
    assert_eq!(line.id, Some(published.id));
    assert_eq!(line.via.as_deref(), Some(team.address("hub")));
    assert_ne!(line.from, team.address("hub"));
    let cursors = vec![own.cursor.unwrap(), line.cursor.unwrap()];
    let ack = pilot_local_api::events::AckRequest { cursors };
    qa.acknowledge("tests", &ack).await.unwrap();
    drop(listener);

    // Nothing is lost while the hub is away, nor while who wants it is.
    team.node_mut("hub").kill().unwrap();
    publish(&backend, "specialist.backend.ready", 5).await;
    team.node_mut("qa").kill().unwrap();
    team.node_mut("hub").restart().unwrap();
    publish(&backend, "specialist.backend.ready", 6).await;
    heard_by(&backend, 1).await;
    team.node_mut("qa").restart().unwrap();
    let mut listener = Listener::new(&qa, &durable("specialist.*", "tests")).await;
    assert_eq!(listener.event().await.1, "5");
    assert_eq!(listener.event().await.1, "6");

    // And it ends when the hub says so.
    hub.remove_relay(&rule(&team)).await.unwrap();
    heard_by(&backend, 0).await;
    publish(&backend, "specialist.backend.ready", 7).await;
    publish(&hub, "specialist.hub", 8).await;
    assert_eq!(listener.event().await.1, "8");
    let error = hub.remove_relay(&rule(&team)).await.unwrap_err();
    assert_eq!(error.api().code, ErrorCode::NotFound);
    assert_eq!(hub.relays().await.unwrap(), []);
}

#[tokio::test]
async fn who_published_something_does_not_hear_it_again() {
    let team = Team::start(&["hub", "backend", "qa"]).unwrap();
    trust(&team, "hub", "backend").await;
    trust(&team, "hub", "qa").await;
    let [hub, backend, qa] = ["hub", "backend", "qa"].map(|name| client(&team, name));
    let both = |from: &str, to: &str| RelayRule {
        from: from.to_owned(),
        to: to.to_owned(),
        topic: "a.*".parse().unwrap(),
    };
    for (from, to) in [("backend", "qa"), ("qa", "backend")] {
        hub.add_relay(&both(from, to)).await.unwrap();
    }
    let mut listener = Listener::new(&backend, &wanting("a.*")).await;
    heard_by(&backend, 1).await;
    heard_by(&qa, 1).await;

    publish(&backend, "a.x", 1).await;
    assert_eq!(listener.event().await.1, "1");
    publish(&qa, "a.x", 2).await;
    assert_eq!(listener.event().await.1, "2");
    let error = hub.add_relay(&both("qa", "qa")).await.unwrap_err();
    assert_eq!(error.api().code, ErrorCode::InvalidArgument);
}
