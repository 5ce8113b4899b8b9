//! A rendezvous in this process, asked over loopback.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use pilot_home::OpenHomeError;
use pilot_identity::{NodeId, Scopes};
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::registry::{Answer, Push, PutGrant, RefusalCode, Register, Request, View};
use pilot_proto::{Address, BootId, PeerRef, close, frame};
use pilot_rendezvous::settings::Settings;
use pilot_rendezvous::{LoadError, Server, StartError};
use pilot_transport::{ConnectError, FramedError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::{Node, Watch, grant, key, named, private, within};

/// A rendezvous that runs. Dropped, it ends as if it was killed.
struct Running {
    addr: SocketAddr,
    id: NodeId,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Running {
    async fn start(folder: &Path) -> Self {
        Self::start_with(&settings(folder)).await
    }

    async fn start_with(settings: &Settings) -> Self {
        let server = Server::start(settings).await.unwrap();
        let (addr, id) = (server.local_addr(), server.id());
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(server.run(stop.clone()));
        Self { addr, id, stop, task }
    }

    async fn connect(&self, seed: u8) -> Node {
        Node::connect(seed, self.addr, self.id).await
    }

    async fn join(&self, seed: u8) -> Node {
        let node = self.connect(seed).await;
        node.register(private()).await;
        node
    }

    /// Two nodes that trust each other and have acknowledged it, and watch.
    async fn trusted_pair(&self) -> ((Node, Watch), (Node, Watch)) {
        let (one, two) = (self.join(1).await, self.join(2).await);
        assert_eq!(one.put(grant(1, 2, Scopes::ALL, 1)).await, PutGrant::Stored);
        assert_eq!(two.put(grant(2, 1, Scopes::ALL, 1)).await, PutGrant::Stored);
        one.acknowledge(2, 1).await;
        two.acknowledge(1, 1).await;
        let (mut one_watch, mut two_watch) = (one.watch().await, two.watch().await);
        assert_eq!(one_watch.until_caught_up().await.len(), 1);
        assert_eq!(two_watch.until_caught_up().await.len(), 1);
        ((one, one_watch), (two, two_watch))
    }

    async fn stop(mut self) {
        self.stop.cancel();
        within(self.task.join_next()).await.unwrap().unwrap();
    }

    async fn kill(mut self) {
        self.task.shutdown().await;
    }
}

fn settings(folder: &Path) -> Settings {
    Settings::new(([127, 0, 0, 1], 0).into(), folder.to_owned())
}

fn online(push: &Push) -> Option<BootId> {
    let Push::Peer(record) = push else { panic!("{push:?}") };
    record.boot
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_and_numbers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path()).await;
    let one = server.connect(1).await;
    let first = one.register(named("one")).await;
    let second = server.join(2).await.register(private()).await;
    assert_eq!((first.address, first.observed), (Address::new(1, 1), one.local()));
    assert_eq!(one.put(grant(1, 2, Scopes::ALL, 7)).await, PutGrant::Stored);
    let id = server.id;
    server.kill().await;

    let server = Running::start(folder.path()).await;

    assert_eq!(server.id, id);
    let two = server.connect(2).await;
    assert_eq!(two.register(private()).await.address, second.address);
    assert_eq!(server.join(3).await.register(named("one")).await.name, None);
    let pushes = two.watch().await.until_caught_up().await;
    let [Push::Grant { grant, address, .. }] = pushes.as_slice() else { panic!("{pushes:?}") };
    assert_eq!((grant.verify().unwrap().serial, *address), (7, first.address));
    let one = server.connect(1).await;
    assert_eq!(one.register(private()).await.name, first.name);
    assert_eq!(
        one.put(crate::client::grant(1, 2, Scopes::ALL, 7)).await,
        PutGrant::Stale { serial: 7 }
    );
}

#[tokio::test]
async fn many_first_registrations_at_once_get_addresses_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path()).await;
    let (addr, id) = (server.addr, server.id);
    let mut nodes = JoinSet::new();
    for seed in 1..=60 {
        nodes.spawn(async move {
            let node = Node::connect(seed, addr, id).await;
            node.register(named(&format!("n{}", seed % 30))).await
        });
    }

    let registered = within(nodes.join_all()).await;

    let numbers: BTreeSet<u32> = registered.iter().map(|done| done.address.node()).collect();
    assert_eq!(numbers, (1..=60).collect());
    assert_eq!(registered.iter().filter(|done| done.name_taken).count(), 30);
}

#[tokio::test]
async fn a_private_node_gives_a_stranger_the_bytes_of_one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path()).await;
    let hidden = server.connect(1).await;
    let address = hidden.register(named("secret")).await.address;
    let stranger = server.join(2).await;
    let raw = async |peer: PeerRef| {
        let request = frame::encode(&Request::Resolve(peer), MAX_SMALL_FRAME).unwrap();
        stranger.ask_raw(&request).await
    };

    let unknown = raw(PeerRef::Name("nobody".parse().unwrap())).await;
    assert!(!unknown.is_empty());
    assert_eq!(raw(PeerRef::Name("secret".parse().unwrap())).await, unknown);
    assert_eq!(raw(PeerRef::Key(key(1).id())).await, unknown);
    assert_eq!(raw(PeerRef::Key(key(9).id())).await, unknown);

    let seen = stranger.ask(&Request::Resolve(PeerRef::Address(address))).await;
    assert_eq!(seen, Answer::Record(View::Private { address }));
    assert_eq!(stranger.ask(&Request::KeyOf(address)).await, Answer::Key(key(1).id()));
}

