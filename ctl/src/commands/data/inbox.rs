use pilot_local_api::peers::ResolveView;
use pilot_local_api::proto::PeerRef;
use pilot_local_api::proto::identity::NodeId;
use pilot_local_api::transfers::{Direction, TransferState, TransferView, TransfersQuery};

use super::{called, what};
use crate::Ctl;
use crate::commands::cell;
use crate::failure::Failure;
use crate::size;
use crate::ui::table;

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
    let from = match &args.from {
        Some(peer) => Some(ctl.client.resolve(peer).await?),
        None => None,
    };
    let mut received = ctl.client.transfers(&query()).await?;
    received.retain(|view| from.as_ref().is_none_or(|peer| is_from(view, peer)));
    if received.is_empty() && !ctl.ui.json() {
        ctl.ui.say("nothing in the inbox");
        return Ok(());
    }
    ctl.ui.answer(&received, |received| rows(received))
}

const fn query() -> TransfersQuery {
    TransfersQuery {
        peer: None,
        direction: Some(Direction::Received),
        state: Some(TransferState::Done),
        limit: Some(LIMIT),
    }
}

/// Whether the peer sent it: by its address, or by its key as long as it had none.
fn is_from(view: &TransferView, peer: &ResolveView) -> bool {
    let by_address = peer.address.is_some_and(|address| view.peer == address.to_string());
    let by_key = |key: &NodeId| view.peer == key.to_string() || view.peer == key.short();
    by_address || peer.public_key.as_ref().is_some_and(by_key)
}

fn rows(views: &[TransferView]) -> String {
    let row = |view: &TransferView| {
        let (id, from, at) = (view.id, called(view), cell(view.ended_at.as_ref()));
        let (files, bytes, what) = (view.files, size::bytes(view.bytes), what(view));
        format!("{id}\t{from}\t{at}\t{files}\t{bytes}\t{what}")
    };
    table("ID\tFROM\tRECEIVED\tFILES\tSIZE\tWHAT", views.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::super::tests::view;
    use super::*;

    #[test]
    fn a_peer_is_recognised_by_address_and_by_key_and_not_by_its_name() {
        let mut key = [0x66; 32];
        key[0] = 0x58;
        let key = NodeId::from_bytes(key).unwrap();
        let peer = |address: &str, key: Option<String>| -> ResolveView {
            let key = key.map(|key| format!(r#","public_key":"{key}""#)).unwrap_or_default();
            let text = format!(
                r#"{{"address":"{address}","visible":true,"name":"backend","trust":"trusted"{key}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let mut came = view(TransferState::Done);

        assert!(is_from(&came, &peer("1:0001.0000.0002", None)));
        assert!(!is_from(&came, &peer("1:0001.0000.0003", Some(key.to_string()))));
        for written in [key.to_string(), key.short()] {
            came.peer = written;
            assert!(is_from(&came, &peer("1:0001.0000.0002", Some(key.to_string()))));
            assert!(!is_from(&came, &peer("1:0001.0000.0002", None)));
        }
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
