//! How long messages of this node are remembered.

use std::time::Duration;

use pilot_identity::NodeKey;
use pilot_store::{Settings, Store};

use super::*;
use crate::store::schema::MIGRATIONS;

fn id(number: u32) -> MessageId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    MessageId::from_bytes(bytes)
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn new(number: u32) -> NewRow {
    let to = NodeKey::from_seed(&[1; 32].into()).id();
    let expires = at(1).saturating_add(Duration::from_secs(60));
    NewRow {
        message: NewMessage { id: id(number), to, bytes: 1, expires },
        seq: number.into(),
        text: "x".into(),
        digest: [0; 32],
        preview: "x".into(),
        created: at(1),
    }
}

async fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = store.batch();
    fill(&mut batch);
    store.commit(batch).await.unwrap();
}

fn knows(store: &Store, number: u32) -> bool {
    store.read(|connection| get(connection, id(number))).unwrap().is_some()
}

#[tokio::test]
async fn a_message_is_remembered_from_its_end_on_however_old_it_is() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&Settings::new(home.path().join("db"), MIGRATIONS)).unwrap();
    let (old, slow, last) = (0, 1, HISTORY);
    commit(&store, |batch| (old..=last).for_each(|number| put(batch, new(number)))).await;
    commit(&store, |batch| {
        delivered(batch, vec![id(old)], at(2));
        delivered(batch, (2..=last).map(id).collect(), at(2));
    })
    .await;
    assert!(knows(&store, old), "so many are kept");

    // Submitted before all but one of them it ends after them, and by a clock that
    // was set back.
    commit(&store, |batch| expired(batch, vec![id(slow)], at(1))).await;

    assert!(knows(&store, slow), "it has only just ended");
    assert!(!knows(&store, old), "the first to end goes first");
    assert!(knows(&store, 2) && knows(&store, last));
    let kept = store.read(|connection| list(connection, None, None, usize::MAX)).unwrap();
    assert_eq!(kept.len(), usize::try_from(HISTORY).unwrap());

    commit(&store, |batch| put(batch, new(last + 1))).await;
    commit(&store, |batch| delivered(batch, vec![id(last + 1)], at(3))).await;
    assert!(!knows(&store, 2) && knows(&store, slow));
    store.close();
}
