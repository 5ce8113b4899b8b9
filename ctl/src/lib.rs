//! `pilotctl`: the client of the daemon on this machine.
//!
//! One file per command in `commands`: its flags on top, what it does
//! below. It holds no state and takes no decision that the daemon could take.
//! stdout is data and stderr is talk (`ui`); every failure ends with an exit
//! code of the table in [`pilot_local_api::errors`].

mod child;
mod cli;
mod commands;
mod failure;
mod files;
mod git;
mod load;
mod outside;
mod payload;
mod process;
mod random;
#[cfg(test)]
mod reference;
mod shown;
mod size;
mod ui;
mod usage;
mod waiting;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use pilot_local_api::{ApiError, Client, ErrorCode};

use cli::Cli;
use failure::Failure;
use ui::Ui;

/// What every command is given.
struct Ctl {
    client: Client,
    /// The node's home folder, where the daemon cannot be asked for it.
    home: PathBuf,
    ui: Ui,
}

/// Runs the program with these words, the first of which is its name.
#[must_use]
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words = pilot_flags::normalize(&Cli::command(), words);
    let cli = match Cli::command().try_get_matches_from(&words).and_then(|found| {
        Cli::from_arg_matches(&found).map_err(|error| error.format(&mut Cli::command()))
    }) {
        Ok(cli) => cli,
        Err(error) => return usage::end(&error, &words),
    };
    let ui = Ui::new(cli.json);
    match serve(cli, &ui) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ui.fail(&failure),
    }
}

fn serve(cli: Cli, ui: &Ui) -> Result<(), Failure> {
    let variable = |name: &str| std::env::var_os(name);
    let socket = cli.socket(variable)?;
    let beside = || socket.parent().map(PathBuf::from);
    let home = cli.home(variable).or_else(beside).unwrap_or_default();
    let ctl = Ctl { client: Client::new(socket), home, ui: ui.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        ApiError::new(ErrorCode::Internal, format!("cannot start the runtime: {error}"))
    })?;
    let outcome = runtime.block_on(commands::run(cli.command, &ctl));
    // What still runs on a thread of its own was given up by a signal.
    runtime.shutdown_background();
    outcome
}
