//! By which path a peer is reached: `ping`, `peers`, `status`.

use std::time::{Duration, Instant};

use pilot_tests::Team;
use serde_json::Value;

/// RFC 3339 in UTC with milliseconds.
fn is_moment(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 24 && text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T')
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_ping_tells_the_path_of_each_answer_and_where_it_went() {
    let team = Team::start(&["manager", "backend"]).unwrap();
    team.trust("manager", "backend").unwrap();
    let manager = team.node("manager");
    let there = team.node("backend").socket_addr().unwrap().to_string();

    let until = lines(&manager.ok(&["ping", "backend", "--until-direct", "--json"]).unwrap());
    let counted = lines(&manager.ok(&["ping", "backend", "-c", "2", "--json"]).unwrap());
    let text = manager.ok(&["ping", "backend", "-c", "1"]).unwrap();

    let last = until.last().unwrap();
    assert_eq!((&last["path"], &last["endpoint"]), (&"direct".into(), &there.as_str().into()));
    assert!(until[..until.len() - 1].iter().all(|answer| answer["path"] == "relayed"), "{until:?}");
    assert_eq!(counted.len(), 2);
    for answer in counted {
        assert_eq!(answer["path"], "direct");
        assert!(answer["rtt_us"].as_u64().is_some_and(|rtt| rtt > 0));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words[1..], ["ms", "direct", there.as_str()]);
}

#[test]
fn a_peer_that_never_answers_ends_the_wait_for_a_direct_path_in_time() {
    let mut team = Team::start(&["manager", "backend"]).unwrap();
    team.trust("manager", "backend").unwrap();
    team.node_mut("backend").kill().unwrap();
    let began = Instant::now();

    let args = ["ping", "backend", "--until-direct", "--timeout", "1s", "--json"];
    let reply = team.node("manager").ctl(&args).unwrap();

    assert_eq!(reply.code, Some(7), "{}", reply.stderr);
    assert_eq!(reply.error_code().as_deref(), Some("peer_unreachable"));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn wrong_words_of_ping_and_netcheck_are_usage_errors() {
    let team = Team::start(&["node"]).unwrap();
    let table: [&[&str]; 5] = [
        &["ping"],
        &["ping", "x", "-c", "0"],
        &["ping", "x", "--until-direct", "--timeout", "soon"],
        &["netcheck", "--timeout", "-1"],
        &["netcheck", "x"],
    ];
    for args in table {
        let reply = team.node("node").ctl(&[args, &["--json"]].concat()).unwrap();

        assert_eq!(reply.code, Some(2), "{args:?}: {}", reply.stderr);
        assert_eq!(reply.error_code().as_deref(), Some("invalid_argument"), "{args:?}");
    }
}

#[test]
fn peers_and_status_tell_the_path_why_it_is_so_and_since_when() {
    let mut team = Team::start(&["manager", "backend", "stranger"]).unwrap();
    team.add("public", &["--public"]).unwrap();
    team.trust("manager", "backend").unwrap();
    let manager = team.node("manager");
    manager.ok(&["ping", "backend", "--until-direct"]).unwrap();

    let peers = manager.json(&["peers"]).unwrap();
    let table = manager.ok(&["peers"]).unwrap();
    let status = manager.json(&["status"]).unwrap();
    let text = manager.ok(&["status"]).unwrap();

    let find = |name: &str| {
        let found = peers.as_array().unwrap().iter().find(|peer| peer["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {peers}")).clone()
    };
    let (backend, public) = (find("backend"), find("public"));
    let there = team.node("backend").socket_addr().unwrap().to_string();
    assert_eq!(backend["path"], "direct");
    assert_eq!(backend["endpoint"], there.as_str());
    let reason = backend["path_reason"].as_str().unwrap();
    assert!(reason.starts_with("direct_"), "{reason}");
    assert!(is_moment(&backend["path_since"]), "{backend}");
    assert!(backend["rtt_us"].as_u64().is_some_and(|rtt| rtt > 0), "{backend}");
    assert_eq!(public["path"], "offline");
    assert_eq!(public["path_reason"], "not_trusted");
    assert!(public["endpoint"].is_null() && public["path_since"].is_null(), "{public}");
    assert!(table.starts_with("ADDRESS"), "{table}");
    let row = table.lines().find(|row| row.contains(" backend ")).unwrap();
    assert!([" direct ", there.as_str(), reason, " ms"].iter().all(|cell| row.contains(cell)));
    assert_eq!(status["peers"]["direct"], 1);
    assert_eq!((&status["peers"]["relayed"], &status["peers"]["offline"]), (&0.into(), &0.into()));
    let own = manager.socket_addr().unwrap().to_string();
    assert!(status["endpoints"].as_array().unwrap().contains(&own.as_str().into()), "{status}");
    assert_eq!(status["rendezvous"]["transport"], "udp");
    assert!(status["socket"]["received"].as_u64().is_some_and(|count| count > 0));
    assert!(text.contains("peers: 1 trusted (1 direct, 0 relayed, 0 offline)"), "{text}");
    assert!(text.contains("NAT: ") && text.contains("UDP socket: "), "{text}");
}

#[test]
fn a_peer_that_went_away_is_offline() {
    let mut team = Team::start(&["manager", "backend"]).unwrap();
    team.trust("manager", "backend").unwrap();
    team.node("manager").ok(&["ping", "backend", "-c", "1"]).unwrap();

    team.node_mut("backend").process().unwrap().stop(Duration::from_secs(10)).unwrap();

    let manager = team.node("manager");
    pilot_tests::eventually("it is offline", || {
        Ok(manager.json(&["peers"])?[0]["path"] == "offline")
    })
    .unwrap();
    let peers = manager.json(&["peers"]).unwrap();
    assert!(peers[0]["path_reason"].is_string() && peers[0]["endpoint"].is_null(), "{peers}");
    assert_eq!(manager.json(&["status"]).unwrap()["peers"]["offline"], 1);
}
