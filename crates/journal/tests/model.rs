//! A journal equals a list of blocks, whatever is appended, torn and read.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilot_journal::{Block, Journal, Position, Settings};
use proptest::prelude::*;

const BEGINNING: u64 = 36;
const HEADER: u64 = 48;

/// Small enough that segments fill and go.
const SETTINGS: Settings = Settings { bytes: 20_000, segment: 3_000, pause: Duration::ZERO };

#[derive(Debug, Clone)]
enum Step {
    /// Blocks of so many events and bytes.
    Append(Vec<(u64, usize)>),
    /// A crash that leaves this part of the newest segment, in thousandths,
    /// then a start after which the clock shows so many ms.
    Crash(u64, u64),
    /// Reads by pages of so many bytes from this part of all events, in thousandths.
    Read(u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let blocks = prop::collection::vec((1..20_u64, 1..900_usize), 1..12);
    prop_oneof![
        3 => blocks.prop_map(Step::Append),
        1 => (0..=1000_u64, 0..50_u64).prop_map(|(part, now)| Step::Crash(part, now)),
        2 => (0..=1000_u64, 0..4000_usize).prop_map(|(part, bytes)| Step::Read(part, bytes)),
    ]
}

struct Model {
    journal: Option<Journal>,
    /// What was appended and not torn off, also what retention has removed.
    blocks: Vec<(u64, Block)>,
    seq: u64,
    /// Most bytes that all that was ever appended can have taken.
    written: u64,
}

impl Model {
    fn append(&mut self, events: u64, bytes: usize) {
        let journal = self.journal.as_ref().unwrap();
        let (first, last) = (self.seq + 1, self.seq + events);
        let fill = u8::try_from(first % 256).unwrap();
        let request = (first % 3 == 0).then_some([fill | 1; 16]);
        let block = Block { first, last, at: last, request, records: vec![fill; bytes].into() };
        journal.append(block.clone());
        self.blocks.push((journal.epoch(), block));
        self.seq = last;
        self.written += BEGINNING + HEADER + bytes as u64;
    }

    fn crash(&mut self, folder: &Path, part: u64, now_ms: u64) {
        let before = self.journal.take().map(|journal| journal.epoch()).unwrap();
        if let Some(newest) = newest(folder) {
            let len = fs::metadata(&newest).unwrap().len() * part / 1000;
            OpenOptions::new().write(true).open(&newest).unwrap().set_len(len).unwrap();
            self.lose(start(&newest), len);
        }
        let (journal, recovered) = Journal::open(folder, now_ms, SETTINGS).unwrap();
        let last = self.blocks.last().map(|(epoch, block)| at(*epoch, block.last));
        // All of the only segment may be gone.
        assert!(recovered.last == last || recovered.last.is_none());
        if recovered.last.is_none() {
            assert_eq!(newest(folder), None);
            self.blocks.clear();
        }
        let told = recovered.requests.iter().map(|one| (one.id, one.first, one.last));
        let known = self.blocks.iter().filter_map(|(epoch, block)| {
            Some((block.request?, at(*epoch, block.first), at(*epoch, block.last)))
        });
        let known: Vec<_> = known.collect();
        assert!(known.ends_with(&told.collect::<Vec<_>>()));
        assert!(journal.epoch() > before || last.is_none_or(|last| last.epoch < before));
        self.seq = recovered.last.map_or(0, |last| last.seq);
        self.journal = Some(journal);
    }

    /// Removes what does not fit into so many bytes of the newest segment.
    fn lose(&mut self, start: Position, len: u64) {
        let mut end = BEGINNING;
        self.blocks.retain(|(epoch, block)| {
            if at(*epoch, block.first) < start {
                return true;
            }
            end += HEADER + block.records.len() as u64;
            end <= len
        });
    }

