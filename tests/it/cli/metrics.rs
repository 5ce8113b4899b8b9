//! Numbers for Prometheus.

use std::collections::{BTreeMap, BTreeSet};

use pilot_local_api::Client;
use pilot_tests::{Node, Team};

/// Every sample by its name with labels; each line must be one that Prometheus reads.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let mut declared = Vec::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# TYPE ") {
            let (name, of) = comment.split_once(' ').unwrap();
            assert!(matches!(of, "gauge" | "counter"), "{line}");
            assert_eq!(name.ends_with("_total"), of == "counter", "{line}");
            declared.push(name);
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            assert_eq!(declared.last(), Some(&family), "a sample outside of its family: {line}");
            assert!(samples.insert(name, value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    samples
}

pub(super) fn read(node: &Node) -> String {
    let client = Client::new(node.home().join("pilot.sock"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client.metrics()).unwrap()
}

#[test]
fn paths_datagrams_and_queues_are_counted() {
    let team = Team::start(&["manager", "backend", "stranger"]).unwrap();
    team.trust("manager", "backend").unwrap();
    let manager = team.node("manager");
    let before = read(manager);
    manager.ok(&["ping", "backend", "--until-direct"]).unwrap();
    manager.ok(&["task", "submit", "--to", "backend", "--description", "x"]).unwrap();
    manager.ok(&["trust", team.address("stranger")]).unwrap();

    let after = read(manager);

    let (before, after) = (samples(&before), samples(&after));
    let grown = |name: &str| after[name] - before.get(name).copied().unwrap_or_default();
    assert_eq!(after["pilot_peers{path=\"direct\"}"], 1.0);
    assert_eq!(after["pilot_rendezvous_connected{transport=\"udp\"}"], 1.0);
    assert_eq!(after["pilot_udp_passes"], 1.0);
    assert_eq!(after["pilot_trust_requests{side=\"ours\"}"], 1.0);
    assert_eq!(after["pilot_tasks{queue=\"submitted_live\"}"], 1.0);
    assert_eq!(after["pilot_probes_forged_total"], 0.0);
    assert!(after["pilot_disk_free_bytes"] > 0.0);
    for direction in ["sent", "received"] {
        let direct =
            format!("pilot_peer_datagrams_total{{direction=\"{direction}\",path=\"direct\"}}");
        assert!(grown(&direct) > 0.0, "{direction}");
        for kind in ["ping", "pong"] {
            let name = format!("pilot_probes_total{{direction=\"{direction}\",kind=\"{kind}\"}}");
            assert!(after[name.as_str()] > 0.0, "{name}");
        }
    }
    let changes = after.iter().filter(|(name, _)| name.starts_with("pilot_path_changes_total{"));
    assert!(changes.map(|(_, count)| count).sum::<f64>() > 0.0, "{after:?}");
    assert!(grown("pilot_socket_sent_datagrams_total") > 0.0);
    assert!(grown("pilot_socket_received_datagrams_total{kind=\"quic\"}") > 0.0);
}

#[test]
fn every_family_is_described_and_no_other_is() {
    let team = Team::start(&["node"]).unwrap();
    let node = team.node("node");
    node.ok(&["netcheck"]).unwrap();

    let text = read(node);

    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let given: BTreeSet<&str> =
        families.filter_map(|family| family.split_whitespace().next()).collect();
    let source = include_str!("../../../daemon/src/api/metrics.rs");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | `pilot_"));
    let described: BTreeSet<&str> = rows
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|names| names.split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    let given: BTreeSet<&str> =
        given.iter().filter_map(|name| name.strip_prefix("pilot_")).collect();
    let described: BTreeSet<&str> =
        described.iter().map(|name| name.trim_start_matches("pilot_")).collect();
    let missing: Vec<_> = described.difference(&given).collect();
    assert!(given.is_subset(&described), "not described: {:?}", given.difference(&described));
    // It takes half a minute to be known.
    assert_eq!(missing, [&"nat_lifetime_seconds"]);
}

#[test]
fn garbage_is_counted_as_such() {
    let team = Team::start(&["node"]).unwrap();
    let node = team.node("node");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..10 {
        socket.send_to(&[0x80; 40], node.socket_addr().unwrap()).unwrap();
    }

    pilot_tests::eventually("garbage is counted", || {
        let text = read(node);
        Ok(samples(&text)["pilot_socket_received_datagrams_total{kind=\"garbage\"}"] == 10.0)
    })
    .unwrap();

    assert_eq!(node.json(&["status"]).unwrap()["socket"]["garbage"], 10);
    assert!(node.ok(&["status"]).unwrap().contains("10 garbage"));
}
