use clap::Subcommand;
use pilot_local_api::events::RelayRule;
use pilot_local_api::proto::{PeerRef, TopicFilter};

use crate::Ctl;
use crate::failure::Failure;
use crate::shown;
use crate::ui::table;

/// Let peers hear each other through this node. Without a rule, none does
///
/// An event that is handed on is signed by who published it; subscribers check that, and see
/// through whom it came ("via"). Both peers must trust this node, and need not know each other.
///
/// Examples:
///   pilotctl events relay add --from backend --to qa --topic "specialist.*"
///   pilotctl events relay list
///   pilotctl events relay rm --from backend --to qa --topic "specialist.*"
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the rules.
    List,
    /// Let one peer hear what another publishes.
    Add(Rule),
    /// End that. What was handed on already stays where it is.
    Rm(Rule),
}

#[derive(Debug, clap::Args)]
struct Rule {
    /// Who publishes.
    #[arg(long, value_name = "PEER")]
    from: PeerRef,
    /// Who may hear it.
    #[arg(long, value_name = "PEER")]
    to: PeerRef,
    /// What about, such as "specialist.*".
    #[arg(long)]
    topic: TopicFilter,
}

pub(crate) async fn run(Args { command }: Args, ctl: &Ctl) -> Result<(), Failure> {
    match command {
        Command::List => list(ctl).await,
        Command::Add(given) => {
            let rule = ctl.client.add_relay(&asked(&given)).await?;
            ctl.ui.answer(&rule, |rule| {
                let (from, to, topic) = shown_parts(&given, rule);
                format!("{to} may now hear what {from} publishes about {topic}, through this node")
            })
        }
        Command::Rm(given) => {
            let rule = asked(&given);
            ctl.client.remove_relay(&rule).await?;
            ctl.ui.answer(&rule, |rule| {
                let (from, to, topic) = shown_parts(&given, rule);
                format!(
                    "{to} hears no more of what {from} publishes about {topic} through this node"
                )
            })
        }
    }
}

async fn list(ctl: &Ctl) -> Result<(), Failure> {
    let rules = ctl.client.relays().await?;
    if rules.is_empty() && !ctl.ui.json() {
        ctl.ui.say("no rules: no peer hears another through this node");
        return Ok(());
    }
    ctl.ui.answer(&rules, |rules| table("FROM\tTO\tTOPIC", rules.iter().map(row)))
}

fn asked(rule: &Rule) -> RelayRule {
    let Rule { from, to, topic } = rule;
    RelayRule { from: from.to_string(), to: to.to_string(), topic: topic.clone() }
}

/// Both peers as they were called and by their addresses, and the topic.
fn shown_parts(given: &Rule, rule: &RelayRule) -> (String, String, String) {
    let called = |given: String, known: &str| {
        if given == known { given } else { format!("{given} ({})", shown::line(known)) }
    };
    let from = called(given.from.to_string(), &rule.from);
    let to = called(given.to.to_string(), &rule.to);
    (from, to, shown::line(&rule.topic.to_string()))
}

fn row(rule: &RelayRule) -> String {
    let topic = rule.topic.to_string();
    [&rule.from, &rule.to, &topic].map(|part| shown::line(part)).join("\t")
}
