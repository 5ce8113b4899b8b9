//! One message of every kind.

use bytes::Bytes;
use pilot_identity::{
    Digest, Grant, NodeId, NodeKey, Outcome, PairKey, Pass, Receipt, ReceiptTimes, Scopes,
    SignedGrant, SignedReceipt, SignedTicket, Ticket, Timestamp,
};
use pilot_proto::beacon::{self, Alive, Bind, BindRefusal, RelayId, Services, Told};
use pilot_proto::control::{ControlAnswer, ControlRequest, Hello};
use pilot_proto::probe::{
    BeaconTime, BeaconTimes, Behaviour, Call, Candidates, Method, Nat, Probe, Transaction,
};
use pilot_proto::registry::{
    Answer, Beacon, GrantAck, GrantAcks, Grants, NodeRecord, Push, PutGrant, Refusal, RefusalCode,
    Register, Registered, Request, View,
};
use pilot_proto::tasks::{
    Attached, Cancel, Fetch, InlineFile, InputRef, Load, Logs, Offer, Passed, ResultBody,
    ResultExtras, TaskAnswer, TaskBody, TaskExtras, TaskRefusal, TaskRequest, TaskResult, Update,
    WorkState,
};
use pilot_proto::text::Text;
use pilot_proto::trust::{TrustAnswer, TrustOffer};
use pilot_proto::{Address, BootId, Endpoints, NodeName, PeerRef, Tags, TaskId, TransferId};
use zeroize::Zeroizing;

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&Zeroizing::new([seed; 32]))
}

fn node(seed: u8) -> NodeId {
    key(seed).id()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn address() -> Address {
    Address::new(1, 2)
}

fn name() -> NodeName {
    "backend".parse().unwrap()
}

fn tags() -> Tags {
    Tags::new(["gpu=a100".parse().unwrap(), "os=linux".parse().unwrap()]).unwrap()
}

fn endpoints() -> Endpoints {
    Endpoints::new(["127.0.0.1:4000".parse().unwrap(), "[::1]:4000".parse().unwrap()])
}

fn grant() -> SignedGrant {
    Grant {
        from: node(1),
        to: node(2),
        network: 1,
        scopes: Scopes::ALL,
        issued_at: at(1_000),
        expires_at: Some(at(2_000)),
        serial: 7,
    }
    .sign(&key(1))
}

fn receipt() -> SignedReceipt {
    Receipt {
        task: task_id().uuid(),
        attempt: 1,
        submitter: node(1),
        worker: node(2),
        outcome: Outcome::Succeeded,
        digest: Digest::of(b"result"),
        times: ReceiptTimes::default(),
    }
    .sign(&key(2))
}

fn task_id() -> TaskId {
    TaskId::from_bytes([0x11; 16])
}

fn record() -> NodeRecord {
    NodeRecord {
        address: address(),
        id: node(2),
        name: Some(name()),
        tags: tags(),
        public: true,
        boot: Some(BootId(9)),
        endpoints: endpoints(),
        last_seen: at(1_000),
    }
}

const fn attached() -> Attached {
    Attached {
        transfer: TransferId::from_bytes([5; 16]),
        manifest_hash: [6; 32],
        files: 300,
        bytes: 1 << 40,
    }
}

fn files() -> Vec<InlineFile> {
    vec![InlineFile { name: "a.txt".parse().unwrap(), content: Bytes::from_static(b"one") }]
}

pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    let register = Register {
        minor: 0,
        name: Some(name()),
        tags: tags(),
        public: false,
        endpoints: endpoints(),
        fixed: true,
        boot: BootId(9),
    };
    let ack = GrantAck { from: node(1), serial: 7 };
    let tag = Some("gpu=a100".parse().unwrap());
    vec![
        ("register", Request::Register(register)),
        ("resolve address", Request::Resolve(PeerRef::Address(address()))),
        ("resolve name", Request::Resolve(PeerRef::Name(name()))),
        ("resolve key", Request::Resolve(PeerRef::Key(node(2)))),
        ("key of", Request::KeyOf(address())),
        ("roster", Request::Roster { after: Some(address()), tag }),
        ("put grants", Request::PutGrants(Grants::batches([grant()]).remove(0))),
        ("ack grants", Request::AckGrants(GrantAcks::batches([ack]).remove(0))),
        ("watch", Request::Watch),
        ("release", Request::Release),
        ("beacons", Request::Beacons),
    ]
}

