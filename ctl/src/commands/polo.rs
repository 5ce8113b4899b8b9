use pilot_local_api::polo::{OwnFigures, PoloDay, PoloPart, PoloView, Quantiles, Strangers};
use pilot_local_api::proto::PeerRef;

use super::called;
use crate::Ctl;
use crate::failure::Failure;
use crate::shown;
use crate::ui::{pairs, table};

/// Show how well a peer works: its polo, and what this node itself has seen of it.
///
/// Polo is counted by the rendezvous from receipts that both sides of a task
/// signed. Success earns, the more so if it comes sooner than is usual for that
/// peer and kind of task; failures and abandoned tasks cost; all of it fades.
/// Each submitter that this node trusts, and this node itself, can add up to
/// 100; all others together up to 10.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    peer: PeerRef,
    /// Show what each submitter adds.
    #[arg(long)]
    explain: bool,
    /// Show the tasks that ended on each of the last 90 days.
    #[arg(long)]
    history: bool,
}

pub(crate) async fn run(Args { peer, explain, history }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let view = ctl.client.polo(&peer).await?;
    ctl.ui.answer(&view, |view| {
        let mut text = summary(view);
        if explain {
            text.push_str(&explained(view));
        }
        if history {
            text.push_str(&days(&view.history));
        }
        text
    })
}

fn summary(view: &PoloView) -> String {
    let why = view.problem.as_ref().map(|why| format!("unknown: {}", shown::line(why)));
    let OwnFigures { submitted, succeeded, failed, expired, .. } = view.own;
    let rate = view.own.success_rate.map(|rate| format!(" ({:.1} % succeeded)", rate * 100.0));
    pairs([
        ("peer", Some(called(&view.identity))),
        ("polo", view.polo.map(|polo| polo.to_string()).or(why)),
        (
            "own tasks",
            Some(format!(
                "{submitted} submitted, {succeeded} succeeded, {failed} failed, {expired} expired{}",
                rate.unwrap_or_default()
            )),
        ),
        ("run time", view.own.run.map(quantiles)),
        ("accepted after", view.own.accept.map(quantiles)),
    ])
}

fn quantiles(Quantiles { p50_ms, p95_ms }: Quantiles) -> String {
    format!("p50 {p50_ms} ms, p95 {p95_ms} ms")
}

fn explained(view: &PoloView) -> String {
    let mut text = String::new();
    if !view.parts.is_empty() {
        text.push('\n');
        text.push_str(&table(HEADING, view.parts.iter().map(row)));
        text.push('\n');
    }
    if view.more > 0 {
        text.push_str(&format!("{} more add {:+.1}\n", view.more, view.more_adds));
    }
    let Strangers { submitters, adds, cap } = view.strangers;
    if submitters > 0 {
        text.push_str(&format!(
            "submitters that this node does not trust: {submitters}, which add {adds:+.1} of at \
             most {cap:.0}\n"
        ));
    }
    text
}

/// See [`row`].
const HEADING: &str = "SUBMITTER\tADDS\tSUM\tSUCCEEDED\tFAILED\tABANDONED\tPROMPTNESS";

fn row(part: &PoloPart) -> String {
    let PoloPart { succeeded, failed, abandoned, sum, promptness, adds, .. } = part;
    let who = called(&part.identity);
    format!("{who}\t{adds:+.1}\t{sum:.1}\t{succeeded}\t{failed}\t{abandoned}\t{promptness:.2}")
}

fn days(days: &[PoloDay]) -> String {
    if days.is_empty() {
        return "\nnothing ended in the last 90 days\n".to_owned();
    }
    let rows = days.iter().map(|PoloDay { date, succeeded, failed, abandoned }| {
        format!("{date}\t{succeeded}\t{failed}\t{abandoned}")
    });
    format!("\n{}\n", table("DATE\tSUCCEEDED\tFAILED\tABANDONED", rows))
}
