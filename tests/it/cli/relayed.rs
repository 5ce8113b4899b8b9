//! Two nodes that share no network: everything goes through the relay.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use pilot_tests::{Node, NodeOptions, Process, Programs, eventually, skip};
use serde_json::Value;
use tempfile::TempDir;

const START: Duration = Duration::from_secs(10);

/// A rendezvous on both families of loopback, a node on each, and trust between them.
struct Divided {
    four: Node,
    six: Node,
    _rendezvous: Process,
    _folder: TempDir,
}

/// Whether there are two networks to be divided by.
fn has_ipv6() -> bool {
    let found = UdpSocket::bind("[::1]:0").is_ok();
    if !found {
        skip("this machine has no IPv6");
    }
    found
}

impl Divided {
    fn start() -> Self {
        let (programs, folder) = (Programs::built().unwrap(), tempfile::tempdir().unwrap());
        let mut rendezvous = programs.command("pilot-rendezvous");
        rendezvous.args(["--registry-listen", "[::]:0", "--state-dir"]);
        rendezvous.arg(folder.path().join("rendezvous"));
        let mut rendezvous = Process::start(rendezvous).unwrap();
        let line = rendezvous.line("listening on ", START).unwrap();
        let port = line.split_whitespace().next().and_then(|at| at.rsplit(':').next()).unwrap();
        let start = |name: &str, ip: &str| {
            let options = NodeOptions {
                registry: Some(format!("{ip}:{port}")),
                flags: vec!["--listen".to_owned(), format!("{ip}:0")],
            };
            let mut node = Node::start(&programs, folder.path(), name, options).unwrap();
            let address = node.registered().unwrap();
            (node, address)
        };
        let ((four, four_at), (six, six_at)) = (start("four", "127.0.0.1"), start("six", "[::1]"));
        four.ok(&["trust", &six_at]).unwrap();
        six.ok(&["trust", &four_at]).unwrap();
        eventually("they trust each other", || {
            Ok(four.ctl(&["trust", "check", &six_at])?.code == Some(0))
        })
        .unwrap();
        Self { four, six, _rendezvous: rendezvous, _folder: folder }
    }

    /// Where the beacon is for the one with IPv4.
    fn beacon(&self) -> String {
        let view = self.four.json(&["netcheck"]).unwrap();
        let endpoint = view.pointer("/beacons/0/endpoint").and_then(Value::as_str);
        endpoint.unwrap_or_default().to_owned()
    }
}

#[test]
fn a_ping_that_waits_for_a_direct_path_in_vain_says_so_and_the_relay_goes_on() {
    if !has_ipv6() {
        return;
    }
    let divided = Divided::start();
    let (four, beacon) = (&divided.four, divided.beacon());
    let began = Instant::now();

    let ping = ["ping", "six", "--until-direct", "--timeout", "1500ms"];
    let reply = four.ctl(&[&ping[..], &["--json"]].concat()).unwrap();
    let took = began.elapsed();
    let text = four.ctl(&ping).unwrap();
    let counted = four.ctl(&["ping", "six", "--until-direct", "-c", "2", "--json"]).unwrap();

    let answers = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(reply.code, Some(5), "{}", reply.stderr);
    let error: Value = serde_json::from_str(&reply.stderr).unwrap();
    assert_eq!(error["error"]["code"], "not_direct");
    assert_eq!(error["error"]["hint"], "pilotctl netcheck");
    assert_eq!(error["error"]["retryable"], true);
    assert!((Duration::from_millis(1000)..Duration::from_secs(10)).contains(&took), "{took:?}");
    let seen = answers(&reply.text());
    assert!(seen.len() > 2, "{seen:?}");
    for answer in &seen {
        assert_eq!(
            (&answer["path"], &answer["endpoint"]),
            (&"relayed".into(), &beacon.as_str().into())
        );
        assert_eq!(answer["transport"], "udp");
    }
    assert_eq!(text.code, Some(5));
    assert!(text.text().lines().all(|line| line.ends_with(&format!("ms  relayed  {beacon}"))));
    assert!(
        text.stderr.contains("the relayed one goes on working [not_direct]"),
        "{}",
        text.stderr
    );
    assert_eq!((counted.code, answers(&counted.text()).len()), (Some(5), 2));
}

#[test]
fn a_relayed_peer_is_shown_as_such_everywhere() {
    if !has_ipv6() {
        return;
    }
    let divided = Divided::start();
    let Divided { four, six, .. } = &divided;
    four.ok(&["ping", "six", "-c", "1"]).unwrap();
    six.ok(&["ping", "four", "-c", "1"]).unwrap();

    let peers = four.json(&["peers"]).unwrap();
    let status = four.json(&["status"]).unwrap();
    let resolved = four.json(&["resolve", "six"]).unwrap();
    let doctor = four.json(&["doctor", "six"]).unwrap();

    let (peer, beacon) = (&peers[0], divided.beacon());
    assert_eq!((&peer["path"], &peer["endpoint"]), (&"relayed".into(), &beacon.as_str().into()));
    assert_eq!((&peer["transport"], &peer["path_reason"]), (&"udp".into(), &"relay_first".into()));
    assert!(peer["path_since"].is_string() && peer["rtt_us"].is_number(), "{peer}");
    assert_eq!(peer["online"], true);
    assert_eq!((&status["peers"]["relayed"], &status["peers"]["direct"]), (&1.into(), &0.into()));
    assert_eq!(resolved["path"], "relayed");
    let findings = doctor["findings"].as_array().unwrap();
    let relayed = findings.iter().find(|finding| finding["code"] == "peer_relayed").unwrap();
    assert_eq!(relayed["severity"], "note");
    assert!(relayed["what"].as_str().is_some_and(|what| what.contains(&beacon)), "{relayed}");
    let mend = relayed["mend"].as_str().unwrap();
    assert!(mend.starts_with("pilotctl ping six --until-direct"), "{mend}");
    let metrics = super::metrics::read(four);
    for direction in ["sent", "received"] {
        let name =
            format!("pilot_peer_datagrams_total{{direction=\"{direction}\",path=\"relayed\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
        assert_ne!(count, "0", "{direction}");
    }
}
