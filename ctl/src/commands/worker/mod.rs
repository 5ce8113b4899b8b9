mod agent;
mod contents;
mod delivery;
mod environment;
mod guard;
mod guarded;
mod output;
mod report;
mod run;
mod running;
mod shop;
mod strays;
mod tree;
mod watch;
mod work;

use clap::Subcommand;

use crate::Ctl;
use crate::failure::Failure;

/// Serve the tasks of peers with a command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(run::Args),
    #[command(hide = true)]
    Guard(guard::Args),
}

pub(crate) async fn run(command: Command, ctl: &Ctl) -> Result<(), Failure> {
    match command {
        Command::Run(args) => Box::pin(run::run(args, ctl)).await,
        Command::Guard(args) => guard::run(args),
    }
}
