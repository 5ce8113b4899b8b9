use std::path::Path;

use pilot_identity::Scopes;
use pilot_proto::tasks::TaskBody;
use pilot_store::Store;
use pilot_tasks::TaskState;

use super::super::NewTask;
use super::super::serve::tests::{key, node, start};
use super::*;

fn new_task(number: u8, path: &Path) -> NewTask {
    NewTask {
        id: TaskId::from_bytes([number; 16]),
        to: key(2).id(),
        body: TaskBody { description: "with files".to_owned(), ..TaskBody::default() },
        priority: 0,
        deadline_in: None,
        queue_timeout: None,
        run_timeout: None,
        idempotency_key: None,
        attach: vec![path.to_owned()],
        plan: pilot_tasks::Plan::default(),
    }
}

fn transfer_of(service: &TasksService, number: u8) -> Transfer {
    let desk = service.desk();
    let task = desk.submitter.task(&TaskId::from_bytes([number; 16])).unwrap();
    let id = task.awaits_files().unwrap().transfer;
    drop(desk);
    service.data.find(id).unwrap().unwrap()
}

/// Waits until no stray is left.
async fn no_strays(store: &Store) {
    let looked = async {
        while !store.read(strays::all).unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looked).await.unwrap();
}

#[tokio::test]
async fn files_that_no_record_answers_for_are_cancelled_at_the_next_start_and_no_others() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "content").unwrap();
    let (service, store) = node(&home, Scopes::ALL).await;

    service.submit(new_task(1, &file)).await.unwrap();
    let load = Load {
        task: TaskId::from_bytes([2; 16]),
        to: key(2).id(),
        paths: vec![file],
        label: String::new(),
    };
    // And here the node dies.
    let stray = service.load(load).await.unwrap().transfer;
    assert_eq!(store.read(strays::all).unwrap(), [stray]);
    let service = start(home.path(), &store, Arc::clone(&service.trust));
    no_strays(&store).await;

    let cancelled = service.data.find(stray).unwrap().unwrap();
    assert!(matches!(cancelled.ended(), Some((_, Ending::Cancelled))), "{cancelled:?}");
    assert!(transfer_of(&service, 1).is_live());
}

#[tokio::test]
async fn a_task_that_ends_first_has_its_files_cancelled_also_if_the_node_dies_in_between() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "content").unwrap();
    let (service, store) = node(&home, Scopes::ALL).await;
    for number in [1, 2] {
        service.submit(new_task(number, &file)).await.unwrap();
    }
    let [first, second] = [1, 2].map(|number| transfer_of(&service, number).id);

    let id = TaskId::from_bytes([1; 16]);
    let cancelled = service.cancel(id, Duration::ZERO, "").await.unwrap();
    assert_eq!(cancelled, TaskState::Cancelled);
    no_strays(&store).await;
    assert!(!service.data.find(first).unwrap().unwrap().is_live());

    // The commit of a cancellation, without what follows from it.
    let mut batch = store.batch();
    strays::put(&mut batch, second);
    store.commit(batch).await.unwrap();
    let service = start(home.path(), &store, Arc::clone(&service.trust));
    no_strays(&store).await;
    assert!(!service.data.find(second).unwrap().unwrap().is_live());
}

#[tokio::test]
async fn a_task_that_is_asked_for_twice_at_once_has_its_files_once() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "content").unwrap();
    let (service, store) = node(&home, Scopes::ALL).await;
    let keyed =
        |number| NewTask { idempotency_key: Some("once".to_owned()), ..new_task(number, &file) };

    let asked =
        tokio::join!(service.submit(keyed(1)), service.submit(keyed(1)), service.submit(keyed(2)),);

    let asked = [asked.0.unwrap(), asked.1.unwrap(), asked.2.unwrap()];
    assert_eq!(asked.iter().filter(|submitted| submitted.new).count(), 1, "{asked:?}");
    assert!(asked.iter().all(|submitted| submitted.id == asked[0].id), "{asked:?}");
    no_strays(&store).await;
    let transfers = service.data.list(None, None, 10).await.unwrap();
    assert_eq!(transfers.iter().filter(|transfer| transfer.is_live()).count(), 1);
}
