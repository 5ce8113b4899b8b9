//! One task, from being accepted to being told what became of it.

use core::time::Duration;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use pilot_local_api::ApiError;
use pilot_local_api::Client;
use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::{AcceptedTask, ResultStatus, SendResultsRequest, data_fields};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::IgnoredAny;

use super::contents::{Contents, ContentsError};
use super::delivery::{Outcome, deliver};
use super::environment::Environment;
use super::output::{MAX_STDOUT, Output};
use super::report::clipped;
use super::running::{End, Running, Why, unwanted};
use super::shop::{Shop, Stop};
use super::tree::{CollectError, Tree, TreeError};
use super::watch::Watch;
use crate::child::{how, not_run};
use crate::failure::Failure;
use crate::load::{Given, Load};
use crate::shown;

/// The exit code that means "try again later" (`EX_TEMPFAIL` of sysexits.h).
const LATER: i32 = 75;

/// What is printed of each task that was worked on.
#[derive(Debug, Serialize)]
struct Done {
    id: TaskId,
    attempt: u32,
    /// succeeded, failed, released, cancelled, over if it ended meanwhile, or
    /// refused if the daemon did not take it.
    outcome: &'static str,
    /// What the command ended with.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What came of running the command.
struct Attempt {
    outcome: Outcome,
    exit_code: Option<i32>,
    /// Why no other task can be worked on either.
    fatal: Option<ApiError>,
}

impl From<Outcome> for Attempt {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, exit_code: None, fatal: None }
    }
}

/// Works on a task to its end.
///
/// # Errors
///
/// If no other task could be worked on either.
pub(super) async fn work(
    shop: &Arc<Shop>,
    client: &Client,
    task: &AcceptedTask,
) -> Result<(), Failure> {
    let id = task.id;
    let _counted = shop.count();
    let text = serde_json::to_string(task).unwrap_or_default();
    let text = Bytes::from(shown::json(&text) + "\n");
    let contents = Contents::make(shop.next_folder(), task, &text, &shop.ctl).await;
    let attempt = match &contents {
        Ok(contents) => attempted(shop, client, task, text, contents).await,
        Err(error) => unready(shop, id, error),
    };
    let told = tokio::select! {
        biased;
        // The task is somebody else's already, and so would be the result.
        () = shop.stopped(Stop::Unguarded) => Ok("over"),
        told = deliver(shop, client, id, &attempt.outcome) => told,
    };
    let (word, refused) = match told {
        Ok(word) => (word, None),
        Err(error) => ("refused", Some(error)),
    };
    // Not before the daemon has what was in it.
    drop(contents);
    if word != "released" {
        shop.forget(&id);
    }
    let reason = match attempt.outcome {
        Outcome::Result(request) => request.reason,
        Outcome::Failed { reason, .. } | Outcome::Released { reason, .. } => Some(reason),
        Outcome::Cancelled | Outcome::Over => None,
    };
    let exit_code = attempt.exit_code;
    let done = Done { id, attempt: task.attempt, outcome: word, exit_code, reason };
    shop.ctl.ui.answer(&done, |done| {
        let reason = done.reason.as_deref().map(|reason| format!("  {}", shown::line(reason)));
        format!("{}  {}{}", done.id, done.outcome, reason.unwrap_or_default())
    })?;
    attempt.fatal.or(refused).map_or(Ok(()), |error| Err(error.into()))
}

/// A task whose folder could not be made.
fn unready(shop: &Shop, id: TaskId, error: &ContentsError) -> Attempt {
    let reason = error.to_string();
    match error {
        ContentsError::Name(_) | ContentsError::Twice(_) | ContentsError::Outside(_) => {
            Outcome::Failed { reason, for_good: true }.into()
        }
        ContentsError::Disk { .. } | ContentsError::Daemon(_) => {
            Outcome::Released { after: shop.put_off(id), reason }.into()
        }
    }
}

async fn attempted(
    shop: &Arc<Shop>,
    client: &Client,
    task: &AcceptedTask,
    text: Bytes,
    contents: &Contents,
) -> Attempt {
    let Some(repository) = &shop.repository else {
        return ran(shop, client, task, text, contents, None).await;
    };
    let path = contents.path().join("tree");
    let mut watch = Watch::new(client, task.id);
    let mut stop = shop.stop.subscribe();
    let made = tokio::select! {
        biased;
        made = repository.tree(path.clone(), &task.params.0) => made,
        // A fetch may take long.
        why = unwanted(&mut watch, &mut stop) => {
            repository.forget(&path).await;
            return stopped(why).into();
        }
    };
    let tree = match made {
        Ok(tree) => tree,
        Err(error @ (TreeError::Name | TreeError::NoCommit(_))) => {
            return Outcome::Failed { reason: error.to_string(), for_good: true }.into();
        }
        Err(error @ (TreeError::Fetch(_) | TreeError::Git(_))) => {
            let (after, reason) = (shop.put_off(task.id), error.to_string());
            return Outcome::Released { after, reason }.into();
        }
    };
    let attempt = ran(shop, client, task, text, contents, Some(&tree)).await;
    if let Err(error) = repository.remove(&tree).await {
        shop.ctl.ui.say(&format!("task {}: {}", task.id, shown::line(&error.to_string())));
    }
    attempt
}

