//! One network namespace, and how to be in it.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// How long the kernel may take to take an address into use.
const USABLE: Duration = Duration::from_secs(5);

/// The flag of an address that is not in use yet (`IFA_F_TENTATIVE`).
const TENTATIVE: u32 = 0x40;

/// A network namespace that is named under `/run/netns`.
#[derive(Debug)]
pub(crate) struct Netns {
    name: String,
    file: File,
}

impl Netns {
    /// The one of that name, which `ip netns add` has made.
    pub(crate) fn open(name: String) -> anyhow::Result<Self> {
        let path = format!("/run/netns/{name}");
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        Ok(Self { name, file })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` in a thread inside. Sockets made there and processes and
    /// threads started there stay inside wherever they are used from.
    pub(crate) fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let inside = || {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                .with_context(|| format!("cannot enter {}", self.name))?;
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .map_err(|_| anyhow!("panicked inside {}", self.name))?
    }

    /// Sets kernel parameters; those that this kernel does not have are skipped.
    pub(crate) fn set(&self, parameters: &[(&str, &str)]) -> anyhow::Result<()> {
        self.enter(|| {
            for (name, value) in parameters {
                let path = format!("/proc/sys/net/{name}");
                if fs::exists(&path)? {
                    fs::write(&path, value).with_context(|| format!("cannot write {path}"))?;
                }
            }
            Ok(())
        })
    }

    /// Waits until an IPv6 address that was added inside can be found by its
    /// neighbours: the kernel takes it into use a moment after it has said that
    /// all is done, and a neighbour's question that comes too early is repeated
    /// after a second only.
    pub(crate) fn await_address(&self, address: &str) -> anyhow::Result<()> {
        let (address, _) = address.split_once('/').context("no prefix length")?;
        let IpAddr::V6(address) = address.parse()? else { return Ok(()) };
        let digits = format!("{:032x}", u128::from(address));
        let deadline = Instant::now() + USABLE;
        self.enter(|| {
            // Address, index, prefix length, scope, flags and name, all but the last in hex.
            let usable = |line: &str| {
                let flags = line.split_whitespace().nth(4);
                let flags = flags.and_then(|flags| u32::from_str_radix(flags, 16).ok());
                line.starts_with(&digits) && flags.is_some_and(|flags| flags & TENTATIVE == 0)
            };
            while !fs::read_to_string("/proc/thread-self/net/if_inet6")?.lines().any(usable) {
                ensure!(Instant::now() < deadline, "{address} is not taken into use");
                thread::park_timeout(Duration::from_millis(1));
            }
            Ok(())
        })
    }

    /// Feeds `script` to `ip` inside.
    pub(crate) fn ip(&self, script: &str) -> anyhow::Result<()> {
        self.enter(|| ip(script))
    }

    /// Feeds `script` to `nft` inside.
    pub(crate) fn nft(&self, script: &str) -> anyhow::Result<()> {
        self.enter(|| feed(Command::new("nft").args(["-f", "-"]), script))
    }

    /// Runs a command inside to its end; what it printed.
    pub(crate) fn run(&self, program: &str, words: &[&str]) -> anyhow::Result<String> {
        self.enter(|| {
            let output = Command::new(program)
                .args(words)
                .stdin(Stdio::null())
                .output()
                .with_context(|| format!("cannot run {program}"))?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{program} {words:?}: {}", said.trim());
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        })
    }
}

/// Feeds `script` to `ip`.
pub(crate) fn ip(script: &str) -> anyhow::Result<()> {
    feed(Command::new("ip").args(["-batch", "-"]), script)
}

/// Both tools read all before they do anything, or write little: no pipe fills.
fn feed(command: &mut Command, script: &str) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    // A tool that has given up says why; that its input is closed says nothing.
    drop(stdin.write_all(script.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}\nin:\n{script}", said.trim());
    Ok(())
}
