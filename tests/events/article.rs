//! The three commands of the article, as printed there.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use pilot_tests::{Node, Process, Reply, skip};
use serde_json::json;

use crate::{next, team, until_heard};

const SUBSCRIBE_MANAGER: &str = include_str!("article/subscribe-manager.sh");
const PUBLISH: &str = include_str!("article/publish.sh");
const SUBSCRIBE_QA: &str = include_str!("article/subscribe-qa.sh");

/// The article itself, beside the project where it is built, not for users.
const ARTICLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../shared/reference/article-agent-teams-over-pilot.txt"
);

#[test]
fn the_commands_here_are_those_of_the_article() {
    let Ok(article) = std::fs::read_to_string(ARTICLE) else {
        return skip("the article is not beside the project");
    };
    for copy in [SUBSCRIBE_MANAGER, PUBLISH, SUBSCRIBE_QA] {
        assert!(article.contains(copy), "not in the article:\n{copy}");
    }
}

#[test]
fn the_articles_commands_bring_ready_to_the_manager_and_to_the_tester() {
    let team = team(&["manager", "backend", "qa"]);
    team.trust("qa", "backend").unwrap();
    let mut manager = Process::start(sh(team.node("manager"), SUBSCRIBE_MANAGER)).unwrap();
    let mut qa = Process::start(sh(team.node("qa"), SUBSCRIBE_QA)).unwrap();
    until_heard(&team, "backend", "manager", "specialist.*");
    until_heard(&team, "backend", "qa", "specialist.backend.*");

    let published = Reply::from(sh(team.node("backend"), PUBLISH).output().unwrap());

    assert_eq!(published.code, Some(0), "{}", published.stderr);
    let (id, queued) = published
        .text()
        .split_once("  ")
        .map(|(id, rest)| (id.to_owned(), rest.to_owned()))
        .unwrap();
    assert_eq!(queued, "queued for 2 peers\n");
    for subscriber in [&mut manager, &mut qa] {
        let event = next(subscriber);
        assert_eq!(event["id"], id);
        assert_eq!(event["topic"], "specialist.backend.ready");
        assert_eq!(event["from"], team.address("backend"));
        assert_eq!(event["from_name"], "backend");
        assert_eq!(
            event["data"],
            json!({"endpoints": ["POST /auth/login", "POST /auth/register"]})
        );
        assert!(event["at"].as_str().unwrap().ends_with('Z'), "{event}");
        assert!(event.get("via").is_none() && event.get("cursor").is_none(), "{event}");
    }
}

/// A script of the article on one node, instead of a shell around it.
fn sh(node: &Node, script: &str) -> Command {
    let commands: String = script
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut path = OsString::from(node.programs().folder());
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {commands}")]).stdin(Stdio::null());
    command.env("PATH", path).env("PILOT_HOME", node.home());
    command
}
