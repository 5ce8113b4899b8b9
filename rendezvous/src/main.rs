//! `pilot-rendezvous`: flags, signals, and a line on stdout for each socket.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use pilot_home::OpenHomeError;
use pilot_rendezvous::settings::{ConfigFile, Flags, Settings};
use pilot_rendezvous::{Server, StartError};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Exit codes, the same as the daemon's.
const FAULT: u8 = 1;
const USAGE: u8 = 2;
const CONFLICT: u8 = 8;

fn main() -> ExitCode {
    let words = pilot_flags::normalize(&Flags::command(), std::env::args_os());
    let settings = match settings(&Flags::parse_from(words)) {
        Ok(settings) => settings,
        Err(error) => return complain(&error, USAGE),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served =
        runtime.context("cannot start the runtime").and_then(|r| r.block_on(serve(&settings)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<StartError>() {
            Some(StartError::Home(OpenHomeError::AlreadyRunning { .. })) => {
                complain(&error.context("already_running"), CONFLICT)
            }
            Some(_) | None => complain(&error, FAULT),
        },
    }
}

/// Resolves the settings, and starts the log as they say.
fn settings(flags: &Flags) -> anyhow::Result<Settings> {
    let file = flags.config.as_deref().map_or_else(|| Ok(ConfigFile::default()), read)?;
    let filter = flags.log.as_ref().or(file.log.as_ref()).map_or("info", String::as_str);
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter).context("--log is no filter")?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    Ok(Settings::resolve(flags, &file)?)
}

fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    // Nothing can be done if stderr is closed.
    drop(writeln!(std::io::stderr(), "pilot-rendezvous: {error:#}"));
    ExitCode::from(code)
}

async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::start(settings).await?;
    let (addr, id) = (server.local_addr(), server.id());
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {addr} key {id} fingerprint {}", id.fingerprint())?;
    if let Some(beacon) = server.beacon() {
        writeln!(stdout, "beacon on {}", beacon.local_addr())?;
    }
    stdout.flush()?;
    let stop = CancellationToken::new();
    let mut run = std::pin::pin!(server.run(stop.clone()));
    tokio::select! {
        () = &mut run => anyhow::bail!("the socket failed"),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    stop.cancel();
    run.await;
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<ConfigFile> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in the configuration {}", path.display()))
}