/// Runs the command, and makes of it what the submitter is told.
async fn ran(
    shop: &Arc<Shop>,
    client: &Client,
    task: &AcceptedTask,
    text: Bytes,
    contents: &Contents,
    tree: Option<&Tree>,
) -> Attempt {
    let id = task.id;
    let environment = Environment::of(task);
    if let Some(note) = environment.note() {
        shop.ctl.ui.say(&format!("task {id}: {note}"));
    }
    let short = id.to_string();
    // The end of an id is what tells it from others of the same time.
    let short = short.get(short.len().saturating_sub(8)..).unwrap_or_default();
    let prefix = if shop.several { format!("[{short}] ") } else { String::new() };
    let output = Arc::new(Output::new(shop.ctl.ui.clone(), prefix));
    let folder = tree.map(Tree::folder);
    let running = Running { shop, client, task, contents, folder, environment: &environment };
    let status = match running.run(text, &output).await {
        // Whoever stops a worker may tell all of its processes.
        Ok(End::Alone(status)) if is_told(status) && shop.signalled.load(Ordering::Relaxed) => {
            return Attempt { exit_code: status.code(), ..released().into() };
        }
        Ok(End::Alone(status)) => status,
        Ok(End::Stopped(why)) => return stopped(why).into(),
        Err(error) => return not_begun(shop, id, &error),
    };
    let exit_code = status.code();
    if exit_code == Some(LATER) {
        let reason = match output.last_error() {
            line if line.is_empty() => format!("CMD {}: try again later", how(status)),
            line => line,
        };
        let outcome = Outcome::Released { after: shop.put_off(id), reason };
        return Attempt { outcome, exit_code, fatal: None };
    }
    if let (Some(repository), Some(tree)) = (&shop.repository, tree)
        && let Err(error) = repository.collect(tree, id, &contents.result()).await
    {
        let reason = format!("its changes could not be collected: {error}");
        let for_good = matches!(error, CollectError::Submodule(_));
        return Attempt { exit_code, ..Outcome::Failed { reason, for_good }.into() };
    }
    let outcome = match request(shop, status, &output, contents) {
        Ok(request) => Outcome::Result(Box::new(request)),
        Err(Failure::Error(error)) => Outcome::Failed { reason: error.message, for_good: false },
        Err(Failure::Signal { .. } | Failure::Stopped(_) | Failure::OutputClosed) => {
            Outcome::Failed {
                reason: "the files of its result cannot be read".to_owned(),
                for_good: false,
            }
        }
    };
    Attempt { outcome, exit_code, fatal: None }
}

fn stopped(why: Why) -> Outcome {
    match why {
        Why::Cancelled => Outcome::Cancelled,
        Why::Over => Outcome::Over,
        Why::TooMuch => Outcome::Failed {
            reason: format!(
                "CMD wrote more than {MAX_STDOUT} bytes to stdout; larger results go into files \
                 in PILOT_RESULT_DIR"
            ),
            for_good: true,
        },
        Why::Told => released(),
        // It is another's already.
        Why::Unguarded => Outcome::Over,
    }
}

/// What becomes of a task that is not done because the worker ends.
pub(super) fn released() -> Outcome {
    Outcome::Released { after: Duration::ZERO, reason: "the worker was stopped".to_owned() }
}

/// Whether a command ended because SIGINT or SIGTERM told it to, or a shell
/// says that of what it ran.
fn is_told(status: ExitStatus) -> bool {
    matches!(status.signal(), Some(2 | 15)) || matches!(status.code(), Some(130 | 143))
}

/// A command that could not be started: for this task, now, or at all.
fn not_begun(shop: &Shop, id: TaskId, error: &std::io::Error) -> Attempt {
    let name = shop.words.first().cloned().unwrap_or_default();
    let why = not_run(&name, error.kind(), &error.to_string());
    let reason = why.message.clone();
    match Errno::from_io_error(error) {
        // What this task has in its environment.
        Some(Errno::TOOBIG) => return Outcome::Failed { reason, for_good: true }.into(),
        Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM) => {
            return Outcome::Released { after: shop.put_off(id), reason }.into();
        }
        Some(_) | None => {}
    }
    let outcome = Outcome::Released { after: Duration::ZERO, reason };
    Attempt { outcome, exit_code: None, fatal: Some(why) }
}

/// The result of a command that came to its end.
fn request(
    shop: &Shop,
    status: ExitStatus,
    output: &Output,
    contents: &Contents,
) -> Result<SendResultsRequest, Failure> {
    let stdout = Bytes::from(output.take_stdout());
    let is_json = shop.json_result && serde_json::from_slice::<IgnoredAny>(&stdout).is_ok();
    let mut given = Given::default();
    given.add_all_in(&contents.result(), "PILOT_RESULT_DIR")?;
    let Load { files, attach } = given.load()?;
    let (data, data_base64) = data_fields(stdout);
    let reason = (!status.success()).then(|| {
        let last = output.last_error();
        let last = if last.is_empty() { last } else { format!(": {last}") };
        clipped(format!("CMD {}{last}", how(status)))
    });
    let status = if status.success() { ResultStatus::Ok } else { ResultStatus::Failed };
    let no_retry = false;
    Ok(SendResultsRequest { status, data, data_base64, is_json, reason, no_retry, files, attach })
}
