//! What coturn's clients make of the beacon.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use tokio::task::spawn_blocking;

use crate::client::within;
use crate::program::{Program, command};

/// Says that a test cannot run here; where all must run it fails instead.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("PILOT_TESTS_MUST_RUN").is_none(), "cannot be skipped here: {why}");
    // Past the capture of the test's output, so that it is seen.
    drop(writeln!(io::stderr(), "SKIPPED: {why}"));
}

/// What a client of coturn says; nothing if it is not installed.
async fn says(program: &'static str, words: Vec<String>) -> Option<String> {
    let run = move || {
        Command::new(program).args(&words).stdin(Stdio::null()).output().map(|done| {
            let shown = [done.stdout, done.stderr].concat();
            String::from_utf8_lossy(&shown).into_owned()
        })
    };
    match within(spawn_blocking(run)).await.unwrap() {
        Ok(shown) => Some(shown),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            skip(&format!("{program} of coturn is not installed"));
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test]
async fn its_stun_client_learns_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::run(command(folder.path())).await;
    let port = program.beacon.port().to_string();

    let shown =
        says("turnutils_stunclient", words(&["-p", &port, "-L", "127.0.0.3", "127.0.0.1"])).await;

    let Some(shown) = shown else { return };
    assert!(shown.contains("UDP reflexive addr: 127.0.0.3:"), "{shown}");
}

#[tokio::test]
async fn its_nat_discovery_finds_that_there_is_no_nat() {
    let folder = tempfile::tempdir().unwrap();
    let mut full = command(folder.path());
    full.args(["--beacon-alternate", "127.0.0.2:0"]);
    let program = Program::run(full).await;
    let port = program.beacon.port().to_string();

    for padding in [&[][..], &["-P"]] {
        let wanted = ["-m", "-f", "-p", &port, "-L", "127.0.0.1", "127.0.0.1"];
        let wanted = [padding, &wanted].concat();
        let Some(shown) = says("turnutils_natdiscovery", words(&wanted)).await else { return };

        assert!(shown.contains("No ALG: Mapped == XOR-Mapped"), "{shown}");
        for found in
            ["No NAT! (Endpoint Independent Mapping)", "NAT with Endpoint Independent Filtering!"]
        {
            assert!(shown.contains(found), "{found:?} is not in {shown}");
        }
        for wrong in ["Not received", "No STUN response", "error", "ERROR"] {
            assert!(!shown.contains(wrong), "{wrong:?} is in {shown}");
        }
    }
}

#[tokio::test]
async fn its_lifetime_discovery_is_answered_at_the_other_port() {
    let folder = tempfile::tempdir().unwrap();
    let mut full = command(folder.path());
    full.args(["--beacon-alternate", "127.0.0.2:0"]);
    let program = Program::run(full).await;
    let port = program.beacon.port().to_string();

    let wanted = ["-t", "-T", "1", "-p", &port, "-L", "127.0.0.1", "127.0.0.1"];
    let Some(shown) = says("turnutils_natdiscovery", words(&wanted)).await else { return };

    assert!(shown.contains("RFC 5780 response 2"), "{shown}");
    assert!(!shown.contains("No STUN response"), "{shown}");
}
