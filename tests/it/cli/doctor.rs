//! `doctor`: causes of trouble, each with the command that mends it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::time::Duration;

use pilot_tests::{Node, NodeOptions, Programs, Reply, Team, eventually};
use serde_json::Value;

/// How long a daemon may look around here: everything is on one machine.
const WAIT: [&str; 3] = ["--timeout", "2s", "--json"];

/// The doctor's findings and its exit code.
struct Said {
    code: Option<i32>,
    findings: Vec<Value>,
    stderr: String,
}

impl Said {
    fn of(reply: &Reply) -> Self {
        let view: Value = serde_json::from_slice(&reply.stdout).unwrap_or_default();
        let findings = view.get("findings").and_then(Value::as_array).cloned();
        assert!(findings.is_some(), "{:?} {} {}", reply.code, reply.text(), reply.stderr);
        let findings = findings.unwrap_or_default();
        for finding in &findings {
            for field in ["code", "severity", "what", "safe", "mend"] {
                assert!(finding.get(field).is_some(), "no {field} in {finding}");
            }
            let word = |field| finding.get(field).and_then(Value::as_str);
            let needs_help = matches!(word("severity"), Some("warning" | "problem"));
            assert!(matches!(word("severity"), Some("ok" | "note")) || needs_help, "{finding}");
            assert!(!needs_help || word("mend").is_some(), "nothing mends {finding}");
        }
        Self { code: reply.code, findings, stderr: reply.stderr.clone() }
    }

    fn word(&self, code: &str, field: &str) -> Option<&str> {
        let is_it = |finding: &&Value| finding.get("code").is_some_and(|found| found == code);
        self.findings.iter().find(is_it)?.get(field)?.as_str()
    }

    fn severity(&self, code: &str) -> Option<&str> {
        self.word(code, "severity")
    }

    fn mend(&self, code: &str) -> &str {
        self.word(code, "mend").unwrap_or_default()
    }

    /// That it ends with `exit` because of the problem `code`.
    fn assert_problem(&self, code: &str, exit: i32) {
        assert_eq!(self.severity(code), Some("problem"), "{code}: {:#?}", self.findings);
        assert_eq!(self.code, Some(exit), "{code}: {}", self.stderr);
        let error: Value = serde_json::from_str(&self.stderr).unwrap();
        let told = |pointer| error.pointer(pointer).and_then(Value::as_str);
        assert_eq!(told("/error/details/finding"), Some(code));
        assert_eq!(told("/error/hint"), self.word(code, "mend"));
    }
}

fn doctor(node: &Node, args: &[&str]) -> Said {
    Said::of(&node.ctl(&[&["doctor"], args, &WAIT].concat()).unwrap())
}

#[test]
fn a_healthy_node_has_no_problem_and_its_peer_is_reached() {
    let team = Team::start(&["manager", "backend"]).unwrap();
    team.trust("manager", "backend").unwrap();
    let manager = team.node("manager");

    let said = doctor(manager, &[]);
    let of_peer = doctor(manager, &["backend"]);
    let text = manager.ctl(&["doctor", "backend", "--timeout", "2s"]).unwrap();

    assert_eq!(said.code, Some(0), "{:#?}", said.findings);
    let well =
        ["daemon_running", "home", "disk", "rendezvous", "clock", "udp", "beacon", "nat", "peers"];
    for code in well {
        assert_eq!(said.severity(code), Some("ok"), "{code}: {:#?}", said.findings);
    }
    assert_eq!(said.stderr, "");
    assert_eq!(of_peer.code, Some(0), "{:#?}", of_peer.findings);
    let reached = of_peer.severity("peer_direct").or_else(|| of_peer.severity("peer_relayed"));
    assert!(matches!(reached, Some("ok" | "note")), "{:#?}", of_peer.findings);
    assert_eq!(text.code, Some(0), "{}", text.stderr);
    assert!(text.text().contains("ok       the daemon runs: version "), "{}", text.text());
    assert!(text.text().contains(" [rendezvous]\n"), "{}", text.text());
}

