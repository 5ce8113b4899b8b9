//! The daemon's words on stdout are for whoever started it, and it does not live by them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);

/// Ends the daemon with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The answer to `whoami`, once the daemon serves.
fn whoami(daemon: &mut Daemon, socket: &Path) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = daemon.0.try_wait().unwrap() {
            panic!("the daemon ended: {status}");
        }
        if let Ok(mut stream) = UnixStream::connect(socket) {
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let request = "GET /v1/whoami HTTP/1.1\r\nHost: pilot\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            return answer;
        }
        assert!(Instant::now() < deadline, "the daemon does not serve");
    }
}

#[test]
fn a_daemon_whose_stdout_is_closed_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let started = Command::new(env!("CARGO_BIN_EXE_pilot-daemon"))
        .arg("--home")
        .arg(home.path().join("home"))
        .args(["--listen", "127.0.0.1:0"])
        .env_clear()
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn();
    let mut daemon = Daemon(started.unwrap());

    let answer = whoami(&mut daemon, &home.path().join("home/pilot.sock"));

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // By now it has said its first line to nobody.
    assert!(whoami(&mut daemon, &home.path().join("home/pilot.sock")).contains("200"));
}
