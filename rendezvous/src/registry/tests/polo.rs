use pilot_identity::{Countersigned, Digest, Outcome, Receipt, ReceiptTimes};
use pilot_proto::registry::{PoloDetail, PoloIds, PutReceipt, ReceiptPut, Receipts};
use uuid::Uuid;

use super::*;

/// Node 2 did this for node 1, just now.
fn statement(task: u128) -> Receipt {
    let before = Timestamp::from_millis(START.as_millis() - 1000);
    Receipt {
        task: Uuid::from_u128(task),
        attempt: 1,
        submitter: key(1).id(),
        worker: key(2).id(),
        outcome: Outcome::Succeeded,
        digest: Digest::of(b"done"),
        times: ReceiptTimes { received: before, accepted: Some(before), finished: START },
    }
}

fn signed(statement: Receipt) -> Countersigned {
    statement.sign(&key(2)).countersign(&key(1))
}

fn put(world: &mut World, caller: &Caller, receipts: &[Countersigned]) -> Vec<ReceiptPut> {
    let put = |receipt: &Countersigned| PutReceipt { receipt: receipt.clone(), kind: 1 };
    let batch = Receipts::first_of(receipts.iter().map(put));
    let answer = world.ask(caller, Request::PutReceipts(batch));
    let Answer::ReceiptsPut(outcomes) = answer else { panic!("not put: {answer:?}") };
    outcomes
}

fn polos(world: &mut World, asking: &Caller, of: &[u8]) -> Vec<(NodeId, i32)> {
    let ids: Vec<NodeId> = of.iter().map(|seed| key(*seed).id()).collect();
    let answer = world.ask(asking, Request::Polo(PoloIds::batches(&ids).remove(0)));
    let Answer::Polos(polos) = answer else { panic!("no polos: {answer:?}") };
    polos.into_iter().map(|polo| (polo.id, polo.polo)).collect()
}

fn detail(world: &mut World, asking: &Caller, of: u8) -> PoloDetail {
    let answer = world.ask(asking, Request::PoloOf(key(of).id()));
    let Answer::PoloOf(detail) = answer else { panic!("no detail: {answer:?}") };
    detail
}

/// A third node that both of the pair trust mutually, and they it.
fn befriend(world: &mut World, seed: u8, with: &[(u8, &Caller)]) -> Caller {
    let (caller, _) = world.join(seed);
    for (other, their) in with {
        assert_eq!(world.grant(seed, &caller, *other, Scopes::ALL, 1), PutGrant::Stored);
        assert_eq!(world.grant(*other, their, seed, Scopes::ALL, 1), PutGrant::Stored);
    }
    caller
}

#[test]
fn both_sides_may_put_a_receipt_and_it_counts_once() {
    let mut world = World::new();
    let (submitter, worker) = world.trusted_pair();
    let receipts = [signed(statement(1)), signed(statement(2))];

    assert_eq!(put(&mut world, &worker, &receipts[..1]), [ReceiptPut::Counted]);
    assert_eq!(put(&mut world, &worker, &receipts[..1]), [ReceiptPut::Known], "replayed");
    let of_submitter = put(&mut world, &submitter, &receipts);
    assert_eq!(of_submitter, [ReceiptPut::Known, ReceiptPut::Counted]);
    assert_eq!(put(&mut world, &worker, &receipts), [ReceiptPut::Known; 2]);
    let third = [signed(statement(3)), signed(statement(3))];
    let twice = put(&mut world, &worker, &third);
    assert_eq!(twice, [ReceiptPut::Counted, ReceiptPut::Known], "in one batch");

    assert_eq!(polos(&mut world, &submitter, &[2]), [(key(2).id(), 3)]);
    let detail = detail(&mut world, &submitter, 2);
    assert_eq!((detail.polo, detail.parts[0].counts.succeeded), (3, 3));
}

#[test]
fn a_forged_receipt_changes_nothing() {
    let mut world = World::new();
    let (submitter, worker) = world.trusted_pair();
    let by_worker_alone = statement(1).sign(&key(2)).countersign(&key(2));
    let by_submitter_alone = statement(2).sign(&key(1)).countersign(&key(1));
    let honest = signed(statement(3));
    let mut bytes = postcard::to_allocvec(&honest).unwrap();
    // After the task with its length, the attempt and both keys.
    bytes[17 + 1 + 32 + 32] = 1;
    let altered: Countersigned = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(altered.assume_verified().outcome, Outcome::Failed);

    let forged = [by_worker_alone, by_submitter_alone, altered];
    for caller in [&worker, &submitter] {
        assert_eq!(put(&mut world, caller, &forged), [ReceiptPut::Invalid; 3]);
    }
    assert_eq!(polos(&mut world, &submitter, &[2]), [(key(2).id(), 0)]);
    assert_eq!(put(&mut world, &worker, &[honest]), [ReceiptPut::Counted], "nothing stands for it");
}

#[test]
fn who_is_not_named_in_a_receipt_cannot_put_it() {
    let mut world = World::new();
    let (submitter, worker) = world.trusted_pair();
    let third = befriend(&mut world, 3, &[(1, &submitter), (2, &worker)]);

    assert_eq!(put(&mut world, &third, &[signed(statement(1))]), [ReceiptPut::NotYours]);
    assert_eq!(put(&mut world, &worker, &[signed(statement(1))]), [ReceiptPut::Counted]);
}

