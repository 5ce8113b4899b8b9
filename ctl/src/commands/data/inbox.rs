use pilot_local_api::proto::PeerRef;
use pilot_local_api::transfers::{Direction, TransferState, TransferView, TransfersQuery};

use super::called;
use crate::Ctl;
use crate::commands::cell;
use crate::failure::Failure;
use crate::size;

/// Transfers that are asked for: the most that the daemon gives.
const LIMIT: u32 = 1000;

/// List what has been received and is complete, the newest first; at most 1000.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only what came from this peer.
    #[arg(long, value_name = "PEER")]
    from: Option<PeerRef>,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let received = ctl.client.transfers(&query(&args)).await?;
    if received.is_empty() && !ctl.ui.json() {
        ctl.ui.say("nothing in the inbox");
        return Ok(());
    }
    ctl.ui.answer(&received, |received| rows(received))
}

fn query(args: &Args) -> TransfersQuery {
    TransfersQuery {
        direction: Some(Direction::Received),
        peer: args.from.as_ref().map(ToString::to_string),
        state: Some(TransferState::Done),
        limit: Some(LIMIT),
    }
}

fn rows(views: &[TransferView]) -> String {
    let row = |view: &TransferView| {
        let (id, from, at) = (view.id, called(view), cell(view.ended_at.as_ref()));
        let (files, bytes) = (view.files, size::bytes(view.bytes));
        format!("{id}\t{from}\t{at}\t{files}\t{bytes}")
    };
    super::rows("ID\tFROM\tRECEIVED\tFILES\tSIZE", views, row)
}

#[cfg(test)]
mod tests {
    use super::super::tests::view;
    use super::*;

    #[test]
    fn the_daemon_is_asked_for_what_is_whole_and_of_one_peer() {
        let asked = |from: Option<&str>| {
            let from = from.map(|peer| peer.parse().unwrap());
            serde_json::to_string(&query(&Args { from })).unwrap()
        };

        let all = r#"{"direction":"received","state":"done","limit":1000}"#;
        assert_eq!(asked(None), all);
        let one = all.replace(r#","state""#, r#","peer":"backend","state""#);
        assert_eq!(asked(Some("backend")), one);
    }

    #[test]
    fn a_row_says_who_sent_what_and_when() {
        let text = serde_json::to_string(&view(TransferState::Done)).unwrap();
        let ended = text.replace("{\"id\"", "{\"ended_at\":\"2026-02-09T12:00:09.000Z\",\"id\"");

        let shown = rows(&[serde_json::from_str(&ended).unwrap()]);

        let row: Vec<&str> =
            shown.lines().nth(1).unwrap().split("  ").filter(|part| !part.is_empty()).collect();
        assert_eq!(row[0], "01890a5d-ac96-774b-bcce-b302099a8057");
        let wanted = ["backend (1:0001.0000.0002)", "2026-02-09T12:00:09.000Z", "2", "3.4 MB"];
        assert_eq!(row[1..5].iter().map(|cell| cell.trim()).collect::<Vec<_>>(), wanted);
        assert_eq!(row[5].trim(), "src");
    }
}
