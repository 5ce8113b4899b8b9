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
    addr: SocketAddr,
    process: Process,
}

impl Rendezvous {
    /// Starts one with its state in `folder`, on a free port of loopback.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(programs: &Programs, folder: &Path) -> anyhow::Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (process, addr) = launch(programs, folder, any)?;
        Ok(Self { programs: programs.clone(), folder: folder.to_owned(), addr, process })
    }

    /// Where nodes register.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
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
        self.process = launch(&self.programs, &self.folder, self.addr)?.0;
        Ok(())
    }
}

fn launch(
    programs: &Programs,
    folder: &Path,
    listen: SocketAddr,
) -> anyhow::Result<(Process, SocketAddr)> {
    let mut command = programs.command("pilot-rendezvous");
    command.arg("--registry-listen").arg(listen.to_string()).arg("--state-dir").arg(folder);
    let mut process = Process::start(command)?;
    let line = process.line("listening on ", START).context("the rendezvous did not start")?;
    let addr = line.split_whitespace().next().context("no address")?.parse()?;
    Ok((process, addr))
}
