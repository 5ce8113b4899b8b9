//! What the daemon does for its users and for its peers, between the local
//! API above and the overlay below.

mod all;
pub(crate) mod data;
mod directory;
pub(crate) mod events;
mod ledger;
mod links;
pub(crate) mod messages;
pub(crate) mod network;
pub(crate) mod polo;
pub(crate) mod port_mapping;
pub(crate) mod receipts;
pub(crate) mod tasks;
mod trust;
mod watch;

pub(crate) use all::{Ground, Services};
pub(crate) use directory::{Directory, FindError};
pub(crate) use trust::{LoadError, TrustError, TrustService};
pub(crate) use watch::Watch;
