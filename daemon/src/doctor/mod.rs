//! What is wrong with this node, from facts that somebody has gathered.
//!
//! Every check says something: that it is well, or what it means that it is
//! not, what is safe meanwhile, and the command that mends it. Findings come
//! in the order in which one thing needs the other, so that the first problem
//! is the one to begin with. Nothing here waits, asks or changes anything.

mod machine;
mod network;
mod peer;
mod rendezvous;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use pilot_identity::Timestamp;
use pilot_local_api::doctor::{Cause, Finding, Severity};
use pilot_overlay::RegistryStatus;
use pilot_proto::NodeName;
use pilot_transport::NetReport;

use crate::services::network::PathCounts;
pub(crate) use peer::{PeerFacts, PeerTrouble, Reached};

/// All that the checks look at.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) version: String,
    /// The version of the program that asks.
    pub(crate) client: Option<String>,
    pub(crate) pid: u32,
    pub(crate) uptime: Duration,
    pub(crate) home: PathBuf,
    /// The permission bits of the home folder.
    pub(crate) home_mode: Option<u32>,
    pub(crate) free_bytes: u64,
    /// Whether new work is refused.
    pub(crate) disk_full: bool,
    /// Where the rendezvous is, and how the line to it stands.
    pub(crate) rendezvous: Option<(String, RegistryStatus)>,
    /// The name that this node wants.
    pub(crate) wanted_name: Option<NodeName>,
    pub(crate) name_taken: bool,
    /// By which peers call this node: its address, or its key.
    pub(crate) own: String,
    /// The endpoint that the operator gave.
    pub(crate) endpoint: Option<SocketAddr>,
    /// The addresses of this machine's interfaces.
    pub(crate) interfaces: Vec<IpAddr>,
    pub(crate) net: NetReport,
    /// Whether UDP passes, if anybody has answered.
    pub(crate) udp: Option<bool>,
    pub(crate) paths: PathCounts,
    /// Who asks for trust and has no answer.
    pub(crate) asking: Vec<String>,
    pub(crate) now: Timestamp,
}

/// Everything that can be said, about one peer, too, if one was named.
pub(crate) fn findings(facts: &Facts, peer: Option<&PeerFacts>) -> Vec<Finding> {
    let mut findings = machine::findings(facts);
    findings.extend(rendezvous::findings(facts));
    findings.extend(network::findings(facts));
    findings.extend(trust_requests(facts));
    findings.extend(peer.map(|peer| peer::finding(facts, peer)));
    findings
}

fn trust_requests(facts: &Facts) -> Option<Finding> {
    let names = facts.asking.join(", ");
    let what = match facts.asking.len() {
        0 => return None,
        1 => format!("{names} asks for trust and has no answer"),
        count => format!("{count} nodes ask for trust and have no answer: {names}"),
    };
    Some(
        note(Cause::TrustRequests, what)
            .safe("nobody is let in before this node has answered")
            .mend("pilotctl trust pending  # compare the fingerprint, then: pilotctl trust PEER"),
    )
}

fn ok(code: Cause, what: impl Into<String>) -> Finding {
    Finding::new(Severity::Ok, code, what)
}

fn note(code: Cause, what: impl Into<String>) -> Finding {
    Finding::new(Severity::Note, code, what)
}

fn warning(code: Cause, what: impl Into<String>) -> Finding {
    Finding::new(Severity::Warning, code, what)
}

fn problem(code: Cause, what: impl Into<String>) -> Finding {
    Finding::new(Severity::Problem, code, what)
}

#[cfg(test)]
mod tests;
