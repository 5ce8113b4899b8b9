//! What is wanted: any of some filters.

use std::collections::BTreeSet;

use pilot_proto::TopicFilter;
use pilot_proto::events::MAX_FILTERS;

/// Wanted is what any of them matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters(Vec<TopicFilter>);

/// Asks [`Filters`] about one event after another: those that follow each
/// other are mostly about the same, and are not looked up again.
#[derive(Debug)]
pub struct Matcher<'a> {
    filters: &'a Filters,
    last: Option<(&'a str, bool)>,
}

impl Filters {
    /// All of these, each once. Of more than [`MAX_FILTERS`] it is everything:
    /// whoever asked for them chooses itself.
    pub fn of<'a>(filters: impl IntoIterator<Item = &'a TopicFilter>) -> Self {
        let all: BTreeSet<&TopicFilter> = filters.into_iter().collect();
        if all.len() > MAX_FILTERS {
            Self::everything()
        } else {
            Self(all.into_iter().cloned().collect())
        }
    }

    /// Matches every topic.
    #[must_use]
    pub fn everything() -> Self {
        Self(">".parse().into_iter().collect())
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    #[must_use]
    pub fn as_slice(&self) -> &[TopicFilter] {
        &self.0
    }

    /// Whether any of them matches.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        self.0.iter().any(|filter| filter.matches(topic))
    }

    /// For asking about many.
    #[must_use]
    pub const fn matcher(&self) -> Matcher<'_> {
        Matcher { filters: self, last: None }
    }
}

impl<'a> Matcher<'a> {
    /// Whether any of the filters matches.
    pub fn matches(&mut self, topic: &'a str) -> bool {
        match self.last {
            Some((last, matches)) if last == topic => matches,
            Some(_) | None => {
                let matches = self.filters.matches(topic);
                self.last = Some((topic, matches));
                matches
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Filters {
        let parsed: Vec<TopicFilter> = texts.iter().map(|text| text.parse().unwrap()).collect();
        Filters::of(&parsed)
    }

    #[test]
    fn any_of_them_is_enough_and_each_is_there_once() {
        let filters = filters(&["a.*", "b", "a.*"]);

        assert_eq!(filters.as_slice().len(), 2);
        assert!(filters.matches("a.x") && filters.matches("b") && !filters.matches("c"));
        assert!(!Filters::default().matches("a"));
    }

    #[test]
    fn too_many_are_everything() {
        let texts: Vec<String> = (0..=MAX_FILTERS).map(|number| format!("t{number}")).collect();
        let filters = filters(&texts.iter().map(String::as_str).collect::<Vec<_>>());

        assert!(filters.matches("anything.at.all"));
        assert_eq!(filters, Filters::everything());
    }

    #[test]
    fn a_topic_that_follows_another_is_asked_anew() {
        let filters = filters(&["a"]);
        let mut matcher = filters.matcher();

        assert_eq!(
            ["a", "a", "b", "a"].map(|topic| matcher.matches(topic)),
            [true, true, false, true]
        );
    }
}
