//! The registry against a naive picture of it, through a database that is
//! closed and read back at any moment.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use pilot_identity::{
    Digest, Grant, NodeId, NodeKey, Outcome, Receipt, ReceiptTimes, Scopes, Timestamp,
};
use pilot_proto::registry::{
    Answer, GrantAck, GrantAcks, Grants, PoloIds, Push, PutGrant, PutReceipt, ReceiptPut, Receipts,
    RefusalCode, Register, Request, View,
};
use pilot_proto::{Address, BootId, Endpoints, NodeName, PeerRef, Tags};
use pilot_rendezvous::journal;
use pilot_rendezvous::registry::{Caller, ConnectionId, Moment, Output, Registry};
use proptest::prelude::*;
use uuid::Uuid;
use zeroize::Zeroizing;

const KEYS: usize = 4;
const NAMES: [&str; 2] = ["alpha", "beta"];

#[derive(Debug, Clone)]
enum Step {
    Register { who: usize, name: Option<usize>, public: bool },
    Leave(usize),
    Release(usize),
    Grant { from: usize, to: usize, serial: u64, revoke: bool },
    Acknowledge { who: usize, from: usize },
    Receipt { by: usize, submitter: usize, worker: usize, task: u8, ok: bool, forged: bool },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..KEYS;
    prop_oneof![
        4 => (who(), prop::option::of(0..NAMES.len()), any::<bool>())
            .prop_map(|(who, name, public)| Step::Register { who, name, public }),
        1 => who().prop_map(Step::Leave),
        1 => who().prop_map(Step::Release),
        6 => (who(), who(), 0_u64..6, prop::bool::weighted(0.2))
            .prop_map(|(from, to, serial, revoke)| Step::Grant { from, to, serial, revoke }),
        2 => (who(), who()).prop_map(|(who, from)| Step::Acknowledge { who, from }),
        6 => (who(), who(), who(), 0..40_u8, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
            |(by, submitter, worker, task, ok, forged)| {
                let by = [by, submitter, worker][usize::from(task) % 3];
                Step::Receipt { by, submitter, worker, task, ok, forged }
            }
        ),
        1 => Just(Step::Restart),
    ]
}

/// All are here, and three trust each other: else few receipts would count.
fn friends() -> Vec<Step> {
    let register = |who| Step::Register { who, name: None, public: false };
    let grant = |from, to| Step::Grant { from, to, serial: 1, revoke: false };
    let grants = [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)];
    (0..KEYS).map(register).chain(grants.map(|(from, to)| grant(from, to))).collect()
}

fn key(who: usize) -> NodeKey {
    NodeKey::from_seed(&Zeroizing::new([u8::try_from(who).unwrap() + 1; 32]))
}

fn id(who: usize) -> NodeId {
    key(who).id()
}

fn name(index: usize) -> NodeName {
    NAMES[index].parse().unwrap()
}

/// What one key has here.
#[derive(Debug, Clone, Default)]
struct Known {
    number: Option<u32>,
    name: Option<usize>,
    public: bool,
    connected: bool,
}

#[derive(Debug, Default)]
struct Model {
    nodes: [Known; KEYS],
    given: u32,
    /// Serial, whether it allows anything, whether it waits.
    grants: BTreeMap<(usize, usize), (u64, bool, bool)>,
    /// What tasks of a submitter for a worker are worth.
    receipts: BTreeMap<(usize, usize), BTreeMap<u8, f64>>,
}

impl Model {
    fn is_mutual(&self, one: usize, other: usize) -> bool {
        let is_live = |pair| self.grants.get(&pair).is_some_and(|(_, live, _)| *live);
        is_live((one, other)) && is_live((other, one))
    }

    fn polo(&self, asking: usize, worker: usize) -> f64 {
        let (mut circle, mut strangers) = (0.0, 0.0);
        for submitter in 0..KEYS {
            let receipts = self.receipts.get(&(submitter, worker));
            let sum: f64 = receipts.map_or(0.0, |receipts| receipts.values().sum());
            if submitter == asking || self.is_mutual(submitter, asking) {
                circle += sum.signum() * 100.0 * (1.0 - (-sum.abs() / 100.0).exp());
            } else if sum > 0.0 {
                strangers += sum;
            }
        }
        circle + 10.0 * (1.0 - (-strangers / 10.0).exp())
    }

    fn sees(&self, asking: usize, peer: usize) -> bool {
        asking == peer || self.nodes[peer].public || self.is_mutual(asking, peer)
    }
}

struct Real {
    registry: Registry,
    database: rusqlite::Connection,
    connections: u64,
    current: [ConnectionId; KEYS],
}

const AT: Moment = Moment { now: Timestamp::from_millis(1_000), room: true };

impl Real {
    fn new() -> Self {
        let database = rusqlite::Connection::open_in_memory().unwrap();
        database.execute_batch(&journal::SCHEMA.join(";")).unwrap();
        let registry = Registry::new(1, 100);
        Self { registry, database, connections: 0, current: [ConnectionId(0); KEYS] }
    }

