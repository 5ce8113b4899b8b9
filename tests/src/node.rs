//! A node: a daemon as a process, and `pilotctl` beside it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::api::Api;
use crate::process::Process;
use crate::programs::Programs;

/// How long a daemon may take to start or to register.
const START: Duration = Duration::from_secs(10);

/// How a node is started.
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// The rendezvous it registers with.
    pub registry: Option<String>,
    /// Further flags of `pilot-daemon`.
    pub flags: Vec<String>,
}

/// One node with a folder of its own.
#[derive(Debug)]
pub struct Node {
    programs: Programs,
    home: PathBuf,
    name: String,
    options: NodeOptions,
    process: Option<Process>,
}

/// What a command answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed as data.
    pub stdout: Vec<u8>,
    /// What it said beside that.
    pub stderr: String,
}

impl Node {
    /// Starts a daemon called `name` with its home in `folder/name`.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(
        programs: &Programs,
        folder: &Path,
        name: &str,
        options: NodeOptions,
    ) -> anyhow::Result<Self> {
        let home = folder.join(name);
        let mut node = Self {
            programs: programs.clone(),
            home,
            name: name.to_owned(),
            options,
            process: None,
        };
        node.restart()?;
        Ok(node)
    }

    /// The command that starts its daemon.
    #[must_use]
    pub fn daemon(&self) -> Command {
        let mut command = self.programs.command("pilot-daemon");
        command.arg("--home").arg(&self.home);
        for (flag, value) in [("--name", self.name.as_str()), ("--listen", "127.0.0.1:0")] {
            if !self.options.flags.iter().any(|given| given == flag) {
                command.args([flag, value]);
            }
        }
        if let Some(registry) = &self.options.registry {
            // With one dash, as the documents print it.
            command.args(["-registry-addr", registry]);
        }
        command.args(&self.options.flags);
        command
    }

    /// Starts the daemon (again) and waits until it serves its socket.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process = None;
        let mut process = Process::start(self.daemon())?;
        process.line("serving ", START).with_context(|| format!("{} did not start", self.name))?;
        self.process = Some(process);
        Ok(())
    }

    /// Waits until it is registered; its address.
    ///
    /// # Errors
    ///
    /// If it does not register.
    pub fn registered(&mut self) -> anyhow::Result<String> {
        let process = self.process.as_mut().context("not running")?;
        let line = process.line("registered as ", START)?;
        line.split_whitespace().next().map(str::to_owned).context("no address")
    }

    /// Kills the daemon as `kill -9` does.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// The daemon's process, while it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Where its programs are.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Its UDP socket, as `status` tells it.
    ///
    /// # Errors
    ///
    /// If the daemon does not answer.
    pub fn socket_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.api()?.status()?.daemon.listen.parse()?)
    }

    /// Its local API.
    ///
    /// # Errors
    ///
    /// If the system gives no runtime.
    pub fn api(&self) -> anyhow::Result<Api> {
        Api::new(&self.home)
    }

    /// A `pilotctl` that talks to this node.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.programs.command("pilotctl");
        command.env("PILOT_HOME", &self.home).args(args).stdin(Stdio::null());
        command
    }

    /// Runs `pilotctl` to its end.
    ///
    /// # Errors
    ///
    /// If it cannot be run.
    pub fn ctl(&self, args: &[&str]) -> anyhow::Result<Reply> {
        Ok(self.command(args).output()?.into())
    }

    /// Runs `pilotctl` in the background with its output piped.
    ///
    /// # Errors
    ///
    /// If it cannot be run.
    pub fn spawn(&self, args: &[&str]) -> anyhow::Result<Child> {
        let mut command = self.command(args);
        Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }

    /// Runs `pilotctl` and expects success; what it printed, without the last newline.
    ///
    /// # Errors
    ///
    /// If it does not succeed.
    pub fn ok(&self, args: &[&str]) -> anyhow::Result<String> {
        let reply = self.ctl(args)?;
        if reply.code != Some(0) {
            bail!("pilotctl {args:?} on {}: {:?}: {}", self.name, reply.code, reply.stderr);
        }
        Ok(reply.text().trim_end_matches('\n').to_owned())
    }

    /// Runs `pilotctl … --json` and expects success and one JSON value.
    ///
    /// # Errors
    ///
    /// If it does not succeed, or prints something else.
    pub fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        let mut with_json = args.to_vec();
        with_json.push("--json");
        let text = self.ok(&with_json)?;
        serde_json::from_str(&text).with_context(|| format!("pilotctl {args:?} printed {text:?}"))
    }
}

impl From<Output> for Reply {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Reply {
    /// Its data as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The error object that `--json` puts on stderr.
    #[must_use]
    pub fn error_code(&self) -> Option<String> {
        let line = self.stderr.lines().find(|line| line.starts_with('{'))?;
        let body: Value = serde_json::from_str(line).ok()?;
        body.pointer("/error/code").and_then(Value::as_str).map(str::to_owned)
    }
}
