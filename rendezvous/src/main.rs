//! `pilot-rendezvous`: flags, signals and one line on stdout.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use pilot_rendezvous::Server;
use pilot_rendezvous::settings::{ConfigFile, Flags, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let words = pilot_flags::normalize(&Flags::command(), std::env::args_os());
    let flags = Flags::parse_from(words);
    let file = flags.config.as_deref().map_or_else(|| Ok(ConfigFile::default()), read)?;
    let filter = flags.log.as_ref().or(file.log.as_ref()).map_or("info", String::as_str);
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter).context("--log is no filter")?)
        .with_writer(std::io::stderr)
        .init();
    let settings = Settings::resolve(&flags, &file)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(&settings))
}

async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::start(settings).await?;
    let (addr, id) = (server.local_addr(), server.id());
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {addr} key {id} fingerprint {}", id.fingerprint())?;
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
