use pilot_local_api::peers::{PeerView, PeersQuery};
use pilot_local_api::proto::Tag;

use super::{by, cell, millis, online};
use crate::Ctl;
use crate::failure::Failure;
use crate::ui::table;

/// See [`row`].
const HEADING: &str = "ADDRESS\tNAME\tTRUST\tONLINE\tPATH\tENDPOINT\tREASON\tSINCE\tRTT\tTAGS";

/// List the peers: trusted, asked, asking, and the public ones.
///
/// Shows by which path each is reached, since when and why, and how long a
/// round trip takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only nodes with this tag; repeatable, all must be there.
    #[arg(long, value_name = "K=V")]
    tag: Vec<Tag>,
}

pub(crate) async fn run(Args { tag }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let tags: Vec<String> = tag.iter().map(ToString::to_string).collect();
    let query = PeersQuery { tag: (!tags.is_empty()).then(|| tags.join(",")) };
    let peers = ctl.client.peers(&query).await?;
    if peers.is_empty() && !ctl.ui.json() {
        ctl.ui.say("no peers; to get one: pilotctl trust PEER");
        return Ok(());
    }
    ctl.ui.answer(&peers, |peers| table(HEADING, peers.iter().map(row)))
}

fn row(peer: &PeerView) -> String {
    let identity = &peer.identity;
    let tags: Vec<String> = peer.tags.iter().map(ToString::to_string).collect();
    let (trust, path) = (peer.trust.word(), peer.path.word());
    let (address, name) = (cell(identity.address), cell(identity.name.as_ref()));
    let (online, endpoint) = (online(peer.online), by(peer.endpoint.as_deref(), peer.transport));
    let (reason, since) = (cell(peer.path_reason.as_ref()), cell(peer.path_since.as_ref()));
    let (rtt, tags) = (cell(peer.rtt_us.map(millis)), tags.join(" "));
    format!(
        "{address}\t{name}\t{trust}\t{online}\t{path}\t{endpoint}\t{reason}\t{since}\t{rtt}\t{tags}"
    )
}
