use pilot_local_api::peers::ResolveView;
use pilot_local_api::proto::PeerRef;

use super::online;
use crate::Ctl;
use crate::failure::Failure;
use crate::ui::pairs;

/// Show what this node may know of a peer: address, name, key, tags, online, polo, path.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    peer: PeerRef,
}

pub(crate) async fn run(Args { peer }: Args, ctl: &Ctl) -> Result<(), Failure> {
    ctl.ui.answer(&ctl.client.resolve(&peer).await?, text)
}

fn text(peer: &ResolveView) -> String {
    let hidden = "private: it shows more to nodes that it trusts";
    let tags: Vec<String> = peer.tags.iter().map(ToString::to_string).collect();
    pairs([
        ("address", peer.address.map(|address| address.to_string())),
        ("name", peer.name.as_ref().map(ToString::to_string)),
        ("public key", peer.public_key.map(|key| key.to_string())),
        ("fingerprint", peer.fingerprint.map(|fingerprint| fingerprint.to_string())),
        ("tags", (!tags.is_empty()).then(|| tags.join(" "))),
        ("online", peer.visible.then(|| online(peer.online).to_owned())),
        ("polo", peer.polo.map(|polo| polo.to_string())),
        ("path", peer.path.map(|path| path.word().to_owned())),
        ("trust", Some(peer.trust.word().to_owned())),
        ("last seen", peer.last_seen.as_ref().map(ToString::to_string)),
        ("visible", (!peer.visible).then(|| hidden.to_owned())),
    ])
}
