//! The program itself: flags, signals, kills and a full disk.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use pilot_identity::{NodeId, Scopes};
use pilot_proto::registry::{Answer, Grants, PutGrant, RefusalCode, Register, Registered, Request};
use pilot_proto::{Address, PeerRef};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::{JoinSet, spawn_blocking};

use crate::client::{Node, grant, key, named, private, within};

/// The program. Dropped, it is killed.
pub(crate) struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) addr: SocketAddr,
    pub(crate) id: NodeId,
    pub(crate) beacon: SocketAddr,
}

pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilot-rendezvous"));
    command.args(["--registry-listen", "127.0.0.1:0", "--state-dir"]).arg(folder);
    command
}

impl Program {
    async fn start(folder: &Path) -> Self {
        Self::run(command(folder)).await
    }

    pub(crate) async fn run(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let reading = spawn_blocking(move || {
            let (mut line, mut beacon) = (String::new(), String::new());
            stdout.read_line(&mut line).unwrap();
            stdout.read_line(&mut beacon).unwrap();
            (line, beacon, stdout)
        });
        let (line, beacon, stdout) = within(reading).await.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["listening", "on", addr, "key", id, "fingerprint", fingerprint] = words[..] else {
            panic!("not ready: {line:?}")
        };
        let id: NodeId = id.parse().unwrap();
        assert_eq!(id.fingerprint().to_string(), fingerprint);
        let beacon = beacon.strip_prefix("beacon on ").expect("no beacon").trim_end();
        Self { child, stdout, addr: addr.parse().unwrap(), id, beacon: beacon.parse().unwrap() }
    }

    async fn connect(&self, seed: u8) -> Node {
        Node::connect(seed, self.addr, self.id).await
    }

    async fn join(&self, seed: u8) -> (Node, Registered) {
        let node = self.connect(seed).await;
        let registered = node.register(private()).await;
        (node, registered)
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends `signal`; gives the exit code and what else came on stdout.
    async fn signal(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let ending = spawn_blocking(move || {
            let mut rest = String::new();
            self.stdout.read_to_string(&mut rest).unwrap();
            (self.child.wait().unwrap().code(), rest)
        });
        within(ending).await.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn fails(mut command: Command) -> Output {
    within(spawn_blocking(move || command.output())).await.unwrap().unwrap()
}

#[tokio::test]
async fn signals_end_it_with_a_goodbye_and_success() {
    let folder = tempfile::tempdir().unwrap();
    let mut ids = BTreeSet::new();
    for signal in [Signal::TERM, Signal::INT] {
        let program = Program::start(folder.path()).await;
        ids.insert(program.id);
        let (node, registered) = program.join(1).await;
        assert_eq!(registered.address, Address::new(1, 1));

        assert_eq!(program.signal(signal).await, (Some(0), String::new()));
        assert_eq!(node.closed().await, pilot_proto::close::GOODBYE);
    }
    assert_eq!(ids.len(), 1, "the key stays");
}

#[tokio::test]
async fn a_kill_in_a_storm_of_registrations_loses_none_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path()).await;
    let (addr, id) = (program.addr, program.id);
    let mut storm = JoinSet::new();
    for seed in 1..=100 {
        storm.spawn(async move {
            let node = Node::connect(seed, addr, id).await;
            let answer = node.try_ask(&Request::Register(named(&format!("n{seed}")))).await;
            (seed, answer)
        });
    }
    let mut acknowledged = Vec::new();
    let note = |acknowledged: &mut Vec<(u8, Registered)>, ended: (u8, Result<Answer, _>)| {
        if let (seed, Ok(Answer::Registered(registered))) = ended {
            acknowledged.push((seed, registered));
        }
    };
    while acknowledged.len() < 30 {
        note(&mut acknowledged, within(storm.join_next()).await.unwrap().unwrap());
    }
    program.kill();
    while let Some(ended) = storm.try_join_next() {
        note(&mut acknowledged, ended.unwrap());
    }
    storm.shutdown().await;

    let program = Program::start(folder.path()).await;
    let mut numbers = BTreeSet::new();
    for (seed, before) in &acknowledged {
        let (_, after) = program.join(*seed).await;
        assert_eq!((after.address, &after.name), (before.address, &before.name));
        numbers.insert(after.address);
    }
    let (_, new) = program.join(101).await;
    numbers.insert(new.address);
    assert_eq!(numbers.len(), acknowledged.len() + 1);
}

#[tokio::test]
async fn a_flag_goes_before_a_variable_and_a_variable_before_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rendezvous.toml");
    fs::write(&file, "network = 5\n").unwrap();
    let cases: [(&[&str], Option<&str>, u16); 4] = [
        (&[], None, 5),
        (&[], Some("6"), 6),
        (&["--network", "7"], Some("6"), 7),
        (&["-network", "8"], Some("6"), 8),
    ];
    for (flags, variable, network) in cases {
        let mut command = command(&folder.path().join(network.to_string()));
        command.arg("-config").arg(&file).args(flags);
        command.envs(variable.map(|value| ("PILOT_RENDEZVOUS_NETWORK", value)));
        let program = Program::run(command).await;

        let (_, registered) = program.join(1).await;

        assert_eq!(registered.address.network(), network);
    }
}

