use clap::Subcommand;
use pilot_local_api::events::CursorView;

use crate::Ctl;
use crate::commands::cell;
use crate::failure::Failure;
use crate::shown;
use crate::ui::table;

/// Characters of all that a name wants, in a row.
const WIDTH: usize = 80;

/// List the named subscriptions (subscribe --durable NAME), or remove one
///
/// BEHIND is how many events of this node it has not acknowledged, at the most. Peers keep what
/// is published for a named subscription until it is fetched, as far as their log reaches;
/// remove one that nobody uses any more.
///
/// Examples:
///   pilotctl events cursors
///   pilotctl events cursors rm audit
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them (as without a word).
    List,
    /// Forget named subscriptions that nobody reads by now.
    Rm {
        #[arg(required = true)]
        name: Vec<String>,
    },
}

pub(crate) async fn run(Args { command }: Args, ctl: &Ctl) -> Result<(), Failure> {
    match command {
        None | Some(Command::List) => list(ctl).await,
        Some(Command::Rm { name: names }) => {
            for name in &names {
                ctl.client.remove_event_cursor(name).await?;
            }
            ctl.ui.answer(&names, |names| {
                names.iter().map(|name| format!("{}  removed\n", shown::line(name))).collect()
            })
        }
    }
}

async fn list(ctl: &Ctl) -> Result<(), Failure> {
    let cursors = ctl.client.event_cursors().await?;
    if cursors.is_empty() && !ctl.ui.json() {
        ctl.ui.say("no named subscriptions");
        return Ok(());
    }
    ctl.ui.answer(&cursors, |cursors| {
        table("NAME\tIN USE\tBEHIND\tFROM\tWANTS", cursors.iter().map(row))
    })
}

fn row(cursor: &CursorView) -> String {
    let CursorView { name, topics, from, in_use, behind } = cursor;
    let in_use = if *in_use { "yes" } else { "no" };
    let (name, wants) = (shown::line(name), shown::short(&topics.join(" "), WIDTH));
    let from = cell(from.as_ref().map(|from| shown::line(from)));
    format!("{name}\t{in_use}\t{behind}\t{from}\t{wants}")
}
