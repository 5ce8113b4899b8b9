//! What a node's shell does about files, and how they get to the other node.

use pilot_identity::Digest;
use pilot_proto::tasks::{Attached, ResultBody};
use pilot_proto::text::Text;
use pilot_proto::{TaskId, TransferId};
use pilot_tasks::{Work, WorkOutcome};

use super::actors::task_id;
use super::{Crash, Side, World, index};
use crate::disk::Way;
use crate::scenario::Files;

const fn other(side: Side) -> Side {
    match side {
        Side::Submitter => Side::Worker,
        Side::Worker => Side::Submitter,
    }
}

impl World {
    /// Begins a transfer, which goes on by itself from then on. A crash before
    /// a record answers for it leaves it among the strays.
    pub(super) fn begin_transfer(&mut self, side: Side) -> Result<Attached, Crash> {
        self.transfers += 1;
        let transfer = TransferId::from_bytes([self.transfers; 16]);
        self.point(side)?;
        self.disks[index(side)].strays.insert(transfer);
        self.point(side)?;
        self.disks[index(side)].transfers.insert(transfer, Way::Moving);
        self.point(side)?;
        Ok(Attached { transfer, manifest_hash: [1; 32], files: 1, bytes: 1 })
    }

    /// What a node does at its start, before anybody asks anything of it.
    pub(super) fn cancel_strays(&mut self, side: Side) {
        let disk = &mut self.disks[index(side)];
        for transfer in disk.strays.clone() {
            disk.cancel(transfer);
        }
    }

    /// Moves one transfer to its end.
    pub(super) fn files_move(&mut self) -> Result<bool, Crash> {
        for side in [Side::Submitter, Side::Worker] {
            let becomes = match side {
                Side::Submitter => self.scenario.task_files,
                Side::Worker => self.scenario.result_files,
            };
            let transfers = &self.disks[index(side)].transfers;
            let moving = transfers.iter().find(|(_, way)| **way == Way::Moving);
            let Some((transfer, way)) = moving.map(|(id, _)| *id).zip(becomes) else { continue };
            let ended = match way {
                Files::Wait => continue,
                Files::Fail => Way::Failed,
                Files::Arrive => {
                    self.point(other(side))?;
                    self.disks[index(other(side))].inbox.insert(transfer);
                    self.point(other(side))?;
                    Way::Complete
                }
            };
            self.point(side)?;
            self.disks[index(side)].transfers.insert(transfer, ended);
            self.point(side)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Tells the machines of transfers that have ended.
    pub(super) fn look_at_files(&mut self) -> Result<bool, Crash> {
        let id = task_id();
        let waits = self.submitter.task(&id).and_then(|task| task.awaits_files().copied());
        if let Some(arrived) = waits.and_then(|files| self.has_arrived(Side::Submitter, &files)) {
            match arrived {
                true => self.submitter.handle_files_arrived(&id, self.now),
                false => self.submitter.handle_files_failed(&id, "its files failed", self.now),
            }
            self.drain(Side::Submitter, None)?;
            return Ok(true);
        }
        let waits = self.worker.task(&id).and_then(|task| task.awaits_files().copied());
        let Some(arrived) = waits.and_then(|files| self.has_arrived(Side::Worker, &files)) else {
            return Ok(false);
        };
        let mut body = None;
        if arrived {
            self.worker.handle_files_arrived(&id, self.now);
        } else {
            let (rest, bytes) = rest();
            body = self.worker.handle_files_failed(&id, &rest, self.now).then_some((id, bytes));
        }
        self.drain(Side::Worker, body)?;
        Ok(true)
    }

    /// None while the transfer goes on.
    fn has_arrived(&self, side: Side, files: &Attached) -> Option<bool> {
        match self.disks[index(side)].transfers.get(&files.transfer) {
            Some(Way::Moving) => None,
            Some(Way::Complete) => Some(true),
            Some(Way::Failed | Way::Cancelled) | None => Some(false),
        }
    }

    /// Whoever hears of a task or a result has its files.
    pub(super) fn check_has_files(&self, hears: Side, id: &TaskId) {
        let freight = match hears {
            Side::Worker => self.disks[0].submitted(id).and_then(|task| task.freight),
            Side::Submitter => self.disks[1].received(id).and_then(|task| task.freight),
        };
        if let Some(freight) = freight {
            let inbox = &self.disks[index(hears)].inbox;
            assert!(inbox.contains(&freight.attached.transfer), "a message without its files");
        }
    }
}

/// What is left of a result whose files did not get there.
fn rest() -> (Work, Vec<u8>) {
    let reason = "its files failed".to_owned();
    let body = ResultBody {
        data: "-done".into(),
        reason: Text::clipped(&reason),
        ..ResultBody::default()
    };
    let bytes = postcard::to_allocvec(&body).unwrap();
    let (digest, len) = (Digest::of(&bytes), bytes.len() as u64);
    (Work { outcome: WorkOutcome::Failed, digest, len, reason, attached: None }, bytes)
}