    fn caller(&self, who: usize) -> Caller {
        let observed = SocketAddr::from(([192, 0, 2, 1], 1));
        Caller { id: id(who), connection: self.current[who], observed, over_udp: true }
    }

    fn ask(&mut self, who: usize, request: Request) -> Option<Answer> {
        let answer = self.registry.handle(&self.caller(who), request, AT);
        self.store();
        answer
    }

    fn store(&mut self) {
        let transaction = self.database.transaction().unwrap();
        while let Some(output) = self.registry.poll_output() {
            match output {
                Output::Persist(record) => journal::write(&transaction, &record).unwrap(),
                Output::Wake(_) | Output::Replaced(_) => {}
            }
        }
        transaction.commit().unwrap();
    }

    fn watch(&mut self, who: usize) -> Vec<Push> {
        assert_eq!(self.ask(who, Request::Watch), None);
        let caller = self.caller(who);
        std::iter::from_fn(|| self.registry.poll_push(&caller, AT.now)).collect()
    }
}

fn take(model: &mut Model, real: &mut Real, step: &Step) {
    match *step {
        Step::Register { who, name: wanted, public } => {
            real.connections += 1;
            real.current[who] = ConnectionId(real.connections);
            let taken = wanted.is_some_and(|wanted| {
                let mut others = model.nodes.iter().enumerate();
                others.any(|(other, node)| other != who && node.name == Some(wanted))
            });
            let node = &mut model.nodes[who];
            if node.number.is_none() {
                model.given += 1;
                node.number = Some(model.given);
            }
            node.name = if taken { node.name } else { wanted.or(node.name) };
            (node.public, node.connected) = (public, true);
            let register = Register {
                minor: 0,
                name: wanted.map(name),
                tags: Tags::default(),
                public,
                endpoints: Endpoints::default(),
                fixed: false,
                boot: BootId(real.connections),
            };
            let Some(Answer::Registered(done)) = real.ask(who, Request::Register(register)) else {
                panic!("not registered")
            };
            assert_eq!(Some(done.address.node()), node.number);
            assert_eq!((done.name, done.name_taken), (node.name.map(name), taken));
        }
        Step::Leave(who) => {
            real.registry.handle_disconnect(&real.caller(who), AT);
            real.store();
            model.nodes[who].connected = false;
        }
        Step::Release(who) => {
            let answer = real.ask(who, Request::Release);
            if model.nodes[who].connected {
                assert_eq!(answer, Some(Answer::Released));
                model.nodes[who] = Known::default();
            }
        }
        Step::Grant { from, to, serial, revoke } => {
            put_grant(model, real, (from, to), serial, revoke)
        }
        Step::Acknowledge { who, from } => {
            let held = model.grants.get_mut(&(from, who));
            let serial = held.as_ref().map_or(0, |held| held.0);
            let acks = GrantAcks::batches([GrantAck { from: id(from), serial }]).remove(0);
            real.ask(who, Request::AckGrants(acks));
            if let Some(held) = held
                && model.nodes[who].connected
            {
                held.2 = false;
            }
        }
        Step::Receipt { .. } => put_receipt(model, real, step),
        Step::Restart => {
            let mut registry = Registry::new(1, 100);
            journal::load(&real.database, &mut registry).unwrap();
            real.registry = registry;
            model.nodes.iter_mut().for_each(|node| node.connected = false);
        }
    }
}

fn put_grant(
    model: &mut Model,
    real: &mut Real,
    (from, to): (usize, usize),
    serial: u64,
    revoke: bool,
) {
    let grant = Grant {
        from: id(from),
        to: id(to),
        network: 1,
        scopes: if revoke { Scopes::NONE } else { Scopes::ALL },
        issued_at: AT.now,
        expires_at: None,
        serial,
    };
    let signed = grant.sign(&key(from));
    let held = model.grants.get(&(from, to)).map(|held| held.0);
    let expected = match held {
        _ if !model.nodes[from].connected => None,
        _ if from == to => Some(PutGrant::Invalid),
        _ if model.nodes[to].number.is_none() => Some(PutGrant::NoSuchNode),
        Some(held) if serial <= held => Some(PutGrant::Stale { serial: held }),
        Some(_) | None => Some(PutGrant::Stored),
    };
    if expected == Some(PutGrant::Stored) {
        model.grants.insert((from, to), (serial, !revoke, true));
    }
    let put = real.ask(from, Request::PutGrants(Grants::batches([signed]).remove(0)));
    match expected {
        Some(expected) => assert_eq!(put, Some(Answer::GrantsPut(vec![expected]))),
        None => assert!(matches!(put, Some(Answer::Refused(_))), "{put:?}"),
    }
}

