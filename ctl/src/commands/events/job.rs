//! A command that runs for one event.

use core::time::Duration;
use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{ExitStatus, Stdio};

use bytes::Bytes;
use pilot_local_api::events::EventLine;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::sleep;

use super::follow::Line;
use crate::ui::Ui;
use crate::{child, shown};

/// Bytes of data that a command also finds in its environment; the system
/// takes 128 KiB for one variable.
const IN_ENVIRONMENT: usize = 64 * 1024;

/// Pauses before a command is run again that did not succeed.
const AGAIN: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// How long commands may take to end after they were asked to.
const GRACE: Duration = Duration::from_secs(5);

/// How a command is to be run.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) words: Vec<OsString>,
    /// Whether one that does not succeed is run again.
    pub(super) again: bool,
    pub(super) ui: Ui,
}

/// What became of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done with.
    Done,
    /// It was stopped before that.
    Stopped,
    /// The command cannot be run at all.
    NotRun(io::ErrorKind, String),
}

impl Job {
    /// Runs the command for this event, until it is done with it or `stop` says so.
    pub(super) async fn run(self, line: Line, mut stop: watch::Receiver<bool>) -> Outcome {
        let mut text = Vec::with_capacity(line.text.len() + 1);
        shown::push_json(&mut text, &line.text);
        text.push(b'\n');
        let text = Bytes::from(text);
        // A line that is read here was read before.
        let event: EventLine = serde_json::from_slice(&text).unwrap_or_default();
        let id = event.id.map(|id| id.to_string()).unwrap_or_default();
        let mut pauses = AGAIN.iter().take(if self.again { AGAIN.len() } else { 0 });
        loop {
            let status = match self.once(&event, &id, &text, &mut stop).await {
                Ok(Some(status)) if status.success() => return Outcome::Done,
                Ok(Some(status)) => status,
                Ok(None) => return Outcome::Stopped,
                Err(error) => return Outcome::NotRun(error.kind(), error.to_string()),
            };
            let why = format!("event {id}: CMD {}", child::how(status));
            let Some(pause) = pauses.next() else {
                let given_up = if self.again { "; given up" } else { "" };
                self.ui.say(&format!("{why}{given_up}"));
                return Outcome::Done;
            };
            self.ui.say(&format!("{why}; again in {} s", pause.as_secs()));
            tokio::select! {
                () = sleep(*pause) => {}
                () = asked(&mut stop) => return Outcome::Stopped,
            }
        }
    }

    /// None if it was stopped.
    async fn once(
        &self,
        event: &EventLine,
        id: &str,
        text: &[u8],
        stop: &mut watch::Receiver<bool>,
    ) -> io::Result<Option<ExitStatus>> {
        let mut child = self.command(event, id).spawn()?;
        let stdin = child.stdin.take();
        let written = async {
            if let Some(mut stdin) = stdin {
                // A command need not read it.
                drop(stdin.write_all(text).await);
            }
            core::future::pending::<()>().await;
        };
        tokio::select! {
            status = child.wait() => return status.map(Some),
            () = written => {}
            () = asked(stop) => {}
        }
        child::end(&mut child, GRACE).await?;
        Ok(None)
    }

    fn command(&self, event: &EventLine, id: &str) -> Command {
        let mut words = self.words.iter();
        let mut command =
            Command::new(words.next().map_or_else(|| OsStr::new(""), OsString::as_os_str));
        command.args(words).stdin(Stdio::piped()).process_group(0).kill_on_drop(true);
        let data = event.data.as_ref().map(|data| data.get());
        let variables = [
            ("PILOT_EVENT_ID", Some(id.to_owned())),
            ("PILOT_EVENT_TOPIC", event.topic.clone()),
            ("PILOT_EVENT_FROM", Some(event.from.clone())),
            ("PILOT_EVENT_FROM_NAME", event.from_name.clone()),
            ("PILOT_EVENT_AT", event.at.as_ref().map(|at| at.to_string())),
            ("PILOT_EVENT_SEQ", event.seq.map(|seq| seq.to_string())),
            (
                "PILOT_EVENT_DATA",
                data.filter(|data| data.len() <= IN_ENVIRONMENT).map(str::to_owned),
            ),
        ];
        for (name, value) in variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

/// Once it is to stop. Cancel safe.
async fn asked(stop: &mut watch::Receiver<bool>) {
    // Whoever could say so being gone means the same.
    drop(stop.wait_for(|stop| *stop).await);
}
