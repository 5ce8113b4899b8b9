//! Events between real daemons, through their local API: who hears what, in
//! which order, and what a crash or a slow reader does to it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests"
)]

mod crashes;
mod hearing;
mod later;
mod relayed;
mod slow;

use std::time::Duration;

use pilot_local_api::Client;
use pilot_local_api::client::Lines;
use pilot_local_api::events::{EventLine, NewEvent, PublishedView, SubscribeRequest};
use pilot_local_api::trust::{TrustRequest, TrustState};
use pilot_tests::Team;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout, timeout_at};

/// How long an event may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes trust between two nodes mutual.
async fn trust(team: &Team, one: &str, other: &str) {
    let deadline = Instant::now() + PATIENCE;
    let sides = [(client(team, one), team.peer(other)), (client(team, other), team.peer(one))];
    for (node, peer) in &sides {
        let peer = peer.clone();
        let request = TrustRequest { peer, fingerprint: None, allow: None, expires_in_ms: None };
        node.trust(&request).await.unwrap();
    }
    for (node, peer) in &sides {
        while node.trust_show(peer).await.unwrap().state != TrustState::Trusted {
            assert!(Instant::now() < deadline, "{one} and {other} do not trust each other");
        }
    }
}

fn client(team: &Team, name: &str) -> Client {
    Client::new(team.node(name).home().join("pilot.sock"))
}

fn event(topic: &str, data: impl std::fmt::Display) -> NewEvent {
    let data = RawValue::from_string(data.to_string()).unwrap();
    NewEvent { topic: topic.to_owned(), data, retain: false }
}

async fn publish(node: &Client, topic: &str, data: impl std::fmt::Display) -> PublishedView {
    node.publish(&[event(topic, data)], None).await.unwrap()
}

fn wanting(topic: &str) -> SubscribeRequest {
    SubscribeRequest { topics: vec![topic.parse().unwrap()], ..SubscribeRequest::default() }
}

fn durable(topic: &str, name: &str) -> SubscribeRequest {
    SubscribeRequest { durable: Some(name.to_owned()), ..wanting(topic) }
}

/// Waits until a node knows that so many peers listen to it.
async fn heard_by(node: &Client, peers: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let topics = node.topics().await.unwrap();
        if topics.peers.iter().filter(|peer| peer.listening).count() == peers {
            return;
        }
        assert!(Instant::now() < deadline, "{peers} peers do not listen: {topics:?}");
    }
}

/// A subscriber.
struct Listener(Lines<EventLine>);

impl Listener {
    async fn new(node: &Client, request: &SubscribeRequest) -> Self {
        Self(node.subscribe(request).await.unwrap())
    }

    /// The next line, in time.
    async fn line(&mut self) -> EventLine {
        let line = timeout(PATIENCE, self.0.next()).await.expect("no event in time");
        line.unwrap().expect("the stream ended")
    }

    /// The next event and its data.
    async fn event(&mut self) -> (String, String) {
        let line = self.line().await;
        assert_eq!(line.gap, None, "{line:?}");
        (line.topic.unwrap(), line.data.unwrap().get().to_owned())
    }

    /// The lines until there is one whose data is `last`.
    async fn until(&mut self, last: &str) -> Vec<EventLine> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        loop {
            let line = timeout_at(deadline, self.0.next()).await;
            let Ok(line) = line else {
                let (count, newest) = (lines.len(), lines.last());
                panic!("not in time, after {count} lines and {newest:?}");
            };
            let line = line.unwrap().expect("the stream ended");
            let is_last = line.data.as_ref().is_some_and(|data| data.get() == last);
            lines.push(line);
            if is_last {
                return lines;
            }
        }
    }
}

/// The numbers that the events say.
fn numbers(lines: &[EventLine]) -> Vec<u64> {
    let events = lines.iter().filter_map(|line| line.data.as_ref());
    events.map(|data| data.get().parse().unwrap()).collect()
}
