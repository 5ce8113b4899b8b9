use pilot_local_api::identity::WhoAmI;

use crate::Ctl;
use crate::failure::Failure;
use crate::ui::pairs;

/// Show this node: address, name, public key, fingerprint, network, home.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(Args {}: Args, ctl: &Ctl) -> Result<(), Failure> {
    ctl.ui.answer(&ctl.client.whoami().await?, text)
}

fn text(node: &WhoAmI) -> String {
    let identity = &node.identity;
    let address = identity.address.map(|address| address.to_string());
    pairs([
        ("address", address.or_else(|| Some("none yet: not registered".to_owned()))),
        ("name", identity.name.as_ref().map(ToString::to_string)),
        ("public key", Some(identity.public_key.to_string())),
        ("fingerprint", Some(identity.fingerprint.to_string())),
        ("network", node.network.map(|network| network.to_string())),
        ("home", Some(node.home.clone())),
        ("daemon", Some(format!("{} (pid {})", node.version, node.pid))),
    ])
}