#[tokio::test]
async fn a_grant_is_pushed_at_once_and_trust_makes_both_visible() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path()).await;
    let (one, two) = (server.join(1).await, server.join(2).await);
    let (mut one_watch, mut two_watch) = (one.watch().await, two.watch().await);
    assert_eq!(one_watch.until_caught_up().await, []);
    assert_eq!(two_watch.until_caught_up().await, []);

    assert_eq!(one.put(grant(1, 2, Scopes::ALL, 1)).await, PutGrant::Stored);
    assert!(matches!(two_watch.next().await, Push::Grant { .. }));
    assert_eq!(two.put(grant(2, 1, Scopes::ALL, 1)).await, PutGrant::Stored);

    assert!(matches!(one_watch.next().await, Push::Grant { .. }));
    assert!(online(&one_watch.next().await).is_some());
    assert!(online(&two_watch.next().await).is_some());

    assert_eq!(two.put(grant(2, 1, Scopes::NONE, 2)).await, PutGrant::Stored);
    assert_eq!(two_watch.next().await, Push::Hidden(key(1).id()));
    assert!(matches!(one_watch.next().await, Push::Grant { .. }));
    assert_eq!(one_watch.next().await, Push::Hidden(key(2).id()));
    let hidden = one.refusal(&Request::Resolve(PeerRef::Key(key(2).id()))).await;
    assert_eq!(hidden.code, RefusalCode::NotFound);
}

#[tokio::test]
async fn forged_and_foreign_grants_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path()).await;
    let (one, _two) = (server.join(1).await, server.join(2).await);
    let three = server.join(3).await;

    assert_eq!(three.put(grant(1, 2, Scopes::ALL, 1)).await, PutGrant::Invalid);
    assert_eq!(one.put(grant(1, 9, Scopes::ALL, 1)).await, PutGrant::NoSuchNode);
    assert_eq!(one.put(grant(1, 2, Scopes::ALL, 2)).await, PutGrant::Stored);
    assert_eq!(one.put(grant(1, 2, Scopes::NONE, 1)).await, PutGrant::Stale { serial: 2 });
}

#[tokio::test]
async fn peers_are_seen_leaving_and_coming_back_as_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path()).await;
    let ((_one, mut watch), (two, _)) = server.trusted_pair().await;

    two.connection.close(close::GOODBYE, "");
    assert_eq!(online(&watch.next().await), None);

    let two = server.connect(2).await;
    two.register(Register { boot: BootId(2), ..private() }).await;
    assert_eq!(online(&watch.next().await), Some(BootId(2)));
}

#[tokio::test]
async fn a_second_connection_of_a_key_replaces_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path()).await;
    let ((_one, mut watch), (first, _)) = server.trusted_pair().await;

    let second = server.connect(2).await;
    second.register(Register { boot: BootId(2), ..private() }).await;

    assert_eq!(first.closed().await, close::REPLACED);
    assert_eq!(online(&watch.next().await), Some(BootId(2)));
    second.register(Register { boot: BootId(3), ..private() }).await;
    assert_eq!(online(&watch.next().await), Some(BootId(3)), "the end of the first is no absence");
}

#[tokio::test]
async fn a_second_watch_replaces_the_first_and_starts_afresh() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path()).await;
    let ((one, mut first), (two, _)) = server.trusted_pair().await;

    let mut second = one.watch().await;

    assert_eq!(second.until_caught_up().await.len(), 1);
    let ended = first.try_next().await.unwrap_err();
    assert_eq!(ended, FramedError::Stopped { code: close::REPLACED });
    two.register(Register { boot: BootId(2), ..private() }).await;
    assert_eq!(online(&second.next().await), Some(BootId(2)));
}

#[tokio::test]
async fn registration_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path()).await;
    let node = server.connect(1).await;

    let refused = node.refusal(&Request::KeyOf(Address::new(1, 1))).await;
    assert_eq!(refused.code, RefusalCode::NotRegistered);
    let ended = node.watch().await.try_next().await.unwrap_err();
    assert_eq!(ended, FramedError::Stopped { code: close::PROTOCOL });
    node.register(private()).await;
}

