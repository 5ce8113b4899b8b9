//! A command that runs for one task, until it and all that it started are gone.

use core::time::Duration;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use pilot_local_api::Client;
use pilot_local_api::tasks::AcceptedTask;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::contents::Contents;
use super::environment::{Environment, PREFIXES};
use super::output::{Output, Stream};
use super::report::report;
use super::shop::{Shop, Stop};
use super::strays;
use super::watch::Watch;
use crate::child::Group;
use crate::git::REDIRECTING;

/// How long the streams of a command that is gone may stay open: whoever left
/// its group may still hold them.
const DRAIN: Duration = Duration::from_secs(1);

/// How long what it wrote may take to be told before its result is.
const TELL: Duration = Duration::from_secs(6);

/// Within which the system has not given all its numbers of processes: they
/// are 32,768 at least.
const SHORT: Duration = Duration::from_millis(100);

/// How a command came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Alone(ExitStatus),
    /// It was ended, for this reason.
    Stopped(Why),
}

/// Why a command was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The task is to be cancelled.
    Cancelled,
    /// The task has ended without it.
    Over,
    /// It wrote more than a result holds.
    TooMuch,
    /// The worker is to end.
    Told,
    /// Its guard is gone, and with it the lease.
    Unguarded,
}

/// A command that is to run for one task.
pub(super) struct Running<'a> {
    pub(super) shop: &'a Arc<Shop>,
    /// Of who accepted the task.
    pub(super) client: &'a Client,
    pub(super) task: &'a AcceptedTask,
    pub(super) contents: &'a Contents,
    /// Where it runs, if not where worker run does.
    pub(super) folder: Option<&'a Path>,
    pub(super) environment: &'a Environment,
}

impl Running<'_> {
    /// The command, ready to be started.
    fn command(&self) -> Command {
        let mut words = self.shop.words.iter();
        let mut command =
            Command::new(words.next().map_or_else(|| OsStr::new(""), OsString::as_os_str));
        command.args(words).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        if let Some(folder) = self.folder {
            command.current_dir(folder);
            for name in REDIRECTING {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.variables.iter().map(|(name, value)| (name, value)));
        command.env("PILOT_TASK_DIR", self.contents.path());
        command.env("PILOT_RESULT_DIR", self.contents.result());
        if let Some(inputs) = self.contents.inputs() {
            command.env("PILOT_INPUTS_DIR", inputs);
        }
        // Its own calls of pilotctl go to the same daemon, wherever it runs.
        command.env("PILOT_SOCKET", self.shop.ctl.client.socket());
        command
    }

    /// Starts it and waits for its end. `text` is what it finds on stdin.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(super) async fn run(&self, text: Bytes, output: &Arc<Output>) -> io::Result<End> {
        let (shop, id) = (self.shop, self.task.id);
        let began = Instant::now();
        let mut child = self.command().spawn()?;
        let group = Group::of(&child);
        if let Some(group) = group {
            shop.guard.begun(group);
        }
        let mut pipes = self.pipes(&mut child, text, output);
        let mut reporter = JoinSet::new();
        reporter.spawn({
            let (client, output) = (self.client.clone(), Arc::clone(output));
            async move { report(&client, id, &output).await }
        });
        let mut watch = Watch::new(self.client, id);
        let mut stop = shop.stop.subscribe();
        let end = tokio::select! {
            biased;
            status = child.wait() => status.map(End::Alone),
            why = unwanted(&mut watch, &mut stop) => {
                self.end(&mut child, &mut watch, why).await.map(|()| End::Stopped(why))
            }
            () = output.overflowed() => {
                let why = Why::TooMuch;
                self.end(&mut child, &mut watch, why).await.map(|()| End::Stopped(why))
            }
        };
        if let Some(group) = group {
            // What it started and left behind.
            group.kill();
            let since = (began.elapsed() < SHORT).then(|| group.number());
            strays::end(self.contents.path(), since).await;
            shop.guard.ended(group);
        }
        let drained = async { while pipes.join_next().await.is_some() {} };
        // What is still open is given up.
        drop(timeout(DRAIN, drained).await);
        drop(pipes);
        output.close();
        drop(timeout(TELL, reporter.join_next()).await);
        match end {
            // It may have ended before the last of it was read.
            Ok(End::Alone(_)) if output.has_overflowed() => Ok(End::Stopped(Why::TooMuch)),
            end => end,
        }
    }

    fn pipes(&self, child: &mut Child, text: Bytes, output: &Arc<Output>) -> JoinSet<()> {
        let mut pipes = JoinSet::new();
        if let Some(stdin) = child.stdin.take() {
            pipes.spawn(feed(stdin, text));
        }
        if let Some(stdout) = child.stdout.take() {
            let output = Arc::clone(output);
            pipes.spawn(async move { output.read(Stream::Out, stdout).await });
        }
        if let Some(stderr) = child.stderr.take() {
            let output = Arc::clone(output);
            pipes.spawn(async move { output.read(Stream::Err, stderr).await });
        }
        pipes
    }

    /// Asks it to end, and makes it when the grace is over: this worker's own,
    /// or that of the cancellation, at the end of which the daemon ends the task.
    /// Without a guard there is none: somebody else may be at the task already.
    async fn end(&self, child: &mut Child, watch: &mut Watch<'_>, why: Why) -> io::Result<()> {
        let Some(group) = Group::of(child) else { return Ok(()) };
        if why == Why::Unguarded {
            group.kill();
            return child.wait().await.map(drop);
        }
        group.ask();
        let had_ended = watch.has_ended();
        let over = async {
            if had_ended {
                core::future::pending::<()>().await;
            }
            watch.ended().await;
        };
        tokio::select! {
            status = child.wait() => return status.map(drop),
            () = sleep(self.shop.grace) => {}
            () = over => {}
            () = self.shop.stopped(Stop::Unguarded) => {}
        }
        group.kill();
        child.wait().await.map(drop)
    }
}

/// Once what is done for a task is to be ended. Cancel safe.
pub(super) async fn unwanted(watch: &mut Watch<'_>, stop: &mut watch::Receiver<Stop>) -> Why {
    tokio::select! {
        () = watch.unwanted() => {}
        why = told(stop) => return why,
    }
    if watch.has_ended() { Why::Over } else { Why::Cancelled }
}

async fn told(stop: &mut watch::Receiver<Stop>) -> Why {
    let stop = stop.wait_for(|stop| *stop >= Stop::Now).await;
    // Whoever could say so being gone means the same.
    match stop.map_or(Stop::Now, |stop| *stop) {
        Stop::Unguarded => Why::Unguarded,
        Stop::No | Stop::NoMore | Stop::Now => Why::Told,
    }
}

async fn feed(mut stdin: ChildStdin, text: Bytes) {
    // A command need not read it.
    drop(stdin.write_all(&text).await);
}