fn put_receipt(model: &mut Model, real: &mut Real, step: &Step) {
    let &Step::Receipt { by, submitter, worker, task, ok, forged } = step else { return };
    let receipt = Receipt {
        task: Uuid::from_u128(task.into()),
        attempt: 1,
        submitter: id(submitter),
        worker: id(worker),
        outcome: if ok { Outcome::Succeeded } else { Outcome::Failed },
        digest: Digest::of(b""),
        times: ReceiptTimes { received: AT.now, accepted: None, finished: AT.now },
    };
    let signed = receipt.sign(&key(worker));
    let receipt = signed.countersign(&key(if forged { (submitter + 1) % KEYS } else { submitter }));
    let counted = model.receipts.get(&(submitter, worker));
    let expected = match () {
        () if !model.nodes[by].connected => None,
        () if by != submitter && by != worker => Some(ReceiptPut::NotYours),
        () if submitter == worker => Some(ReceiptPut::Invalid),
        () if counted.is_some_and(|held| held.contains_key(&task)) => Some(ReceiptPut::Known),
        () if !model.is_mutual(submitter, worker) => Some(ReceiptPut::NotMutual),
        () if forged => Some(ReceiptPut::Invalid),
        () => Some(ReceiptPut::Counted),
    };
    if expected == Some(ReceiptPut::Counted) {
        let worth = if ok { 1.0 } else { -1.0 };
        model.receipts.entry((submitter, worker)).or_default().insert(task, worth);
    }
    let batch = Receipts::first_of([PutReceipt { receipt, kind: 1 }]);
    let put = real.ask(by, Request::PutReceipts(batch));
    match expected {
        Some(expected) => assert_eq!(put, Some(Answer::ReceiptsPut(vec![expected]))),
        None => assert!(matches!(put, Some(Answer::Refused(_))), "{put:?}"),
    }
}

/// Everything that anybody could ask is what the model says.
fn compare(model: &Model, real: &mut Real) {
    for asking in (0..KEYS).filter(|who| model.nodes[*who].connected) {
        for peer in 0..KEYS {
            compare_pair(model, real, asking, peer);
        }
        let mut pushes = real.watch(asking);
        assert_eq!(pushes.pop(), Some(Push::CaughtUp));
        let mut waiting = Vec::new();
        let mut present = Vec::new();
        for push in pushes {
            match push {
                Push::Grant { grant, .. } => {
                    let grant = grant.verify().unwrap();
                    waiting.push((grant.from, grant.serial));
                }
                Push::Peer(record) => present.push((record.id, record.is_online())),
                Push::Hidden(_) | Push::CaughtUp => panic!("{push:?} in a fresh picture"),
            }
        }
        let registered = |who: &usize| model.nodes[*who].number.is_some();
        let mut expected: Vec<_> = (0..KEYS)
            .filter(registered)
            .filter_map(|from| Some((from, model.grants.get(&(from, asking))?)))
            .filter(|(_, held)| held.2)
            .map(|(from, held)| (id(from), held.0))
            .collect();
        expected.sort();
        assert_eq!(waiting, expected);
        let mut expected: Vec<_> = (0..KEYS)
            .filter(registered)
            .filter(|peer| model.is_mutual(asking, *peer))
            .map(|peer| (id(peer), model.nodes[peer].connected))
            .collect();
        expected.sort();
        assert_eq!(present, expected);
    }
}

fn compare_pair(model: &Model, real: &mut Real, asking: usize, peer: usize) {
    let node = &model.nodes[peer];
    let seen = node.number.is_some() && model.sees(asking, peer);
    let polos = real.ask(asking, Request::Polo(PoloIds::batches(&[id(peer)]).remove(0)));
    let Some(Answer::Polos(polos)) = polos else { panic!("{polos:?}") };
    let polos: Vec<f64> = polos.iter().map(|polo| polo.polo.into()).collect();
    assert_eq!(polos, if seen { vec![model.polo(asking, peer).round()] } else { vec![] });
    let not_found = |answer: Option<Answer>| matches!(answer, Some(Answer::Refused(refusal)) if refusal.code == RefusalCode::NotFound);
    let by_key = real.ask(asking, Request::Resolve(PeerRef::Key(id(peer))));
    let Some(number) = node.number.filter(|_| model.sees(asking, peer)) else {
        assert!(not_found(by_key));
        if let Some(number) = node.number {
            let address = Address::new(1, number);
            let seen = real.ask(asking, Request::Resolve(PeerRef::Address(address)));
            assert_eq!(seen, Some(Answer::Record(View::Private { address })));
        }
        return;
    };
    let address = Address::new(1, number);
    let Some(Answer::Record(View::Known(record))) = by_key else { panic!("{by_key:?}") };
    assert_eq!((record.address, record.id, record.public), (address, id(peer), node.public));
    assert_eq!(record.name, node.name.map(name));
    assert_eq!(record.is_online(), node.connected);
    assert_eq!(real.ask(asking, Request::KeyOf(address)), Some(Answer::Key(id(peer))));
    if let Some(index) = node.name {
        let by_name = real.ask(asking, Request::Resolve(PeerRef::Name(name(index))));
        assert_eq!(by_name, Some(Answer::Record(View::Known(record))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_registry_is_what_the_model_says(
        befriended in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (mut model, mut real) = (Model::default(), Real::new());
        let begin = if befriended { friends() } else { Vec::new() };
        for step in begin.iter().chain(&steps) {
            take(&mut model, &mut real, step);
            compare(&model, &mut real);
        }
    }
}
