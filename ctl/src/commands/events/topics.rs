use pilot_local_api::events::{InterestView, TopicView, TopicsView};

use crate::Ctl;
use crate::failure::Failure;
use crate::shown;
use crate::ui::table;

/// Characters of a topic, or of all that a peer wants, in a row.
const WIDTH: usize = 80;

/// List what was published about since the daemon's start, and who listens
///
/// FROM is who published it, COUNT how many events there were, LAST when the last one was
/// published, KEPT whether its value is kept for those who come later.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {}

pub(crate) async fn run(Args {}: Args, ctl: &Ctl) -> Result<(), Failure> {
    ctl.ui.answer(&ctl.client.topics().await?, text)
}

fn text(view: &TopicsView) -> String {
    let mut parts = Vec::new();
    if !view.topics.is_empty() {
        parts.push(table("TOPIC\tFROM\tCOUNT\tLAST\tKEPT", view.topics.iter().map(topic)));
    }
    if !view.peers.is_empty() {
        parts.push(table("PEER\tLISTENS\tWANTS", view.peers.iter().map(peer)));
    }
    parts.push(format!("subscribers on this node: {}", view.subscribers));
    parts.join("\n\n")
}

fn topic(view: &TopicView) -> String {
    let TopicView { topic, from, from_name, count, last_at, retained } = view;
    let from = called(from, from_name.as_ref());
    let kept = if *retained { "yes" } else { "no" };
    format!("{}\t{from}\t{count}\t{last_at}\t{kept}", shown::short(topic, WIDTH))
}

fn peer(view: &InterestView) -> String {
    let InterestView { peer, peer_name, topics, listening } = view;
    let peer = called(peer, peer_name.as_ref());
    let listens = if *listening { "now" } else { "later" };
    format!("{peer}\t{listens}\t{}", shown::short(&topics.join(" "), WIDTH))
}

/// A node as people call it.
fn called(address: &str, name: Option<&String>) -> String {
    match name {
        Some(name) => format!("{} ({})", shown::line(name), shown::line(address)),
        None => shown::line(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_listeners_are_rows() {
        let view: TopicsView = serde_json::from_str(
            r#"{"topics":[{"topic":"a.b","from":"1:0001.0000.0002","from_name":"qa","count":3,
                "last_at":"2026-02-09T12:00:00.000Z","retained":true}],
                "peers":[{"peer":"1:0001.0000.0003","topics":["a.*","\u001b[2J"],
                "listening":false}],"subscribers":2}"#,
        )
        .unwrap();

        let lines: Vec<Vec<String>> = text(&view)
            .lines()
            .map(|line| line.split("  ").map(|cell| cell.trim().to_owned()).collect())
            .map(|cells: Vec<String>| cells.into_iter().filter(|cell| !cell.is_empty()).collect())
            .collect();

        let wanted: [&[&str]; 6] = [
            &["TOPIC", "FROM", "COUNT", "LAST", "KEPT"],
            &["a.b", "qa (1:0001.0000.0002)", "3", "2026-02-09T12:00:00.000Z", "yes"],
            &[],
            &["PEER", "LISTENS", "WANTS"],
            &["1:0001.0000.0003", "later", "a.* \\u{1b}[2J"],
            &[],
        ];
        assert_eq!(lines[..6], wanted);
        assert_eq!(lines[6], ["subscribers on this node: 2"]);
    }
}