pub(crate) fn answers() -> Vec<(&'static str, Answer)> {
    let registered = Registered {
        address: address(),
        observed: "192.0.2.1:4000".parse().unwrap(),
        name: Some(name()),
        name_taken: false,
        minor: 0,
        now: at(1_000),
    };
    let puts = vec![
        PutGrant::Stored,
        PutGrant::Stale { serial: 8 },
        PutGrant::Invalid,
        PutGrant::NoSuchNode,
        PutGrant::MailboxFull,
    ];
    let mut answers = vec![
        ("registered", Answer::Registered(registered)),
        ("private record", Answer::Record(View::Private { address: address() })),
        ("known record", Answer::Record(View::Known(record()))),
        ("key", Answer::Key(node(2))),
        ("roster", Answer::Roster { records: vec![record()], more: true }),
        ("grants put", Answer::GrantsPut(puts)),
        ("grants acked", Answer::GrantsAcked),
        ("released", Answer::Released),
    ];
    let refusals = [
        ("not found", RefusalCode::NotFound),
        ("not registered", RefusalCode::NotRegistered),
        ("rate limited", RefusalCode::RateLimited { retry_after_ms: 500 }),
        ("invalid", RefusalCode::Invalid),
        ("mailbox full", RefusalCode::MailboxFull),
        ("disk full", RefusalCode::DiskFull),
        ("network full", RefusalCode::NetworkFull),
        ("internal", RefusalCode::Internal),
    ];
    for (name, code) in refusals {
        let message = Text::clipped("why");
        answers.push((name, Answer::Refused(Refusal { code, message })));
    }
    let here = Beacon {
        host: Text::clipped(""),
        port: 9001,
        key: node(3),
        services: Services::STUN.with(Services::PUNCH).with(Services::RELAY),
    };
    let other = Beacon {
        host: Text::clipped("b.example"),
        key: node(4),
        services: Services::PUNCH,
        ..here.clone()
    };
    answers.push(("beacons", Answer::Beacons { beacons: vec![here, other], ticket: ticket() }));
    answers
}

fn ticket() -> SignedTicket {
    Ticket { node: node(1), expires: at(2_000) }.sign(&key(3))
}

/// What a node and a beacon say to each other, before it is sealed.
pub(crate) fn binds() -> Vec<(&'static str, Bind)> {
    vec![
        ("with a ticket", Bind { seq: 7, ticket: Some(ticket()) }),
        ("without one", Bind { seq: u64::MAX, ticket: None }),
    ]
}

pub(crate) fn alives() -> Vec<(&'static str, Alive)> {
    vec![("alive", Alive { seq: 300 })]
}

pub(crate) fn tolds() -> Vec<(&'static str, Told)> {
    let v4 = "192.0.2.1:4000".parse().unwrap();
    let v6 = "[2001:db8::1]:9001".parse().unwrap();
    let refused = |code| Told::Refused { seq: 7, code };
    vec![
        (
            "bound",
            Told::Bound { seq: 7, observed: v4, stun: vec![v4, v6], services: Services::ALL },
        ),
        ("alive", Told::Alive { seq: 7, observed: v6 }),
        ("absent", Told::Absent { id: RelayId::of(&node(2)) }),
        ("no ticket", refused(BindRefusal::NoTicket)),
        ("bad ticket", refused(BindRefusal::BadTicket)),
        ("expired", refused(BindRefusal::Expired)),
        ("full", refused(BindRefusal::Full)),
        ("stale", refused(BindRefusal::Stale)),
    ]
}

/// The two ends of node 1 and beacon 3.
pub(crate) fn pair() -> (PairKey, PairKey) {
    let of = |own, peer| PairKey::new(&key(own), &node(peer), beacon::CONTEXT).unwrap();
    (of(1, 3), of(3, 1))
}

pub(crate) const NONCE: [u8; 12] = [0x0c; 12];

const COOKIE: [u8; 16] = [0x0f; 16];

/// Whole packets of node 1 to beacon 3.
pub(crate) fn packets_of_a_node() -> Vec<(&'static str, Vec<u8>)> {
    let (key, _) = pair();
    let bind = |bind| beacon::bind(&node(1), &COOKIE, &key, NONCE, &bind);
    let [(_, with), (_, without)] = <[_; 2]>::try_from(binds()).unwrap();
    let alive = beacon::alive(RelayId::of(&node(1)), &key, NONCE, &Alive { seq: 300 });
    vec![
        ("hello", beacon::hello(&node(1)).to_vec()),
        ("bind with a ticket", bind(with)),
        ("bind without one", bind(without)),
        ("alive", alive),
    ]
}

/// Whole packets of beacon 3 to node 1.
pub(crate) fn packets_of_a_beacon() -> Vec<(&'static str, Vec<u8>)> {
    let (_, key) = pair();
    let mut packets = vec![
        ("challenge", beacon::challenge(&node(3), &COOKIE).to_vec()),
        ("unknown", beacon::UNKNOWN.to_vec()),
    ];
    packets
        .extend(tolds().into_iter().map(|(name, told)| (name, beacon::told(&key, NONCE, &told))));
    packets
}