#[tokio::test]
async fn what_it_cannot_do_it_says_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let says = |output: &Output, words: &str| {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains(words), "{words:?} is not in {stderr:?}");
        assert!(output.stdout.is_empty());
        output.status.code()
    };
    let running = Program::start(folder.path()).await;
    let second = fails(command(folder.path())).await;
    assert_eq!(says(&second, "already_running: another process runs on"), Some(8));
    running.kill();

    let key = folder.path().join("node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let open_key = fails(command(folder.path())).await;
    assert_eq!(says(&open_key, "others may read the key file"), Some(1));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let mut other_network = command(folder.path());
    other_network.args(["--network", "2"]);
    assert_eq!(says(&fails(other_network).await, "belongs to network 1, not 2"), Some(1));

    let config = folder.path().join("bad.toml");
    fs::write(&config, "netwrok = 1").unwrap();
    let mut bad_config = command(folder.path());
    bad_config.arg("--config").arg(&config);
    assert_eq!(says(&fails(bad_config).await, "netwrok"), Some(2));

    let mut bad_flag = command(folder.path());
    bad_flag.arg("--no-such-flag");
    assert_eq!(says(&fails(bad_flag).await, "--no-such-flag"), Some(2));
}

/// Set in a copy of this program that a test runs on a small disk; names its folder.
const FOLDER: &str = "PILOT_RENDEZVOUS_TEST_FOLDER";

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test that cannot run here must say so")]
async fn a_full_disk_refuses_what_is_new_and_recovers_by_itself() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return fill_the_disk(Path::new(&folder)).await;
    }
    if !Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|done| done.success()) {
        eprintln!("SKIPPED: no user and mount namespaces here to mount a small disk in");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut small_disk = Command::new("unshare");
    small_disk
        .args(["-rm", "sh", "-ec", "mount -t tmpfs -o size=48m none \"$1\"; shift; exec \"$@\""])
        .arg("-")
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "program::a_full_disk_refuses_what_is_new_and_recovers_by_itself"])
        .args(["--nocapture"])
        .env(FOLDER, folder.path());
    let done = fails(small_disk).await;
    let shown = String::from_utf8_lossy(&done.stdout);
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && shown.contains("1 passed"), "{shown}\n{stderr}");
}

async fn fill_the_disk(disk: &Path) {
    let ballast = disk.join("ballast");
    let program = Program::start(&disk.join("state")).await;
    let (one, _) = program.join(1).await;
    let (two, _) = program.join(2).await;
    assert_eq!(one.put(grant(1, 2, Scopes::ALL, 1)).await, PutGrant::Stored);
    let new = program.connect(3).await;

    // Into the reserve: what is known goes on, what is new is refused.
    fs::write(&ballast, vec![1; 24 << 20]).unwrap();
    within(async { while one.put_code(2, 1).await != Some(RefusalCode::DiskFull) {} }).await;
    let refused = new.refusal(&Request::Register(private())).await;
    assert_eq!(refused.code, RefusalCode::DiskFull);
    two.acknowledge(1, 1).await;
    assert_eq!(one.put(grant(1, 2, Scopes::NONE, 2)).await, PutGrant::Stored);
    let public = Register { public: true, ..named("two") };
    assert_eq!(two.register(public.clone()).await.name, public.name);

    let mut watch = one.watch().await;
    assert_eq!(watch.until_caught_up().await, []);

    // Down to the last byte: what cannot be stored is refused and not believed.
    let mut ballast_file = fs::OpenOptions::new().append(true).open(&ballast).unwrap();
    while ballast_file.write_all(&[1; 4096]).is_ok() {}
    let renamed =
        two.refusal(&Request::Register(Register { public: true, ..named("three") })).await;
    assert_eq!(renamed.code, RefusalCode::DiskFull);
    assert_eq!(watch.until_caught_up().await, [], "who watches gets the full picture again");
    let seen = one.ask(&Request::Resolve(PeerRef::Key(key(2).id()))).await;
    let Answer::Record(pilot_proto::registry::View::Known(record)) = seen else {
        panic!("{seen:?}")
    };
    assert_eq!(record.name, public.name);
    assert!(record.is_online());

    drop(ballast_file);
    fs::remove_file(&ballast).unwrap();
    within(async { while one.put_code(2, 3).await == Some(RefusalCode::DiskFull) {} }).await;
    assert_eq!(new.register(named("three")).await.address.node(), 3);
    two.register(Register { public: true, ..named("four") }).await;
    program.kill();
    let program = Program::start(&disk.join("state")).await;
    let (_, back) = program.join(2).await;
    assert_eq!(back.name, named("four").name);
}

impl Node {
    /// Why a grant of node 1 to `to` is refused as a whole, if it is.
    async fn put_code(&self, to: u8, serial: u64) -> Option<RefusalCode> {
        let grants = Grants::batches([grant(1, to, Scopes::ALL, serial)]).remove(0);
        match self.ask(&Request::PutGrants(grants)).await {
            Answer::Refused(refusal) => Some(refusal.code),
            _ => None,
        }
    }
}
