//! What is held here already is not sent again.
//!
//! It is known by length and hash, and only what the same peer has sent before:
//! nobody learns what others have.

use std::sync::Arc;

use pilot_files::{Direction, Ending, FileHash};
use pilot_identity::NodeId;
use pilot_proto::data::{MAX_RANGES, MAX_TALK_FRAME, Ranges, Said, Told};
use pilot_transport::{FramedError, RecvStream, SendStream, next_frame, send_frame};
use pilot_tree::Held;
use tokio::time::timeout;

use super::DataService;
use super::landing::{Landing, PieceError};
use super::receive::PATIENCE;
use super::refused::Refused;
use crate::store::transfers;

/// Transfers whose files are looked through, the newest.
const LOOKED_THROUGH: u32 = 256;

/// How long a sender may take to hash the next files: 4,096 of them, or one
/// that is large.
const HASHING: std::time::Duration = PATIENCE.saturating_mul(20);

impl DataService {
    /// Takes what is held of a transfer of which nothing has arrived yet.
    pub(super) async fn fill(
        self: &Arc<Self>,
        landing: &Arc<Landing>,
        send: &mut SendStream,
        recv: &mut RecvStream,
    ) -> Result<(), FramedError> {
        let Some((held, candidates)) = self.candidates(landing).await else { return Ok(()) };
        let files = Ranges::new(ranges(&candidates)).unwrap_or_default();
        let asked: u64 = files.ranges().iter().map(|range| range.end - range.start).sum();
        send_frame(send, &Told::HashesOf(files.clone()), MAX_TALK_FRAME).await?;
        let mut numbers = files.ranges().iter().cloned().flatten();
        let mut left = asked;
        while left > 0 {
            let said = timeout(HASHING, next_frame::<Said>(recv, MAX_TALK_FRAME)).await;
            let said = said.map_err(|_| FramedError::Stalled)??.ok_or(FramedError::Ended)?;
            let hashes = match said {
                Said::Hashes(hashes) if !hashes.is_empty() => hashes,
                Said::Hashes(_) | Said::Page(_) => return Err(FramedError::Closed),
                Said::Failed(reason) => {
                    self.fail(landing, pilot_files::Blame::Source, reason.as_str()).await;
                    return Ok(());
                }
            };
            left = left.checked_sub(hashes.len() as u64).ok_or(FramedError::Closed)?;
            let found: Vec<(u64, [u8; 32])> = numbers.by_ref().zip(hashes).collect();
            if !self.take_held(landing, &held, found).await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What is held of this peer, and the files of the transfer that may be
    /// among it; none if there are none.
    async fn candidates(&self, landing: &Arc<Landing>) -> Option<(Arc<Held>, Vec<u32>)> {
        let (inbox, peer, store) = (self.inbox.clone(), landing.peer, self.store.clone());
        let landing = Arc::clone(landing);
        let looking = self.tasks.spawn_blocking(move || {
            let names = names(&store, peer);
            let held = Held::load(&inbox, &names);
            let candidates = landing.candidates(&held);
            (!candidates.is_empty()).then(|| (Arc::new(held), candidates))
        });
        looking.await.unwrap_or(None)
    }

    /// False if the landing is over.
    async fn take_held(
        self: &Arc<Self>,
        landing: &Arc<Landing>,
        held: &Arc<Held>,
        found: Vec<(u64, [u8; 32])>,
    ) -> bool {
        let (files, held) = (Arc::clone(landing), Arc::clone(held));
        let filling = self.tasks.spawn_blocking(move || {
            found.into_iter().try_for_each(|(number, hash)| {
                let entry = u32::try_from(number).unwrap_or(u32::MAX);
                files.fill(entry, &FileHash::from_bytes(hash), &held)
            })
        });
        match filling.await {
            Ok(Ok(())) => {
                self.note_landed(landing);
                true
            }
            Ok(Err(error)) => {
                self.not_taken(landing, Refused::from(&PieceError::Write(error))).await;
                false
            }
            Err(error) => {
                tracing::error!(%error, "filling a transfer broke off");
                false
            }
        }
    }
}

/// The transfers of this peer that are in the inbox, the newest first.
fn names(store: &pilot_store::Store, peer: NodeId) -> Vec<String> {
    let received = store.read(|connection| {
        transfers::list(connection, Some(Direction::Received), Some(&peer), LOOKED_THROUGH)
    });
    let received = received.unwrap_or_default().into_iter();
    let complete =
        received.filter(|transfer| matches!(transfer.ended(), Some((_, Ending::Complete))));
    complete.map(|transfer| transfer.id.to_string()).collect()
}

/// The numbers, which are in order, as ranges; as many as may be told.
fn ranges(numbers: &[u32]) -> Vec<std::ops::Range<u64>> {
    let mut ranges: Vec<std::ops::Range<u64>> = Vec::new();
    for number in numbers.iter().copied().map(u64::from) {
        if let Some(range) = ranges.last_mut()
            && range.end == number
        {
            range.end += 1;
        } else if ranges.len() < MAX_RANGES {
            ranges.push(number..number + 1);
        } else {
            break;
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_range_and_there_are_not_too_many() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), [0..3, 5..6, 7..9]);
        assert_eq!(ranges(&[]), []);
        let scattered: Vec<u32> = (0..20_000).map(|number| 2 * number).collect();
        assert_eq!(ranges(&scattered).len(), MAX_RANGES);
        assert!(Ranges::new(ranges(&scattered)).is_some());
    }
}
