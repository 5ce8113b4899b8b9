//! Names that want to leave their folder, through the local API.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use pilot_local_api::errors::ErrorBody;
use pilot_local_api::tasks::{ContentFile, Role, SubmitRequest};
use pilot_local_api::{Base64, ErrorCode};
use pilot_tests::api::task_for;
use pilot_tests::{Node, Team};
use serde_json::{Value, json};

/// Every one of them ends in `stolen`, so that it is found wherever it was written.
pub(super) const CLIMBING: [&str; 7] = [
    "../stolen",
    "/tmp/stolen",
    "a/../../stolen",
    "..\\stolen",
    "stolen\0",
    "../../../../../../tmp/stolen",
    "./stolen",
];

/// Nothing below `folder`, and nothing in the folder for temporary files, was
/// written under one of those names.
pub(super) fn nothing_stolen(folder: &Path) {
    assert!(!Path::new("/tmp/stolen").exists());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(!path.to_string_lossy().contains("stolen"), "{path:?}");
        if path.is_dir() {
            nothing_stolen(&path);
        }
    }
}

/// One request as it is written here, and the error it is answered with.
fn refused(node: &Node, method: &str, path: &str, body: &Value) -> ErrorCode {
    let body = body.to_string();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: pilot\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = UnixStream::connect(node.home().join("pilot.sock")).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let json = answer.split_once("\r\n\r\n").unwrap().1;
    let error: ErrorBody = serde_json::from_str(json).unwrap();
    error.error.code
}

#[test]
fn a_name_that_leaves_its_folder_is_refused_by_the_local_api() {
    let team = Team::start(&["manager", "worker"]).unwrap();
    team.trust("manager", "worker").unwrap();
    let (manager, worker) = (team.node("manager"), team.node("worker"));
    let fair =
        ContentFile { name: "fair".parse().unwrap(), content_base64: Base64(b"x"[..].into()) };
    let request = SubmitRequest { files: vec![fair], ..task_for(&team.peer("worker"), "x") };
    let id = team.api("manager").unwrap().submit_as(&request).unwrap().id;
    team.api("worker").unwrap().accept().unwrap();

    for name in CLIMBING {
        let file = json!({ "name": name, "content_base64": "eA==" });
        let submit = json!({ "to": team.address("worker"), "description": "x", "files": [file] });
        let code = refused(manager, "POST", "/v1/tasks", &submit);
        assert_eq!(code, ErrorCode::InvalidArgument, "{name:?}");
        let results = json!({ "data": "x", "files": [file] });
        let code = refused(worker, "POST", &format!("/v1/tasks/{id}/results"), &results);
        assert_eq!(code, ErrorCode::InvalidArgument, "{name:?}");
        let submit = json!({ "id": name, "to": team.address("worker"), "description": "x" });
        let code = refused(manager, "POST", "/v1/tasks", &submit);
        assert_eq!(code, ErrorCode::InvalidArgument, "{name:?}");
    }
    for path in ["..%2f..%2fstolen", "..", "%2e%2e", "..%2fnode.key"] {
        for rest in ["", "/result", "/attachments/fair"] {
            let code = refused(manager, "GET", &format!("/v1/tasks/{path}{rest}"), &Value::Null);
            assert!(matches!(code, ErrorCode::InvalidArgument | ErrorCode::NotFound), "{code}");
        }
    }
    for name in ["..%2f..%2fnode.key", "%2fetc%2fpasswd", "node.key", ".."] {
        let path = format!("/v1/tasks/{id}/attachments/{name}");
        assert_eq!(refused(worker, "GET", &path, &Value::Null), ErrorCode::NotFound, "{name}");
    }

    assert_eq!(team.api("manager").unwrap().tasks(Role::Submitted).unwrap().len(), 1);
    nothing_stolen(team.folder());
}
