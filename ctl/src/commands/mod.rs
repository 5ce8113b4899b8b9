//! The commands: one file each, its arguments on top and what it does below.

mod data;
mod doctor;
mod events;
mod inbox;
mod msg;
mod netcheck;
mod peers;
mod ping;
mod polo;
mod resolve;
mod status;
mod task;
mod trust;
mod untrust;
mod whoami;
mod worker;

use core::time::Duration;

use clap::Subcommand;
use pilot_local_api::identity::PeerIdentity;
use pilot_local_api::network::Transport;

use crate::Ctl;
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Whoami(whoami::Args),
    Status(status::Args),
    Trust(trust::Args),
    Untrust(untrust::Args),
    Resolve(resolve::Args),
    Peers(peers::Args),
    Ping(ping::Args),
    Polo(polo::Args),
    Netcheck(netcheck::Args),
    Doctor(doctor::Args),
    #[command(subcommand)]
    Task(task::Command),
    #[command(subcommand)]
    Data(data::Command),
    #[command(subcommand)]
    Msg(msg::Command),
    #[command(subcommand)]
    Inbox(inbox::Command),
    #[command(subcommand)]
    Events(events::Command),
    #[command(subcommand)]
    Worker(worker::Command),
}

pub(crate) async fn run(command: Command, ctl: &Ctl) -> Result<(), Failure> {
    match command {
        Command::Whoami(args) => whoami::run(args, ctl).await,
        Command::Status(args) => status::run(args, ctl).await,
        Command::Trust(args) => trust::run(args, ctl).await,
        Command::Untrust(args) => untrust::run(args, ctl).await,
        Command::Resolve(args) => resolve::run(args, ctl).await,
        Command::Peers(args) => peers::run(args, ctl).await,
        Command::Ping(args) => ping::run(args, ctl).await,
        Command::Polo(args) => polo::run(args, ctl).await,
        Command::Netcheck(args) => netcheck::run(args, ctl).await,
        Command::Doctor(args) => doctor::run(args, ctl).await,
        Command::Task(command) => task::run(command, ctl).await,
        Command::Data(command) => data::run(command, ctl).await,
        Command::Msg(command) => msg::run(command, ctl).await,
        Command::Inbox(command) => inbox::run(command, ctl).await,
        Command::Events(command) => events::run(command, ctl).await,
        Command::Worker(command) => Box::pin(worker::run(command, ctl)).await,
    }
}

/// A node as people call it: `backend (1:0001.0000.0002)`.
fn called(node: &PeerIdentity) -> String {
    match (&node.name, node.address) {
        (Some(name), Some(address)) => format!("{name} ({address})"),
        (Some(name), None) => name.to_string(),
        (None, Some(address)) => address.to_string(),
        (None, None) => node.public_key.to_string(),
    }
}

/// A value of a table's cell; `-` if there is none.
fn cell<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Where packets of a path go; that they go over TCP is said, as it is slower.
fn by(endpoint: Option<&str>, transport: Option<Transport>) -> String {
    let endpoint = endpoint.unwrap_or("-");
    match transport {
        Some(transport @ (Transport::Tcp | Transport::TcpProxy)) => {
            format!("{endpoint} ({})", transport.word())
        }
        Some(Transport::Udp) | None => endpoint.to_owned(),
    }
}

/// A round trip for people.
fn millis(micros: u64) -> String {
    format!("{:.3} ms", Duration::from_micros(micros).as_secs_f64() * 1e3)
}

/// Whether a node is up, in a word.
const fn online(online: Option<bool>) -> &'static str {
    match online {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    }
}
