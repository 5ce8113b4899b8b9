//! Memory for contents that is used again: fresh memory costs more than what
//! is done to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What is lent at once beside this is given back to the system.
const KEPT: usize = 16;

/// Where contents come back to.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Vec<Vec<u8>>>>);

/// A content until the last who needs it is done.
struct Lent {
    content: Vec<u8>,
    memory: Memory,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for a content.
    pub(super) fn room(&self) -> Vec<u8> {
        self.lock().pop().unwrap_or_default()
    }

    /// Takes back the room of a content that nobody else needs.
    pub(super) fn take_back(&self, content: Vec<u8>) {
        let mut kept = self.lock();
        if kept.len() < KEPT {
            kept.push(content);
        }
    }

    /// The content, whose memory comes back here once it is sent.
    pub(super) fn lend(&self, content: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { content, memory: self.clone() })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.memory.take_back(std::mem::take(&mut self.content));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_once_nobody_needs_it_and_not_without_end() {
        let memory = Memory::default();
        let content = vec![7; 1000];
        let at = content.as_ptr();

        let (one, other) = {
            let one = memory.lend(content);
            (one.clone(), one)
        };
        drop(one);
        assert!(memory.room().is_empty(), "it is needed still");
        assert_eq!(other, vec![7; 1000]);
        drop(other);

        let again = memory.room();
        assert_eq!(again.as_ptr(), at);
        let lent: Vec<Bytes> = (0..2 * KEPT).map(|_| memory.lend(vec![1])).collect();
        drop(lent);
        assert_eq!(memory.lock().len(), KEPT);
    }
}
