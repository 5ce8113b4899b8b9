//! A rendezvous as a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::process::Process;
use crate::programs::Programs;

/// How long it may take to start.
const START: Duration = Duration::from_secs(10);

/// A rendezvous that can be killed and started again at the same address.
#[derive(Debug)]
pub struct Rendezvous {
    programs: Programs,
    folder: PathBuf,
    flags: Vec<String>,
    addr: SocketAddr,
    key: String,
    process: Process,
}

impl Rendezvous {
    /// Starts one with its state in `folder`, on a free port of loopback.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(programs: &Programs, folder: &Path) -> anyhow::Result<Self> {
        Self::start_at(programs, folder, SocketAddr::from(([127, 0, 0, 1], 0)), &[])
    }

    /// Starts one at an address, with further flags.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start_at(
        programs: &Programs,
        folder: &Path,
        listen: SocketAddr,
        flags: &[String],
    ) -> anyhow::Result<Self> {
        let (process, addr, key) = launch(programs, folder, listen, flags)?;
        Ok(Self {
            programs: programs.clone(),
            folder: folder.to_owned(),
            flags: flags.to_owned(),
            addr,
            key,
            process,
        })
    }

    /// Where nodes register.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its public key, as it prints it.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills it as `kill -9` does.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process = launch(&self.programs, &self.folder, self.addr, &self.flags)?.0;
        Ok(())
    }
}

fn launch(
    programs: &Programs,
    folder: &Path,
    listen: SocketAddr,
    flags: &[String],
) -> anyhow::Result<(Process, SocketAddr, String)> {
    let mut command = programs.command("pilot-rendezvous");
    command.arg("--registry-listen").arg(listen.to_string()).arg("--state-dir").arg(folder);
    command.args(flags);
    let mut process = Process::start(command)?;
    let line = process.line("listening on ", START).context("the rendezvous did not start")?;
    let mut words = line.split_whitespace();
    let addr = words.next().context("no address")?.parse()?;
    let key = words.nth(1).context("no key")?.to_owned();
    Ok((process, addr, key))
}
