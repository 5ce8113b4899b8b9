//! The rooms of the house stay apart: what may be reached from where.

use std::process::Command;

use serde_json::Value;

/// No clock, no I/O, no runtime: none of these is reachable from a pure crate.
const SHELL: [&str; 8] =
    ["tokio", "quinn", "quinn-proto", "rusqlite", "hyper", "axum", "getrandom", "socket2"];

/// Packages reachable by ordinary dependencies, tests and builds left aside.
fn reached_from(package: &str) -> Vec<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let reached: Vec<String> = tree.lines().filter_map(name).collect();
    assert!(reached.contains(&package.to_owned()), "no tree of {package}: {tree}");
    reached
}

#[test]
fn pure_crates_reach_no_clock_and_no_io() {
    for package in [
        "pilot-identity",
        "pilot-proto",
        "pilot-trust",
        "pilot-tasks",
        "pilot-paths",
        "pilot-stun",
        "pilot-files",
        "pilot-events",
        "pilot-messages",
    ] {
        let reached = reached_from(package);

        for forbidden in SHELL {
            assert!(!reached.contains(&forbidden.to_owned()), "{package} reaches {forbidden}");
        }
    }
}

#[test]
fn pilotctl_reaches_neither_transport_nor_overlay_nor_store() {
    let reached = reached_from("pilot-ctl");

    for forbidden in
        ["pilot-transport", "pilot-overlay", "pilot-store", "pilot-journal", "quinn", "rusqlite"]
    {
        assert!(!reached.contains(&forbidden.to_owned()), "pilotctl reaches {forbidden}");
    }
}

#[test]
fn dependencies_point_right_or_down() {
    let forbidden = [
        ("pilot-identity", ["pilot-proto", "pilot-trust", "pilot-transport"].as_slice()),
        ("pilot-proto", &["pilot-trust", "pilot-tasks", "pilot-transport", "pilot-local-api"]),
        ("pilot-trust", &["pilot-tasks", "pilot-transport", "pilot-overlay"]),
        ("pilot-tasks", &["pilot-trust", "pilot-transport", "pilot-overlay"]),
        ("pilot-events", &["pilot-trust", "pilot-tasks", "pilot-transport", "pilot-overlay"]),
        ("pilot-files", &["pilot-trust", "pilot-tasks", "pilot-transport", "pilot-overlay"]),
        ("pilot-messages", &["pilot-trust", "pilot-tasks", "pilot-transport", "pilot-overlay"]),
        ("pilot-paths", &["pilot-trust", "pilot-tasks", "pilot-transport", "pilot-overlay"]),
        ("pilot-store", &["pilot-tasks", "pilot-transport", "pilot-overlay"]),
        ("pilot-journal", &["pilot-trust", "pilot-transport", "pilot-overlay", "pilot-store"]),
        ("pilot-transport", &["pilot-overlay", "pilot-trust", "pilot-tasks", "pilot-store"]),
        ("pilot-overlay", &["pilot-tasks", "pilot-store", "pilot-local-api"]),
        ("pilot-rendezvous", &["pilot-overlay", "pilot-tasks", "pilot-daemon", "pilot-ctl"]),
        ("pilot-daemon", &["pilot-ctl", "pilot-rendezvous"]),
    ];
    for (package, others) in forbidden {
        let reached = reached_from(package);
        for other in others {
            assert!(!reached.contains(&(*other).to_owned()), "{package} reaches {other}");
        }
    }
}

#[test]
fn the_pure_crates_own_lints_forbid_clocks_and_files() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    for folder in [
        "crates/identity",
        "proto",
        "crates/trust",
        "crates/tasks",
        "crates/paths",
        "crates/files",
        "crates/events",
        "crates/messages",
    ] {
        let rules = std::fs::read_to_string(format!("{root}/{folder}/clippy.toml")).unwrap();
        for rule in ["std::time::Instant::now", "std::time::SystemTime::now", "HashMap"] {
            assert!(rules.contains(rule), "{folder}/clippy.toml says nothing of {rule}");
        }
    }
}

#[test]
fn unsafe_code_is_forbidden_everywhere() {
    let metadata = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 10, "only {} packages", packages.len());

    for package in packages {
        let manifest = package["manifest_path"].as_str().unwrap();
        let text = std::fs::read_to_string(manifest).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{manifest} leaves the common lints");
    }
    let root = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
    assert!(root.unwrap().contains("unsafe_code = \"forbid\""));
}
