//! Every kind of NAT with every other.

use libtest_mimic::Trial;

use super::{
    A, B, DIRECT, ONE, TWO, becomes_direct, home_pair, join_pair, stays_relayed, task_passes,
};
use crate::lab::nat::{Kind, Nat, Ports};
use crate::net::punch::can_work;
use crate::pilot::overlay::Overlay;
use crate::suite::test;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for one in Kind::ALL {
        for other in Kind::ALL {
            for ports in Ports::ALL {
                if ports == Ports::Preserve || one.chooses_ports() || other.chooses_ports() {
                    let name = format!("pairs::{one}_with_{other}_{}", ports.name());
                    trials.push(test(name, move || meet(Pair { one, other, ports })));
                }
            }
        }
    }
    trials
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    one: Kind,
    other: Kind,
    ports: Ports,
}

/// The way a pair ends up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Direct, as soon as punching is done.
    Direct,
    /// Direct by guessing ports, which may take longer and may fail; see `birthday`.
    Guessed,
    /// Through the relay, for ever.
    Relayed,
}

impl Pair {
    const fn expected(self) -> Expected {
        match (self.one, self.other) {
            (Kind::Symmetric, Kind::PortRestricted) | (Kind::PortRestricted, Kind::Symmetric) => {
                Expected::Guessed
            }
            (one, other) if can_work(one, other) => Expected::Direct,
            _ => Expected::Relayed,
        }
    }
}

fn meet(pair: Pair) -> anyhow::Result<()> {
    let lab = home_pair()?;
    lab.nat(A, Nat::from(pair.one).ports(pair.ports))?;
    lab.nat(B, Nat::from(pair.other).ports(pair.ports))?;
    Overlay::start(lab)?.play(|overlay| {
        join_pair(overlay, ONE, TWO)?;
        task_passes(overlay)?;
        match pair.expected() {
            Expected::Direct => becomes_direct(overlay, DIRECT)?,
            Expected::Relayed => stays_relayed(overlay)?,
            Expected::Guessed => {}
        }
        task_passes(overlay)
    })
}
