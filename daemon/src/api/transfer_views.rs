//! Transfers as the API shows them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use pilot_files::{Blame, Direction as Way, Ending, Transfer};
use pilot_local_api::Time;
use pilot_local_api::transfers::{
    Direction, PathText, TransferProblem, TransferState, TransferView,
};

use pilot_proto::data::DataRefusal;

use crate::node::Node;

pub(super) fn view(node: &Node, transfer: &Transfer) -> TransferView {
    let peer = node.peer_identity(transfer.peer);
    let progress = node.data().progress(transfer);
    TransferView {
        id: transfer.id,
        direction: match transfer.direction {
            Way::Sent => Direction::Sent,
            Way::Received => Direction::Received,
        },
        peer: peer.label(),
        peer_name: peer.name.map(|name| name.to_string()),
        state: state(node, transfer),
        label: transfer.label.clone(),
        task: transfer.task,
        files: transfer.totals.files.into(),
        folders: transfer.totals.folders.into(),
        links: transfer.totals.links.into(),
        bytes: transfer.totals.bytes,
        bytes_done: progress.bytes,
        files_done: progress.files.into(),
        limit: transfer.limit,
        names: transfer
            .names
            .iter()
            .map(|name| PathText::from(OsStr::from_bytes(name.as_bytes())))
            .collect(),
        folder: node.data().folder(transfer).map(PathText::from),
        created_at: Time::from(transfer.created),
        ended_at: transfer.ended().map(|(at, _)| Time::from(at)),
        error: transfer.ended().and_then(|(_, ending)| problem(ending)),
        trouble: node.data().trouble(transfer).map(|trouble| TransferProblem {
            code: trouble_code(trouble.code).to_owned(),
            message: trouble.reason,
        }),
    }
}

fn state(node: &Node, transfer: &Transfer) -> TransferState {
    match (transfer.ended(), transfer.direction) {
        (Some((_, Ending::Complete)), _) => TransferState::Done,
        (Some((_, Ending::Failed { .. })), _) => TransferState::Failed,
        (Some((_, Ending::Cancelled)), _) => TransferState::Cancelled,
        (Some((_, Ending::Expired)), _) => TransferState::Expired,
        (None, Way::Received) => TransferState::Receiving,
        (None, Way::Sent) if node.data().is_talked_about(transfer.id) => TransferState::Sending,
        (None, Way::Sent) => TransferState::Waiting,
    }
}

fn problem(ending: &Ending) -> Option<TransferProblem> {
    let (code, message) = match ending {
        Ending::Complete => return None,
        Ending::Failed { blame, reason } => {
            let code = match blame {
                Blame::Source => "source_failed",
                Blame::Receiver => "refused",
                Blame::Sender => "invalid",
                Blame::Trust => "not_trusted",
            };
            (code, reason.as_str())
        }
        Ending::Cancelled => ("cancelled", "it was cancelled"),
        Ending::Expired => ("expired", "its time was over"),
    };
    Some(TransferProblem { code: code.to_owned(), message: message.to_owned() })
}

const fn trouble_code(code: DataRefusal) -> &'static str {
    match code {
        DataRefusal::Quota | DataRefusal::TooLarge => "quota_exceeded",
        DataRefusal::DiskFull => "disk_full",
        DataRefusal::NotAllowed => "not_allowed",
        DataRefusal::Internal => "receiver_failed",
        DataRefusal::Invalid
        | DataRefusal::Conflict
        | DataRefusal::Cancelled
        | DataRefusal::Unknown => "refused",
    }
}
