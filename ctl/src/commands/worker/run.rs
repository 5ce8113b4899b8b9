use core::time::Duration;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::builder::RangedU64ValueParser;
use pilot_flags::HumanDuration;
use pilot_local_api::proto::PeerRef;
use pilot_local_api::tasks::{AcceptRequest, AcceptedTask};
use pilot_local_api::{ApiError, CallError, Client, ErrorCode, quoted};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, sleep_until, timeout};

use super::agent::Agent;
use super::delivery::deliver;
use super::guarded::Guarded;
use super::shop::{Shop, Stop, Tally};
use super::tree::Repository;
use super::work::{released, work};
use crate::child::not_run;
use crate::failure::Failure;
use crate::waiting::{AtFirst, Signals, patiently};
use crate::{Ctl, random};

/// The longest single wait for a task that is asked of the daemon.
const ONE_WAIT_MS: u64 = 60_000;

/// How long a daemon may refuse to give tasks for a reason of its own.
const REFUSED: Duration = Duration::from_secs(60);

/// Pause before it is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the guard may take to end, and a last task to be given back.
const FAREWELL: Duration = Duration::from_secs(2);

/// Run a command for each task of this node's queue
///
/// The command is run without a shell. It finds the task as a line of JSON on stdin, and in
/// PILOT_TASK_ID, _ATTEMPT, _FROM, _FROM_NAME, PILOT_PARAM_<NAME> and, up to 64 KiB,
/// PILOT_TASK_DESCRIPTION. PILOT_TASK_DIR is a folder of its own with task.json, description,
/// what was attached in files/, and results of earlier tasks in inputs/1/ and so on
/// (PILOT_INPUTS_DIR, if there are any).
///
/// What it writes to stdout is the result, files that it leaves in PILOT_RESULT_DIR are its
/// files, and its exit code is the outcome: 0 succeeded, 75 try again later (after 5 s, then
/// twice as long each time, up to 5 min), anything else failed. Both streams are the task's
/// log, their last line its progress. A task that is cancelled, runs out of time or loses its
/// submitter's trust ends the command: SIGTERM to its process group, after the grace SIGKILL.
/// Whatever it leaves running is killed when it ends; on Linux that includes what left its
/// process group.
///
/// Ctrl-C (or SIGTERM) lets what runs end and accepts no more; a second one ends what runs and
/// gives its tasks back to the queue. If worker run itself is killed, its commands are, too, and
/// their tasks go back.
///
/// Examples:
///   pilotctl worker run -- sh -c 'wc -w "$PILOT_TASK_DIR/description"'
///   pilotctl worker run --slots 4 --idle-exit 10m -- python3 render.py
///   pilotctl worker run --worktree ~/src/shop --agent claude -- --model opus
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Tasks that are worked on at once.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    slots: u8,
    /// End after one task.
    #[arg(long, conflicts_with = "max_tasks")]
    once: bool,
    /// End after this many tasks.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    max_tasks: Option<u64>,
    /// End once there was nothing to do for so long.
    #[arg(long, value_name = "DURATION")]
    idle_exit: Option<HumanDuration>,
    /// Only tasks of this submitter.
    #[arg(long, value_name = "PEER")]
    from: Option<PeerRef>,
    /// Run each command in a fresh git work tree of this repository, at the commit that the
    /// task's parameter `commit` names (else at its HEAD). What it changes goes into the result:
    /// changes.bundle, which `pilotctl task merge` takes, changes.patch and changes.json.
    #[arg(long, value_name = "REPO")]
    worktree: Option<PathBuf>,
    /// How long a command may take to end after SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    grace: HumanDuration,
    /// stdout that is a JSON document is a result of that kind.
    #[arg(long)]
    json_result: bool,
    /// Run this agent with the description as its prompt; words after -- are added to its own.
    #[arg(long, value_enum, value_name = "AGENT")]
    agent: Option<Agent>,
    /// The command and its arguments.
    #[arg(last = true, required_unless_present = "agent")]
    cmd: Vec<OsString>,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let words = words(&args, ctl)?;
    let repository = match &args.worktree {
        Some(folder) => Some(Repository::open(folder).await?),
        None => None,
    };
    // The many calls share connections.
    let socket = std::path::absolute(ctl.client.socket());
    let socket = socket.unwrap_or_else(|_| ctl.client.socket().to_owned());
    let ctl = Ctl { client: Client::keeping(socket), home: ctl.home.clone(), ui: ctl.ui.clone() };
    patiently(&ctl, AtFirst::Fail, || ctl.client.whoami()).await?;
    let folder = tempfile::Builder::new().prefix("pilot-worker-").tempdir();
    let folder = folder.map_err(|error| {
        ApiError::new(ErrorCode::Internal, format!("cannot make a folder for tasks: {error}"))
    })?;
    let (guard, mut guarding) = Guarded::start(folder.path())?;
    let tally = Tally { running: 0, since: Instant::now() };
    let limit = if args.once { Some(1) } else { args.max_tasks };
    let shop = Arc::new(Shop {
        ctl,
        words,
        from: args.from,
        repository,
        guard,
        folder: folder.path().to_owned(),
        grace: args.grace.0,
        json_result: args.json_result,
        several: args.slots > 1,
        stop: watch::Sender::new(Stop::No),
        signalled: AtomicBool::new(false),
        tally: watch::Sender::new(tally),
        left: AtomicU64::new(limit.unwrap_or(u64::MAX)),
        begun: AtomicU64::new(0),
        put_off: std::sync::Mutex::default(),
    });
    let idle_exit = args.idle_exit.map(|limit| limit.0);
    let end = serve(&shop, args.slots, idle_exit, &mut signals, &mut guarding).await;
    drop(folder);
    shop.guard.close();
    // One that does not end is no reason to stay.
    drop(timeout(FAREWELL, guarding.wait()).await);
    end?;
    match args.idle_exit {
        Some(limit) if args.once && shop.begun.load(Ordering::Relaxed) == 0 => {
            Err(ApiError::new(ErrorCode::NoTask, format!("no task came within {limit}")).into())
        }
        Some(_) | None => Ok(()),
    }
}

