use pilot_local_api::proto::PeerRef;
use pilot_local_api::transfers::{Direction, TransferState, TransferView, TransfersQuery};

use super::{called, state};
use crate::Ctl;
use crate::failure::Failure;
use crate::size;

/// Transfers that are asked for: the most that the daemon gives.
const LIMIT: u32 = 1000;

/// List transfers, sent and received, the newest first; at most 1000.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those that were sent from here.
    #[arg(long, conflicts_with = "received")]
    sent: bool,
    /// Only those that were received here.
    #[arg(long)]
    received: bool,
    /// Only those to or from this peer.
    #[arg(long, value_name = "PEER")]
    peer: Option<PeerRef>,
    /// Only those in this state: waiting, sending, receiving, done, failed, cancelled, expired.
    #[arg(long)]
    state: Option<TransferState>,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let transfers = ctl.client.transfers(&query(&args)).await?;
    if transfers.is_empty() && !ctl.ui.json() {
        ctl.ui.say("no such transfers");
        return Ok(());
    }
    ctl.ui.answer(&transfers, |transfers| rows(transfers))
}

fn query(args: &Args) -> TransfersQuery {
    let direction = match (args.sent, args.received) {
        (true, _) => Some(Direction::Sent),
        (false, true) => Some(Direction::Received),
        (false, false) => None,
    };
    let peer = args.peer.as_ref().map(ToString::to_string);
    TransfersQuery { direction, peer, state: args.state, limit: Some(LIMIT) }
}

fn rows(views: &[TransferView]) -> String {
    let row = |view: &TransferView| {
        let (id, direction, state) = (view.id, view.direction.word(), state(view));
        let (peer, created, files) = (called(view), &view.created_at, view.files);
        let (done, bytes) = (done(view), size::bytes(view.bytes));
        format!("{id}\t{direction}\t{state}\t{peer}\t{created}\t{files}\t{bytes}\t{done}")
    };
    let heading = "ID\tDIRECTION\tSTATE\tPEER\tCREATED\tFILES\tSIZE\tDONE";
    super::rows(heading, views, row)
}

/// How much of it has arrived; all of it only once it is done.
fn done(view: &TransferView) -> String {
    let (arrived, all) = (u128::from(view.bytes_done), u128::from(view.bytes));
    let percent = match (view.state, (arrived * 100).checked_div(all)) {
        (TransferState::Done, _) => 100,
        (_, Some(percent)) => percent.min(99),
        (_, None) => 0,
    };
    format!("{percent} %")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use pilot_local_api::transfers::TransferProblem;

    use super::super::tests::view;
    use super::*;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_flags_narrow_what_is_asked_for() {
        let asked = |words: &[&str]| {
            let words = Words::try_parse_from([&["list"], words].concat()).ok()?;
            let TransfersQuery { direction, peer, state, limit } = query(&words.args);
            assert_eq!(limit, Some(1000));
            Some((direction, peer, state))
        };

        assert_eq!(asked(&[]), Some((None, None, None)));
        assert_eq!(asked(&["--sent"]), Some((Some(Direction::Sent), None, None)));
        let failed = Some((Some(Direction::Received), None, Some(TransferState::Failed)));
        assert_eq!(asked(&["--received", "--state", "failed"]), failed);
        assert_eq!(asked(&["--peer", "backend"]), Some((None, Some("backend".to_owned()), None)));
        assert_eq!(asked(&["--sent", "--received"]), None);
        assert_eq!(asked(&["--peer", "no peer"]), None);
        assert_eq!(asked(&["--state", "lost"]), None);
    }

    #[test]
    fn only_what_is_done_is_whole() {
        let of =
            |state, bytes_done, bytes| done(&TransferView { bytes_done, bytes, ..view(state) });

        assert_eq!(of(TransferState::Sending, 1, 2), "50 %");
        assert_eq!(of(TransferState::Sending, 2, 2), "99 %");
        assert_eq!(of(TransferState::Waiting, 0, 0), "0 %");
        assert_eq!(of(TransferState::Done, 0, 0), "100 %");
        assert_eq!(of(TransferState::Failed, u64::MAX, 1), "99 %");
    }

    #[test]
    fn a_row_says_why_a_transfer_failed() {
        let problem = TransferProblem { code: "disk_full".to_owned(), message: "full".to_owned() };
        let failed = TransferView { error: Some(problem), ..view(TransferState::Failed) };

        let shown = rows(&[failed]);

        assert!(shown.contains("failed (disk_full)"), "{shown}");
        assert!(shown.lines().nth(1).unwrap().ends_with("3.4 MB  50 %  src"), "{shown}");
    }
}
