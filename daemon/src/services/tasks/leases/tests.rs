use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;

/// How long a process may take to be gone once it was killed.
const SOON: Duration = Duration::from_secs(10);

fn sleeper() -> Child {
    Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap()
}

fn named(child: &Child) -> ProcessRef {
    ProcessRef { pid: child.id(), started: None }
}

#[tokio::test]
async fn a_process_is_gone_once_it_is_killed_and_not_before() {
    let mut child = sleeper();
    let process = find(named(&child)).unwrap();
    let mut gone = std::pin::pin!(gone(&process));

    assert!(futures_util::FutureExt::now_or_never(gone.as_mut()).is_none());
    assert!(process::is_there(&process));
    child.kill().unwrap();

    tokio::time::timeout(SOON, gone).await.unwrap();
    // Nobody has asked yet how it ended: it has its number still.
    assert!(!process::is_there(&process));
    assert!(matches!(find(named(&child)), Err(ProcessError::NoSuch { .. })));
    tokio::time::timeout(SOON, super::gone(&process)).await.unwrap();
    child.wait().unwrap();
    tokio::time::timeout(SOON, super::gone(&process)).await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_number_that_was_given_again_is_another_process() {
    let mut child = sleeper();
    let process = find(named(&child)).unwrap();

    let again = ProcessRef { started: Some(process.started), ..named(&child) };
    assert_eq!(find(again).unwrap(), process);
    let another = ProcessRef { started: Some(process.started + 1), ..named(&child) };
    assert!(matches!(find(another), Err(ProcessError::Another { .. })));
    for other in [
        Process { started: process.started + 1, ..process },
        Process { boot: process.boot ^ 1, ..process },
    ] {
        tokio::time::timeout(SOON, gone(&other)).await.unwrap();
    }

    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn the_name_of_a_program_may_look_like_the_fields_after_it() {
    let fields = "1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 99";

    assert_eq!(process::started_of(&format!("7 (a) S 3 (b)) S {fields}")), Ok(Some(4711)));
    assert_eq!(process::started_of(&format!("7 (a) Z {fields}")), Ok(None));
    for broken in ["", "7 (a", "7 (a)", "7 (a) S 1 2 3"] {
        assert_eq!(process::started_of(broken), Err(()), "{broken:?}");
    }
}

#[test]
fn a_process_is_watched_once() {
    let leases = Leases::default();
    let process = Process { pid: 1, started: 2, boot: 3 };

    let ended = leases.begin(process).unwrap();
    assert!(leases.begin(process).is_none());
    leases.end(&process);

    assert!(ended.is_cancelled() && leases.watched().is_empty());
    assert!(leases.begin(process).is_some());
}
