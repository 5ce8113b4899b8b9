//! What a command writes while it runs, and what it is given of tasks before.

use pilot_local_api::tasks::TaskState;

use crate::{PATIENCE, gate, said, shell, submit, team};

#[test]
fn what_a_command_writes_is_seen_by_its_submitter_while_it_runs() {
    let team = team();
    let (manager, gate) = (team.node("manager"), gate(&team, "gate"));
    let id = submit(&team, "talk").to_string();
    let script = format!("echo first; echo second >&2; read x < {}; echo last", gate.display());
    let worker = shell(&team, &["--once"], &script);
    said(&worker, "second");

    let api = team.api("manager").unwrap();
    let noted = |view: &pilot_local_api::tasks::TaskView| view.note.as_deref() == Some("second");
    api.until(id.parse().unwrap(), "the last line is its note", noted).unwrap();
    let mut follow = manager.spawn(&["task", "logs", &id, "--follow"]).unwrap();
    pilot_tests::eventually("the log is here", || {
        let log = manager.ctl(&["task", "logs", &id])?.text();
        Ok(log.contains("first\n") && log.contains("second\n"))
    })
    .unwrap();
    std::fs::write(&gate, "go\n").unwrap();

    api.until_state(id.parse().unwrap(), TaskState::Succeeded).unwrap();
    let began = std::time::Instant::now();
    while follow.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "it follows what has ended");
        std::thread::yield_now();
    }
    let log = manager.ctl(&["task", "logs", &id]).unwrap().text();
    assert!(log.ends_with("last\n"), "{log:?}");
    assert_eq!(manager.ok(&["task", "result", &id]).unwrap(), "first\nlast");
}

#[test]
fn a_command_finds_the_results_of_earlier_tasks_in_its_folder() {
    let team = team();
    let manager = team.node("manager");
    let script = r#"case "$PILOT_TASK_DESCRIPTION" in
        make) printf made; echo in a file > "$PILOT_RESULT_DIR/note.txt";;
        use) cat "$PILOT_INPUTS_DIR/1/data"; cat "$PILOT_INPUTS_DIR/1/files/note.txt";;
        esac"#;
    let _worker = shell(&team, &["--max-tasks", "4"], script);

    for left in [&[][..], &["--leave-result"]] {
        let words = ["task", "submit", "--to", "worker", "--description", "make"];
        let made = manager.ok(&[&words[..], left].concat()).unwrap();
        let used = manager.ok(&[
            "task",
            "submit",
            "--to",
            "worker",
            "--description",
            "use",
            "--input-from",
            &made,
            "--wait",
        ]);
        assert_eq!(used.unwrap(), "madein a file");
    }
}
