//! Three kinds of workers, ten tasks each.

use std::collections::BTreeSet;
use std::fs;

use pilot_local_api::tasks::{Params, SubmitRequest};
use pilot_proto::TaskId;
use pilot_tests::Team;
use pilot_tests::api::task_for;

use crate::merging::{git, repository};
use crate::{code, data, result, shell, start, team};

fn ten(team: &Team) -> Vec<TaskId> {
    let api = team.api("manager").unwrap();
    let submit = |number: u32| {
        let params = Params(vec![("number".into(), number.to_string())]);
        let task = task_for(&team.peer("worker"), &format!("task {number}"));
        api.submit_as(&SubmitRequest { params, ..task }).unwrap().id
    };
    (0..10).map(submit).collect()
}

#[test]
fn a_shell_one_liner_serves_ten_tasks() {
    let team = team();
    let ids = ten(&team);
    let script = r#"echo "$PILOT_PARAM_NUMBER of $PILOT_TASK_DESCRIPTION""#;

    let mut worker = shell(&team, &["--slots", "3", "--max-tasks", "10"], script);

    for (number, id) in ids.iter().enumerate() {
        assert_eq!(data(&team, *id), format!("{number} of task {number}\n"));
    }
    assert_eq!(code(&mut worker), Some(0), "{}", worker.errors());
}

#[test]
fn a_python_script_serves_ten_tasks() {
    let team = team();
    let ids = ten(&team);
    let script = team.path("worker.py");
    let text = "import json, os, sys\n\
                task = json.load(sys.stdin)\n\
                number = int(task['params']['number'])\n\
                with open(os.path.join(os.environ['PILOT_RESULT_DIR'], 'square.txt'), 'w') as out:\n\
                \x20   out.write(str(number * number))\n\
                json.dump({'id': task['id'], 'number': number}, sys.stdout)\n";
    fs::write(&script, text).unwrap();
    let words = ["--slots", "2", "--max-tasks", "10", "--json-result", "--", "python3"];

    let mut worker = start(&team, &[&words[..], &[script.to_str().unwrap()]].concat());

    for (number, id) in ids.iter().enumerate() {
        let result = result(&team, *id);
        let json: serde_json::Value = serde_json::from_str(&result.data.unwrap()).unwrap();
        assert!(result.is_json);
        assert_eq!(json, serde_json::json!({ "id": id.to_string(), "number": number }));
        let [file] = &result.files[..] else { panic!("{:?}", result.files) };
        assert_eq!(file.name.as_str(), "square.txt");
        assert_eq!(file.content_base64.0, (number * number).to_string());
    }
    assert_eq!(code(&mut worker), Some(0), "{}", worker.errors());
}

#[test]
fn a_git_work_tree_worker_serves_ten_tasks_and_all_are_merged() {
    let team = team();
    let (theirs, ours) = (repository(&team, "theirs"), team.path("ours"));
    git(&theirs, &["clone", "--quiet", ".", ours.to_str().unwrap()]);
    let ids = ten(&team);
    let script = r#"echo "$PILOT_PARAM_NUMBER" > "number-$PILOT_PARAM_NUMBER"; pwd"#;
    let flags = ["--slots", "2", "--max-tasks", "10", "--worktree", theirs.to_str().unwrap()];

    let mut worker = shell(&team, &flags, script);

    let folders: BTreeSet<String> = ids.iter().map(|id| data(&team, *id)).collect();
    assert_eq!(code(&mut worker), Some(0), "{}", worker.errors());
    assert_eq!(folders.len(), 10);
    assert!(folders.iter().all(|folder| !fs::exists(folder.trim()).unwrap()));
    let trees = git(&theirs, &["worktree", "list", "--porcelain"]);
    assert_eq!(trees.matches("worktree ").count(), 1, "{trees}");
    assert_eq!(git(&theirs, &["for-each-ref", "refs/pilot"]), "");
    for (number, id) in ids.iter().enumerate() {
        let (id, repo) = (id.to_string(), ours.to_str().unwrap());
        let merged = team.node("manager").json(&["task", "merge", &id, "--repo", repo]).unwrap();
        assert_eq!(merged["outcome"], "merged");
        let written = fs::read_to_string(ours.join(format!("number-{number}"))).unwrap();
        assert_eq!(written, format!("{number}\n"));
    }
}
