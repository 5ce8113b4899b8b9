//! What is wrong with a node, and the command that mends it.
//!
//! | code | error | meaning |
//! |---|---|---|
//! | `daemon_running` | - | the daemon runs |
//! | `daemon_not_running` | `daemon_not_running` | nobody listens on the socket |
//! | `daemon_elsewhere` | `daemon_not_running` | a daemon has this home, and listens on another socket |
//! | `daemon_version` | - | pilotctl and daemon are of different versions |
//! | `home` | - | the home folder is as it must be |
//! | `home_missing` | `daemon_not_running` | there is no home folder yet |
//! | `home_not_a_folder` | `conflict` | something else is in its place |
//! | `home_not_owned` | `not_allowed` | it belongs to another user |
//! | `home_too_open` | `not_allowed` | others may write to it, and the daemon does not start |
//! | `key_unusable` | `not_allowed` | the key file is not its owner's alone |
//! | `socket_not_allowed` | `not_allowed` | the socket is another user's |
//! | `socket_in_the_way` | `conflict` | something that is no socket has its name |
//! | `socket_path_too_long` | `invalid_argument` | no unix socket can have this path |
//! | `disk` | - | there is room |
//! | `disk_nearly_full` | - | there is little room |
//! | `disk_full` | `disk_full` | new work is refused, or the daemon does not start |
//! | `rendezvous` | - | this node is registered |
//! | `rendezvous_by_tcp` | - | it is, but over TCP |
//! | `no_rendezvous` | - | none is configured |
//! | `rendezvous_unknown_host` | `rendezvous_unreachable` | its name has no address |
//! | `rendezvous_silent` | `rendezvous_unreachable` | it answers neither over UDP nor over TCP |
//! | `rendezvous_wrong_key` | `identity_changed` | it has another key than the pinned one |
//! | `rendezvous_version` | `version_mismatch` | it speaks another version |
//! | `rendezvous_refused` | `rendezvous_unreachable` | it does not take this node |
//! | `rendezvous_lost` | `rendezvous_unreachable` | the line to it broke |
//! | `key_used_twice` | `already_running` | another daemon has this node's key |
//! | `clock` | - | this machine's clock is right |
//! | `clock_wrong` | - | it differs from that of the rendezvous |
//! | `name_taken` | - | another node has the wanted name |
//! | `udp` | - | UDP passes |
//! | `udp_blocked` | - | UDP does not pass, TCP does |
//! | `no_beacon` | - | the rendezvous tells of no beacon |
//! | `beacon` | - | this node is bound at a beacon |
//! | `beacon_silent` | `rendezvous_unreachable` | a beacon does not answer |
//! | `ticket_refused` | `not_allowed` | a beacon does not take this node |
//! | `nat` | - | what kind of NAT this node is behind |
//! | `symmetric_nat` | - | one that lets peers in directly only sometimes |
//! | `endpoint_contradicted` | - | beacons see this node elsewhere than `-endpoint` says |
//! | `peers` | - | how many peers are reached how |
//! | `trust_requests` | - | nodes ask for trust and have no answer |
//! | `peer_unknown` | `unknown_peer` | nobody has this address, name or key |
//! | `peer_unresolved` | `rendezvous_unreachable` | it is not known here, and nobody can be asked |
//! | `peer_identity_changed` | `identity_changed` | the address now belongs to another key |
//! | `peer_not_trusted` | `not_trusted` | neither side trusts the other |
//! | `peer_trust_pending` | `not_trusted` | the peer asks, and this node has not answered |
//! | `peer_trust_one_sided` | `peer_one_way_trust` | this node trusts the peer, the peer not this node |
//! | `peer_direct` | - | it is reached directly |
//! | `peer_relayed` | - | it is reached through a relay |
//! | `peer_offline` | `peer_unreachable` | its daemon is not connected to the rendezvous |
//! | `peer_unreachable` | `peer_unreachable` | it does not answer |
//! | `peer_other_key` | `identity_changed` | another node answers in its place |
//! | `peer_version` | `version_mismatch` | it speaks another version |
//!
//! Where there is an error, a finding with this code may be a problem, and
//! `pilotctl doctor` then ends with the exit code of that error.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ErrorCode;

