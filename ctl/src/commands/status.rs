use pilot_flags::HumanDuration;
use pilot_local_api::network::Transport;
use pilot_local_api::status::{RendezvousStatus, StatusView};

use super::netcheck::beacons;
use crate::Ctl;
use crate::failure::Failure;
use crate::shown;
use crate::ui::pairs;

/// Show how this node is doing: rendezvous, NAT, endpoints, beacons, peers by
/// path, queues, disk.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(Args {}: Args, ctl: &Ctl) -> Result<(), Failure> {
    ctl.ui.answer(&ctl.client.status().await?, text)
}

fn text(status: &StatusView) -> String {
    let daemon = &status.daemon;
    let up = HumanDuration::from_secs(daemon.uptime_ms / 1000);
    let (peers, queues, disk) = (status.peers, status.queues, status.disk);
    let socket = status.socket;
    let mut lines = pairs([
        ("daemon", Some(format!("{}, pid {}, up {up}", daemon.version, daemon.pid))),
        ("home", Some(daemon.home.clone())),
        ("listens on", Some(daemon.listen.clone())),
        ("rendezvous", Some(rendezvous(&status.rendezvous))),
        ("NAT", Some(status.network.nat.word().to_owned())),
        ("endpoints", Some(status.endpoints.join(" "))),
        ("seen by untrusted nodes", Some(if status.public { "yes" } else { "no" }.to_owned())),
        (
            "peers",
            Some(format!(
                "{} trusted ({} direct, {} relayed, {} offline), {} requested, {} pending",
                peers.trusted,
                peers.direct,
                peers.relayed,
                peers.offline,
                peers.requested,
                peers.pending
            )),
        ),
        (
            "submitted",
            Some(format!(
                "{} live, {} of them not delivered yet",
                queues.submitted_live, queues.submitted_undelivered
            )),
        ),
        (
            "received",
            Some(format!(
                "{} waiting, {} accepted, {} results not confirmed yet",
                queues.received_waiting, queues.received_leased, queues.results_pending
            )),
        ),
        (
            "messages",
            Some(format!(
                "{} not delivered yet; in the inbox {} unread, {} not acknowledged",
                queues.messages_queued, queues.messages_unread, queues.messages_unacked
            )),
        ),
        (
            "UDP socket",
            Some(format!(
                "{} datagrams sent, {} received, {} dropped, {} garbage",
                socket.sent, socket.received, socket.dropped, socket.garbage
            )),
        ),
        (
            "disk",
            Some(format!(
                "{:.1} MB used, {:.1} GB free{}",
                megabytes(disk.store_bytes),
                megabytes(disk.free_bytes) / 1000.0,
                if disk.full { ", FULL: new work is refused" } else { "" }
            )),
        ),
    ]);
    if status.network.beacons.is_empty() {
        lines.push_str("beacons: none\n");
    } else {
        lines.push_str(&beacons(&status.network.beacons));
    }
    for warning in &status.warnings {
        lines.push_str(&format!("warning: {}\n", shown::line(warning)));
    }
    lines
}

fn rendezvous(link: &RendezvousStatus) -> String {
    let Some(address) = &link.address else { return "none configured".to_owned() };
    let since = link.since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
    let why = link.last_error.as_ref().map(|why| format!(": {}", shown::line(why)));
    match link.connected {
        true => format!("{address}, registered{since}{}", over(link.transport)),
        false => format!("{address}, not connected{since}{}", why.unwrap_or_default()),
    }
}

/// That the rendezvous is reached over TCP is said, as UDP does not pass then.
fn over(transport: Option<Transport>) -> &'static str {
    match transport {
        Some(Transport::Tcp) => " over TCP",
        Some(Transport::TcpProxy) => " over TCP, through a proxy",
        Some(Transport::Udp) | None => "",
    }
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
