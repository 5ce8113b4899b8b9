//! The OpenAPI document of the local API.

use pilot_local_api::{Client, routes};
use pilot_tests::{Node, NodeOptions, Programs};

const ROUTES: [&str; 47] = [
    routes::WHOAMI,
    routes::STATUS,
    routes::NETCHECK,
    routes::DOCTOR,
    routes::METRICS,
    routes::PEERS,
    routes::RESOLVE,
    routes::PING,
    routes::POLO,
    routes::TRUST,
    routes::TRUST_PENDING,
    routes::TRUST_PEER,
    routes::TRUST_CHECK,
    routes::TASKS,
    routes::TASKS_BATCH,
    routes::TASK_ACCEPT,
    routes::TASK,
    routes::TASK_WAIT,
    routes::TASK_WATCH,
    routes::TASK_RESULT,
    routes::TASK_RESULTS,
    routes::TASK_PROGRESS,
    routes::TASK_DECLINE,
    routes::TASK_FAIL,
    routes::TASK_RELEASE,
    routes::TASK_LOGS,
    routes::TASK_CANCEL,
    routes::TASK_RETRY,
    routes::TASK_EXPLAIN,
    routes::TASK_ATTACHMENT,
    routes::TRANSFERS,
    routes::TRANSFER,
    routes::TRANSFER_WATCH,
    routes::TRANSFER_CANCEL,
    routes::MESSAGES,
    routes::MESSAGES_BROADCAST,
    routes::MESSAGE,
    routes::INBOX,
    routes::INBOX_WATCH,
    routes::INBOX_ACK,
    routes::EVENTS,
    routes::EVENTS_SUBSCRIBE,
    routes::EVENT_TOPICS,
    routes::EVENT_CURSORS,
    routes::EVENT_CURSOR,
    routes::EVENT_CURSOR_ACK,
    routes::EVENT_RELAYS,
];

#[test]
fn the_document_describes_every_path_and_no_other() {
    let (programs, folder) = (Programs::built().unwrap(), tempfile::tempdir().unwrap());
    let node = Node::start(&programs, folder.path(), "node", NodeOptions::default()).unwrap();
    let client = Client::new(node.home().join("pilot.sock"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    let document = runtime.block_on(client.openapi()).unwrap();

    let mut described: Vec<&str> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted = ROUTES.to_vec();
    described.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(described, wanted);
    for schema in ["NetcheckView", "DoctorView", "Finding", "PeerView", "PoloView", "StatusView"] {
        let pointer = format!("/components/schemas/{schema}");
        assert!(document.pointer(&pointer).is_some(), "{schema} is not described");
    }
}
