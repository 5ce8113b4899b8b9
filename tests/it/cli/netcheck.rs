//! `netcheck`: what a node has found out about its network.

use std::time::{Duration, Instant};

use pilot_tests::{Node, NodeOptions, Programs, Team};
use serde_json::{Value, json};

/// A daemon without a rendezvous, with these flags.
fn alone(folder: &tempfile::TempDir, flags: &[&str]) -> Node {
    let programs = Programs::built().unwrap();
    let flags = flags.iter().map(ToString::to_string).collect();
    Node::start(&programs, folder.path(), "alone", NodeOptions { registry: None, flags }).unwrap()
}

#[test]
fn a_node_without_rendezvous_and_beacon_knows_its_own_addresses_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = alone(&folder, &[]);
    let own = node.socket_addr().unwrap().to_string();
    let began = Instant::now();

    let view = node.json(&["netcheck"]).unwrap();
    let text = node.ok(&["netcheck"]).unwrap();

    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(view["done"], true);
    assert_eq!(view["candidates"], json!([own]));
    assert_eq!((&view["ipv4"], &view["ipv6"]), (&json!(true), &json!(false)));
    for field in ["mapping", "filtering", "nat"] {
        assert_eq!(view[field], "unknown", "{field}");
    }
    assert_eq!(view["udp"], false, "nobody has answered");
    for field in ["hairpin", "lifetime_ms"] {
        assert!(view.as_object().unwrap().contains_key(field) && view[field].is_null(), "{field}");
    }
    for field in ["beacons", "mapped"] {
        assert_eq!(view[field], json!([]), "{field}");
    }
    assert_eq!(view["port_mapping"], json!({ "upnp": null, "nat_pmp": null, "pcp": null }));
    assert!(text.contains("UDP: unknown\n") && text.ends_with("beacons: none"), "{text}");
    assert!(text.contains(&format!("peers are told: {own}\n")), "{text}");
}

#[test]
fn a_given_endpoint_is_the_only_one_that_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let node = alone(&folder, &["-endpoint", "203.0.113.9:4000"]);

    let view = node.json(&["netcheck", "--timeout", "0"]).unwrap();

    assert_eq!(view["candidates"], json!(["203.0.113.9:4000"]));
}

#[test]
fn a_beacon_that_does_not_answer_is_waited_for_no_longer_than_asked() {
    let folder = tempfile::tempdir().unwrap();
    // Bound, so that nobody else answers there either.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap().to_string();
    let node = alone(&folder, &["-beacon-addr", &at]);
    let began = Instant::now();

    let reply = node.ctl(&["netcheck", "--timeout", "200ms"]).unwrap();
    let late = node.json(&["netcheck", "--timeout", "20s"]).unwrap();

    assert_eq!(reply.code, Some(0), "{}", reply.stderr);
    assert!(reply.text().contains(&at), "{}", reply.text());
    assert!(reply.stderr.contains("not everything is known yet"), "{}", reply.stderr);
    // Nothing listens there over TCP, which is known at once.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!((&late["done"], &late["udp"]), (&json!(true), &json!(false)));
    assert_eq!((&late["nat"], &late["mapping"]), (&json!("udp_blocked"), &json!("blocked")));
    let [beacon] = late["beacons"].as_array().unwrap().as_slice() else { panic!("{late}") };
    assert_eq!(beacon["address"], at);
    assert!(beacon["transport"] == "none" && beacon["rtt_us"].is_null(), "{beacon}");
    assert!(beacon["problem"].is_string(), "{beacon}");
}

#[test]
fn a_node_with_a_rendezvous_is_told_of_its_beacon_and_asks_it() {
    let team = Team::start(&["node"]).unwrap();
    let node = team.node("node");

    let view = node.json(&["netcheck"]).unwrap();
    let text = node.ok(&["netcheck"]).unwrap();
    let status = node.json(&["status"]).unwrap();

    let own = node.socket_addr().unwrap().to_string();
    assert_eq!((&view["done"], &view["udp"]), (&json!(true), &json!(true)));
    assert_eq!((&view["nat"], &view["mapping"]), (&json!("none"), &json!("none")));
    assert_eq!(view["mapped"], json!([own]));
    let [beacon] = view["beacons"].as_array().unwrap().as_slice() else { panic!("{view}") };
    assert_eq!((&beacon["transport"], &beacon["observed"]), (&json!("udp"), &json!(own)));
    assert_eq!(beacon["services"], json!(["stun", "punch", "relay"]));
    assert!(beacon["rtt_us"].as_u64().is_some_and(|rtt| rtt > 0), "{view}");
    assert!(beacon["key"].is_string() && beacon.get("problem").is_none(), "{view}");
    assert!(text.contains("UDP: yes\n") && text.contains("NAT: none (mapping none"), "{text}");
    let row = text.lines().last().unwrap();
    assert!(row.starts_with(beacon["address"].as_str().unwrap()), "{text}");
    assert!([" udp ", " ms ", &own, "stun,punch,relay"].iter().all(|cell| row.contains(cell)));
    assert_eq!(
        (&status["network"]["nat"], &status["network"]["beacons"]),
        (&json!("none"), &view["beacons"])
    );
}

#[test]
fn without_a_daemon_there_is_no_netcheck() {
    let programs = Programs::built().unwrap();
    let mut command = programs.command("pilotctl");
    let output = command.args(["netcheck", "--home", "/nowhere", "--json"]).output().unwrap();

    assert_eq!((output.status.code(), output.stdout.len()), (Some(6), 0));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "daemon_not_running");
}