#[tokio::test]
async fn a_registered_node_gets_a_ticket_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path()).await;
    let node = server.connect(1).await;

    let refused = node.refusal(&Request::Beacons).await;
    assert_eq!(refused.code, RefusalCode::NotRegistered);
    let now = node.register(private()).await.now;
    let answer = node.ask(&Request::Beacons).await;

    let Answer::Beacons { ticket, .. } = answer else { panic!("{answer:?}") };
    let ticket = ticket.verify(&server.id).unwrap();
    assert_eq!(ticket.node, key(1).id());
    assert!(ticket.is_live(now.saturating_add(Duration::from_hours(23))));
    assert!(!ticket.is_live(now.saturating_add(Duration::from_hours(25))));
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.rates.limit_loopback = true;
    settings.rates.key_lookups_per_second = NonZeroU32::MIN;
    settings.rates.requests_per_second = NonZeroU32::new(3).unwrap();
    let server = Running::start_with(&settings).await;
    let node = server.join(1).await;
    let address = Address::new(1, 1);

    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(node.ask(&Request::KeyOf(address)).await);
    }
    assert!(keys[..4].iter().all(|answer| matches!(answer, Answer::Key(_))), "{keys:?}");
    let Answer::Refused(refusal) = &keys[4] else { panic!("{keys:?}") };
    let RefusalCode::RateLimited { retry_after_ms } = refusal.code else { panic!("{refusal:?}") };
    assert!((1..=1001).contains(&retry_after_ms), "{retry_after_ms}");

    let mut answered = 0;
    loop {
        let answer = node.ask(&Request::Resolve(PeerRef::Address(address))).await;
        if let Answer::Refused(refusal) = answer {
            assert!(matches!(refusal.code, RefusalCode::RateLimited { .. }), "{refusal:?}");
            break;
        }
        answered += 1;
    }
    assert!((1..100).contains(&answered), "{answered}");
    server.join(2).await;
}

#[tokio::test]
async fn too_many_connections_are_refused_by_source_and_in_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.max_connections = NonZeroU32::new(2).unwrap();
    let server = Running::start_with(&settings).await;
    let first = server.join(1).await;
    let _second = server.join(2).await;

    let third = Node::try_connect(3, server.addr, server.id).await.err().unwrap();
    assert!(matches!(third, ConnectError::Busy), "{third:?}");
    first.connection.close(close::GOODBYE, "");
    within(async { while Node::try_connect(3, server.addr, server.id).await.is_err() {} }).await;

    let other = tempfile::tempdir().unwrap();
    settings.state_dir = other.path().to_owned();
    settings.max_connections = NonZeroU32::new(1000).unwrap();
    settings.rates.limit_loopback = true;
    settings.rates.connections_per_second = NonZeroU32::MIN;
    let server = Running::start_with(&settings).await;
    let mut connected = Vec::new();
    let refused = loop {
        match Node::try_connect(1, server.addr, server.id).await {
            Ok(node) => connected.push(node),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, ConnectError::Busy), "{refused:?}");
    assert!((4..20).contains(&connected.len()), "{}", connected.len());
}

#[tokio::test]
async fn garbage_gets_an_answer_or_the_end_of_its_stream_and_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path()).await;
    let node = server.join(1).await;
    let decode = |bytes: Vec<u8>| frame::decode::<Answer>(&bytes[frame::PREFIX..]).unwrap();
    let invalid = |answer: &Answer| matches!(answer, Answer::Refused(refusal) if refusal.code == RefusalCode::Invalid);

    let mut left_over = frame::encode(&Request::Watch, MAX_SMALL_FRAME).unwrap();
    left_over.push(0);
    left_over[3] += 1;
    for garbage in [
        vec![0, 0, 0, 0],
        vec![0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff],
        vec![0xff; 4],
        vec![0, 4, 0, 0],
        left_over,
    ] {
        let answer = decode(node.ask_raw(&garbage).await);
        assert!(invalid(&answer), "{garbage:?}: {answer:?}");
    }
    for cut in [&[][..], &[0, 0], &[0, 0, 0, 9, 1]] {
        let mut stream = node.open().await;
        stream.send.write_all(cut).await.unwrap();
        stream.finish().unwrap();
        let ended = within(stream.expect::<Answer>(MAX_SMALL_FRAME)).await.unwrap_err();
        assert_eq!(ended, FramedError::Stopped { code: close::PROTOCOL }, "{cut:?}");
    }

    node.register(private()).await;
    server.join(2).await;
}

#[tokio::test]
async fn a_stop_says_goodbye_and_ends_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path()).await;
    let ((one, mut watch), _) = server.trusted_pair().await;

    server.stop().await;

    assert_eq!(one.closed().await, close::GOODBYE);
    assert!(watch.try_next().await.is_err());
    assert!(!folder.path().join("registry.db-wal").exists());
    Running::start(folder.path()).await.join(1).await;
}

#[tokio::test]
async fn a_folder_belongs_to_one_rendezvous_and_one_network() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path()).await;

    let second = Server::start(&settings(folder.path())).await.unwrap_err();
    assert!(matches!(second, StartError::Home(OpenHomeError::AlreadyRunning { .. })), "{second:?}");
    running.stop().await;
    let other = Settings { network: 2, ..settings(folder.path()) };
    let other = Server::start(&other).await.unwrap_err();
    assert!(
        matches!(other, StartError::Load(LoadError::OtherNetwork { found: 1, wanted: 2 })),
        "{other:?}"
    );
}
