use pilot_flags::HumanDuration;
use pilot_local_api::network::{BeaconView, NatKind, NetcheckView, PortMapping};

use super::cell;
use crate::Ctl;
use crate::failure::Failure;
use crate::shown;
use crate::ui::{pairs, table};

/// Show what stands between this node and others: UDP, NAT, IPv4 and IPv6,
/// port mappings, beacons with their round trip.
///
/// Waits until the daemon has found out what it can. For how long the NAT
/// remembers is measured over half a minute, and shown once it is known.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long to wait at the most, up to a minute; 0 shows what is known now.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    timeout: HumanDuration,
}

pub(crate) async fn run(Args { timeout }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let view = ctl.client.netcheck(timeout.0).await?;
    ctl.ui.answer(&view, text)?;
    if !view.done && !ctl.ui.json() {
        ctl.ui.say("not everything is known yet; what is missing is shown as unknown");
    }
    Ok(())
}

fn text(view: &NetcheckView) -> String {
    let nat = format!(
        "{} (mapping {}, filtering {})",
        view.nat.word(),
        view.mapping.word(),
        view.filtering.word()
    );
    let lifetime = view.lifetime_ms.map(|millis| format!("at least {} s", millis / 1000));
    let mut lines = pairs([
        ("UDP", Some(udp(view).to_owned())),
        ("IPv4", Some(known(Some(view.ipv4)).to_owned())),
        ("IPv6", Some(known(Some(view.ipv6)).to_owned())),
        ("NAT", Some(nat)),
        ("hairpin", Some(known(view.hairpin).to_owned())),
        ("mappings last", Some(lifetime.unwrap_or_else(|| "not measured yet".to_owned()))),
        ("port mapping", Some(listed(mappings(&view.port_mapping)))),
        ("seen from outside as", Some(listed(view.mapped.iter().cloned()))),
        ("peers are told", Some(listed(view.candidates.iter().cloned()))),
    ]);
    if view.beacons.is_empty() {
        lines.push_str("beacons: none\n");
    } else {
        lines.push_str(&beacons(&view.beacons));
    }
    lines
}

/// Whether UDP passes; only a whole discovery without an answer says no.
fn udp(view: &NetcheckView) -> &'static str {
    match (view.udp, view.nat) {
        (true, _) => "yes",
        (false, NatKind::UdpBlocked) => "no",
        (false, _) => "unknown",
    }
}

fn mappings(mapping: &PortMapping) -> impl Iterator<Item = String> {
    let PortMapping { upnp, nat_pmp, pcp } = mapping;
    let protocols = [("UPnP", upnp), ("NAT-PMP", nat_pmp), ("PCP", pcp)];
    let given = protocols.into_iter().filter_map(|(name, at)| Some((name, at.as_ref()?)));
    given.map(|(name, at)| format!("{at} ({name})"))
}

/// The beacons as a table.
pub(super) fn beacons(beacons: &[BeaconView]) -> String {
    table("BEACON\tVIA\tRTT\tSEES THIS NODE AT\tSERVICES\tPROBLEM", beacons.iter().map(row)) + "\n"
}

fn row(beacon: &BeaconView) -> String {
    let via = cell(beacon.transport.map(|transport| transport.word()));
    let rtt = cell(beacon.rtt_us.map(super::millis));
    let observed = cell(beacon.observed.as_ref());
    let services = match beacon.services.is_empty() {
        true => "-".to_owned(),
        false => beacon.services.join(","),
    };
    let problem = match (&beacon.problem, beacon.transport) {
        (Some(problem), _) => shown::line(problem),
        (None, None) => "no answer yet".to_owned(),
        (None, Some(_)) => "-".to_owned(),
    };
    let address = shown::line(&beacon.address);
    format!("{address}\t{via}\t{rtt}\t{observed}\t{services}\t{problem}")
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join(" ") }
}

const fn known(answer: Option<bool>) -> &'static str {
    match answer {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use pilot_local_api::network::{NatBehaviour, Transport};

    use super::*;

    #[test]
    fn everything_that_is_known_is_shown_and_what_is_not_is_said_to_be_unknown() {
        let beacon = |transport, problem: Option<&str>| BeaconView {
            address: "beacon.example:9001".to_owned(),
            key: None,
            transport,
            rtt_us: transport.map(|_| 12_345),
            endpoint: None,
            observed: None,
            services: Vec::new(),
            problem: problem.map(str::to_owned),
        };
        let view = NetcheckView {
            done: true,
            udp: false,
            ipv4: true,
            ipv6: false,
            mapping: NatBehaviour::Blocked,
            filtering: NatBehaviour::Blocked,
            nat: NatKind::UdpBlocked,
            hairpin: None,
            port_mapping: PortMapping {
                pcp: Some("198.51.100.1:7".to_owned()),
                ..PortMapping::default()
            },
            mapped: Vec::new(),
            lifetime_ms: Some(26_000),
            keepalive_ms: 25_000,
            beacons: vec![
                beacon(Some(Transport::TcpProxy), None),
                beacon(None, None),
                beacon(None, Some("full\u{1b}")),
            ],
            candidates: vec!["192.0.2.1:7".to_owned()],
        };

        let text = text(&view);

        for line in [
            "UDP: no\n",
            "IPv6: no\n",
            "NAT: udp_blocked (mapping blocked, filtering blocked)\n",
            "hairpin: unknown\n",
            "mappings last: at least 26 s\n",
            "port mapping: 198.51.100.1:7 (PCP)\n",
            "seen from outside as: none\n",
            "beacon.example:9001  tcp_proxy  12.345 ms",
            "no answer yet\n",
            "full\\u{1b}\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in {text}");
        }
    }
}
