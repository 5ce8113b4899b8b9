use core::cmp::{Ordering, Reverse};

use pilot_local_api::peers::{PeerView, PeersQuery};
use pilot_local_api::proto::Tag;

use super::{by, cell, millis, online};
use crate::Ctl;
use crate::failure::Failure;
use crate::ui::table;

/// See [`row`].
const HEADING: &str =
    "ADDRESS\tNAME\tTRUST\tONLINE\tPOLO\tPATH\tENDPOINT\tREASON\tSINCE\tRTT\tTAGS";

/// List the peers: trusted, asked, asking, and the public ones.
///
/// Shows by which path each is reached, since when and why, and how long a
/// round trip takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only nodes with this tag; repeatable, all must be there.
    #[arg(long, value_name = "K=V")]
    tag: Vec<Tag>,
    /// In which order; peers without the value come last.
    #[arg(long, value_name = "COLUMN")]
    sort: Option<Column>,
}

/// By what peers can be sorted.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Column {
    /// The highest first.
    Polo,
    /// By the alphabet.
    Name,
    /// In the order in which they were given.
    Address,
}

pub(crate) async fn run(Args { tag, sort }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let tags: Vec<String> = tag.iter().map(ToString::to_string).collect();
    let query = PeersQuery { tag: (!tags.is_empty()).then(|| tags.join(",")) };
    let mut peers = ctl.client.peers(&query).await?;
    if let Some(column) = sort {
        peers.sort_by(|one, other| compare(one, other, column));
    }
    if peers.is_empty() && !ctl.ui.json() {
        ctl.ui.say("no peers; to get one: pilotctl trust PEER");
        return Ok(());
    }
    ctl.ui.answer(&peers, |peers| table(HEADING, peers.iter().map(row)))
}

fn compare(one: &PeerView, other: &PeerView, column: Column) -> Ordering {
    let (this, that) = (&one.identity, &other.identity);
    match column {
        Column::Polo => missing_last(one.polo.map(Reverse), other.polo.map(Reverse)),
        Column::Name => missing_last(this.name.as_ref(), that.name.as_ref()),
        Column::Address => missing_last(this.address, that.address),
    }
}

fn missing_last<T: Ord>(one: Option<T>, other: Option<T>) -> Ordering {
    one.is_none().cmp(&other.is_none()).then(one.cmp(&other))
}

fn row(peer: &PeerView) -> String {
    let identity = &peer.identity;
    let tags: Vec<String> = peer.tags.iter().map(ToString::to_string).collect();
    let (trust, path) = (peer.trust.word(), peer.path.word());
    let (address, name) = (cell(identity.address), cell(identity.name.as_ref()));
    let (online, endpoint) = (online(peer.online), by(peer.endpoint.as_deref(), peer.transport));
    let polo = cell(peer.polo);
    let (reason, since) = (cell(peer.path_reason.as_ref()), cell(peer.path_since.as_ref()));
    let (rtt, tags) = (cell(peer.rtt_us.map(millis)), tags.join(" "));
    format!(
        "{address}\t{name}\t{trust}\t{online}\t{polo}\t{path}\t{endpoint}\t{reason}\t{since}\t{rtt}\t{tags}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_without_a_value_come_last_in_any_order() {
        let mut polos = [Some(3), None, Some(47), Some(-1)];

        polos.sort_by(|one, other| missing_last(one.map(Reverse), other.map(Reverse)));
        assert_eq!(polos, [Some(47), Some(3), Some(-1), None]);
        polos.sort_by(|one, other| missing_last(*one, *other));
        assert_eq!(polos, [Some(-1), Some(3), Some(47), None]);
    }
}