    fn read(&self, folder: &Path, part: u64, max_bytes: usize) {
        let journal = self.journal.as_ref().unwrap();
        let waiting = journal.write_out(self.seq);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(waiting);
        let epoch = self.blocks.last().map_or(0, |(epoch, _)| *epoch);
        let mut after = at(epoch, self.seq * part / 1000);
        if part.is_multiple_of(2) {
            after = Position::START;
        }
        let from = after;
        let mut read = Vec::new();
        let oldest = loop {
            let page = journal.read(after, Position::END, max_bytes).unwrap();
            let bytes: usize = page.blocks.iter().map(|one| one.block.records.len() + 48).sum();
            assert!(bytes <= max_bytes || page.blocks.len() == 1);
            let Some(last) = page.blocks.last() else { break page.oldest };
            after = last.last();
            read.extend(page.blocks.into_iter().map(|stored| (stored.epoch, stored.block)));
        };
        let kept = |(epoch, block): &&(u64, Block)| {
            oldest.is_some_and(|oldest| at(*epoch, block.first) >= oldest)
        };
        let wanted = self.blocks.iter().filter(kept);
        let wanted: Vec<_> =
            wanted.filter(|(epoch, block)| at(*epoch, block.last) > from).cloned().collect();
        assert_eq!(read, wanted);
        if self.written <= SETTINGS.bytes {
            assert_eq!(self.blocks.iter().filter(kept).count(), self.blocks.len());
        }
        let sizes = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
        assert!(sizes.map(|file| file.len()).sum::<u64>() <= SETTINGS.bytes);
    }
}

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}

fn newest(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).max()
}

fn start(path: &Path) -> Position {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let (epoch, first) = name.split_once('-').unwrap();
    let number = |digits| u64::from_str_radix(digits, 16).unwrap();
    at(number(epoch), number(first))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_journal_equals_a_list(steps in prop::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(folder.path(), 10, SETTINGS).unwrap();
        let mut model = Model { journal: Some(journal), blocks: Vec::new(), seq: 0, written: 0 };
        for step in steps {
            match step {
                Step::Append(blocks) => {
                    for (events, bytes) in blocks {
                        model.append(events, bytes);
                    }
                }
                Step::Crash(part, now_ms) => model.crash(folder.path(), part, now_ms),
                Step::Read(part, max_bytes) => model.read(folder.path(), part, max_bytes),
            }
        }
        model.read(folder.path(), 0, 1000);
    }

    #[test]
    fn any_bytes_in_a_segment_are_lived_with(
        writes in prop::collection::vec((0..3_usize, 0..3_100_u64, any::<Vec<u8>>()), 1..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(folder.path(), 10, SETTINGS).unwrap();
        let mut model = Model { journal: Some(journal), blocks: Vec::new(), seq: 0, written: 0 };
        for _ in 0..15 {
            model.append(2, 500);
        }
        drop(model.journal.take());
        let mut files: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for (index, place, bytes) in writes {
            use std::os::unix::fs::FileExt as _;
            let file = OpenOptions::new().write(true).open(files.get(index).unwrap()).unwrap();
            // A later version is an error of its own.
            prop_assume!(!(place..place + bytes.len() as u64).contains(&7));
            file.write_all_at(&bytes, place).unwrap();
        }

        let (journal, _) = Journal::open(folder.path(), 10, SETTINGS).unwrap();

        let page = journal.read(Position::START, Position::END, usize::MAX).unwrap();
        for stored in &page.blocks {
            prop_assert!(model.blocks.contains(&(stored.epoch, stored.block.clone())));
        }
        prop_assert!(page.blocks.windows(2).all(|two| two[0].last() < two[1].first()));
        let last = Block { first: 99, last: 99, ..model.blocks[0].1.clone() };
        journal.append(last.clone());
        drop(journal);
        let (journal, recovered) = Journal::open(folder.path(), 10, SETTINGS).unwrap();
        prop_assert_eq!(recovered.last.map(|last| last.seq), Some(99));
        let read = journal.read(Position::START, Position::END, usize::MAX).unwrap();
        prop_assert_eq!(&read.blocks.last().unwrap().block, &last);
    }
}
