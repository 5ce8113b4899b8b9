//! What nodes and the rendezvous say to each other (`pilot-registry/1`).
//!
//! Each exchange opens a bidirectional stream: one [`Request`] frame there,
//! one [`Answer`] frame back. [`Request::Watch`] is answered by a stream of
//! [`Push`] frames that ends with the connection. Frames are at most
//! [`crate::frame::MAX_SMALL_FRAME`] bytes.

mod polo;

use std::net::SocketAddr;

use pilot_identity::{NodeId, SignedGrant, SignedTicket, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use crate::beacon::Services;
use crate::list;
use crate::text::Text;
use crate::{Address, BootId, Endpoints, NodeName, PeerRef, Tag, Tags};
pub use polo::{
    MAX_DAYS, MAX_PARTS, MAX_POLOS, MAX_RECEIPTS, Polo, PoloCounts, PoloDay, PoloDetail, PoloIds,
    PoloPart, PutReceipt, ReceiptPut, Receipts, Strangers,
};

/// Grants in one [`Request::PutGrants`] or [`Request::AckGrants`].
pub const MAX_GRANTS: usize = 64;
/// Bytes of one signed grant.
pub const MAX_GRANT_BYTES: usize = 1024;
/// Grants that may wait for one node; a further one is refused with
/// [`RefusalCode::MailboxFull`].
pub const MAX_WAITING_GRANTS: usize = 64;
/// Records in one [`Answer::Roster`].
pub const MAX_ROSTER_PAGE: usize = 256;
/// Beacons in one [`Answer::Beacons`].
pub const MAX_BEACONS: usize = 4;
/// Bytes of the host of a beacon: the longest DNS name there is.
pub const MAX_HOST_BYTES: usize = 253;

/// The first minor version of a rendezvous that counts receipts. One of an
/// earlier version is asked for nothing of that.
pub const POLO_MINOR: u16 = 1;

/// What a node asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Says who the node is and where it can be found; the first request of
    /// every connection, and sent again whenever something in it changes.
    Register(Register),
    /// What the asking node may know of a peer.
    Resolve(PeerRef),
    /// The key behind an address, to name it in a grant.
    KeyOf(Address),
    /// The nodes the asking node may see, in order of address.
    Roster {
        /// Only those after this one: the last of the page before.
        after: Option<Address>,
        /// Only those with this tag.
        tag: Option<Tag>,
    },
    /// Grants signed by the asking node, to be kept and passed on.
    PutGrants(Grants),
    /// These grants, named by their issuer and serial, are on the asking node's disk.
    AckGrants(GrantAcks),
    /// Opens the stream of pushes; the last one opened counts.
    Watch,
    /// Gives up address and name.
    Release,
    /// Which beacons there are, and a ticket for them.
    Beacons,
    /// Receipts of tasks that the asking node worked on or submitted. This
    /// and what follows is from minor version [`POLO_MINOR`] on.
    PutReceipts(Receipts),
    /// The polo of these nodes.
    Polo(PoloIds),
    /// How the polo of this node comes about.
    PoloOf(NodeId),
}

/// See [`Request::Register`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The newest minor version the node speaks.
    pub minor: u16,
    /// The name it wants; `None` keeps the one it has.
    pub name: Option<NodeName>,
    /// What it says about itself.
    pub tags: Tags,
    /// Whether untrusted nodes may see name, key, tags and endpoints.
    pub public: bool,
    /// Where it can be found; the rendezvous adds the address it observes
    /// unless `fixed` is set.
    pub endpoints: Endpoints,
    /// The endpoints were given by the operator: nothing is added to them.
    pub fixed: bool,
    /// Which run of the daemon this is.
    pub boot: BootId,
}

/// What the rendezvous answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Request::Register`]; on disk.
    Registered(Registered),
    /// To [`Request::Resolve`].
    Record(View),
    /// To [`Request::KeyOf`].
    Key(NodeId),
    /// To [`Request::Roster`].
    Roster {
        /// In order of address, at most [`MAX_ROSTER_PAGE`].
        #[serde(deserialize_with = "list::at_most::<MAX_ROSTER_PAGE, _, _>")]
        records: Vec<NodeRecord>,
        /// Whether there are more after these.
        more: bool,
    },
    /// To [`Request::PutGrants`], one for each in their order; what is
    /// [`PutGrant::Stored`] is on disk.
    GrantsPut(#[serde(deserialize_with = "list::at_most::<MAX_GRANTS, _, _>")] Vec<PutGrant>),
    /// To [`Request::AckGrants`].
    GrantsAcked,
    /// To [`Request::Release`].
    Released,
    /// Not done.
    Refused(Refusal),
    /// To [`Request::Beacons`].
    Beacons {
        /// At most [`MAX_BEACONS`]; a node binds at all of them.
        #[serde(deserialize_with = "list::at_most::<MAX_BEACONS, _, _>")]
        beacons: Vec<Beacon>,
        /// That the asking node is registered, valid for a day. It is asked
        /// for again when half of that has passed.
        ticket: SignedTicket,
    },
    /// To [`Request::PutReceipts`], one for each in their order; what is
    /// [`ReceiptPut::Counted`] is on disk.
    ReceiptsPut(#[serde(deserialize_with = "list::at_most::<MAX_RECEIPTS, _, _>")] Vec<ReceiptPut>),
    /// To [`Request::Polo`]: of those that the asking node may see, in the
    /// order in which it named them.
    Polos(#[serde(deserialize_with = "list::at_most::<MAX_POLOS, _, _>")] Vec<Polo>),
    /// To [`Request::PoloOf`].
    PoloOf(PoloDetail),
}

/// Where a beacon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// A name or an IP address; empty means where the rendezvous is.
    pub host: Text<MAX_HOST_BYTES>,
    /// Its port, for UDP as for carriers.
    pub port: u16,
    /// Its key.
    pub key: NodeId,
    /// What it does.
    pub services: Services,
}

/// See [`Answer::Registered`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The node's for ever.
    pub address: Address,
    /// Where the rendezvous sees it come from.
    pub observed: SocketAddr,
    /// The name it has now: the one it asked for unless another node has
    /// that; else, and if it asked for none, the one it had.
    pub name: Option<NodeName>,
    /// The wanted name belongs to another key.
    pub name_taken: bool,
    /// The newest minor version of the rendezvous.
    pub minor: u16,
    /// The clock of the rendezvous.
    pub now: Timestamp,
}

