//! The commands of the article "Building Claude Code Agent Teams Over Pilot
//! Protocol", as printed there: the files of `article/` are copied from it
//! byte for byte, and only the name of its rendezvous is replaced.
//!
//! What is left out here is what the project does not have yet, the score in
//! `resolve`. `data send` is in `../files`, and events are in `../events`.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pilot_tests::{Node, Process, Programs, Reply, Team, eventually, skip};

const WORKER: &str = include_str!("article/worker.py");
const STUB: &str = include_str!("article/stub/anthropic.py");
const DAEMON: &str = include_str!("article/daemon.sh");
const DAEMON_PUBLIC: &str = include_str!("article/daemon-public.sh");
const SUBMIT: &str = include_str!("article/submit.sh");
const TRUST_MANAGER: &str = include_str!("article/trust-manager.sh");
const TRUST_SPECIALIST: &str = include_str!("article/trust-specialist.sh");
const TRUST_QA: &str = include_str!("article/trust-qa.sh");
const RESOLVE: &str = include_str!("article/resolve.sh");
const FEATURE: &str = include_str!("article/feature.sh");

/// The article itself, beside the project where it is built, not for users.
const ARTICLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../shared/reference/article-agent-teams-over-pilot.txt"
);

const SPECIALISTS: [&str; 3] = ["backend", "ml", "qa"];

#[test]
fn the_commands_here_are_those_of_the_article() {
    let Ok(article) = std::fs::read_to_string(ARTICLE) else {
        return skip("the article is not beside the project");
    };
    let copies = [
        WORKER,
        DAEMON,
        DAEMON_PUBLIC,
        SUBMIT,
        TRUST_MANAGER,
        TRUST_SPECIALIST,
        TRUST_QA,
        RESOLVE,
        FEATURE,
    ];
    for copy in copies {
        assert!(article.contains(copy), "not in the article:\n{copy}");
    }
}

#[test]
fn the_articles_workers_serve_the_articles_manager() {
    let Some(python) = python() else { return skip("there is no python3") };
    let team = Team::start(&["manager", "backend", "ml", "qa"]).unwrap();
    trust_as_printed(&team);
    let _workers: Vec<Process> =
        SPECIALISTS.iter().map(|name| worker(&team, name, &python)).collect();
    let manager = team.node("manager");

    let one = sh(manager, SUBMIT);
    let three = sh(manager, FEATURE);
    let long = manager.ctl(&submit("a long answer")).unwrap();
    let empty = manager.ctl(&submit("no answer")).unwrap();

    let prompt = "Task: Implement user authentication API routes\n\nParameters:\n  framework: gin\n  \
                  endpoints: login,logout,register,refresh\n  auth_method: jwt\n";
    let wanted = format!("You are a backend development specialist.\n{prompt}");
    assert_eq!((one.code, one.text()), (Some(0), wanted), "{}", one.stderr);
    assert_eq!(three.code, Some(0), "{}", three.stderr);
    let roles = ["a backend development", "a QA", "a machine learning"].map(|role| {
        three.text().find(&format!("You are {role} specialist.")).unwrap_or(usize::MAX)
    });
    assert!(roles.is_sorted() && roles[2] < usize::MAX, "{}", three.text());
    assert!(three.text().contains("  features: ip,device,time,location\n"), "{}", three.text());
    let dashed = format!("-{}", "x".repeat(99_999));
    assert_eq!(long.code, Some(0), "{}", long.stderr);
    assert!(long.text() == dashed, "{} bytes came", long.stdout.len());
    assert_eq!((empty.code, empty.text()), (Some(0), String::new()), "{}", empty.stderr);
}

