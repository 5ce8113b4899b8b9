//! Beacons as programs: which there are, whom they serve, and what they are told.

use pilot_identity::SignedTicket;
use pilot_proto::beacon::{BindRefusal, Services, Told};
use pilot_proto::registry::{Answer, Beacon, Request};
use pilot_rendezvous::settings::Settings;
use pilot_rendezvous::{Server, StartError};

use crate::client::{Node, private};
use crate::program::{Program, command};
use crate::relayed::{Heard, Relayed, id, key};

impl Relayed {
    /// The node's connection to a rendezvous, registered.
    async fn register(seed: u16, program: &Program) -> Node {
        let node = Node::connect_as(key(seed), program.addr, program.id).await;
        node.register(private()).await;
        node
    }
}

async fn ask(node: &Node) -> (Vec<Beacon>, SignedTicket) {
    match node.ask(&Request::Beacons).await {
        Answer::Beacons { beacons, ticket } => (beacons, ticket),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn registered_nodes_meet_through_the_beacon_that_they_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::run(command(folder.path())).await;
    let mut nodes = Vec::new();
    for seed in [1, 2] {
        let registered = Relayed::register(seed, &program).await;
        let (beacons, ticket) = ask(&registered).await;
        let [own] = beacons.as_slice() else { panic!("{beacons:?}") };
        assert_eq!((own.host.as_str(), own.key, own.services), ("", program.id, Services::ALL));
        assert_eq!(own.port, program.beacon.port());
        let node = Relayed::new(seed, program.beacon, own.key);
        assert_eq!(node.bind(None).await, Err(BindRefusal::NoTicket));
        assert!(matches!(node.bind(Some(ticket)).await, Ok(Told::Bound { .. })));
        nodes.push(node);
    }

    nodes[0].send(&Relayed::relayed(id(2), b"hello")).await;

    let hello = Heard::Relayed { from: id(1), inner: b"hello".to_vec() };
    assert_eq!(nodes[1].next().await, hello);
}

#[tokio::test]
async fn a_beacon_alone_serves_the_nodes_of_a_rendezvous_elsewhere() {
    let (folder, alone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Its key is settled by its first start; it takes the tickets of nobody yet.
    let mut first = command(alone.path());
    first.args(["--no-registry", "--open"]);
    let further = Program::run(first).await;
    assert_eq!(further.addr, further.beacon, "nothing else listens");
    let further_id = further.id;
    drop(further);

    let mut command_with_beacon = command(folder.path());
    command_with_beacon.arg(format!("--beacon=127.0.0.9:4321#{further_id}"));
    let program = Program::run(command_with_beacon).await;
    let mut second = command(alone.path());
    second.args(["--no-registry", "--ticket-key", &program.id.to_string()]);
    second.args(["--beacon-services", "punch"]);
    let further = Program::run(second).await;
    assert_eq!(further.id, further_id);

    let registered = Relayed::register(1, &program).await;
    let (beacons, ticket) = ask(&registered).await;

    let told: Vec<_> =
        beacons.iter().map(|beacon| (beacon.host.as_str(), beacon.port, beacon.key)).collect();
    let expected = [("", program.beacon.port(), program.id), ("127.0.0.9", 4321, further_id)];
    assert_eq!(told, expected);
    let node = Relayed::new(1, further.beacon, further_id);
    assert_eq!(node.bind(None).await, Err(BindRefusal::NoTicket));
    let bound = node.bind(Some(ticket)).await;
    let Ok(Told::Bound { services, .. }) = bound else { panic!("{bound:?}") };
    assert_eq!(services, Services::PUNCH);
}

#[tokio::test]
async fn carriers_are_taken_at_the_ports_of_registry_and_beacon() {
    // Ports that are free for UDP may be taken for TCP: another try, then.
    let mut found = Vec::new();
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let any = ([127, 0, 0, 1], 0).into();
        let settings = Settings::new(any, folder.path().to_owned());
        let server = Server::start(&settings).await.unwrap();
        let own = [server.local_addr(), server.beacon().unwrap().local_addr()];
        found.push((own, server.carrier_addrs().to_vec()));
        if server.carrier_addrs() == own {
            return;
        }
    }
    panic!("{found:?}");
}

#[tokio::test]
async fn without_services_there_is_no_beacon() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(([127, 0, 0, 1], 0).into(), folder.path().to_owned());
    settings.beacon = None;
    let server = Server::start(&settings).await.unwrap();
    assert!(server.beacon().is_none());

    let other = tempfile::tempdir().unwrap();
    settings.state_dir = other.path().to_owned();
    settings.has_registry = false;
    let nothing = Server::start(&settings).await.unwrap_err();
    assert!(matches!(nothing, StartError::Nothing), "{nothing:?}");
}