/// What one node may know of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum View {
    /// The address is taken; nothing else is told.
    Private {
        /// The address asked for.
        address: Address,
    },
    /// It is public, or trust is mutual, or it is the asking node itself.
    Known(NodeRecord),
}

/// A node as the rendezvous knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its address.
    pub address: Address,
    /// Its key.
    pub id: NodeId,
    /// Its name.
    pub name: Option<NodeName>,
    /// What it says about itself.
    pub tags: Tags,
    /// Whether anybody may see this record.
    pub public: bool,
    /// The run that is connected now; none if it is offline.
    pub boot: Option<BootId>,
    /// Where it is, or was, to be found.
    pub endpoints: Endpoints,
    /// When it was last connected.
    pub last_seen: Timestamp,
}

impl NodeRecord {
    /// Whether it is connected to the rendezvous now.
    #[must_use]
    pub const fn is_online(&self) -> bool {
        self.boot.is_some()
    }
}

/// What became of one grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PutGrant {
    /// Kept, and passed on now or when the receiver connects.
    Stored,
    /// The same or a newer one of this pair is held already.
    Stale {
        /// The serial held.
        serial: u64,
    },
    /// Not believed: signature, issuer, network or size.
    Invalid,
    /// The receiver is not registered here.
    NoSuchNode,
    /// [`MAX_WAITING_GRANTS`] are waiting for the receiver.
    MailboxFull,
}

/// What the rendezvous tells without being asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Push {
    /// A grant for this node.
    Grant {
        /// As its issuer signed it.
        grant: SignedGrant,
        /// The issuer's address.
        address: Address,
        /// The issuer's name.
        name: Option<NodeName>,
    },
    /// A mutually trusted node came, changed, or has left (`boot` is none).
    Peer(NodeRecord),
    /// A node is no longer visible to this one.
    Hidden(NodeId),
    /// Everything that was due at the time of [`Request::Watch`] has been pushed.
    CaughtUp,
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What for a program.
    pub code: RefusalCode,
    /// What for a person.
    pub message: Text<256>,
}

/// The closed list of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalCode {
    /// Nothing is registered under this address, name or key, or nothing
    /// that the asking node may see.
    NotFound,
    /// [`Request::Register`] comes first.
    NotRegistered,
    /// Too many requests.
    RateLimited {
        /// When to try again.
        retry_after_ms: u32,
    },
    /// The request breaks a rule of the protocol.
    Invalid,
    /// The receiver's mailbox is full.
    MailboxFull,
    /// The disk of the rendezvous is full.
    DiskFull,
    /// The network has no free address.
    NetworkFull,
    /// The rendezvous failed; trying again may help.
    Internal,
}

/// At most [`MAX_GRANTS`] signed grants.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Grants(Vec<SignedGrant>);

/// At most [`MAX_GRANTS`] acknowledgements.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct GrantAcks(Vec<GrantAck>);

/// "The grant with this serial from this issuer is on my disk."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantAck {
    /// Who issued it.
    pub from: NodeId,
    /// Its serial.
    pub serial: u64,
}

macro_rules! bounded_list {
    ($list:ident, $item:ty) => {
        impl $list {
            /// Splits `items` into lists that each fit into one request.
            pub fn batches(items: impl IntoIterator<Item = $item>) -> Vec<Self> {
                let mut batches: Vec<Self> = Vec::new();
                for item in items {
                    match batches.last_mut() {
                        Some(last) if last.0.len() < MAX_GRANTS => last.0.push(item),
                        _ => batches.push(Self(vec![item])),
                    }
                }
                batches
            }

            /// The items.
            #[must_use]
            pub fn as_slice(&self) -> &[$item] {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $list {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                list::at_most::<MAX_GRANTS, _, _>(deserializer).map(Self)
            }
        }
    };
}

bounded_list!(Grants, SignedGrant);
bounded_list!(GrantAcks, GrantAck);