#[test]
fn trust_is_set_up_with_the_articles_commands_and_goes_no_further() {
    let team = Team::start(&["manager", "backend", "ml", "qa"]).unwrap();
    trust_as_printed(&team);

    let resolved = sh(team.node("manager"), RESOLVE);
    let one_way = sh(team.node("qa"), TRUST_QA);

    assert_eq!(resolved.code, Some(0), "{}", resolved.stderr);
    for name in SPECIALISTS {
        assert!(resolved.text().contains(&format!("name: {name}\n")), "{}", resolved.text());
    }
    assert_eq!(resolved.text().matches("\npolo: 0\n").count(), 3, "{}", resolved.text());
    assert!(one_way.text().starts_with("requested  "), "{}", one_way.text());
    for (one, other) in [("backend", "ml"), ("ml", "qa"), ("qa", "backend"), ("backend", "qa")] {
        let to = ["task", "submit", "--to", team.address(other), "--description", "x", "--json"];
        let refused = team.node(one).ctl(&to).unwrap();
        assert_eq!(refused.code, Some(4), "{one} to {other}: {}", refused.stderr);
        assert_eq!(refused.error_code().as_deref(), Some("not_trusted"));
    }
}

#[test]
fn daemons_start_with_the_articles_flags() {
    let team = Team::start(&[]).unwrap();
    let start = |script: &str, home: PathBuf| {
        let registry = team.rendezvous.addr().to_string();
        let mut command = shell(
            team.programs(),
            &format!(
                "exec {}",
                commands(&script.replace("rendezvous.example.com:9000", &registry))
            ),
        );
        command.env("PILOT_HOME", &home).env("PILOT_LISTEN", "127.0.0.1:0");
        let mut daemon = Process::start(command).unwrap();
        daemon.line("registered as ", Duration::from_secs(10)).unwrap();
        let mut status = team.programs().command("pilotctl");
        status.env("PILOT_HOME", home).args(["status", "--json"]).stdin(Stdio::null());
        let status: serde_json::Value =
            serde_json::from_slice(&status.output().unwrap().stdout).unwrap();
        (daemon, status)
    };

    let (_private, private) = start(DAEMON, team.path("private"));
    let (_public, public) = start(DAEMON_PUBLIC, team.path("public"));

    assert_eq!(private["public"], false);
    assert_eq!(public["public"], true);
    assert_eq!(public["endpoints"][0], "34.148.103.117:4000");
}

/// Runs the article's commands of trust on the four nodes.
fn trust_as_printed(team: &Team) {
    let asked = sh(team.node("manager"), TRUST_MANAGER);
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    for name in SPECIALISTS {
        let completed = sh(team.node(name), TRUST_SPECIALIST);
        assert_eq!(completed.code, Some(0), "{}", completed.stderr);
        assert!(completed.text().contains("fingerprint "), "{}", completed.text());
        let trusted = || Ok(team.node("manager").ctl(&["trust", "check", name])?.code == Some(0));
        eventually(&format!("manager and {name} trust each other"), trusted).unwrap();
    }
}

fn submit(description: &str) -> [&str; 7] {
    ["task", "submit", "--to", "backend", "--description", description, "--wait"]
}

/// The article's worker: `python worker.py SPECIALTY`.
fn worker(team: &Team, name: &str, python: &Path) -> Process {
    let folder = team.path(&format!("worker-{name}"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("worker.py"), WORKER).unwrap();
    std::fs::write(folder.join("anthropic.py"), STUB).unwrap();
    symlink(python, folder.join("python")).unwrap();
    let mut command = shell(team.programs(), &format!("exec python worker.py {name}"));
    let mut path = OsString::from(&folder);
    path.push(":");
    path.push(search_path(team.programs()));
    command
        .current_dir(&folder)
        .env("PATH", path)
        .env("PYTHONPATH", &folder)
        .env("PILOT_HOME", team.node(name).home());
    Process::start(command).unwrap()
}

/// Runs a script of the article on one node.
fn sh(node: &Node, script: &str) -> Reply {
    let mut command = shell(node.programs(), script);
    command.env("PILOT_HOME", node.home()).output().unwrap().into()
}

fn shell(programs: &Programs, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("PATH", search_path(programs)).stdin(Stdio::null());
    command
}

fn search_path(programs: &Programs) -> OsString {
    let mut path = OsString::from(programs.folder());
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

/// A script without its comments.
fn commands(script: &str) -> String {
    script.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

fn python() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("python3")).find(|python| python.exists())
}
