//! The few things that were used last.

/// At most `most` things by their numbers; the one that was not used for
/// longest goes first. Few enough to be searched one by one.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    /// The last is the one used last.
    things: Vec<(u32, T)>,
    most: usize,
}

impl<T: Clone> Recent<T> {
    pub(crate) fn at_most(most: usize) -> Self {
        Self { things: Vec::with_capacity(most), most }
    }

    pub(crate) fn get(&mut self, number: u32) -> Option<T> {
        let at = self.things.iter().rposition(|(other, _)| *other == number)?;
        let used = self.things.remove(at);
        let thing = used.1.clone();
        self.things.push(used);
        Some(thing)
    }

    pub(crate) fn put(&mut self, number: u32, thing: T) {
        if self.things.len() >= self.most {
            drop(self.things.remove(0));
        }
        self.things.push((number, thing));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let mut recent = Recent::at_most(2);
        recent.put(1, 'a');
        recent.put(2, 'b');

        assert_eq!(recent.get(1), Some('a'));
        recent.put(3, 'c');

        assert_eq!([1, 2, 3].map(|number| recent.get(number)), [Some('a'), None, Some('c')]);
    }
}
