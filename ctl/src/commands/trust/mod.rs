mod ask;
mod check;
mod list;
mod pending;
mod show;

use clap::Subcommand;
use pilot_local_api::trust::{Allowed, TrustView};

use super::{called, cell};
use crate::Ctl;
use crate::failure::Failure;
use crate::ui::{pairs, table};

/// Trust a peer, or look at trust. Trust is mutual once both sides have said so.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    look: Option<Look>,
    #[command(flatten)]
    ask: Option<ask::Args>,
}

#[derive(Debug, Subcommand)]
enum Look {
    List(list::Args),
    Pending(pending::Args),
    Show(show::Args),
    Check(check::Args),
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    match (args.look, args.ask) {
        (Some(Look::List(args)), _) => list::run(args, ctl).await,
        (Some(Look::Pending(args)), _) => pending::run(args, ctl).await,
        (Some(Look::Show(args)), _) => show::run(args, ctl).await,
        (Some(Look::Check(args)), _) => check::run(args, ctl).await,
        (None, Some(args)) => ask::run(args, ctl).await,
        (None, None) => Err(Failure::usage("a peer is needed: pilotctl trust PEER")),
    }
}

/// What a peer can be allowed to use, by its word.
const ALLOWED: [(&str, Allowed); 4] = [
    ("tasks", Allowed::Tasks),
    ("data", Allowed::Data),
    ("events", Allowed::Events),
    ("messages", Allowed::Messages),
];

fn words(allowed: &[Allowed]) -> String {
    let word = |wanted: &Allowed| {
        let found = ALLOWED.iter().find(|(_, allowed)| allowed == wanted);
        found.map_or("", |(word, _)| word)
    };
    if allowed.is_empty() {
        return "nothing".to_owned();
    }
    allowed.iter().map(word).collect::<Vec<_>>().join(",")
}

/// One peer, whole.
fn whole(view: &TrustView) -> String {
    pairs([
        ("peer", Some(called(&view.identity))),
        ("state", Some(view.state.word().to_owned())),
        ("public key", Some(view.identity.public_key.to_string())),
        ("fingerprint", Some(view.identity.fingerprint.to_string())),
        ("it may use here", Some(words(&view.i_allow))),
        ("this node may use there", Some(words(&view.they_allow))),
        ("expires", view.expires_at.as_ref().map(ToString::to_string)),
    ])
}

/// Several peers.
fn rows(views: &[TrustView]) -> String {
    let row = |view: &TrustView| {
        let (address, name) = (cell(view.identity.address), cell(view.identity.name.as_ref()));
        let (state, fingerprint) = (view.state.word(), &view.identity.fingerprint);
        let (allows, expires) = (words(&view.i_allow), cell(view.expires_at.as_ref()));
        format!("{address}\t{name}\t{state}\t{allows}\t{expires}\t{fingerprint}")
    };
    table("ADDRESS\tNAME\tSTATE\tALLOWS\tEXPIRES\tFINGERPRINT", views.iter().map(row))
}