/// Declares the codes once: variant, word, error, meaning.
macro_rules! causes {
    ($($variant:ident $word:literal $error:expr, $doc:literal;)+) => {
        /// What was looked at, or what is wrong with it; the words and errors
        /// are in the table of this module.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(rename_all = "snake_case"))]
        pub enum Cause {
            $(#[doc = $doc] $variant,)+
            /// One that this version does not know.
            Other,
        }

        impl Cause {
            /// Every cause that this version knows, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word in `findings[].code`.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other => "other",
                }
            }

            /// The error that a command ends with if this is a problem; none
            /// if it never is.
            #[must_use]
            pub const fn error(self) -> Option<ErrorCode> {
                match self {
                    $(Self::$variant => $error,)+
                    Self::Other => Some(ErrorCode::Internal),
                }
            }
        }
    };
}

causes! {
    DaemonRunning "daemon_running" None, "The daemon runs.";
    DaemonNotRunning "daemon_not_running" Some(ErrorCode::DaemonNotRunning), "Nobody listens on the socket.";
    DaemonElsewhere "daemon_elsewhere" Some(ErrorCode::DaemonNotRunning), "A daemon has this home, and listens on another socket.";
    DaemonVersion "daemon_version" None, "pilotctl and daemon are of different versions.";
    Home "home" None, "The home folder is as it must be.";
    HomeMissing "home_missing" Some(ErrorCode::DaemonNotRunning), "There is no home folder yet.";
    HomeNotAFolder "home_not_a_folder" Some(ErrorCode::Conflict), "Something else is in its place.";
    HomeNotOwned "home_not_owned" Some(ErrorCode::NotAllowed), "It belongs to another user.";
    HomeTooOpen "home_too_open" Some(ErrorCode::NotAllowed), "Others may write to it, and the daemon does not start.";
    KeyUnusable "key_unusable" Some(ErrorCode::NotAllowed), "The key file is not its owner's alone.";
    SocketNotAllowed "socket_not_allowed" Some(ErrorCode::NotAllowed), "The socket is another user's.";
    SocketInTheWay "socket_in_the_way" Some(ErrorCode::Conflict), "Something that is no socket has its name.";
    SocketPathTooLong "socket_path_too_long" Some(ErrorCode::InvalidArgument), "No unix socket can have this path.";
    Disk "disk" None, "There is room.";
    DiskNearlyFull "disk_nearly_full" None, "There is little room.";
    DiskFull "disk_full" Some(ErrorCode::DiskFull), "New work is refused, or the daemon does not start.";
    Rendezvous "rendezvous" None, "This node is registered.";
    RendezvousByTcp "rendezvous_by_tcp" None, "It is, but over TCP.";
    NoRendezvous "no_rendezvous" None, "None is configured.";
    RendezvousUnknownHost "rendezvous_unknown_host" Some(ErrorCode::RendezvousUnreachable), "Its name has no address.";
    RendezvousSilent "rendezvous_silent" Some(ErrorCode::RendezvousUnreachable), "It answers neither over UDP nor over TCP.";
    RendezvousWrongKey "rendezvous_wrong_key" Some(ErrorCode::IdentityChanged), "It has another key than the pinned one.";
    RendezvousVersion "rendezvous_version" Some(ErrorCode::VersionMismatch), "It speaks another version.";
    RendezvousRefused "rendezvous_refused" Some(ErrorCode::RendezvousUnreachable), "It does not take this node.";
    RendezvousLost "rendezvous_lost" Some(ErrorCode::RendezvousUnreachable), "The line to it broke.";
    KeyUsedTwice "key_used_twice" Some(ErrorCode::AlreadyRunning), "Another daemon has this node's key.";
    Clock "clock" None, "This machine's clock is right.";
    ClockWrong "clock_wrong" None, "It differs from that of the rendezvous.";
    NameTaken "name_taken" None, "Another node has the wanted name.";
    Udp "udp" None, "UDP passes.";
    UdpBlocked "udp_blocked" None, "UDP does not pass, TCP does.";
    NoBeacon "no_beacon" None, "The rendezvous tells of no beacon.";
    Beacon "beacon" None, "This node is bound at a beacon.";
    BeaconSilent "beacon_silent" Some(ErrorCode::RendezvousUnreachable), "A beacon does not answer.";
    TicketRefused "ticket_refused" Some(ErrorCode::NotAllowed), "A beacon does not take this node.";
    Nat "nat" None, "What kind of NAT this node is behind.";
    SymmetricNat "symmetric_nat" None, "One that lets peers in directly only sometimes.";
    EndpointContradicted "endpoint_contradicted" None, "Beacons see this node elsewhere than `-endpoint` says.";
    Peers "peers" None, "How many peers are reached how.";
    TrustRequests "trust_requests" None, "Nodes ask for trust and have no answer.";
    PeerUnknown "peer_unknown" Some(ErrorCode::UnknownPeer), "Nobody has this address, name or key.";
    PeerUnresolved "peer_unresolved" Some(ErrorCode::RendezvousUnreachable), "It is not known here, and nobody can be asked.";
    PeerIdentityChanged "peer_identity_changed" Some(ErrorCode::IdentityChanged), "The address now belongs to another key.";
    PeerNotTrusted "peer_not_trusted" Some(ErrorCode::NotTrusted), "Neither side trusts the other.";
    PeerTrustPending "peer_trust_pending" Some(ErrorCode::NotTrusted), "The peer asks, and this node has not answered.";
    PeerTrustOneSided "peer_trust_one_sided" Some(ErrorCode::PeerOneWayTrust), "This node trusts the peer, the peer not this node.";
    PeerDirect "peer_direct" None, "It is reached directly.";
    PeerRelayed "peer_relayed" None, "It is reached through a relay.";
    PeerOffline "peer_offline" Some(ErrorCode::PeerUnreachable), "Its daemon is not connected to the rendezvous.";
    PeerUnreachable "peer_unreachable" Some(ErrorCode::PeerUnreachable), "It does not answer.";
    PeerOtherKey "peer_other_key" Some(ErrorCode::IdentityChanged), "Another node answers in its place.";
    PeerVersion "peer_version" Some(ErrorCode::VersionMismatch), "It speaks another version.";
}

