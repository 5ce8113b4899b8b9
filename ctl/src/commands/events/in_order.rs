//! Events that are under way: they end in any order, and are acknowledged in
//! that of their stream, as far as none before them is left.

use std::collections::{BTreeMap, VecDeque};

use super::follow::Cursor;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct InOrder {
    streams: BTreeMap<String, UnderWay>,
    len: usize,
}

/// Those of one stream, the oldest first.
#[derive(Debug, Default)]
struct UnderWay {
    /// The number of the oldest.
    first: u64,
    /// Whether each has ended; the first has not.
    events: VecDeque<(Cursor, bool)>,
}

/// An event that has begun.
#[derive(Debug)]
pub(super) struct Ticket {
    stream: String,
    number: u64,
}

impl InOrder {
    pub(super) fn begin(&mut self, cursor: Cursor) -> Ticket {
        let stream = cursor.stream().to_owned();
        let under_way = self.streams.entry(stream.clone()).or_default();
        let before = u64::try_from(under_way.events.len()).unwrap_or(u64::MAX);
        let number = under_way.first.saturating_add(before);
        under_way.events.push_back((cursor, false));
        self.len += 1;
        Ticket { stream, number }
    }

    /// What may be acknowledged now, if it is more than before.
    pub(super) fn end(&mut self, ticket: &Ticket) -> Option<Cursor> {
        let under_way = self.streams.get_mut(&ticket.stream)?;
        let index = usize::try_from(ticket.number.checked_sub(under_way.first)?).ok()?;
        under_way.events.get_mut(index)?.1 = true;
        let mut last = None;
        while let Some((cursor, _)) = under_way.events.pop_front_if(|(_, ended)| *ended) {
            under_way.first += 1;
            self.len -= 1;
            last = Some(cursor);
        }
        last
    }

    /// Events that are not acknowledged.
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &str) -> Cursor {
        Cursor::of(text).unwrap()
    }

    #[test]
    fn only_what_has_nothing_unfinished_before_it_is_acknowledged() {
        let mut order = InOrder::default();
        let texts = ["k.o.7-1", "k.o.7-2", "k.a.7-1", "k.o.7-5"];
        let [one, two, other, five] = texts.map(|text| order.begin(cursor(text)));

        assert_eq!(order.end(&two), None);
        assert_eq!(order.end(&other), Some(cursor("k.a.7-1")));
        assert_eq!(order.len(), 3);
        assert_eq!(order.end(&one), Some(cursor("k.o.7-2")));
        let six = order.begin(cursor("k.o.7-6"));
        assert_eq!(order.end(&six), None);
        assert_eq!(order.end(&five), Some(cursor("k.o.7-6")));
        assert_eq!((order.end(&five), order.len()), (None, 0));
    }
}
