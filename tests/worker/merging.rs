//! `task merge`: what a worker changed in its work tree comes here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pilot_local_api::tasks::{Params, SendResultsRequest, SubmitRequest, TaskState};
use pilot_proto::TaskId;
use pilot_tests::api::{results, task_for};
use pilot_tests::{Reply, Team};

use crate::{code, data, ended, result, shell, submit, team};

/// What git prints.
pub(crate) fn git(folder: &Path, words: &[&str]) -> String {
    let mut command = Command::new("git");
    let identity = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"];
    command.arg("-C").arg(folder).args(identity).args(words).env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "git {words:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A repository with one commit, of the file `a`.
pub(crate) fn repository(team: &Team, name: &str) -> PathBuf {
    let folder = team.path(name);
    fs::create_dir(&folder).unwrap();
    git(&folder, &["init", "--quiet", "--initial-branch=main"]);
    git(&folder, &["config", "user.name", "tester"]);
    git(&folder, &["config", "user.email", "tester@localhost"]);
    commit(&folder, "a", "one\n");
    folder
}

fn commit(folder: &Path, name: &str, content: &str) -> String {
    fs::write(folder.join(name), content).unwrap();
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "-m", name]);
    git(folder, &["rev-parse", "HEAD"])
}

/// A worker's repository and a manager's that is a clone of it.
fn pair(team: &Team) -> (PathBuf, PathBuf) {
    let (theirs, ours) = (repository(team, "theirs"), team.path("ours"));
    git(&theirs, &["clone", "--quiet", ".", ours.to_str().unwrap()]);
    git(&ours, &["config", "user.name", "tester"]);
    git(&ours, &["config", "user.email", "tester@localhost"]);
    (theirs, ours)
}

fn served(team: &Team, theirs: &Path, script: &str, id: TaskId) -> TaskState {
    let mut worker = shell(team, &["--once", "--worktree", theirs.to_str().unwrap()], script);
    let state = ended(team, id).state;
    assert_eq!(code(&mut worker), Some(0), "{}", worker.errors());
    state
}

fn merge(team: &Team, id: TaskId, ours: &Path) -> Reply {
    let (id, repo) = (id.to_string(), ours.to_str().unwrap());
    team.node("manager").ctl(&["task", "merge", &id, "--repo", repo, "--json"]).unwrap()
}

fn outcome(reply: &Reply) -> String {
    let json: serde_json::Value = serde_json::from_str(&reply.text()).unwrap_or_default();
    json["outcome"].as_str().unwrap_or(&reply.stderr).to_owned()
}

#[test]
fn changes_are_merged_once_and_a_task_without_any_is_told() {
    let team = team();
    let (theirs, ours) = pair(&team);
    let id = submit(&team, "\u{1b}]0;evil\nsecond line");
    let script = r#"echo two >> a; mkdir -p d; printf 'x\0y' > d/binary; git status --short"#;
    assert_eq!(served(&team, &theirs, script, id), TaskState::Succeeded);
    commit(&ours, "b", "mine\n");

    assert_eq!(outcome(&merge(&team, id, &ours)), "merged");

    assert_eq!(fs::read_to_string(ours.join("a")).unwrap(), "one\ntwo\n");
    assert_eq!(fs::read(ours.join("d/binary")).unwrap(), b"x\0y");
    let subject = git(&ours, &["log", "-1", "--format=%s"]);
    assert_eq!(subject, format!("Merge task {id}: \\u{{1b}}]0;evil"));
    let author = git(&ours, &["log", "-1", "--format=%an <%ae> %s", &format!("refs/pilot/{id}")]);
    assert_eq!(author, format!("pilot worker <pilot@localhost> task {id}"));
    assert_eq!(outcome(&merge(&team, id, &ours)), "already_merged");
    let patch = team.path("patch");
    team.node("manager")
        .ok(&["task", "result", &id.to_string(), "--out", patch.to_str().unwrap()])
        .unwrap();
    assert!(fs::read_to_string(patch.join("changes.patch")).unwrap().contains("+two"));

    let none = submit(&team, "look");
    assert_eq!(served(&team, &theirs, "cat a", none), TaskState::Succeeded);
    assert_eq!(data(&team, none), "one\n");
    assert_eq!(outcome(&merge(&team, none, &ours)), "unchanged");
}

