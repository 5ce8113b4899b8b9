//! This program as another process: one end of a measure.
//!
//! Such a process prints what its parent must know, then takes orders, a line
//! each, over a TCP connection. When that ends, so does the process: none
//! outlives a measure that was killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use anyhow::{Context as _, bail};
use pilot_tests::Process;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::load::PATIENCE;

/// The argument before the name of a role.
pub(crate) const FLAG: &str = "--role";

/// Begins the line that says where orders are taken.
const READY: &str = "ready ";

/// A process in another role, as its parent sees it. Dropped, it is killed.
pub(crate) struct Worker {
    process: Process,
    orders: BufReader<TcpStream>,
    told: String,
}

impl Worker {
    /// Starts it, and waits until it is ready.
    pub(crate) fn start(role: &str, args: &[String]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([FLAG, role]).args(args);
        let mut process = Process::start(command)?;
        let ready = process.line(READY, PATIENCE)?;
        let (addr, told) = ready.split_once(' ').unwrap_or((&ready, ""));
        let orders = TcpStream::connect(addr.parse::<SocketAddr>()?)?;
        orders.set_read_timeout(Some(PATIENCE * 6))?;
        Ok(Self { process, orders: BufReader::new(orders), told: told.to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The words it was ready with.
    pub(crate) fn told(&self) -> Vec<&str> {
        self.told.split_whitespace().collect()
    }

    /// Its first word, as what it stands for.
    pub(crate) fn addr(&self) -> anyhow::Result<SocketAddr> {
        let told = self.told();
        Ok(told.first().context("no address was told")?.parse()?)
    }

    /// Gives an order, and waits for what it says when that is done.
    pub(crate) fn order(&mut self, order: &str) -> anyhow::Result<String> {
        writeln!(self.orders.get_mut(), "{order}")?;
        let mut answer = String::new();
        if self.orders.read_line(&mut answer)? == 0 {
            bail!("a process ended at {order:?}; stderr: {}", self.process.errors());
        }
        Ok(answer.trim().to_owned())
    }
}

/// The same connection, as the process sees it.
pub(crate) struct Orders {
    lines: tokio::io::Lines<tokio::io::BufReader<OwnedReadHalf>>,
    answers: OwnedWriteHalf,
}

impl Orders {
    /// Says that the process is ready, with these words, and waits for its parent.
    pub(crate) async fn taken(told: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        crate::say(&format!("{READY}{} {told}", listener.local_addr()?))?;
        let (stream, _) = listener.accept().await?;
        let (read, answers) = stream.into_split();
        Ok(Self { lines: tokio::io::BufReader::new(read).lines(), answers })
    }

    /// The next order; `None` once the parent is gone.
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<String> {
        self.lines.next_line().await.ok().flatten()
    }

    /// What the last one came to.
    pub(crate) async fn done(&mut self, answer: &str) -> anyhow::Result<()> {
        Ok(self.answers.write_all(format!("{answer}\n").as_bytes()).await?)
    }

    /// Waits until the parent is gone.
    pub(crate) async fn gone(&mut self) {
        while self.next().await.is_some() {}
    }
}
