//! The namespaces everything happens in.
//!
//! A process may make namespaces only while it has one thread, so the program
//! does not enter them: by `unshare` it starts itself once more, as the first
//! process of a fresh pid namespace. Whatever ends that process ends all
//! programs of all labs, and the kernel takes their networks away. It ends
//! with the first one, whatever ended that: its input is then closed.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::process::{Command, ExitCode, Output, Stdio};
use std::{env, fs, process, thread};

use anyhow::{Context as _, ensure};
use pilot_tests::Programs;

use crate::lab;

/// Says to the second start that it is the second.
const INSIDE: &str = "NATLAB_INSIDE";

/// Where the namespaces are named and the programs keep their files; a file
/// system in memory that is seen by this process tree alone.
const RUN: &str = "/run";

/// What came of entering.
pub(crate) enum Sandbox {
    /// This process is in it.
    Inside,
    /// Another one was, and has ended so.
    Done(ExitCode),
    /// This machine does not allow it, for this reason.
    Impossible(String),
    /// The programs cannot be built. That is never a reason to ignore a test.
    Unbuilt(anyhow::Error),
}

impl Sandbox {
    /// Starts this program inside, where it comes back with `Inside`. The programs under test are built on the way, as inside there is no network.
    pub(crate) fn enter() -> Self {
        if env::var_os(INSIDE).is_some() {
            return furnish()
                .map_or_else(|why| Self::Impossible(format!("{why:#}")), |()| Self::Inside);
        }
        if let Err(why) = try_unshare() {
            return Self::Impossible(format!("{why:#}"));
        }
        match Programs::built() {
            Ok(_) => {
                run_inside().map_or_else(|why| Self::Impossible(format!("{why:#}")), Self::Done)
            }
            Err(error) => Self::Unbuilt(error),
        }
    }
}

/// `unshare` for a program.
fn unshare(program: &OsStr) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "--net", "--pid", "--fork"])
        .args(["--kill-child", "--mount-proc"])
        .arg(program)
        .env("PATH", path_with_system_tools())
        .stdin(Stdio::null());
    command
}

fn try_unshare() -> anyhow::Result<()> {
    let output = unshare(OsStr::new("true")).output().context("cannot run unshare")?;
    succeeded("unshare", &output)
}

/// Runs this program inside to its end.
fn run_inside() -> anyhow::Result<ExitCode> {
    let exe = env::current_exe().context("cannot find this program")?;
    let mut command = unshare(exe.as_os_str());
    command.args(env::args_os().skip(1)).env(INSIDE, "1").stdin(Stdio::piped());
    let mut child = command.spawn().context("cannot run unshare")?;
    // Open until this process ends; waiting closes what is still the child's.
    let _input = child.stdin.take();
    let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Ordinary users have no `sbin` on their path, where `ip` and `nft` are.
fn path_with_system_tools() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

/// Makes the inside of the sandbox ready for labs.
fn furnish() -> anyhow::Result<()> {
    end_with_input()?;
    for (tool, words) in
        [("mount", &["-t", "tmpfs", "natlab", RUN][..]), ("ip", &["link", "set", "lo", "up"])]
    {
        let output = Command::new(tool).args(words).output();
        succeeded(tool, &output.with_context(|| format!("cannot run {tool}"))?)?;
    }
    fs::create_dir(lab::FILES).context("cannot make the folder for files")?;
    lab::check()
}

/// Ends this process, and with it all that it started, when nobody waits for it any more.
#[expect(clippy::exit, reason = "there is nobody to be told how the tests went")]
fn end_with_input() -> anyhow::Result<()> {
    thread::Builder::new().name("input".to_owned()).spawn(|| {
        // Whatever comes of reading, it is the end.
        drop(io::stdin().read_to_end(&mut Vec::new()));
        process::exit(130)
    })?;
    Ok(())
}

fn succeeded(tool: &str, output: &Output) -> anyhow::Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{tool}: {}", said.trim());
    Ok(())
}
