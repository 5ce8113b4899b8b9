//! One peer that is not reached as it should be.

use pilot_local_api::doctor::{Cause, Finding};
use pilot_local_api::network::NatKind;
use pilot_local_api::peers::PathKind;
use pilot_proto::PeerRef;
use pilot_trust::TrustState;

use super::{Facts, note, ok, problem};
use crate::services::FindError;
use crate::services::network::{PeerPath, nat};

/// What was found out about a peer.
#[derive(Debug)]
pub(crate) struct PeerFacts {
    /// As the user called it.
    pub(crate) wanted: PeerRef,
    /// What its key is known for, or why it has none.
    pub(crate) found: Result<Reached, FindError>,
}

/// How far one gets with a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Not so far as to try.
    Untrusted(TrustState),
    /// It answered, by this path.
    Answered(PeerPath),
    /// It did not.
    Failed {
        /// Why not.
        trouble: PeerTrouble,
        /// Whether the rendezvous sees its daemon, if it says.
        online: Option<bool>,
    },
}

/// Why a trusted peer does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerTrouble {
    /// It says that trust is not mutual.
    NotTrustedThere,
    /// Nothing comes back.
    Silent,
    /// Somebody else answers in its place.
    OtherKey,
    /// It speaks another version of the protocol.
    Version,
}

const QUEUED: &str = "tasks for it wait on disk and go out when it is reached";

pub(super) fn finding(facts: &Facts, peer: &PeerFacts) -> Finding {
    let wanted = &peer.wanted;
    match &peer.found {
        Err(error) => not_found(wanted, error),
        Ok(Reached::Untrusted(state)) => untrusted(facts, wanted, *state),
        Ok(Reached::Answered(path)) => answered(facts, wanted, path),
        Ok(Reached::Failed { trouble, online }) => failed(facts, wanted, *trouble, *online),
    }
}

fn not_found(wanted: &PeerRef, error: &FindError) -> Finding {
    match error {
        FindError::Unknown { nearest, .. } => {
            let finding =
                problem(Cause::PeerUnknown, error.to_string()).safe("nothing was sent to anybody");
            match nearest.first() {
                Some(name) => finding.mend(format!("pilotctl resolve {name}")),
                None => finding.mend("pilotctl peers"),
            }
        }
        FindError::Registry { source, .. } => {
            problem(Cause::PeerUnresolved, format!("{error}: {source}"))
                .safe("nothing was sent to anybody")
                .mend(format!("pilotctl doctor  # then again: pilotctl doctor {wanted}"))
        }
        FindError::IdentityChanged(changed) => {
            problem(Cause::PeerIdentityChanged, error.to_string())
                .safe("the new key is not trusted, and nothing was sent to it")
                .mend(format!(
                    "pilotctl untrust {}  # only if the peer really has a new key",
                    changed.address
                ))
        }
    }
}

fn untrusted(facts: &Facts, wanted: &PeerRef, state: TrustState) -> Finding {
    match state {
        TrustState::Pending => problem(
            Cause::PeerTrustPending,
            format!("{wanted} asks for trust, and this node has not answered"),
        )
        .safe("it is not let in")
        .mend(format!("pilotctl trust {wanted}  # compare the fingerprint first")),
        TrustState::Requested => one_sided(facts, wanted),
        TrustState::None | TrustState::Mutual => problem(
            Cause::PeerNotTrusted,
            format!("there is no trust between this node and {wanted}"),
        )
        .safe("neither lets the other in")
        .mend(format!("pilotctl trust {wanted}  # and there: pilotctl trust {}", facts.own)),
    }
}

fn one_sided(facts: &Facts, wanted: &PeerRef) -> Finding {
    let what = format!("this node trusts {wanted}, and {wanted} does not trust this node");
    problem(Cause::PeerTrustOneSided, what)
        .safe("nothing is sent to it, and it is not let in")
        .mend(format!("pilotctl trust {}  # there", facts.own))
}

fn answered(facts: &Facts, wanted: &PeerRef, path: &PeerPath) -> Finding {
    let endpoint = path.endpoint.as_deref().unwrap_or("a place that is not known");
    match path.kind {
        PathKind::Direct => {
            let rtt = path.rtt.unwrap_or_default().as_secs_f64() * 1e3;
            let what = format!("{wanted} is reached directly at {endpoint}, {rtt:.1} ms away");
            ok(Cause::PeerDirect, what)
        }
        PathKind::Relayed | PathKind::Offline => {
            let what = format!(
                "{wanted} is reached through the relay at {endpoint} ({}): {}",
                path.reason,
                why_relayed(facts)
            );
            note(Cause::PeerRelayed, what)
                .safe("everything works, encrypted from end to end; a direct path is still looked for")
                .mend(format!("pilotctl ping {wanted} --until-direct --timeout 30s"))
        }
    }
}

fn why_relayed(facts: &Facts) -> &'static str {
    let (_, _, kind) = nat(&facts.net);
    match kind {
        NatKind::UdpBlocked => "UDP does not pass here",
        NatKind::Symmetric => "the NAT here is symmetric, and not every NAT there goes with that",
        NatKind::None | NatKind::Cone | NatKind::Restricted | NatKind::PortRestricted => {
            "nothing here stands against a direct path, so the cause is at the peer's side, or it \
             is being looked for"
        }
        NatKind::Unknown => "no direct path has been proven",
    }
}

fn failed(facts: &Facts, wanted: &PeerRef, trouble: PeerTrouble, online: Option<bool>) -> Finding {
    let home = "pilotctl doctor  # there: it says what keeps that node from being reached";
    match (trouble, online) {
        (PeerTrouble::NotTrustedThere, _) => one_sided(facts, wanted),
        (PeerTrouble::OtherKey, _) => {
            problem(Cause::PeerOtherKey, format!("another node answers where {wanted} was"))
                .safe("nothing was told to it")
                .mend(format!("pilotctl resolve {wanted}"))
        }
        (PeerTrouble::Version, _) => {
            problem(Cause::PeerVersion, format!("{wanted} speaks another version of the protocol"))
                .safe(QUEUED)
                .mend("pilot-daemon --version  # here and there; then update the older one")
        }
        (PeerTrouble::Silent, Some(false)) => problem(
            Cause::PeerOffline,
            format!("{wanted} is offline: its daemon is not connected to the rendezvous"),
        )
        .safe(QUEUED)
        .mend("systemctl start pilot-daemon  # there"),
        (PeerTrouble::Silent, Some(true)) => problem(
            Cause::PeerUnreachable,
            format!("{wanted} is online, and no path to it was found"),
        )
        .safe(QUEUED)
        .mend(home),
        (PeerTrouble::Silent, None) => problem(
            Cause::PeerUnreachable,
            format!("{wanted} does not answer, and the rendezvous does not say whether it is up"),
        )
        .safe(QUEUED)
        .mend(home),
    }
}
