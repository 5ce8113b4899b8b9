//! The client against a server that answers with given bytes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use pilot_local_api::tasks::{AcceptRequest, TaskView};
use pilot_local_api::transfers::{
    Direction, Keep, PathText, SendRequest, TransferState, TransfersQuery,
};
use pilot_local_api::{CallError, Client, ErrorCode};

type Task = pilot_local_api::proto::TaskId;

#[test]
fn an_error_of_the_daemon_arrives_whole() {
    let server = Server::answering(&[&http(
        "403 Forbidden",
        r#"{"error":{"code":"not_trusted","message":"no","hint":"pilotctl trust x","retryable":false,"details":{"peer":"x"}}}"#,
    )]);

    let error = run(server.client().whoami()).unwrap_err();

    let CallError::Refused(error) = error else { panic!("{error:?}") };
    assert_eq!(error.code, ErrorCode::NotTrusted);
    assert_eq!(error.hint.as_deref(), Some("pilotctl trust x"));
    assert_eq!(error.details["peer"], "x");
    assert!(server.requests()[0].starts_with("GET /v1/whoami HTTP/1.1\r\n"));
}

#[test]
fn nothing_to_accept_is_no_error() {
    let server = Server::answering(&["HTTP/1.1 204 No Content\r\n\r\n"]);

    let task = run(server
        .client()
        .accept(&AcceptRequest { timeout_ms: 30_000, ..AcceptRequest::default() }))
    .unwrap();

    assert_eq!(task, None);
    assert!(server.requests()[0].ends_with("\r\n\r\n{\"timeout_ms\":30000}"));
}

#[test]
fn a_path_the_daemon_does_not_know_is_a_matter_of_versions() {
    let server = Server::answering(&[&http("404 Not Found", "")]);

    let error = run(server.client().status()).unwrap_err();

    assert_eq!(error.api().code, ErrorCode::VersionMismatch);
}

#[test]
fn a_missing_daemon_is_named_with_the_command_that_starts_it() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("pilot.sock");

    let error = run(Client::new(&socket).whoami()).unwrap_err();

    let CallError::Unsent(error) = error else { panic!("{error:?}") };
    assert_eq!(error.code, ErrorCode::DaemonNotRunning);
    assert_eq!(error.hint.unwrap(), format!("pilot-daemon --home {}", home.path().display()));
}

#[test]
fn a_socket_path_that_is_too_long_is_said_to_be() {
    let socket = Path::new("/tmp").join("x".repeat(108));

    let error = run(Client::new(socket).whoami()).unwrap_err();

    assert_eq!(error.api().code, ErrorCode::InvalidArgument);
    assert!(error.api().message.contains("113 bytes"), "{error}");
}

#[test]
fn a_daemon_that_goes_away_in_the_middle_is_a_lost_call() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"add";
    for answer in ["", cut] {
        let server = Server::answering(&[answer]);

        let error = run(server.client().whoami()).unwrap_err();

        assert!(matches!(error, CallError::Lost(_)), "{error:?}");
        assert_eq!(error.api().code, ErrorCode::DaemonNotRunning);
    }
}

#[test]
fn kept_connections_are_used_again_and_replaced_once_the_daemon_closed_them() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let (closed, hear_closed) = std::sync::mpsc::channel();
    let daemon = std::thread::spawn(move || {
        let two = listener.accept().unwrap().0;
        for _ in 0..2 {
            exchange(&two, &http("200 OK", "[]"));
        }
        drop(two);
        closed.send(()).unwrap();
        exchange(&listener.accept().unwrap().0, &http("200 OK", "[]"));
    });
    let client = Client::keeping(&socket);

    run(async {
        client.trust_list().await.unwrap();
        client.trust_list().await.unwrap();
        hear_closed.recv().unwrap();
        client.trust_list().await.unwrap();
    });

    daemon.join().unwrap();
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end() {
    let limit = pilot_local_api::MAX_RESPONSE_BODY;
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(limit + 1));
    let server = Server::answering(&[&endless]);

    let error = run(server.client().whoami()).unwrap_err();

    assert_eq!(error.api().code, ErrorCode::TooLarge);
}

#[test]
fn the_lines_of_a_stream_come_one_by_one_however_they_were_cut() {
    let line = |revision: u64| format!("{}\n", view(revision));
    let (first, second) = (line(1), line(2));
    let (head, tail) = second.split_at(40);
    let chunks: String = [&first, head, tail, "{\"cut"]
        .iter()
        .map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()))
        .collect();
    let ended = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    let lost = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
    let server = Server::answering(&[&ended, &lost]);
    let id: Task = ID.parse().unwrap();

    let revisions = |client: Client| async move {
        let mut lines = client.watch(id).await?;
        let mut seen = Vec::new();
        loop {
            match lines.next().await {
                Ok(Some(TaskView { revision, .. })) => seen.push(revision),
                end => return Ok::<_, CallError>((seen, end)),
            }
        }
    };

    let (seen, end) = run(revisions(server.client())).unwrap();
    assert_eq!((seen, end), (vec![1, 2], Ok(None)));
    let (seen, end) = run(revisions(server.client())).unwrap();
    assert_eq!(seen, [1, 2]);
    assert!(matches!(end, Err(CallError::Lost(_))), "{end:?}");
}

