//! How much room the file system has left.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer of the file system is believed. New work may come in
/// thousands a second, and one that is refused is tried again soon.
const BELIEVED: Duration = Duration::from_millis(250);

/// Below this nothing can be appended: a page of the log and its header.
const USED_UP: u64 = 8192;

pub(crate) struct Space {
    folder: PathBuf,
    reserve: u64,
    seen: Mutex<Option<(Instant, u64)>>,
}

impl Space {
    pub(crate) const fn new(folder: PathBuf, reserve: u64) -> Self {
        Self { folder, reserve, seen: Mutex::new(None) }
    }

    /// Whether more than the reserve is free.
    pub(crate) fn has_room(&self, now: Instant) -> io::Result<bool> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let free = match *seen {
            Some((at, free)) if now.saturating_duration_since(at) < BELIEVED => free,
            Some(_) | None => {
                let free = self.free()?;
                *seen = Some((now, free));
                free
            }
        };
        Ok(free >= self.reserve)
    }

    /// Asks again next time: a write has just shown that the answer is old.
    pub(crate) fn forget(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.free().is_ok_and(|free| free < USED_UP)
    }

    fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_while_more_than_the_reserve_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let now = Instant::now();

        assert!(Space::new(folder.path().to_owned(), 0).has_room(now).unwrap());
        assert!(!Space::new(folder.path().to_owned(), u64::MAX).has_room(now).unwrap());
    }

    #[test]
    fn an_answer_is_believed_for_a_moment_only() {
        let space = Space::new(PathBuf::from("/"), 10);
        let now = Instant::now();
        *space.seen.lock().unwrap() = Some((now, 9));

        assert!(!space.has_room(now + BELIEVED / 2).unwrap());
        assert!(space.has_room(now + BELIEVED).unwrap());

        *space.seen.lock().unwrap() = Some((now, 9));
        space.forget();
        assert!(space.has_room(now).unwrap());
    }
}
