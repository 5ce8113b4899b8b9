//! A program that runs until it is killed, and the lines it prints.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Lines of output that may wait to be read; the program waits beyond that.
const LINES: usize = 4096;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    errors: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `command` with its output piped here.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let stderr = child.stderr.take().context("no stderr")?;
        let (sender, lines) = sync_channel(LINES);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = Arc::new(Mutex::new(String::new()));
        thread::spawn({
            let errors = Arc::clone(&errors);
            move || collect(stderr, &errors)
        });
        Ok(Self { child, lines, errors })
    }

    /// The rest of the first line that begins with `start`.
    ///
    /// # Errors
    ///
    /// If the program ends first, or does not print it within `patience`.
    pub fn line(&mut self, start: &str, patience: Duration) -> anyhow::Result<String> {
        self.find(start, patience, |line| line.strip_prefix(start))
    }

    /// What follows `words` in the first line that has them anywhere.
    ///
    /// # Errors
    ///
    /// If the program ends first, or does not print them within `patience`.
    pub fn words(&mut self, words: &str, patience: Duration) -> anyhow::Result<String> {
        self.find(words, patience, |line| line.split_once(words).map(|(_, rest)| rest))
    }

    fn find(
        &mut self,
        wanted: &str,
        patience: Duration,
        rest: impl Fn(&str) -> Option<&str>,
    ) -> anyhow::Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(rest) = rest(&line) {
                        return Ok(rest.trim().to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("no line {wanted:?} within {patience:?}; stderr: {}", self.errors())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("ended ({status}) before line {wanted:?}; stderr: {}", self.errors())
                }
            }
        }
    }

    /// What it has written to stderr so far.
    #[must_use]
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `words` are in what it writes to stderr.
    ///
    /// # Errors
    ///
    /// If the program ends first, or does not write them within `patience`.
    pub fn error(&mut self, words: &str, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        while !self.errors().contains(words) {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended ({status}) before {words:?}; stderr: {}", self.errors());
            }
            if Instant::now() > deadline {
                bail!("no {words:?} within {patience:?}; stderr: {}", self.errors());
            }
            // Until the thread that collects them has more.
            thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, in kB.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn resident_kb(&self) -> anyhow::Result<f64> {
        resident_kb(self.pid())
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop as `kill` does.
    ///
    /// # Errors
    ///
    /// If it does not stop within `patience`.
    pub fn stop(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(patience)
    }

    /// Stops its clock: until [`thaw`](Self::thaw) it does nothing, and
    /// whatever others do in the meantime is done without it.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("cannot send a signal")
    }

    /// Waits until it ends: its output ends with it.
    ///
    /// # Errors
    ///
    /// If it does not end within `patience`.
    pub fn wait(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(self.child.wait()?),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("still running after {patience:?}; stderr: {}", self.errors())
                }
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        drop(self.kill());
    }
}

fn collect(mut from: impl Read, into: &Mutex<String>) {
    let mut buffer = [0; 4096];
    while let Ok(count) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return };
        into.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_str(&String::from_utf8_lossy(bytes));
    }
}

/// Resident memory of a process, in kB.
///
/// # Errors
///
/// If there is no such process.
pub fn resident_kb(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.split_whitespace().next()).context("no VmRSS")?;
    Ok(number.parse()?)
}
