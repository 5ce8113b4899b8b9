//! Whole pieces go past the page cache.
//!
//! What is received is read again by nobody soon, has to be on the disk at the
//! end anyway, and would push out of memory what others need; finding new pages
//! for it costs more than the disk does. Linux takes it directly if memory,
//! offset and length are aligned, which pieces of 1 MiB in a [`PieceBuffer`]
//! are. Whatever is not, and file systems that cannot, take the usual way.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use pilot_files::PIECE;

/// What the strictest disks in use align to, in bytes.
const ALIGNMENT: usize = 4096;

/// Memory for one piece, aligned such that the disk can take it from there.
#[derive(Debug)]
pub struct PieceBuffer {
    memory: Vec<u8>,
    start: usize,
}

impl PieceBuffer {
    /// Memory for [`PIECE`] bytes, all zero.
    #[must_use]
    pub fn new() -> Self {
        let memory = vec![0; PIECE + ALIGNMENT];
        let start = memory.as_ptr().addr().wrapping_neg() % ALIGNMENT;
        Self { memory, start }
    }

    /// The first `len` bytes; all there are if that is more.
    #[must_use]
    pub fn get(&self, len: usize) -> &[u8] {
        self.memory.get(self.start..self.start + len.min(PIECE)).unwrap_or_default()
    }

    /// The first `len` bytes, to be filled; all there are if that is more.
    #[must_use]
    pub fn get_mut(&mut self, len: usize) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + len.min(PIECE)).unwrap_or_default()
    }
}

impl Default for PieceBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes a piece at its place in a file that nobody else writes to.
pub(crate) fn write(file: &File, content: &[u8], offset: u64) -> io::Result<()> {
    let write = || file.write_all_at(content, offset);
    if is_aligned(content) && directly(file, write)? { Ok(()) } else { write() }
}

/// Reads a piece, which may be shorter than it should be: then it fails with
/// [`io::ErrorKind::UnexpectedEof`].
pub(crate) fn read(file: &File, content: &mut [u8], offset: u64) -> io::Result<()> {
    if is_aligned(content) && directly(file, || file.read_exact_at(content, offset))? {
        return Ok(());
    }
    file.read_exact_at(content, offset)
}

fn is_aligned(content: &[u8]) -> bool {
    content.len() == PIECE && content.as_ptr().addr().is_multiple_of(ALIGNMENT)
}

/// False if it cannot be done like that, here or at all.
#[cfg(target_os = "linux")]
fn directly(file: &File, act: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use rustix::io::Errno;

    let flags = fcntl_getfl(file)?;
    if fcntl_setfl(file, flags | OFlags::DIRECT).is_err() {
        return Ok(false);
    }
    let done = act();
    fcntl_setfl(file, flags)?;
    match done {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(false),
        other => other.map(|()| true),
    }
}

#[cfg(not(target_os = "linux"))]
fn directly(_: &File, _: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_written_wherever_they_are_in_memory() {
        let mut buffer = PieceBuffer::new();
        assert!(buffer.get(PIECE).as_ptr().addr().is_multiple_of(ALIGNMENT));
        buffer.get_mut(PIECE).iter_mut().zip((0..=250).cycle()).for_each(|(at, byte)| *at = byte);
        let content = buffer.get(usize::MAX).to_vec();
        let unaligned = [&[0], content.as_slice()].concat();
        // In a folder of the crate's build, whose disk takes pieces directly
        // where the system's temporary folder may be memory.
        for folder in [std::env::temp_dir(), std::env::current_dir().unwrap()] {
            let file = tempfile::tempfile_in(folder).unwrap();

            write(&file, buffer.get(PIECE), 0).unwrap();
            write(&file, &unaligned[1..], PIECE as u64).unwrap();
            write(&file, buffer.get(5), 2 * PIECE as u64).unwrap();
            write(&file, buffer.get(PIECE), 7).unwrap();

            let mut second = PieceBuffer::new();
            read(&file, second.get_mut(PIECE), PIECE as u64).unwrap();
            assert!(
                second.get(7) == &content[PIECE - 7..] && second.get(PIECE)[7..] == content[7..]
            );
            let short = read(&file, second.get_mut(PIECE), 2 * PIECE as u64).unwrap_err();
            assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
            let mut found = vec![0; 2 * PIECE + 5];
            file.read_exact_at(&mut found, 0).unwrap();
            assert!(found[..7] == content[..7]);
            assert!(found[7..PIECE + 7] == content);
            assert!(found[PIECE + 7..2 * PIECE] == content[7..]);
            assert!(found[2 * PIECE..] == content[..5]);
        }
    }
}