pub(crate) fn pushes() -> Vec<(&'static str, Push)> {
    vec![
        ("grant", Push::Grant { grant: grant(), address: address(), name: None }),
        ("peer", Push::Peer(record())),
        ("hidden", Push::Hidden(node(2))),
        ("caught up", Push::CaughtUp),
    ]
}

pub(crate) fn control_requests() -> Vec<(&'static str, ControlRequest)> {
    let hello = Hello { minor: 0, boot: BootId(9), capabilities: 1 };
    vec![("hello", ControlRequest::Hello(hello)), ("grant", ControlRequest::Grant(grant()))]
}

pub(crate) fn control_answers() -> Vec<(&'static str, ControlAnswer)> {
    let hello = Hello { minor: 0, boot: BootId(9), capabilities: 1 };
    vec![
        ("hello", ControlAnswer::Hello(hello)),
        ("grant stored", ControlAnswer::GrantStored),
        ("grant refused", ControlAnswer::GrantRefused),
    ]
}

pub(crate) fn trust_offers() -> Vec<(&'static str, TrustOffer)> {
    let offer = TrustOffer { grant: grant(), address: Some(address()), name: Some(name()) };
    vec![("offer", offer)]
}

pub(crate) fn trust_answers() -> Vec<(&'static str, TrustAnswer)> {
    vec![
        ("stored", TrustAnswer::Stored { yours: Some(grant()) }),
        ("invalid", TrustAnswer::Invalid),
        ("stale", TrustAnswer::Stale { serial: 8, yours: None }),
        ("full", TrustAnswer::Full),
    ]
}

pub(crate) fn task_requests() -> Vec<(&'static str, TaskRequest)> {
    let offer = Offer {
        id: task_id(),
        attempt: 1,
        priority: -3,
        deadline_ms: Some(60_000),
        queue_timeout_ms: None,
        run_timeout_ms: Some(1),
        body: Bytes::from_static(b"body"),
    };
    let cancel =
        Cancel { id: task_id(), attempt: 1, grace_ms: 30_000, reason: Text::clipped("enough") };
    let result = TaskResult {
        id: task_id(),
        attempt: 1,
        outcome: Outcome::Succeeded,
        body: Bytes::from_static(b"result"),
        receipt: receipt(),
    };
    let mut requests = vec![
        ("offer", TaskRequest::Offer(offer)),
        ("cancel", TaskRequest::Cancel(cancel)),
        ("result", TaskRequest::Result(result)),
    ];
    let states = [
        ("queued", WorkState::Queued),
        ("accepted", WorkState::Accepted),
        ("running", WorkState::Running),
    ];
    for (name, state) in states {
        let update = Update {
            id: task_id(),
            attempt: 1,
            revision: 3,
            state,
            percent: Some(40),
            note: Text::clipped("half"),
            accepted_ms_ago: Some(5),
        };
        requests.push((name, TaskRequest::Update(update)));
    }
    let pass = Pass {
        task: task_id().uuid(),
        attempt: 1,
        submitter: node(1),
        worker: node(2),
        to: node(3),
        expires: at(7),
    };
    let bare = Fetch { task: task_id(), attempt: 1, pass: None, for_task: None };
    let for_task = Some(TaskId::from_bytes([5; 16]));
    let with_pass = Fetch { pass: Some(pass.sign(&key(1))), for_task, ..bare.clone() };
    requests.push(("ask", TaskRequest::Ask));
    requests.push(("fetch", TaskRequest::Fetch(bare)));
    requests.push(("fetch with a pass", TaskRequest::Fetch(with_pass)));
    let bytes = Bytes::from_static(b"line\n");
    let logs = Logs { id: task_id(), attempt: 1, offset: 300, bytes };
    requests.push(("logs", TaskRequest::Logs(logs)));
    requests
}

pub(crate) fn task_answers() -> Vec<(&'static str, TaskAnswer)> {
    let body = b"result".as_slice();
    let with_files = Passed { body: body.into(), attached: Some(attached()) };
    vec![
        ("offered", TaskAnswer::Offered),
        ("cancelling", TaskAnswer::Cancelling),
        ("updated", TaskAnswer::Updated),
        ("receipt", TaskAnswer::Receipt(Box::new(receipt().countersign(&key(1))))),
        ("not allowed", TaskAnswer::Refused(TaskRefusal::NotAllowed)),
        ("unknown", TaskAnswer::Refused(TaskRefusal::Unknown)),
        ("queue full", TaskAnswer::Refused(TaskRefusal::QueueFull)),
        ("disk full", TaskAnswer::Refused(TaskRefusal::DiskFull)),
        ("invalid", TaskAnswer::Refused(TaskRefusal::Invalid)),
        ("superseded", TaskAnswer::Refused(TaskRefusal::Superseded)),
        ("internal", TaskAnswer::Refused(TaskRefusal::Internal)),
        ("inputs", TaskAnswer::Refused(TaskRefusal::Inputs)),
        ("no inputs", TaskAnswer::Refused(TaskRefusal::NoInputs)),
        ("load", TaskAnswer::Load(Load { hands: 4, tasks: 300 })),
        ("passed", TaskAnswer::Passed(Box::new(Passed { body: body.into(), attached: None }))),
        ("passed with files", TaskAnswer::Passed(Box::new(with_files))),
        ("logged", TaskAnswer::Logged { end: 300 }),
    ]
}

