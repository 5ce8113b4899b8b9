//! The rules one by one, what enemies send, and every order of messages.

mod hostile;
mod model;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot_identity::{Grant, NodeId, NodeKey, Scopes, SignedGrant, Timestamp};
use zeroize::Zeroizing;

use crate::{GrantTerms, Output, PeerRecord, Trust};

const NETWORK: u16 = 1;
const NOW: Timestamp = at(1_000);

const TERMS: GrantTerms =
    GrantTerms { address: None, scopes: Scopes::ALL, expires_at: None, fingerprint: None };

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&Zeroizing::new([seed; 32]))
}

fn id(seed: u8) -> NodeId {
    key(seed).id()
}

fn node(seed: u8) -> Trust {
    Trust::restore(Arc::new(key(seed)), Some(NETWORK), [], NOW).unwrap()
}

fn drain(trust: &mut Trust) -> Vec<Output> {
    core::iter::from_fn(|| trust.poll_output()).collect()
}

/// The words of the outputs in their order, for what happened at all.
fn kinds(outputs: &[Output]) -> Vec<&'static str> {
    outputs
        .iter()
        .map(|output| match output {
            Output::Persist(_) => "persist",
            Output::Deliver { .. } => "deliver",
            Output::Changed { .. } => "changed",
        })
        .collect()
}

fn delivered(outputs: Vec<Output>) -> Vec<SignedGrant> {
    outputs
        .into_iter()
        .filter_map(|output| match output {
            Output::Deliver { grant, .. } => Some(grant),
            Output::Persist(_) | Output::Changed { .. } => None,
        })
        .collect()
}

/// The rows as a disk holds them after the outputs.
fn write(disk: &mut BTreeMap<NodeId, Vec<u8>>, outputs: &[Output]) {
    for output in outputs {
        match output {
            Output::Persist(record) => {
                disk.insert(record.peer, postcard::to_allocvec(record).unwrap());
            }
            Output::Deliver { .. } | Output::Changed { .. } => {}
        }
    }
}

fn read(disk: &BTreeMap<NodeId, Vec<u8>>) -> Vec<PeerRecord> {
    disk.values().map(|bytes| postcard::from_bytes(bytes).unwrap()).collect()
}

/// A grant from one seed to another, as its issuer could sign it.
fn grant(from: u8, to: u8, serial: u64) -> Grant {
    Grant {
        from: id(from),
        to: id(to),
        network: NETWORK,
        scopes: Scopes::ALL,
        issued_at: NOW,
        expires_at: None,
        serial,
    }
}

fn signed(from: u8, to: u8, serial: u64) -> SignedGrant {
    grant(from, to, serial).sign(&key(from))
}

/// The serial of the newest grant to the node of `seed`.
fn serial_to(trust: &Trust, seed: u8) -> u64 {
    trust.record(id(seed)).unwrap().our_grant().unwrap().serial
}

/// The node `a` with mutual trust with `b`, nothing left to put out.
fn trusting(a: u8, b: u8) -> Trust {
    let mut trust = node(a);
    trust.grant(id(b), TERMS, NOW).unwrap();
    trust.handle_grant(&signed(b, a, 1), None, NOW);
    drain(&mut trust);
    assert!(trust.is_mutual(id(b), NOW));
    trust
}
