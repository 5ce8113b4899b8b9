//! What an event is about, and which events somebody wants.
//!
//! A topic is tokens with dots between them, `specialist.backend.ready`. A
//! filter is a topic in which `*` stands for exactly one token; at the end it
//! stands for one or more, and so does `>`: `specialist.*` has that topic, and
//! `specialist.*.ready` has it, too.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a topic or a filter.
pub const MAX_TOPIC: usize = 255;
/// Tokens of a topic or a filter.
pub const MAX_TOKENS: usize = 32;

/// First tokens of the topics that only a daemon publishes.
pub const RESERVED: [&str; 4] = ["task", "peer", "team", "sys"];

const ONE: &str = "*";
const REST: &str = ">";

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(String);

/// Which topics somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(String);

/// Text that is no topic, or no filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Empty, or too long.
    #[error("a topic has 1 to {MAX_TOPIC} bytes and at most {MAX_TOKENS} tokens")]
    Length,
    /// Nothing before, between or behind dots.
    #[error("there is an empty token: a topic is tokens with dots between, such as build.done")]
    Empty,
    /// White space, or a control character.
    #[error("a topic has no white space and no control characters")]
    Character,
    /// A topic is what is published, and has no place for others.
    #[error("`*` and `>` stand for tokens in what is subscribed to, and are not published")]
    Wildcard,
    /// Within a token, or before the end.
    #[error("`*` is a token by itself, and `>` the last one: build.* or build.*.done")]
    Misplaced,
}

/// Checks that `text` is a topic, without making one of it.
///
/// # Errors
///
/// [`TopicError`]
pub fn check_topic(text: &str) -> Result<(), TopicError> {
    check(text)?;
    if text.contains(['*', '>']) { Err(TopicError::Wildcard) } else { Ok(()) }
}

/// Whether only a daemon publishes about this topic.
#[must_use]
pub fn is_reserved_topic(topic: &str) -> bool {
    topic.split('.').next().is_some_and(|first| RESERVED.contains(&first))
}

fn check(text: &str) -> Result<(), TopicError> {
    if text.is_empty() || text.len() > MAX_TOPIC || text.split('.').count() > MAX_TOKENS {
        return Err(TopicError::Length);
    }
    if text.split('.').any(str::is_empty) {
        return Err(TopicError::Empty);
    }
    if text.chars().any(|char| char.is_whitespace() || char.is_control()) {
        return Err(TopicError::Character);
    }
    Ok(())
}

impl Topic {
    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether only a daemon publishes it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        is_reserved_topic(&self.0)
    }
}

impl TopicFilter {
    /// The filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether events about `topic` are wanted.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        let mut wanted = self.0.split('.').peekable();
        let mut tokens = topic.split('.');
        while let Some(want) = wanted.next() {
            let Some(token) = tokens.next() else { return false };
            let is_last = wanted.peek().is_none();
            match want {
                ONE | REST if is_last => return true,
                ONE => {}
                _ if want == token => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        check_topic(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for TopicFilter {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        check(text)?;
        let mut tokens = text.split('.').peekable();
        while let Some(token) = tokens.next() {
            let is_last = tokens.peek().is_none();
            let is_plain = !token.contains(['*', '>']);
            if !(is_plain || token == ONE || token == REST && is_last) {
                return Err(TopicError::Misplaced);
            }
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use serde::de::Error as _;
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

text!(Topic);
text!(TopicFilter);

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        filter.parse::<TopicFilter>().unwrap().matches(topic.parse::<Topic>().unwrap().as_str())
    }

    #[test]
    fn a_star_is_one_token_and_at_the_end_one_or_more() {
        let table = [
            ("specialist.*", "specialist.backend.ready", true),
            ("specialist.*", "specialist.backend", true),
            ("specialist.*", "specialist", false),
            ("specialist.*", "specialists.backend", false),
            ("specialist.>", "specialist.backend.ready", true),
            ("specialist.*.ready", "specialist.backend.ready", true),
            ("specialist.*.ready", "specialist.a.b.ready", false),
            ("specialist.*.ready", "specialist.backend.ready.now", false),
            ("*.*", "a", false),
            ("*.*", "a.b.c", true),
            ("*", "a.b.c", true),
            (">", "a", true),
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("a.B", "a.b", false),
        ];
        for (filter, topic, is) in table {
            assert_eq!(matches(filter, topic), is, "{filter} of {topic}");
        }
    }

    #[test]
    fn other_text_is_refused_for_what_is_wrong_with_it() {
        let long = "x".repeat(MAX_TOPIC + 1);
        let many = ["x"; MAX_TOKENS + 1].join(".");
        let both = [
            ("", TopicError::Length),
            (long.as_str(), TopicError::Length),
            (many.as_str(), TopicError::Length),
            (".a", TopicError::Empty),
            ("a..b", TopicError::Empty),
            ("a.", TopicError::Empty),
            ("a b", TopicError::Character),
            ("a\u{1b}[2J", TopicError::Character),
            ("a\u{85}", TopicError::Character),
        ];
        for (text, error) in both {
            assert_eq!(text.parse::<Topic>(), Err(error), "{text:?}");
            assert_eq!(text.parse::<TopicFilter>(), Err(error), "{text:?}");
        }
        for text in ["a.*", "*", "a>", ">"] {
            assert_eq!(text.parse::<Topic>(), Err(TopicError::Wildcard), "{text:?}");
        }
        for text in ["a*", "a.b*.c", ">.a", "a.>.b", "**", "*>"] {
            assert_eq!(text.parse::<TopicFilter>(), Err(TopicError::Misplaced), "{text:?}");
        }
    }

    #[test]
    fn some_are_the_daemons_own() {
        let reserved = |text: &str| text.parse::<Topic>().unwrap().is_reserved();

        assert!(reserved("task.done") && reserved("peer.up") && reserved("sys"));
        assert!(!reserved("tasks.done") && !reserved("my.task"));
    }

    /// By all ways in which the filter may cover the tokens.
    fn covers(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            ([], []) => true,
            ([ONE | REST], [_, ..]) => true,
            ([ONE, filter @ ..], [_, topic @ ..]) => covers(filter, topic),
            ([want, filter @ ..], [token, topic @ ..]) => want == token && covers(filter, topic),
            ([], _) | (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn any_filter_matches_what_it_covers(
            filter in vec(prop_oneof!["[ab]", Just("*".to_owned())], 1..6),
            topic in vec("[ab]", 1..6),
            rest: bool,
        ) {
            let filter = [filter, rest.then(|| ">".to_owned()).into_iter().collect()].concat();
            let wanted: Vec<&str> = filter.iter().map(String::as_str).collect();
            let tokens: Vec<&str> = topic.iter().map(String::as_str).collect();

            prop_assert_eq!(matches(&filter.join("."), &topic.join(".")), covers(&wanted, &tokens));
        }

        #[test]
        fn any_text_is_a_topic_that_reads_back_or_none(text in ".{0,40}") {
            if let Ok(topic) = text.parse::<Topic>() {
                prop_assert_eq!(topic.as_str(), &text);
                prop_assert!(text.parse::<TopicFilter>().unwrap().matches(topic.as_str()));
            }
        }
    }
}
