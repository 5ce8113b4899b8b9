//! Lists from outside, bounded while they are decoded.
//!
//! Two bytes on the wire can be an element of fifty in memory: a list is
//! refused at the first element too many, not once it has been built.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

/// Elements for which there is room before the first has come.
const FIRST_ROOM: usize = 64;

/// `#[serde(deserialize_with = "list::at_most::<MAX, _, _>")]`.
pub(crate) fn at_most<'de, const MAX: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(AtMost::<MAX, T>(PhantomData))
}

struct AtMost<const MAX: usize, T>(PhantomData<T>);

impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for AtMost<MAX, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut list =
            Vec::with_capacity(elements.size_hint().unwrap_or(0).min(MAX.min(FIRST_ROOM)));
        while let Some(element) = elements.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::custom("more elements than the list may have"));
            }
            list.push(element);
        }
        Ok(list)
    }
}