/// The command line, which can be run as far as can be seen.
fn words(args: &Args, ctl: &Ctl) -> Result<Vec<OsString>, Failure> {
    let Some(agent) = args.agent else {
        let name = args.cmd.first().cloned().unwrap_or_default();
        if is_missing(&name) {
            return Err(
                not_run(&name, std::io::ErrorKind::NotFound, "it is not on the PATH").into()
            );
        }
        return Ok(args.cmd.clone());
    };
    if is_missing(OsStr::new(agent.program())) {
        let message = format!("{} is not installed, or not on the PATH", agent.program());
        return Err(ApiError::new(ErrorCode::NotFound, message)
            .with_hint(format!("command -v {}", agent.program()))
            .into());
    }
    let words = agent.words(&args.cmd);
    let line: Vec<String> = words.iter().map(|word| quoted(&word.to_string_lossy())).collect();
    ctl.ui.say(&format!("running: {}", line.join(" ")));
    Ok(words)
}

/// Whether a program that is named without its folder is in none of the PATH.
fn is_missing(name: &OsStr) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    let is_bare = !name.as_encoded_bytes().contains(&b'/');
    is_bare && !std::env::split_paths(&path).any(|folder| is_program(&folder.join(name)))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Lets the slots work until the end, of which the first reason counts.
async fn serve(
    shop: &Arc<Shop>,
    slots: u8,
    idle_exit: Option<Duration>,
    signals: &mut Signals,
    guarding: &mut Child,
) -> Result<(), Failure> {
    let mut working = JoinSet::new();
    for _ in 0..slots {
        let shop = Arc::clone(shop);
        working.spawn(async move { slot(&shop).await });
    }
    let mut tally = shop.tally.subscribe();
    let mut end = Ok(());
    let stop = |stop: Stop| shop.stop.send_modify(|now| *now = stop.max(*now));
    let mut is_guarded = true;
    loop {
        tokio::select! {
            ended = working.join_next() => {
                let Some(ended) = ended else { return end };
                if let Err(failure) = ended.unwrap_or_else(|error| Err(lost(&error))) {
                    stop(Stop::NoMore);
                    end = end.and(Err(failure));
                }
            }
            number = signals.next() => {
                let running = shop.tally.borrow().running;
                // It may accept no more already, for another reason.
                if !shop.signalled.swap(true, Ordering::Relaxed) {
                    stop(Stop::NoMore);
                    if running > 0 {
                        shop.ctl.ui.say(&format!(
                            "stopping once what runs has ended ({running}); again to end it now"
                        ));
                    }
                } else {
                    stop(Stop::Now);
                }
                end = end.and(Err(Failure::Stopped(number)));
            }
            _ = guarding.wait(), if is_guarded => {
                is_guarded = false;
                stop(Stop::Unguarded);
                let message = "the guard of this worker is gone; what ran was stopped";
                end = end.and(Err(ApiError::new(ErrorCode::Internal, message).into()));
            }
            () = idle(idle_exit, &mut tally), if *shop.stop.borrow() == Stop::No => {
                stop(Stop::NoMore);
            }
        }
    }
}