#[test]
fn a_stream_that_is_refused_says_why() {
    let body = r#"{"error":{"code":"unknown_task","message":"no such task"}}"#;
    let server = Server::answering(&[&http("404 Not Found", body)]);

    let error = run(server.client().watch(ID.parse().unwrap())).unwrap_err();

    assert_eq!(error.api().code, ErrorCode::UnknownTask);
}

#[test]
fn each_thing_to_do_with_transfers_is_one_request() {
    let one = http("200 OK", &transfer("sending"));
    let server = Server::answering(&[&one, &http("200 OK", "[]"), &one, &one, &one]);
    let client = server.client();
    let id = ID.parse().unwrap();
    let paths = vec![PathText::from(Path::new("/a b"))];
    let (to, exclude) = ("backend".to_owned(), vec!["*.o".to_owned()]);
    let request = SendRequest {
        id: None,
        to,
        paths,
        label: None,
        task: None,
        exclude,
        gitignore: true,
        expires_ms: None,
        limit: None,
        keep: Keep::Copy,
    };
    let query = TransfersQuery {
        peer: Some("a b".to_owned()),
        direction: Some(Direction::Received),
        state: Some(TransferState::Done),
        limit: Some(5),
    };

    let sent = run(client.send(&request)).unwrap();
    let listed = run(client.transfers(&query)).unwrap();
    let shown = run(client.transfer(id)).unwrap();
    let cancelled = run(client.cancel_transfer(id)).unwrap();
    let removed = run(client.remove_transfer(id)).unwrap();

    assert_eq!(listed, []);
    for view in [sent, shown, cancelled, removed] {
        assert_eq!((view.id, view.state), (id, TransferState::Sending));
    }
    let requests = server.requests();
    let wanted = [
        "POST /v1/transfers HTTP/1.1".to_owned(),
        "GET /v1/transfers?direction=received&peer=a%20b&state=done&limit=5 HTTP/1.1".to_owned(),
        format!("GET /v1/transfers/{ID} HTTP/1.1"),
        format!("POST /v1/transfers/{ID}/cancel HTTP/1.1"),
        format!("DELETE /v1/transfers/{ID} HTTP/1.1"),
    ];
    for (request, wanted) in requests.iter().zip(wanted) {
        assert_eq!(request.lines().next(), Some(wanted.as_str()));
    }
    let body =
        r#"{"to":"backend","paths":["/a b"],"exclude":["*.o"],"gitignore":true,"keep":"copy"}"#;
    assert!(requests[0].ends_with(&format!("\r\n\r\n{body}")), "{}", requests[0]);
}

#[test]
fn a_transfer_is_watched_line_by_line_until_it_ends() {
    let lines = format!("{}\n{}\n", transfer("waiting"), transfer("done"));
    let server = Server::answering(&[&http("200 OK", &lines)]);

    let states = run(async {
        let mut lines = server.client().watch_transfer(ID.parse().unwrap()).await.unwrap();
        let mut states = Vec::new();
        while let Some(view) = lines.next().await.unwrap() {
            states.push(view.state);
        }
        states
    });

    assert_eq!(states, [TransferState::Waiting, TransferState::Done]);
    assert!(server.requests()[0].starts_with(&format!("GET /v1/transfers/{ID}/watch HTTP/1.1\r")));
}

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn view(revision: u64) -> String {
    let key = pilot_local_api::proto::identity::NodeId::from_bytes(KEY).unwrap();
    format!(
        r#"{{"id":"{ID}","role":"submitted","state":"queued","peer":{{"public_key":"{key}","fingerprint":"{}"}},"description":"d","attempt":1,"priority":0,"created_at":"2026-02-09T12:00:00.000Z","revision":{revision},"of_a_newer_daemon":true}}"#,
        key.fingerprint()
    )
}

fn transfer(state: &str) -> String {
    format!(
        r#"{{"id":"{ID}","direction":"sent","peer":"1:0001.0000.0002","state":"{state}","label":"","files":1,"folders":0,"links":0,"bytes":5,"bytes_done":0,"names":["a b"],"created_at":"2026-02-09T12:00:00.000Z"}}"#
    )
}

/// The base point of the curve: a key nobody has.
const KEY: [u8; 32] = {
    let mut key = [0x66; 32];
    key[0] = 0x58;
    key
};

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Takes one connection for each answer, writes the answer and closes.
struct Server {
    socket: PathBuf,
    _home: tempfile::TempDir,
    thread: JoinHandle<Vec<String>>,
}

impl Server {
    fn answering(answers: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
        let thread = std::thread::spawn(move || {
            answers.iter().map(|answer| serve(&listener, answer)).collect()
        });
        Self { socket, _home: home, thread }
    }

    fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

fn serve(listener: &UnixListener, answer: &str) -> String {
    exchange(&listener.accept().unwrap().0, answer)
}

fn exchange(mut stream: &UnixStream, answer: &str) -> String {
    let mut request = Vec::new();
    while !is_whole(&request) {
        let mut some = [0; 4096];
        let count = stream.read(&mut some).unwrap();
        assert!(count > 0, "the request was cut");
        request.extend_from_slice(&some[..count]);
    }
    // A client that has read enough may hang up first.
    drop(stream.write_all(answer.as_bytes()));
    String::from_utf8(request).unwrap()
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    body.len() == length
}