#[test]
fn files_that_conflict_are_named_and_the_repository_stays() {
    let team = team();
    let (theirs, ours) = pair(&team);
    let id = submit(&team, "change a");
    served(&team, &theirs, "echo theirs > a; echo new > c", id);
    let head = commit(&ours, "a", "ours\n");

    let reply = merge(&team, id, &ours);

    assert_eq!((reply.code, reply.text().as_str()), (Some(8), "[\"a\"]\n"), "{}", reply.stderr);
    assert!(reply.stderr.contains(&format!("git merge refs/pilot/{id}")), "{}", reply.stderr);
    assert_eq!(git(&ours, &["rev-parse", "HEAD"]), head);
    assert_eq!(git(&ours, &["status", "--porcelain"]), "");

    fs::write(ours.join("a"), "dirty\n").unwrap();
    let dirty = merge(&team, id, &ours);
    assert_eq!((dirty.code, dirty.error_code().as_deref()), (Some(8), Some("conflict")));
    assert!(dirty.stderr.contains("not committed"), "{}", dirty.stderr);
    assert_eq!(fs::read_to_string(ours.join("a")).unwrap(), "dirty\n");
}

#[test]
fn a_task_begins_at_the_commit_it_names() {
    let team = team();
    let (theirs, ours) = pair(&team);
    let first = git(&theirs, &["rev-parse", "HEAD"]);
    commit(&theirs, "a", "two\n");
    let at = |commit: &str| {
        let params = Params(vec![("commit".into(), commit.into())]);
        let task = task_for(&team.peer("worker"), "look");
        let task = SubmitRequest { params, ..task };
        team.api("manager").unwrap().submit_as(&task).unwrap().id
    };

    let old = at(&first);
    assert_eq!(served(&team, &theirs, "cat a; exit 0", old), TaskState::Succeeded);
    assert_eq!(data(&team, old), "one\n");

    // Not there yet, but at a remote.
    git(&theirs, &["remote", "add", "origin", ours.to_str().unwrap()]);
    let newer = commit(&ours, "a", "three\n");
    let fetched = at(&newer);
    assert_eq!(served(&team, &theirs, "cat a", fetched), TaskState::Succeeded);
    assert_eq!(data(&team, fetched), "three\n");

    for (name, reason) in [
        ("0123456789012345678901234567890123456789", "is not in the worker's repository"),
        ("--upload-pack=evil", "is no name of a commit"),
    ] {
        let absent = at(name);
        assert_eq!(served(&team, &theirs, "cat a", absent), TaskState::Failed);
        let said = ended(&team, absent).reason.unwrap();
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(git(&theirs, &["worktree", "list"]).lines().count(), 1);
}

#[test]
fn a_repository_without_the_base_is_told_which_commit_is_missing() {
    let team = team();
    let (theirs, other) = (repository(&team, "theirs"), repository(&team, "other"));
    let base = commit(&theirs, "b", "more\n");
    let id = submit(&team, "change");
    served(&team, &theirs, "echo two > a", id);

    let reply = merge(&team, id, &other);

    assert_eq!(reply.error_code().as_deref(), Some("not_found"), "{}", reply.stderr);
    assert_eq!(reply.code, Some(3));
    assert!(reply.stderr.contains(&base), "{}", reply.stderr);
}

#[test]
fn a_bundle_that_is_none_is_refused() {
    let team = team();
    let ours = repository(&team, "ours");
    let (api, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    // A repository whose name is that of a bundle, and a file that is none.
    let evil = team.path("changes.bundle");
    fs::create_dir(&evil).unwrap();
    git(&evil, &["init", "--quiet", "--bare", "."]);
    let file = team.path("file");
    fs::create_dir(&file).unwrap();
    fs::write(file.join("changes.bundle"), "# v2 git bundle\n-x\n").unwrap();
    for given in [evil, file.join("changes.bundle")] {
        let id = api.submit(&team.peer("worker"), "evil").unwrap().id;
        worker.accept().unwrap();
        let request = SendResultsRequest { attach: vec![given.as_path().into()], ..results("") };
        worker.send_results_as(id, &request).unwrap();
        result(&team, id);

        let reply = merge(&team, id, &ours);

        assert!(matches!(reply.code, Some(3 | 8)), "{:?} {}", reply.code, reply.stderr);
        assert_eq!(git(&ours, &["for-each-ref", "refs/pilot"]), "");
    }
    let id = api.submit(&team.peer("worker"), "plain").unwrap().id;
    worker.accept().unwrap();
    worker.send_results(id, "text").unwrap();
    result(&team, id);
    assert_eq!(merge(&team, id, &ours).code, Some(3));
}
