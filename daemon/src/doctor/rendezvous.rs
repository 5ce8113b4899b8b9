//! The line to the rendezvous, and what it tells of this node.

use std::time::Duration;

use pilot_identity::Timestamp;
use pilot_local_api::doctor::{Cause, Finding};
use pilot_overlay::{RegistryStatus, RegistryTrouble, RegistryWay};

use super::{Facts, note, ok, problem, warning};

/// Difference of clocks that matters: grants and deadlines are set in minutes.
const CLOCK_MARGIN: Duration = Duration::from_secs(30);

/// For how long it counts that another daemon took the line over. The two do
/// so in turns, every 10 s.
const TWICE: Duration = Duration::from_secs(60);

const KEPT: &str = "known peers are reached where they were last; tasks for others wait on disk";

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let Some((address, status)) = &facts.rendezvous else {
        let what = "no rendezvous is configured: only peers known from before are reached";
        return vec![
            warning(Cause::NoRendezvous, what)
                .safe(KEPT)
                .mend("pilot-daemon -registry-addr HOST:9000"),
        ];
    };
    let mut findings = vec![line(address, status)];
    findings.extend(key_used_twice(facts, status));
    findings.extend(clock(status));
    findings.extend(name(facts));
    findings
}

fn line(address: &str, status: &RegistryStatus) -> Finding {
    if status.connected {
        let registered = status.registered.as_ref();
        let own = registered.map(|told| format!(" as {}", told.address)).unwrap_or_default();
        return match status.way {
            Some(RegistryWay::Udp) | None => {
                ok(Cause::Rendezvous, format!("registered with {address}{own}"))
            }
            Some(RegistryWay::Tcp) => by_tcp(address, &own, "over TCP"),
            Some(RegistryWay::TcpByProxy) => by_tcp(address, &own, "over TCP, through a proxy"),
        };
    }
    let why = status.last_error.as_deref().unwrap_or("it was not reached yet");
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let look = format!("systemctl status pilot-rendezvous  # on {host}");
    let (code, what, mend) = match status.trouble {
        Some(RegistryTrouble::UnknownHost) => (
            Cause::RendezvousUnknownHost,
            format!("the rendezvous {address} has no address: {why}"),
            format!(
                "getent hosts {host}  # if the name is wrong: pilot-daemon -registry-addr HOST:9000"
            ),
        ),
        Some(RegistryTrouble::Silent) => (
            Cause::RendezvousSilent,
            format!(
                "the rendezvous {address} answers neither over UDP nor over TCP: it is down, or a \
                 firewall stands between"
            ),
            look,
        ),
        Some(RegistryTrouble::WrongKey) => (
            Cause::RendezvousWrongKey,
            format!("who answers at {address} has another key than the pinned one"),
            format!(
                "pilot-daemon -registry-addr {address}#FINGERPRINT  # as the rendezvous prints it, \
                 if it was moved on purpose"
            ),
        ),
        Some(RegistryTrouble::Version) => (
            Cause::RendezvousVersion,
            format!("the rendezvous {address} speaks another version of the protocol"),
            format!("pilot-daemon --version; pilot-rendezvous --version  # the latter on {host}"),
        ),
        Some(RegistryTrouble::Refused) => (
            Cause::RendezvousRefused,
            format!("the rendezvous {address} does not take this node: {why}"),
            look,
        ),
        Some(RegistryTrouble::Replaced) => (
            Cause::KeyUsedTwice,
            "another daemon with this node's key has registered".to_owned(),
            TWICE_MEND.to_owned(),
        ),
        Some(RegistryTrouble::Broken) | None => (
            Cause::RendezvousLost,
            format!("there is no line to the rendezvous {address}: {why}"),
            look,
        ),
    };
    problem(code, what).safe(KEPT).mend(mend)
}

fn by_tcp(address: &str, own: &str, how: &str) -> Finding {
    note(Cause::RendezvousByTcp, format!("registered with {address}{own}, {how}"))
        .safe("everything works; UDP is tried again every minute")
}

const TWICE_MEND: &str =
    "pilotctl whoami  # where a copy of this home runs: stop it, and give it a home of its own";

/// While the two take the line from each other, it is up most of the time.
fn key_used_twice(facts: &Facts, status: &RegistryStatus) -> Option<Finding> {
    let replaced = status.replaced?;
    let is_told = status.trouble == Some(RegistryTrouble::Replaced);
    if is_told || facts.now.since(replaced) > TWICE {
        return None;
    }
    let what = format!("another daemon with this node's key registered at {replaced}");
    Some(
        problem(Cause::KeyUsedTwice, what)
            .safe("nothing is lost; each of the two gets a part of what is meant for the other")
            .mend(TWICE_MEND),
    )
}

fn clock(status: &RegistryStatus) -> Option<Finding> {
    let (here, there) = (status.since?, status.registered.as_ref()?.now);
    if !status.connected {
        return None;
    }
    let (off, how) = offset(here, there);
    if off <= CLOCK_MARGIN {
        return Some(ok(Cause::Clock, "the clock agrees with that of the rendezvous"));
    }
    let secs = off.as_secs();
    let what = format!("this machine's clock is {secs} s {how} that of the rendezvous");
    let mend = match cfg!(target_os = "macos") {
        true => "sudo sntp -sS time.apple.com",
        false => "sudo timedatectl set-ntp true",
    };
    Some(
        warning(Cause::ClockWrong, what)
            .safe("tunnels and results are not concerned; trust and deadlines end at another time")
            .mend(mend),
    )
}

fn offset(here: Timestamp, there: Timestamp) -> (Duration, &'static str) {
    if here > there { (here.since(there), "ahead of") } else { (there.since(here), "behind") }
}

fn name(facts: &Facts) -> Option<Finding> {
    if !facts.name_taken {
        return None;
    }
    let wanted = facts.wanted_name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
    let what = format!("the name{wanted} belongs to another node; this one has none");
    Some(
        warning(Cause::NameTaken, what)
            .safe(format!("it is reached as {}", facts.own))
            .mend("pilot-daemon --name ANOTHER"),
    )
}
