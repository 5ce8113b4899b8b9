//! One subscriber that does not read, beside others that do.

use pilot_local_api::events::{Slow, SubscribeRequest};
use pilot_tests::Team;

use super::{Listener, client, event, heard_by, numbers, trust, wanting};

/// More than all memories on the way hold: sockets, streams and tails.
const EVENTS: u64 = 80_000;
const BATCH: u64 = 500;

/// Ten subscribers of one event stream, of which one does not read until the
/// others have everything. What it gets then.
async fn the_slow_one_of_ten(slow: Slow) -> Vec<pilot_local_api::events::EventLine> {
    let mut team = Team::start(&["publisher", "reader"]).unwrap();
    trust(&team, "publisher", "reader").await;
    let (publisher, reader) = (client(&team, "publisher"), client(&team, "reader"));
    let request = SubscribeRequest { slow: Some(slow), ..wanting("n.*") };
    let mut lazy = Listener::new(&reader, &request).await;
    let mut others = Vec::new();
    for number in 0..9 {
        let node = if number % 2 == 0 { &reader } else { &publisher };
        others.push(Listener::new(node, &wanting("n.*")).await);
    }
    heard_by(&publisher, 1).await;

    let pad = "x".repeat(300);
    let publishing = async {
        for from in (0..EVENTS).step_by(usize::try_from(BATCH).unwrap()) {
            let batch: Vec<_> =
                (from..from + BATCH).map(|n| event("n.x", format!("[{n},\"{pad}\"]"))).collect();
            publisher.publish(&batch, None).await.unwrap();
        }
        publisher.publish(&[event("n.x", 7)], None).await.unwrap();
    };
    let reading = futures_util::future::join_all(others.iter_mut().map(async |other| {
        let lines = other.until("7").await;
        assert!(lines.iter().all(|line| line.gap.is_none()), "one that reads has a gap");
        assert_eq!(lines.len() as u64, EVENTS + 1);
    }));
    tokio::join!(publishing, reading);
    drop(others);

    for node in ["publisher", "reader"] {
        let resident = team.node_mut(node).process().unwrap().resident_kb().unwrap();
        assert!(resident < 150_000.0, "{node} has {resident} kB resident");
    }
    lazy.until("7").await
}

#[tokio::test]
async fn it_is_told_how_many_events_it_missed() {
    let lines = the_slow_one_of_ten(Slow::Gap).await;

    let lost: u64 = lines.iter().filter_map(|line| line.gap).sum();
    let events = lines.iter().filter(|line| line.gap.is_none()).count() as u64;
    assert!(lost > 0, "nothing was lost");
    assert_eq!(lost + events, EVENTS + 1);
}

#[tokio::test]
async fn it_gets_all_of_them_later() {
    let lines = the_slow_one_of_ten(Slow::CatchUp).await;

    assert!(lines.iter().all(|line| line.gap.is_none()));
    let seqs: Vec<u64> = lines.iter().map(|line| line.seq.unwrap()).collect();
    assert!(seqs.into_iter().eq(1..=EVENTS + 1));
    assert_eq!(numbers(&lines[lines.len() - 1..]), [7]);
}
