//! Which pieces a transfer says that it has written: a file of records.
//!
//! A record is the number of a piece (u64, big endian) and its hash (32
//! bytes), appended once the piece is in its file. It claims, and does not
//! prove: whoever opens a journal hashes each piece again. So nothing needs to
//! be synced, a record that was torn, repeated or made up does no harm, and
//! there is no checksum.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;

use pilot_files::PieceHash;

/// Bytes of a record.
const RECORD: usize = 8 + 32;

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    /// Where the next record goes: one that was written in part, as when the
    /// disk was full, is written over.
    len: u64,
}

impl Journal {
    /// The journal in this file; what a crash left of a last record is written
    /// over by the next one.
    pub(crate) fn of(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { len: len - len % RECORD as u64, file })
    }

    /// Adds a record.
    pub(crate) fn append(&mut self, piece: u64, hash: &PieceHash) -> io::Result<()> {
        let mut record = [0; RECORD];
        let (number, rest) = record.split_at_mut(8);
        number.copy_from_slice(&piece.to_be_bytes());
        rest.copy_from_slice(hash.as_bytes());
        self.file.write_all_at(&record, self.len)?;
        self.len += RECORD as u64;
        Ok(())
    }

    /// All whole records, in their order.
    pub(crate) fn records(
        &self,
    ) -> io::Result<impl Iterator<Item = io::Result<(u64, PieceHash)>> + use<>> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        let mut reader = BufReader::with_capacity(1024 * RECORD, file);
        let records = self.len / RECORD as u64;
        Ok((0..records).map(move |_| {
            let (mut number, mut hash) = ([0; 8], [0; 32]);
            reader.read_exact(&mut number)?;
            reader.read_exact(&mut hash)?;
            Ok((u64::from_be_bytes(number), PieceHash::from_bytes(hash)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(journal: &Journal) -> Vec<u64> {
        journal.records().unwrap().map(|record| record.unwrap().0).collect()
    }

    #[test]
    fn a_torn_record_is_written_over() {
        let file = tempfile::tempfile().unwrap();
        let hash = PieceHash::of(b"x", 0, true);
        let mut journal = Journal::of(file.try_clone().unwrap()).unwrap();
        journal.append(7, &hash).unwrap();
        file.write_all_at(&[0xff; RECORD - 1], RECORD as u64).unwrap();

        let mut journal = Journal::of(file).unwrap();
        assert_eq!(records(&journal), [7]);
        journal.append(8, &hash).unwrap();

        assert_eq!(records(&journal), [7, 8]);
        assert_eq!(journal.records().unwrap().next().unwrap().unwrap(), (7, hash));
    }
}
