//! `pilotctl events`: hear of each other's work as it happens.

mod acks;
mod cursors;
mod follow;
mod in_order;
mod job;
mod on;
mod publish;
mod publish_lines;
mod relay;
mod selection;
mod subscribe;
mod topics;

use clap::Subcommand;

use crate::Ctl;
use crate::failure::Failure;

/// Publish events, and hear those of this node and of its peers.
///
/// A topic is tokens with dots between, such as build.done. In what is subscribed to, `*` stands
/// for one token, and at the end for one or more: specialist.* hears specialist.backend.ready.
/// The topics task.*, peer.*, team.* and sys.* are published by the daemon alone.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Publish(publish::Args),
    Subscribe(subscribe::Args),
    On(on::Args),
    Topics(topics::Args),
    Cursors(cursors::Args),
    Relay(relay::Args),
}

pub(crate) async fn run(command: Command, ctl: &Ctl) -> Result<(), Failure> {
    match command {
        // Larger than the others; boxed so that they do not carry it.
        Command::Publish(args) => Box::pin(publish::run(args, ctl)).await,
        Command::Subscribe(args) => Box::pin(subscribe::run(args, ctl)).await,
        Command::On(args) => Box::pin(on::run(args, ctl)).await,
        Command::Topics(args) => topics::run(args, ctl).await,
        Command::Cursors(args) => cursors::run(args, ctl).await,
        Command::Relay(args) => relay::run(args, ctl).await,
    }
}
