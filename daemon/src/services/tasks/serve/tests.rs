use std::path::Path;
use std::time::Duration;

use pilot_identity::{NodeKey, Scopes, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::text::Text;
use pilot_store::{Settings as StoreSettings, Store};
use pilot_transport::{Alpn, Connection, Endpoint, Expect, Priority, Settings};
use pilot_trust::GrantTerms;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::services::TrustService;
use crate::services::data::{DataService, Place, Quota};
use crate::services::events::{EventsPlace, EventsService};
use crate::services::receipts::ReceiptsService;
use crate::store::schema;

pub(in crate::services::tasks) fn key(seed: u8) -> Arc<NodeKey> {
    Arc::new(NodeKey::from_seed(&[seed; 32].into()))
}

fn endpoint(seed: u8) -> Endpoint {
    let settings = Settings::new(([127, 0, 0, 1], 0).into(), vec![Alpn::Peer]);
    Endpoint::bind(key(seed), settings).unwrap()
}

/// A node that has granted `scopes` to a peer, and got everything from it.
pub(in crate::services::tasks) async fn node(
    home: &tempfile::TempDir,
    scopes: Scopes,
) -> (Arc<TasksService>, Store) {
    let settings = StoreSettings::new(home.path().join("node.db"), schema::MIGRATIONS);
    let store = Store::open(&settings).unwrap();
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let trust = TrustService::start(key(1), Some(1), store.clone(), &tracker, &stop).unwrap();
    let terms = GrantTerms { address: None, scopes, expires_at: None, fingerprint: None };
    trust.grant(key(2).id(), terms).await.unwrap();
    let theirs = pilot_identity::Grant {
        from: key(2).id(),
        to: key(1).id(),
        network: 1,
        scopes: Scopes::ALL,
        issued_at: Timestamp::from_millis(1),
        expires_at: None,
        serial: 1,
    };
    trust.receive(&theirs.sign(&key(2)), None).await.unwrap();
    assert!(trust.is_mutual(&key(2).id()));
    (start(home.path(), &store, trust), store)
}

/// The service as it is after a start of the node.
pub(in crate::services::tasks) fn start(
    home: &Path,
    store: &Store,
    trust: Arc<TrustService>,
) -> Arc<TasksService> {
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let place = Place { home, quota: Quota::default() };
    let data = DataService::start(place, store.clone(), Arc::clone(&trust), &tracker, &stop);
    let data = data.unwrap();
    let (judge, bulk) = (Arc::clone(&trust), Arc::clone(&data));
    let place = EventsPlace { home, journal: 0 };
    let events = EventsService::start(place, key(1), store.clone(), (judge, bulk), &tracker, &stop);
    let receipts = ReceiptsService::new(store.clone(), &tracker, &stop);
    let others = (data, events.unwrap(), receipts);
    TasksService::start((home, key(1)), store.clone(), trust, others, &tracker, &stop).unwrap()
}

/// A connection from the peer to the node.
async fn connected(node: &Endpoint, peer: &Endpoint) -> (Connection, Connection) {
    let dial = peer.connect(Expect::Key(node.id()), node.local_addr(), Alpn::Peer);
    let accept = async { node.accept().await.unwrap().accept().await.unwrap() };
    let (ours, theirs) = tokio::join!(dial, accept);
    (ours.unwrap(), theirs)
}

fn cancel(number: u16) -> TaskRequest {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    let reason = Text::clipped("");
    TaskRequest::Cancel(Cancel { id: TaskId::from_bytes(id), attempt: 1, grace_ms: 0, reason })
}

/// What the node answers to `requests` on one stream.
async fn answers(
    tasks: &Arc<TasksService>,
    requests: impl IntoIterator<Item = TaskRequest>,
) -> Vec<Result<TaskAnswer, FramedError>> {
    let (node, peer) = (endpoint(1), endpoint(2));
    let (there, here) = connected(&node, &peer).await;
    let asked = async {
        let (mut send, mut recv) = there.open_bi(Priority::Task).await.unwrap();
        let mut asked = 0;
        for request in requests {
            send_frame(&mut send, &request, MAX_TASK_FRAME).await.unwrap();
            asked += 1;
        }
        send.finish().unwrap();
        let mut answers = Vec::new();
        for _ in 0..asked {
            let next = pilot_transport::next_frame(&mut recv, MAX_ANSWER_FRAME).await;
            answers.push(next.map(Option::unwrap));
        }
        answers
    };
    let served = async {
        let (send, recv) = here.accept_bi().await.unwrap();
        Arc::clone(tasks).serve(peer.id(), Framed { send, recv }).await;
    };
    let both = async { tokio::join!(asked, served) };
    tokio::time::timeout(Duration::from_secs(20), both).await.unwrap().0
}

#[tokio::test]
async fn as_many_requests_as_a_stream_may_carry_are_all_answered() {
    let home = tempfile::tempdir().unwrap();
    let (tasks, _store) = node(&home, Scopes::ALL).await;

    let answers = answers(&tasks, (0_u16..).take(MAX_REQUESTS).map(cancel)).await;

    assert_eq!(answers, vec![Ok(TaskAnswer::Cancelling); MAX_REQUESTS]);
}

#[tokio::test]
async fn a_peer_without_the_scope_leaves_no_records_by_cancelling() {
    let home = tempfile::tempdir().unwrap();
    let scopes = [Scope::Data].into_iter().collect();
    let (tasks, store) = node(&home, scopes).await;

    let answers = answers(&tasks, [cancel(1)]).await;

    assert_eq!(answers, [Ok(TaskAnswer::Refused(TaskRefusal::Unknown))]);
    let rows: u32 = store
        .read(|connection| connection.query_row("SELECT count(*) FROM received", [], |r| r.get(0)))
        .unwrap();
    assert_eq!(rows, 0);
}
