//! Two daemons that are connected and have nothing to do.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use pilot_tests::{Node, NodeOptions, Programs};

use crate::line::Line;
use crate::load::{self, block_on};
use crate::pair;
use crate::procfs;
use crate::tap::Tap;

/// After the handshake: path discovery and the like is over.
const SETTLE: Duration = Duration::from_secs(6);

/// Over which packets and CPU time are counted: five keepalives.
const WINDOW: Duration = Duration::from_secs(20);

/// Memory of each, packets between them, CPU time of each.
pub(crate) fn pair(programs: &Programs) -> anyhow::Result<Vec<Line>> {
    let (rendezvous, folder) = pair::rendezvous(programs)?;
    let registry = Tap::before(rendezvous.addr())?;
    let start = |name: &str| -> anyhow::Result<(Node, Tap, String)> {
        let listen = free_port()?;
        let tap = Tap::before(listen)?;
        let flags = ["--listen", &listen.to_string(), "-endpoint", &tap.addr().to_string()];
        let options = NodeOptions {
            registry: Some(registry.addr().to_string()),
            flags: flags.map(str::to_owned).to_vec(),
        };
        let mut node = Node::start(programs, folder.path(), name, options)?;
        let address = node.registered()?;
        Ok((node, tap, address))
    };
    let (mut one, one_tap, one_address) = start("one")?;
    let (mut other, other_tap, other_address) = start("other")?;
    let (one_address, other_address) = (one_address.parse()?, other_address.parse()?);
    let (one_client, other_client) = (pair::client(&one), pair::client(&other));
    let pid = |node: &mut Node| node.process().map(|process| process.pid()).context("no process");
    let pids = [pid(&mut one)?, pid(&mut other)?];
    let alone = procfs::resident_kb(pids[0])?;
    block_on(async {
        pair::trust(&one_client, &one_address, &other_client, &other_address).await?;
        one_client.ping(&other_address, load::PATIENCE).await?;
        Ok(())
    })?;
    let between = || one_tap.passed() + other_tap.passed();

    thread::sleep(SETTLE);
    let (tunnel, line) = (between(), registry.passed());
    let cpu = [procfs::cpu_time(pids[0])?, procfs::cpu_time(pids[1])?];
    thread::sleep(WINDOW);
    let (tunnel, line) = (between() - tunnel, registry.passed() - line);
    let seconds = WINDOW.as_secs_f64();
    let mut memory = 0.0_f64;
    let mut busy = 0.0_f64;
    for (pid, before) in pids.into_iter().zip(cpu) {
        memory = memory.max(procfs::resident_kb(pid)?);
        let ran = procfs::cpu_time(pid)?.saturating_sub(before).as_secs_f64();
        busy = busy.max(ran / seconds * 100.0);
    }
    let tunnel = f64::from(u32::try_from(tunnel)?) / seconds;
    let line = f64::from(u32::try_from(line)?) / seconds;
    Ok(vec![
        Line::value("idle_daemon_memory", "MB", memory / 1000.0)
            .with_number("registered_only_mb", alone / 1000.0)
            .at_most(12.0),
        Line::value("idle_daemon_packets", "packets/s", tunnel)
            .with_number("window_s", seconds)
            .with_number("with_rendezvous_of_both", line)
            .at_most(1.0),
        // A fiftieth of the 10 ms that `top` and `ps` count by, each second.
        Line::value("idle_daemon_cpu", "percent of a core", busy)
            .with_number("window_s", seconds)
            .at_most(0.1),
    ])
}

fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()?)
}
