//! Contents of pieces that go compressed: as a frame of Zstandard (RFC 8878)
//! each, at its fastest level.
//!
//! It pays where the line is slower than the processor, so only what has to
//! wait for the line is packed; and where the content is no noise, which is
//! tried on a part of it.

use std::io;

use zstd::bulk::{Compressor, Decompressor};

/// Shorter contents are not worth it.
const LEAST: usize = 512;

/// Bytes on which it is tried whether a content packs.
const TRIED: usize = 16 * 1024;

/// Contents that go as they are after one that does not pack.
const SKIPPED: u32 = 16;

const LEVEL: i32 = 1;

/// Packs contents.
pub(super) struct Packer {
    compressor: Compressor<'static>,
    skip: u32,
    packed: Vec<u8>,
}

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { compressor: Compressor::new(LEVEL)?, skip: 0, packed: Vec::new() })
    }

    /// The content packed, if that is shorter by a tenth or more.
    pub(super) fn pack(&mut self, content: &[u8]) -> Option<&[u8]> {
        if content.len() < LEAST {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        let tried = content.get(..TRIED).unwrap_or(content);
        let packs =
            self.compress(tried) && (tried.len() == content.len() || self.compress(content));
        if !packs {
            self.skip = SKIPPED;
            return None;
        }
        Some(&self.packed)
    }

    /// Whether it got shorter by a tenth; it is in `packed` then.
    fn compress(&mut self, content: &[u8]) -> bool {
        self.packed.clear();
        // What does not fit is not worth it.
        self.packed.reserve(content.len() - content.len() / 10);
        self.compressor.compress_to_buffer(content, &mut self.packed).is_ok()
            && self.packed.len() <= content.len() - content.len() / 10
    }
}

/// Unpacks contents.
pub(super) struct Unpacker(Decompressor<'static>);

impl Unpacker {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Decompressor::new()?))
    }

    /// Unpacks into all of `content`; false if that is not what was packed.
    pub(super) fn unpack(&mut self, packed: &[u8], content: &mut [u8]) -> bool {
        let len = content.len();
        self.0.decompress_to_buffer(packed, content).is_ok_and(|found| found == len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn what_packs_is_shorter_and_comes_back() {
        let (mut packer, mut unpacker) = (Packer::new().unwrap(), Unpacker::new().unwrap());
        for len in [LEAST, TRIED, TRIED + 1, 1024 * 1024] {
            let content: Vec<u8> =
                b"all work and no play ".iter().copied().cycle().take(len).collect();

            let packed = packer.pack(&content).unwrap();

            assert!(packed.len() < len / 5, "{} of {len}", packed.len());
            let mut found = vec![0; len];
            assert!(unpacker.unpack(packed, &mut found) && found == content);
            assert!(!unpacker.unpack(packed, &mut vec![0; len - 1]));
            assert!(!unpacker.unpack(packed, &mut vec![0; len + 1]));
        }
    }

    #[test]
    fn noise_goes_as_it_is_and_so_does_what_follows_it() {
        let mut packer = Packer::new().unwrap();
        let text = vec![7; 4096];
        assert!(packer.pack(&text[..LEAST - 1]).is_none());

        assert!(packer.pack(&noise(4096)).is_none());

        for _ in 0..SKIPPED {
            assert!(packer.pack(&text).is_none());
        }
        assert!(packer.pack(&text).is_some());
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_fits(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut unpacker = Unpacker::new().unwrap();
            let mut content = vec![0; 100];
            // Whatever it says, nothing is written beyond the room it has.
            unpacker.unpack(&bytes, &mut content);
            let frame = [&[0x28, 0xb5, 0x2f, 0xfd][..], &bytes].concat();
            unpacker.unpack(&frame, &mut content);
        }
    }
}