#[test]
fn work_between_nodes_without_mutual_trust_does_not_count() {
    let mut world = World::new();
    let (submitter, _) = world.join(1);
    let (worker, _) = world.join(2);
    let receipt = signed(statement(1));

    assert_eq!(put(&mut world, &worker, std::slice::from_ref(&receipt)), [ReceiptPut::NotMutual]);
    world.grant(1, &submitter, 2, Scopes::ALL, 1);
    assert_eq!(put(&mut world, &worker, std::slice::from_ref(&receipt)), [ReceiptPut::NotMutual]);
    world.grant(2, &worker, 1, Scopes::ALL, 1);
    assert_eq!(put(&mut world, &worker, std::slice::from_ref(&receipt)), [ReceiptPut::Counted]);
    world.grant(1, &submitter, 2, Scopes::NONE, 2);
    assert_eq!(put(&mut world, &worker, &[signed(statement(2))]), [ReceiptPut::NotMutual]);
}

#[test]
fn a_receipt_of_the_future_or_of_long_ago_does_not_count() {
    let mut world = World::new();
    let (_, worker) = world.trusted_pair();
    let ended = |finished: u64| {
        let times =
            ReceiptTimes { finished: Timestamp::from_millis(finished), ..statement(1).times };
        signed(Receipt { times, ..statement(1) })
    };
    let receipts = [ended(START.as_millis() + 601_000), ended(u64::MAX), ended(0)];

    let outcomes = put(&mut world, &worker, &receipts);

    assert_eq!(outcomes, [ReceiptPut::NotYet, ReceiptPut::Invalid, ReceiptPut::TooOld]);
}

#[test]
fn on_a_full_disk_no_receipt_is_taken() {
    let mut world = World::new();
    let (_, worker) = world.trusted_pair();
    world.at.room = false;
    let put = PutReceipt { receipt: signed(statement(1)), kind: 1 };

    let answer = world.ask(&worker, Request::PutReceipts(Receipts::first_of([put])));

    assert_eq!(refused(&answer), RefusalCode::DiskFull);
}

#[test]
fn polo_is_told_of_whom_the_asking_node_may_see() {
    let mut world = World::new();
    let (submitter, worker) = world.trusted_pair();
    put(&mut world, &worker, &[signed(statement(1))]);
    let (stranger, _) = world.join(9);

    assert_eq!(polos(&mut world, &stranger, &[1, 2, 7]), []);
    let answer = world.ask(&stranger, Request::PoloOf(key(2).id()));
    assert_eq!(refused(&answer), RefusalCode::NotFound);
    let nobody = world.ask(&stranger, Request::PoloOf(key(7).id()));
    assert_eq!(answer, nobody);
    let told = polos(&mut world, &submitter, &[2, 7, 2, 1, 2]);
    assert_eq!(told, [(key(2).id(), 1), (key(1).id(), 0)], "once each");
    assert_eq!(polos(&mut world, &worker, &[2]), [(key(2).id(), 1)], "of itself");
}

#[test]
fn who_trusts_the_submitter_counts_its_word_and_others_hardly() {
    let mut world = World::new();
    let (submitter, worker) = world.trusted_pair();
    let friend = befriend(&mut world, 3, &[(1, &submitter), (2, &worker)]);
    let other = befriend(&mut world, 4, &[(2, &worker)]);
    let receipts: Vec<Countersigned> = (0..64).map(|task| signed(statement(task))).collect();

    put(&mut world, &worker, &receipts);

    let own = polos(&mut world, &submitter, &[2])[0].1;
    assert_eq!(own, 47, "100 * (1 - exp(-0.64))");
    assert_eq!(polos(&mut world, &friend, &[2])[0].1, own);
    assert_eq!(polos(&mut world, &other, &[2])[0].1, 10);
    let detail = detail(&mut world, &other, 2);
    assert_eq!((detail.parts.len(), detail.strangers.submitters), (0, 1));
    assert!(detail.history.is_empty(), "what strangers say is not shown day by day");
}

#[test]
fn polo_is_of_the_key_and_outlives_its_address_and_a_restart() {
    let mut world = World::new();
    let (submitter, worker) = world.trusted_pair();
    put(&mut world, &worker, &[signed(statement(1)), signed(statement(2))]);
    let before = detail(&mut world, &submitter, 2);
    assert_eq!(before.polo, 2);

    assert_eq!(world.ask(&worker, Request::Release), Answer::Released);
    let (worker, address) = world.join(2);
    assert_eq!(address, Address::new(NETWORK, 3), "it has a new one");
    assert_eq!(detail(&mut world, &submitter, 2), before);

    let mut world = world.restarted();
    let (submitter, _) = world.join(1);
    assert_eq!(detail(&mut world, &submitter, 2), before);
    let (again, _) = world.join(2);
    assert_ne!(again.connection, worker.connection);
    assert_eq!(put(&mut world, &again, &[signed(statement(1))]), [ReceiptPut::Known]);
}