#[test]
fn a_daemon_that_does_not_run_is_looked_at_from_outside() {
    let mut team = Team::start(&["node"]).unwrap();
    team.node_mut("node").kill().unwrap();
    let node = team.node("node");
    let home = node.home().display().to_string();

    let killed = doctor(node, &[]);
    let text = node.ctl(&["doctor"]).unwrap();
    fs::set_permissions(node.home(), Permissions::from_mode(0o770)).unwrap();
    let open = doctor(node, &["backend"]);
    fs::set_permissions(node.home(), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(node.home().join("node.key"), Permissions::from_mode(0o640)).unwrap();
    let key = doctor(node, &[]);
    let nowhere = doctor(node, &["--home", "/nowhere"]);

    killed.assert_problem("daemon_not_running", 6);
    assert!(killed.mend("daemon_not_running").contains(&home));
    assert_eq!(killed.severity("home"), Some("ok"));
    assert_eq!(text.code, Some(6));
    assert!(text.text().contains("problem  no daemon listens on "), "{}", text.text());
    assert!(text.text().contains(&format!("mend: pilot-daemon --home {home}\n")));
    assert!(text.stderr.contains("[daemon_not_running]\ntry: pilot-daemon"), "{}", text.stderr);
    open.assert_problem("home_too_open", 4);
    assert_eq!(open.mend("home_too_open"), format!("chmod 700 {home}"));
    key.assert_problem("key_unusable", 4);
    assert_eq!(key.mend("key_unusable"), format!("chmod 600 {home}/node.key"));
    nowhere.assert_problem("home_missing", 6);
}

#[test]
fn a_daemon_with_another_socket_is_found_by_its_home() {
    if !cfg!(target_os = "linux") {
        return pilot_tests::skip("only Linux tells which program a process runs");
    }
    let programs = Programs::built().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("elsewhere.sock");
    let mut daemon = programs.command("pilot-daemon");
    daemon.arg("--home").arg(folder.path().join("node")).arg("--socket").arg(&socket);
    daemon.args(["--listen", "127.0.0.1:0"]);
    let mut daemon = pilot_tests::Process::start(daemon).unwrap();
    daemon.line("serving ", Duration::from_secs(10)).unwrap();

    let mut ctl = programs.command("pilotctl");
    ctl.env("PILOT_HOME", folder.path().join("node")).args(["doctor", "--json"]);
    let said = Said::of(&ctl.output().unwrap().into());

    said.assert_problem("daemon_elsewhere", 6);
}

#[test]
fn each_state_of_trust_with_a_peer_comes_with_the_command_that_mends_it() {
    let team = Team::start(&["asking", "asked", "stranger"]).unwrap();
    let (asking, asked) = (team.node("asking"), team.node("asked"));
    let stranger = team.address("stranger");

    let none = doctor(asking, &[stranger]);
    asking.ok(&["trust", team.address("asked")]).unwrap();
    eventually("it is asked", || {
        Ok(asked.json(&["trust", "pending"])?.as_array().is_some_and(|list| list.len() == 1))
    })
    .unwrap();
    let requested = doctor(asking, &[team.address("asked")]);
    let pending = doctor(asked, &[team.address("asking")]);
    let general = doctor(asked, &[]);
    let nobody = doctor(asking, &["nobody"]);

    none.assert_problem("peer_not_trusted", 4);
    assert!(none.mend("peer_not_trusted").starts_with(&format!("pilotctl trust {stranger} ")));
    requested.assert_problem("peer_trust_one_sided", 4);
    let there = format!("pilotctl trust {}  # there", team.address("asking"));
    assert_eq!(requested.mend("peer_trust_one_sided"), there);
    pending.assert_problem("peer_trust_pending", 4);
    let here = format!("pilotctl trust {} ", team.address("asking"));
    assert!(pending.mend("peer_trust_pending").starts_with(&here));
    assert_eq!((general.code, general.severity("trust_requests")), (Some(0), Some("note")));
    assert!(general.mend("trust_requests").starts_with("pilotctl trust pending"));
    nobody.assert_problem("peer_unknown", 3);
}

#[test]
fn a_peer_whose_daemon_is_stopped_is_offline() {
    let mut team = Team::start(&["manager", "backend"]).unwrap();
    team.trust("manager", "backend").unwrap();
    team.node_mut("backend").process().unwrap().stop(Duration::from_secs(10)).unwrap();

    let said = doctor(team.node("manager"), &["backend"]);

    said.assert_problem("peer_offline", 7);
}

#[test]
fn a_name_that_is_taken_is_a_warning() {
    let mut team = Team::start(&["backend"]).unwrap();
    team.add("second", &["--name", "backend"]).unwrap();

    let said = doctor(team.node("second"), &[]);

    assert_eq!((said.code, said.severity("name_taken")), (Some(0), Some("warning")));
    assert_eq!(said.mend("name_taken"), "pilot-daemon --name ANOTHER");
}

#[test]
fn an_endpoint_at_which_beacons_do_not_see_the_node_is_a_warning() {
    let mut team = Team::start(&[]).unwrap();
    team.add("node", &["-endpoint", "203.0.113.9:4000"]).unwrap();

    let said = doctor(team.node("node"), &[]);

    assert_eq!((said.code, said.severity("endpoint_contradicted")), (Some(0), Some("warning")));
    let mend = said.mend("endpoint_contradicted");
    assert!(mend.starts_with("pilot-daemon -endpoint 127.0.0.1:4000 "), "{mend}");
}

/// A daemon with a home of its own in `folder`.
fn alone(folder: &tempfile::TempDir, registry: Option<&str>, flags: &[&str]) -> Node {
    let flags = flags.iter().map(ToString::to_string).collect();
    let options = NodeOptions { registry: registry.map(str::to_owned), flags };
    Node::start(&Programs::built().unwrap(), folder.path(), "alone", options).unwrap()
}

#[test]
fn a_node_without_a_rendezvous_is_warned() {
    let folder = tempfile::tempdir().unwrap();
    let node = alone(&folder, None, &[]);

    let said = doctor(&node, &[]);

    assert_eq!((said.code, said.severity("no_rendezvous")), (Some(0), Some("warning")));
    assert_eq!(said.mend("no_rendezvous"), "pilot-daemon -registry-addr HOST:9000");
}

#[test]
fn each_trouble_with_the_rendezvous_is_told_apart() {
    let team = Team::start(&["node"]).unwrap();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let other_key = format!("{}#aaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaa", team.rendezvous.addr());
    let table = [
        (silent.as_str(), "rendezvous_silent", 7),
        (&other_key, "rendezvous_wrong_key", 4),
        ("host.invalid:9000", "rendezvous_unknown_host", 7),
    ];
    std::thread::scope(|scope| {
        for (registry, code, exit) in table {
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                let node = alone(&folder, Some(registry), &[]);
                eventually(code, || Ok(doctor(&node, &[]).severity(code) == Some("problem")))
                    .unwrap();

                doctor(&node, &[]).assert_problem(code, exit);
            });
        }
    });
}