fn lost(error: &JoinError) -> Failure {
    ApiError::new(ErrorCode::Internal, format!("a slot was lost: {error}")).into()
}

/// Once nothing was worked on for so long. Cancel safe.
async fn idle(limit: Option<Duration>, tally: &mut watch::Receiver<Tally>) {
    let Some(limit) = limit else { return core::future::pending().await };
    loop {
        let Tally { running, since } = *tally.borrow_and_update();
        let over = async {
            if running > 0 {
                core::future::pending::<()>().await;
            }
            sleep_until((since + limit).into()).await;
        };
        tokio::select! {
            () = over => return,
            _ = tally.changed() => {}
        }
    }
}

/// Works on one task after the other.
async fn slot(shop: &Arc<Shop>) -> Result<(), Failure> {
    while shop.take_ticket() {
        let Some((task, claim)) = accepted(shop).await? else { return Ok(()) };
        // What is said of it later must not be taken for somebody else's word.
        let client = shop.ctl.client.claiming(&claim);
        work(shop, &client, &task).await?;
    }
    Ok(())
}

/// The next task; none if no more are to be accepted.
async fn accepted(shop: &Shop) -> Result<Option<(AcceptedTask, String)>, Failure> {
    loop {
        // A lost answer is asked for again by the same claim.
        let claim = format!("{:016x}", u64::from_be_bytes(random::bytes()?));
        let request = AcceptRequest {
            timeout_ms: ONE_WAIT_MS,
            from: shop.from.clone(),
            claim: Some(claim.clone()),
            bind: Some(shop.guard.process()),
        };
        let answer = tokio::select! {
            biased;
            answer = persistently(shop, &request) => answer?,
            () = shop.stopped(Stop::NoMore) => {
                drop(timeout(FAREWELL, give_back(shop, request)).await);
                return Ok(None);
            }
        };
        if let Some(task) = answer {
            return Ok(Some((task, claim)));
        }
    }
}

/// Asks for a task until the daemon has one or says for good that it gives none.
async fn persistently(
    shop: &Shop,
    request: &AcceptRequest,
) -> Result<Option<AcceptedTask>, CallError> {
    let mut refused: Option<Instant> = None;
    loop {
        let accept = || shop.ctl.client.accept(request);
        let error = match patiently(&shop.ctl, AtFirst::Wait, accept).await {
            Err(CallError::Refused(error))
                if error.retryable || error.code == ErrorCode::Internal =>
            {
                error
            }
            answered => return answered,
        };
        if refused.is_none() {
            shop.ctl.ui.say(&format!("{error}; asking again for {} s", REFUSED.as_secs()));
        }
        if refused.get_or_insert_with(Instant::now).elapsed() >= REFUSED {
            return Err(CallError::Refused(error));
        }
        sleep(AGAIN).await;
    }
}

/// Gives back the task whose answer was on its way when nobody waited for it
/// any more: the same claim gives it again. One that waits just now may come
/// instead, and goes back, too.
async fn give_back(shop: &Shop, request: AcceptRequest) {
    if *shop.stop.borrow() == Stop::Unguarded {
        return;
    }
    let request = AcceptRequest { timeout_ms: 0, ..request };
    let client = shop.ctl.client.claiming(request.claim.as_deref().unwrap_or_default());
    if let Ok(Some(task)) = client.accept(&request).await {
        // If it is not, it goes back when the guard ends.
        drop(deliver(shop, &client, task.id, &released()).await);
    }
}