/// A word that is no [`Cause`] of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown finding")]
pub struct UnknownCause;

impl FromStr for Cause {
    type Err = UnknownCause;

    fn from_str(word: &str) -> Result<Self, UnknownCause> {
        Self::ALL.iter().copied().find(|cause| cause.word() == word).ok_or(UnknownCause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// A cause of a newer daemon reads as [`Cause::Other`]; its text says the rest.
impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(String::deserialize(deserializer)?.parse().unwrap_or(Self::Other))
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// Something works less well than it could, or soon may not.
    Warning,
    /// Something does not work.
    Problem,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    /// What it is.
    pub code: Cause,
    /// How bad it is.
    pub severity: Severity,
    /// What it means here, one sentence, without a period.
    pub what: String,
    /// What is safe meanwhile.
    #[serde(default)]
    pub safe: Option<String>,
    /// The command that mends it; where it is to be given elsewhere, a shell
    /// comment behind it says so.
    #[serde(default)]
    pub mend: Option<String>,
}

impl Finding {
    /// A finding that says neither what is safe nor what mends it.
    #[must_use]
    pub fn new(severity: Severity, code: Cause, what: impl Into<String>) -> Self {
        Self { code, severity, what: what.into(), safe: None, mend: None }
    }

    /// Says what is safe meanwhile.
    #[must_use]
    pub fn safe(mut self, safe: impl Into<String>) -> Self {
        self.safe = Some(safe.into());
        self
    }

    /// Names the command that mends it.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }
}

/// The query of `GET doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoctorQuery {
    /// The peer that is not reached as it should be: address, name or key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// How long to wait, at most a minute, for what is still being found out
    /// and for the peer's answer; the daemon's default is 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// The version of the client, to be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// `GET doctor`: everything that was looked at, in the order in which one
/// thing needs the other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DoctorView {
    /// What was found.
    pub findings: Vec<Finding>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_words_are_unique_and_read_back_and_those_of_the_table() {
        let words: BTreeSet<&str> = Cause::ALL.iter().map(|cause| cause.word()).collect();
        let wanted: Vec<String> = Cause::ALL
            .iter()
            .map(|cause| match cause.error() {
                Some(error) => format!("//! | `{cause}` | `{error}`"),
                None => format!("//! | `{cause}` | -"),
            })
            .collect();

        let table: Vec<String> = include_str!("doctor.rs")
            .lines()
            .filter(|line| line.starts_with("//! | `"))
            .map(|line| line.splitn(4, " | ").take(3).collect::<Vec<_>>().join(" | "))
            .collect();

        assert_eq!(words.len(), Cause::ALL.len());
        assert!(Cause::ALL.iter().all(|cause| cause.word().parse() == Ok(*cause)));
        assert_eq!(table, wanted);
    }

    #[test]
    fn a_finding_of_a_newer_daemon_is_still_read() {
        let text = r#"{"findings":[{"code":"moon","severity":"problem","what":"full","new":1}]}"#;

        let view: DoctorView = serde_json::from_str(text).unwrap();

        assert_eq!(view.findings[0].code, Cause::Other);
        assert_eq!(view.findings[0].code.error(), Some(ErrorCode::Internal));
        assert_eq!(view.findings[0].what, "full");
    }
}