#[test]
fn a_beacon_that_is_away_is_a_problem_if_there_is_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap().to_string();
    let node = alone(&folder, None, &["-beacon-addr", &at]);

    let said = doctor(&node, &[]);

    said.assert_problem("beacon_silent", 7);
    assert_eq!(said.severity("udp_blocked"), None, "nothing says that it is not the beacon");
}

#[test]
fn two_daemons_with_one_key_are_found_out() {
    let mut team = Team::start(&["node"]).unwrap();
    let copy = team.path("copy");
    fs::DirBuilder::new().mode(0o700).create(&copy).unwrap();
    // The mode is copied with it.
    fs::copy(team.node("node").home().join("node.key"), copy.join("node.key")).unwrap();

    team.add("copy", &[]).unwrap();

    let node = team.node("node");
    eventually("it is found out", || {
        Ok(doctor(node, &[]).severity("key_used_twice") == Some("problem"))
    })
    .unwrap();
    doctor(node, &[]).assert_problem("key_used_twice", 8);
}

#[test]
fn wrong_words_are_usage_errors_and_nothing_is_printed() {
    let team = Team::start(&["node"]).unwrap();
    let table: [&[&str]; 4] = [
        &["doctor", "node"],
        &["doctor", "not a peer"],
        &["doctor", "--timeout", "soon"],
        &["doctor", "a", "b"],
    ];
    for args in table {
        let reply = team.node("node").ctl(&[args, &["--json"]].concat()).unwrap();

        assert_eq!((reply.code, reply.text()), (Some(2), String::new()), "{args:?}");
        assert_eq!(reply.error_code().as_deref(), Some("invalid_argument"), "{args:?}");
    }
}