pub(crate) fn task_bodies() -> Vec<(&'static str, TaskBody)> {
    let params = vec![("framework".to_owned(), "gin".to_owned()), ("k".to_owned(), String::new())];
    let body =
        TaskBody { description: "do it".to_owned(), params, files: files(), ..TaskBody::default() };
    let with_files = TaskBody { attached: Some(attached()), ..TaskBody::default() };
    vec![("task", body), ("with files", with_files)]
}

pub(crate) fn result_bodies() -> Vec<(&'static str, ResultBody)> {
    let data = Bytes::from_static(b"done");
    vec![
        ("empty", ResultBody::default()),
        (
            "full",
            ResultBody {
                data,
                is_json: true,
                reason: Text::clipped("why"),
                files: files(),
                attached: Some(attached()),
                ..ResultBody::default()
            },
        ),
    ]
}

pub(crate) fn task_bodies_with_extras() -> Vec<(&'static str, TaskBody)> {
    let bare = InputRef {
        task: task_id(),
        attempt: 1,
        worker: node(2),
        digest: [0xdd; 32],
        len: 300,
        pass: None,
    };
    let full = InputRef {
        task: TaskId::from_bytes([5; 16]),
        pass: Some(Bytes::from_static(b"pass")),
        ..bare.clone()
    };
    let inputs = TaskExtras { inputs: vec![bare, full], ..TaskExtras::default() };
    let exclusive = TaskExtras { exclusive: Some("gpu".to_owned()), ..TaskExtras::default() };
    let left = TaskExtras { leave_result: true, ..TaskExtras::default() };
    let body = |extras| TaskBody { description: "do it".to_owned(), extras, ..TaskBody::default() };
    vec![
        ("with inputs", body(inputs)),
        ("exclusive", body(exclusive)),
        ("whose result is left", body(left)),
    ]
}

pub(crate) fn result_bodies_with_extras() -> Vec<(&'static str, ResultBody)> {
    let body =
        |extras| ResultBody { reason: Text::clipped("why"), extras, ..ResultBody::default() };
    let none = ResultExtras::default();
    vec![
        ("not again", body(ResultExtras { no_retry: true, ..none })),
        ("lost", body(ResultExtras { lost: true, ..none })),
        ("left", body(ResultExtras { left: true, ..none })),
    ]
}

pub(crate) fn probes() -> Vec<(&'static str, Probe)> {
    let tx = Transaction([0xab; 12]);
    let observed = "198.51.100.2:40000".parse().unwrap();
    let nat = Nat {
        mapping: Behaviour::EndpointIndependent,
        filtering: Behaviour::AddressAndPortDependent,
    };
    let call = Call {
        seq: 300,
        answer: false,
        method: Method::Together,
        start_in_ms: 40,
        nat,
        mapped: Some(observed),
        candidates: Candidates::new([observed, "[2001:db8::1]:4000".parse().unwrap()]),
        beacons: BeaconTimes::new([BeaconTime { key_prefix: [7; 8], rtt_ms: 12 }]),
    };
    let bare = Call {
        answer: true,
        method: Method::Birthday,
        nat: Nat::BLOCKED,
        mapped: None,
        candidates: Candidates::default(),
        beacons: BeaconTimes::default(),
        ..call.clone()
    };
    let mut probes = vec![
        ("ping", Probe::Ping { tx }),
        ("pong", Probe::Pong { tx, observed }),
        ("call", Probe::Call(call.clone())),
        ("answer", Probe::Call(bare)),
    ];
    let methods = [
        ("caller first", Method::CallerFirst),
        ("answerer first", Method::AnswererFirst),
        ("birthday", Method::Birthday),
    ];
    for (name, method) in methods {
        probes.push((name, Probe::Call(Call { method, ..call.clone() })));
    }
    let behaviours = [
        ("unknown nat", Behaviour::Unknown),
        ("no nat", Behaviour::None),
        ("by address", Behaviour::AddressDependent),
        ("blocked", Behaviour::Blocked),
    ];
    for (name, mapping) in behaviours {
        let nat = Nat { mapping, filtering: mapping };
        probes.push((name, Probe::Call(Call { nat, ..call.clone() })));
    }
    probes
}
