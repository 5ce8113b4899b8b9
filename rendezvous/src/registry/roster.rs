//! The nodes that one node may see, page by page.

use std::collections::BTreeSet;
use std::iter::Peekable;

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::registry::{Answer, MAX_ROSTER_PAGE, NodeRecord};
use pilot_proto::{Address, Tag};

use super::Registry;

/// Bytes of records in a page: what a frame holds, less the room of the rest
/// of the answer.
const MAX_PAGE_BYTES: usize = MAX_SMALL_FRAME - 64;

impl Registry {
    pub(super) fn on_roster(
        &self,
        asking: NodeId,
        after: Option<Address>,
        tag: Option<&Tag>,
        now: Timestamp,
    ) -> Answer {
        let after = after.map_or(0, Address::node);
        let trusted: BTreeSet<u32> = self
            .ledger
            .granted_by(&asking)
            .filter(|peer| self.ledger.is_mutual(&asking, peer, now))
            .chain([asking])
            .filter_map(|id| Some(self.directory.get(&id)?.number))
            .filter(|number| *number > after)
            .collect();
        let visible = Merged {
            left: trusted.into_iter().peekable(),
            right: self.directory.public_after(after).peekable(),
        };
        let mut records = Vec::new();
        let mut bytes = 0;
        for number in visible {
            let Some(record) = self.numbered(number, tag, now) else { continue };
            bytes += size(&record);
            if records.len() == MAX_ROSTER_PAGE || bytes > MAX_PAGE_BYTES {
                return Answer::Roster { records, more: true };
            }
            records.push(record);
        }
        Answer::Roster { records, more: false }
    }

    fn numbered(&self, number: u32, tag: Option<&Tag>, now: Timestamp) -> Option<NodeRecord> {
        let id = self.directory.by_number(number)?;
        let node = self.directory.get(&id)?;
        tag.is_none_or(|tag| node.tags.contains(tag)).then(|| self.record(id, node, now))
    }
}

fn size(record: &NodeRecord) -> usize {
    let counted = postcard::ser_flavors::Size::default();
    postcard::serialize_with_flavor::<_, _, usize>(record, counted).unwrap_or(MAX_PAGE_BYTES)
}

/// Two ascending sequences as one, without repetition.
struct Merged<L: Iterator<Item = u32>, R: Iterator<Item = u32>> {
    left: Peekable<L>,
    right: Peekable<R>,
}

impl<L: Iterator<Item = u32>, R: Iterator<Item = u32>> Iterator for Merged<L, R> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match (self.left.peek(), self.right.peek()) {
            (Some(left), Some(right)) if left == right => {
                self.left.next();
                self.right.next()
            }
            (Some(left), Some(right)) if left < right => self.left.next(),
            (Some(_), None) => self.left.next(),
            (Some(_) | None, Some(_)) | (None, None) => self.right.next(),
        }
    }
}
