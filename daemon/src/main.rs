//! `pilot-daemon`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use pilot_daemon::settings::{LogFormat, Settings, SettingsError};
use pilot_daemon::{Daemon, StartError};
use pilot_home::OpenHomeError;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Exit code for what the caller must mend before another try can help.
const USAGE: u8 = 2;
/// Exit code when another daemon has the home.
const CONFLICT: u8 = 8;

fn main() -> ExitCode {
    let settings = match Settings::load(std::env::args_os(), |name| std::env::var_os(name)) {
        Ok(settings) => settings,
        Err(SettingsError::Flags(error)) => {
            // Help and version go to stdout, complaints to stderr; nothing can
            // be done if they are closed.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
        Err(error) => return complain(&anyhow::Error::new(error), USAGE),
    };
    start_log(&settings);
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<StartError>() {
            Some(StartError::Home(OpenHomeError::AlreadyRunning { path, .. })) => {
                let hint = format!("PILOT_HOME={} pilotctl status", path.display());
                let error = error.context("already_running");
                let code = complain(&error, CONFLICT);
                say_hint(&hint);
                code
            }
            Some(_) | None => complain(&error, 1),
        },
    }
}

/// One thread: the machine's other cores are the workers', and the round trip
/// over a tunnel is half as long as with several.
fn run(settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot catch signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch signals")?;
        let mut daemon = Daemon::start(settings)?;
        tokio::select! {
            () = daemon.announce() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        daemon.stop().await;
        Ok(())
    });
    // Everything is closed; a host name that is still being looked up, on a
    // thread of its own, must not hold up the end.
    runtime.shutdown_background();
    outcome
}

fn start_log(settings: &Settings) {
    let filter = EnvFilter::builder().parse_lossy(settings.log.as_str());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match settings.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    // Nothing can be done if stderr is closed.
    drop(writeln!(std::io::stderr(), "pilot-daemon: {error:#}"));
    ExitCode::from(code)
}

fn say_hint(hint: &str) {
    drop(writeln!(std::io::stderr(), "hint: {hint}"));
}
