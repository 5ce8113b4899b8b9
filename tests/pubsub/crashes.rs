//! kill -9 in the middle of many events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pilot_local_api::client::CallError;
use pilot_local_api::events::AckRequest;
use pilot_local_api::{Client, ErrorCode};
use pilot_tests::Team;
use tokio::time::{Instant, timeout};

use super::{client, durable, event};

const EVENTS: u64 = 100_000;
const BATCH: u64 = 250;

/// Programs that publish at once, each about a topic of its own: one's events are
/// under way while another's are being written.
const LANES: usize = 2;
const LANE: u64 = EVENTS / 2;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is tried again while a daemon is down.
const LOOK: Duration = Duration::from_millis(2);

/// How often each daemon is killed.
const KILLS: u64 = 4;

/// Publishes all of one topic, each batch until it is taken.
async fn publish_all(node: Client, lane: u64, published: Arc<AtomicU64>) {
    let topic = format!("n.{lane}");
    for from in (0..LANE).step_by(usize::try_from(BATCH).unwrap()) {
        let batch: Vec<_> = (from..from + BATCH).map(|number| event(&topic, number)).collect();
        let request = Some(uuid::Uuid::from_u128(u128::from(lane * EVENTS + from) + 1));
        loop {
            match node.publish(&batch, request).await {
                Ok(_) => break,
                Err(CallError::Refused(error)) => panic!("{error}"),
                Err(CallError::Unsent(_) | CallError::Lost(_)) => tokio::time::sleep(LOOK).await,
            }
        }
        published.fetch_add(BATCH, Ordering::Relaxed);
    }
}

/// Reads them by a name, acknowledging now and then, until the last has come.
/// What was acknowledged does not come again.
async fn read_all(node: Client, read: Arc<AtomicU64>) {
    let mut next = [0_u64; LANES];
    let mut acknowledged = next;
    while next.iter().sum::<u64>() < EVENTS {
        let mut lines = match node.subscribe(&durable("n.*", "reader")).await {
            Ok(lines) => lines,
            // The one before is not seen to be gone yet, or there is no daemon.
            Err(CallError::Refused(error)) if error.code == ErrorCode::Conflict => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(CallError::Refused(error)) => panic!("{error}"),
            Err(CallError::Unsent(_) | CallError::Lost(_)) => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
        };
        // What was not acknowledged comes again, and nothing else; an answer
        // that was lost may have been an acknowledgement all the same.
        let furthest = next;
        next = acknowledged;
        let mut is_first = [true; LANES];
        loop {
            let line = match timeout(PATIENCE, lines.next()).await.expect("nothing comes") {
                Ok(Some(line)) => line,
                Ok(None) | Err(CallError::Lost(_)) => break,
                Err(error) => panic!("{error}"),
            };
            assert_eq!(line.gap, None, "{line:?}");
            let number: u64 = line.data.unwrap().get().parse().unwrap();
            let lane: usize = line.topic.unwrap().trim_start_matches("n.").parse().unwrap();
            let expected = next[lane];
            if is_first[lane] {
                let (from, to) = (expected, furthest[lane]);
                assert!((from..=to).contains(&number), "{number}, not {from} to {to}");
                is_first[lane] = false;
            } else {
                assert_eq!(number, expected);
            }
            next[lane] = number + 1;
            let all: u64 = next.iter().sum();
            read.store(all, Ordering::Relaxed);
            if all.is_multiple_of(1000) || all == EVENTS {
                let cursors = vec![line.cursor.unwrap()];
                match node.acknowledge("reader", &AckRequest { cursors }).await {
                    Ok(()) => acknowledged = next,
                    Err(CallError::Refused(error)) => panic!("{error}"),
                    Err(CallError::Unsent(_) | CallError::Lost(_)) => break,
                }
            }
            if all == EVENTS {
                break;
            }
        }
    }
}

/// Kills a daemon at some points of the way, and starts it again.
fn all_arrive_while_one_is_killed(victims: &[&str]) {
    let mut team = Team::start(&["publisher", "reader"]).unwrap();
    team.trust("publisher", "reader").unwrap();
    let (publisher, reader) = (client(&team, "publisher"), client(&team, "reader"));
    let (published, read) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let is_over = Arc::new(AtomicBool::new(false));
    let working = std::thread::spawn({
        let (published, read, is_over) = (published.clone(), read.clone(), is_over.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                // The name is known before the first event is published.
                drop(reader.subscribe(&durable("n.*", "reader")).await.unwrap());
                super::heard_by(&publisher, 0).await;
                let first = reader.subscribe(&durable("n.*", "reader")).await;
                let first = first.expect("a name that nobody uses");
                super::heard_by(&publisher, 1).await;
                drop(first);
                let both = async {
                    let lane = |lane| publish_all(publisher.clone(), lane, published.clone());
                    tokio::join!(lane(0), lane(1), read_all(reader, read))
                };
                timeout(PATIENCE, Box::pin(both)).await.expect("not in time");
            });
            is_over.store(true, Ordering::Relaxed);
        }
    });
    for kill in 1..=KILLS {
        for (index, victim) in victims.iter().enumerate() {
            let at = EVENTS * kill / (KILLS + 1) + index as u64 * 3_000;
            let deadline = Instant::now() + PATIENCE;
            while read.load(Ordering::Relaxed) < at && !working.is_finished() {
                assert!(Instant::now() < deadline, "{at} are not read");
                std::thread::park_timeout(LOOK);
            }
            team.node_mut(victim).kill().unwrap();
            team.node_mut(victim).restart().unwrap();
        }
    }
    if let Err(panic) = working.join() {
        std::panic::resume_unwind(panic);
    }
    assert!(is_over.load(Ordering::Relaxed));
    assert_eq!(published.load(Ordering::Relaxed), EVENTS);
    assert_eq!(read.load(Ordering::Relaxed), EVENTS);
}

#[test]
fn all_arrive_once_and_in_order_though_the_publisher_is_killed() {
    all_arrive_while_one_is_killed(&["publisher"]);
}

#[test]
fn all_arrive_once_and_in_order_though_the_subscriber_is_killed() {
    all_arrive_while_one_is_killed(&["reader"]);
}

#[test]
fn all_arrive_once_and_in_order_though_both_are_killed() {
    all_arrive_while_one_is_killed(&["publisher", "reader"]);
}
