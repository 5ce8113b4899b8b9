use pilot_flags::HumanDuration;
use pilot_local_api::proto::PeerRef;
use pilot_local_api::proto::identity::Fingerprint;
use pilot_local_api::trust::{Allowed, TrustRequest, TrustState, TrustView};

use super::super::called;
use super::ALLOWED;
use crate::Ctl;
use crate::failure::Failure;

/// Grant a peer trust, and ask for its own. Repeating it is harmless.
#[derive(Debug, clap::Args)]
#[group(id = "ask")]
pub(crate) struct Args {
    peer: PeerRef,
    /// Only if its key has this fingerprint, as its `pilotctl whoami` shows it.
    #[arg(long)]
    fingerprint: Option<Fingerprint>,
    /// What it may use here: tasks, data, events, messages [default: all of them].
    #[arg(long, value_delimiter = ',', value_name = "SERVICES", value_parser = allowed)]
    allow: Option<Vec<Allowed>>,
    /// After how long this grant ends by itself, such as 12h or 30d [default: never].
    #[arg(long, value_name = "DURATION")]
    expires: Option<HumanDuration>,
}

/// Text that is nothing a peer can be allowed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("choose from tasks, data, events, messages, with commas between")]
struct NotAllowable;

fn allowed(word: &str) -> Result<Allowed, NotAllowable> {
    let found = ALLOWED.into_iter().find(|(known, _)| *known == word);
    found.map(|(_, allowed)| allowed).ok_or(NotAllowable)
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let request = TrustRequest {
        peer: args.peer,
        fingerprint: args.fingerprint,
        allow: args.allow,
        expires_in_ms: args.expires.map(HumanDuration::as_millis),
    };
    let view = ctl.client.trust(&request).await?;
    ctl.ui.answer(&view, text)?;
    if view.state == TrustState::Requested && !ctl.ui.json() {
        let own = ctl.client.whoami().await.ok();
        let own = own.and_then(|node| node.identity.address).map(|address| address.to_string());
        let own = own.unwrap_or_else(|| "ADDRESS_OF_THIS_NODE".to_owned());
        ctl.ui.say(&format!("it becomes mutual once the peer says: pilotctl trust {own}"));
    }
    Ok(())
}

fn text(view: &TrustView) -> String {
    let (state, fingerprint) = (view.state.word(), &view.identity.fingerprint);
    format!("{state}  {}  fingerprint {fingerprint}", called(&view.identity))
}
