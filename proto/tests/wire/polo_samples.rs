//! What is put and asked about work that was done, one message of every kind.

use pilot_identity::{
    Countersigned, Digest, NodeId, NodeKey, Outcome, Receipt, ReceiptTimes, Timestamp,
};
use pilot_proto::TaskId;
use pilot_proto::registry::{
    Answer, Polo, PoloCounts, PoloDay, PoloDetail, PoloIds, PoloPart, PutReceipt, ReceiptPut,
    Receipts, Request, Strangers,
};
use zeroize::Zeroizing;

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&Zeroizing::new([seed; 32]))
}

fn node(seed: u8) -> NodeId {
    key(seed).id()
}

fn countersigned() -> Countersigned {
    let times = ReceiptTimes {
        received: Timestamp::from_millis(1_000),
        accepted: Some(Timestamp::from_millis(1_500)),
        finished: Timestamp::from_millis(70_000),
    };
    let receipt = Receipt {
        task: TaskId::from_bytes([0x11; 16]).uuid(),
        attempt: 2,
        submitter: node(1),
        worker: node(2),
        outcome: Outcome::Succeeded,
        digest: Digest::of(b"result"),
        times,
    };
    receipt.sign(&key(2)).countersign(&key(1))
}

pub(crate) fn put_receipt() -> PutReceipt {
    PutReceipt { receipt: countersigned(), kind: 0x0102_0304_0506_0708 }
}

pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    vec![
        ("put receipts", Request::PutReceipts(Receipts::first_of([put_receipt()]))),
        ("polo", Request::Polo(PoloIds::batches(&[node(1), node(2)]).remove(0))),
        ("polo of", Request::PoloOf(node(2))),
    ]
}

pub(crate) fn answers() -> Vec<(&'static str, Answer)> {
    let outcomes = vec![
        ReceiptPut::Counted,
        ReceiptPut::Known,
        ReceiptPut::TooOld,
        ReceiptPut::NotMutual,
        ReceiptPut::Invalid,
        ReceiptPut::NotYours,
        ReceiptPut::Full,
        ReceiptPut::NotYet,
    ];
    let counts = PoloCounts { succeeded: 300, failed: 2, abandoned: 1 };
    let part = PoloPart {
        id: node(1),
        counts,
        sum_milli: 47_250,
        promptness_milli: 1_050,
        adds_milli: -1,
    };
    let detail = PoloDetail {
        polo: 47,
        parts: vec![part],
        more: 3,
        more_milli: -2,
        strangers: Strangers { submitters: 9, adds_milli: 9_999, cap_milli: 10_000 },
        history: vec![PoloDay { day: 20_000, counts }],
    };
    let polos = vec![Polo { id: node(1), polo: 47 }, Polo { id: node(2), polo: -3 }];
    vec![
        ("receipts put", Answer::ReceiptsPut(outcomes)),
        ("polos", Answer::Polos(polos)),
        ("polo of", Answer::PoloOf(detail)),
    ]
}
