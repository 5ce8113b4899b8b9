//! What a trusted peer may use.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// One service a peer can be allowed to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Submit tasks here.
    Tasks,
    /// Send files and folders here.
    Data,
    /// Receive events from here, and send them here.
    Events,
    /// Send messages here.
    Messages,
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 4] = [Self::Tasks, Self::Data, Self::Events, Self::Messages];

    /// The word for it in commands and documents.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Data => "data",
            Self::Events => "events",
            Self::Messages => "messages",
        }
    }

    const fn bit(self) -> u32 {
        match self {
            Self::Tasks => 1,
            Self::Data => 2,
            Self::Events => 4,
            Self::Messages => 8,
        }
    }
}

/// A set of scopes. Bits this version does not know are kept (a signature
/// covers them) and allow nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scopes(u32);

/// A word that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope {word:?}; a list of tasks, data, events, messages is wanted")]
pub struct ScopeError {
    /// What was written.
    pub word: String,
}

impl Scopes {
    /// Allows nothing: a grant of it is a revocation.
    pub const NONE: Self = Self(0);
    /// Allows every scope of this version.
    pub const ALL: Self = Self(15);

    /// Whether `scope` is in the set.
    #[must_use]
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether the set allows nothing at all.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes in the set that this version knows.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", scope.word())?;
        }
        Ok(())
    }
}

/// A comma-separated list, `tasks,data`.
impl FromStr for Scopes {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        text.split(',')
            .map(|word| {
                Scope::ALL
                    .into_iter()
                    .find(|scope| scope.word() == word.trim())
                    .ok_or_else(|| ScopeError { word: word.to_owned() })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_printed() {
        let scopes: Scopes = "tasks, messages".parse().unwrap();

        assert!(scopes.contains(Scope::Tasks) && scopes.contains(Scope::Messages));
        assert!(!scopes.contains(Scope::Data) && !scopes.contains(Scope::Events));
        assert_eq!(scopes.to_string(), "tasks,messages");
        assert_eq!(Scopes::ALL.to_string().parse(), Ok(Scopes::ALL));
    }

    #[test]
    fn an_unknown_word_is_named() {
        let error = "tasks,root".parse::<Scopes>().unwrap_err();

        assert_eq!(error.word, "root");
        assert!("".parse::<Scopes>().is_err());
    }

    #[test]
    fn unknown_bits_allow_nothing_known() {
        let future = Scopes(0xfff0);

        assert_eq!(future.iter().count(), 0);
        assert!(!future.is_empty());
    }
}
