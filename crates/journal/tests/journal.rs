//! What a journal promises, seen from outside.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use pilot_journal::{AppendError, Block, Journal, OpenError, Position, Recovered, Settings};

/// Bytes of a segment before its blocks, and of a block before its records.
const BEGINNING: u64 = 36;
const HEADER: usize = 48;

fn open(folder: &Path, now_ms: u64) -> (Journal, Recovered) {
    Journal::open(folder, now_ms, Settings::default()).unwrap()
}

fn small(bytes: u64, segment: u64) -> Settings {
    Settings { bytes, segment, pause: Duration::ZERO }
}

fn block(seq: u64, records: usize) -> Block {
    let fill = u8::try_from(seq % 251).unwrap() + 1;
    Block { first: seq, last: seq, at: seq, request: None, records: vec![fill; records].into() }
}

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}

/// All that can be read, page by page.
fn all(journal: &Journal, max_bytes: usize) -> Vec<(u64, Block)> {
    let (mut found, mut after) = (Vec::new(), Position::START);
    loop {
        let page = journal.read(after, Position::END, max_bytes).unwrap();
        let Some(last) = page.blocks.last() else { return found };
        after = last.last();
        found.extend(page.blocks.into_iter().map(|stored| (stored.epoch, stored.block)));
    }
}

fn seqs(journal: &Journal) -> Vec<u64> {
    all(journal, 1 << 20).iter().map(|(_, block)| block.first).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn what_is_durable_is_read_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new");
    let (journal, recovered) = open(&path, 100);
    assert_eq!(recovered, Recovered::default());
    let blocks: Vec<_> = (1..=50).map(|seq| block(seq, 1000)).collect();
    for block in &blocks {
        journal.room().await;
        journal.append(block.clone());
    }

    journal.durable(50).await.unwrap();

    let copy = tempfile::tempdir().unwrap();
    for file in files(&path) {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let (again, recovered) = open(copy.path(), 200);
    assert_eq!(recovered.last, Some(at(100, 50)));
    for max_bytes in [0, 1, 5000, 1 << 20] {
        let read: Vec<_> = all(&again, max_bytes).into_iter().map(|(_, block)| block).collect();
        assert_eq!(read, blocks, "pages of {max_bytes}");
    }
}

#[tokio::test]
async fn a_page_has_what_is_between_two_positions_and_no_more_than_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path(), 100);
    for n in 0..10 {
        journal.append(Block { last: n * 10 + 10, ..block(n * 10 + 1, 100) });
    }
    journal.write_out(100).await;
    let read = |after, until, max_bytes| {
        let page = journal.read(at(100, after), at(100, until), max_bytes).unwrap();
        assert_eq!(page.oldest, Some(at(100, 1)));
        page.blocks.iter().map(|stored| stored.block.first).collect::<Vec<_>>()
    };

    assert_eq!(read(0, 100, usize::MAX).len(), 10);
    assert_eq!(read(10, 21, usize::MAX), [11, 21]);
    assert_eq!(read(15, 20, usize::MAX), [11]);
    assert_eq!(read(100, 200, usize::MAX), []);
    assert_eq!(read(0, 100, 3 * (100 + HEADER)), [1, 11, 21]);
    assert_eq!(read(0, 100, 3 * (100 + HEADER) - 1), [1, 11]);
    assert_eq!(journal.read(at(101, 0), Position::END, 1000).unwrap().blocks, []);
}

#[test]
fn each_start_begins_a_later_epoch_whatever_the_clock_says() {
    let folder = tempfile::tempdir().unwrap();
    for (start, now_ms) in [(1, 500), (2, 100), (3, 500), (4, 900)] {
        let (journal, _) = open(folder.path(), now_ms);
        journal.append(block(start, 10));
        journal.close();
    }

    let (journal, recovered) = open(folder.path(), 0);

    let epochs: Vec<_> = all(&journal, 1000).iter().map(|(epoch, _)| *epoch).collect();
    assert_eq!(epochs, [500, 501, 502, 900]);
    assert_eq!((recovered.last, journal.epoch()), (Some(at(900, 4)), 901));
    assert_eq!(files(folder.path()).len(), 4);
}

#[test]
fn a_torn_end_is_cut_off_at_every_byte() {
    let whole = tempfile::tempdir().unwrap();
    let (journal, _) = open(whole.path(), 100);
    for seq in 1..=3 {
        journal.append(block(seq, 20));
    }
    journal.close();
    let name = files(whole.path())[0].file_name().unwrap().to_owned();
    let bytes = fs::read(whole.path().join(&name)).unwrap();
    let size = 20 + HEADER;

    for len in 0..bytes.len() {
        for zeros in [0, 100] {
            let folder = tempfile::tempdir().unwrap();
            let torn = [&bytes[..len], &vec![0; zeros]].concat();
            fs::write(folder.path().join(&name), torn).unwrap();

            let (journal, recovered) = open(folder.path(), 50);

            let left = len.saturating_sub(36) / size;
            assert_eq!(recovered.last, (left > 0).then(|| at(100, left as u64)), "{len} {zeros}");
            assert_eq!(seqs(&journal).len(), left);
            assert_eq!(journal.epoch(), 101);
            let files: Vec<_> =
                files(folder.path()).iter().map(|file| fs::metadata(file).unwrap().len()).collect();
            let cut = BEGINNING + (left * size) as u64;
            assert_eq!(files, if left > 0 { vec![cut] } else { vec![] });
        }
    }
}

#[test]
fn damage_in_the_middle_makes_a_hole_and_hides_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), 100, small(1 << 20, 500)).unwrap();
    for seq in 1..=12 {
        journal.append(block(seq, 100));
    }
    journal.close();
    let files = files(folder.path());
    assert_eq!(files.len(), 4);
    let hit = OpenOptions::new().write(true).open(&files[1]).unwrap();
    hit.write_all_at(b"x", BEGINNING + 148 + 60).unwrap();
    fs::write(&files[2], b"nothing of ours").unwrap();
    fs::write(folder.path().join("notes.txt"), b"left alone").unwrap();

    let (journal, recovered) = open(folder.path(), 200);

    assert_eq!(recovered.last, Some(at(100, 12)));
    for _ in 0..2 {
        assert_eq!(seqs(&journal), [1, 2, 3, 4, 10, 11, 12]);
    }
    let segments = journal.segments();
    let blocks = segments.iter().map(|one| journal.read_segment(one).unwrap().len());
    assert_eq!(blocks.collect::<Vec<_>>(), [3, 1, 3]);
    assert!(!files[2].exists() && folder.path().join("notes.txt").exists());
}

#[test]
fn a_segment_of_a_later_version_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path(), 100);
    journal.append(block(1, 10));
    journal.close();
    let file = &files(folder.path())[0];
    OpenOptions::new().write(true).open(file).unwrap().write_all_at(&[2], 7).unwrap();
    let before = fs::read(file).unwrap();

    let error = Journal::open(folder.path(), 200, Settings::default()).unwrap_err();

    assert!(matches!(error, OpenError::Newer { path } if path == *file));
    assert_eq!(fs::read(file).unwrap(), before);
}

#[test]
fn requests_of_the_newest_segments_are_told() {
    let folder = tempfile::tempdir().unwrap();
    for start in 0..3_u64 {
        let (journal, _) = open(folder.path(), 100 + start);
        for n in 1..=2 {
            let seq = start * 2 + n;
            let request = (n == 1).then(|| [u8::try_from(seq).unwrap(); 16]);
            journal.append(Block { request, ..block(seq, 10) });
        }
        journal.close();
    }

    let (_journal, recovered) = open(folder.path(), 200);

    let told: Vec<_> = recovered.requests.iter().map(|one| (one.id[0], one.first)).collect();
    assert_eq!(told, [(1, at(100, 1)), (3, at(101, 3)), (5, at(102, 5))]);
}

#[tokio::test]
async fn the_oldest_segments_go_when_the_folder_is_over_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), 100, small(100_000, 10_000)).unwrap();
    let size = || files(folder.path()).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    for seq in 1..=500 {
        journal.append(block(seq, 1000));
        if seq % 50 == 0 {
            journal.write_out(seq).await;
            let size: u64 = size();
            assert!(size <= 100_000, "{size} bytes after {seq}");
        }
    }

    journal.durable(500).await.unwrap();

    let oldest = journal.read(Position::START, Position::END, 1).unwrap().oldest.unwrap();
    assert_eq!(seqs(&journal), (oldest.seq..=500).collect::<Vec<_>>());
    assert!(oldest.seq > 400 && size() > 85_000_u64, "from {oldest}");
    journal.close();
    let (journal, _) = Journal::open(folder.path(), 200, small(30_000, 10_000)).unwrap();
    assert!(size() <= 30_000_u64);
    assert_eq!(seqs(&journal).last(), Some(&500));
}

#[tokio::test]
async fn a_reader_beside_the_writer_sees_every_block_once() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), 100, small(64 << 20, 200_000)).unwrap();
    let last = 20_000;

    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 1..=last {
                journal.append(block(seq, 300));
            }
        });
        let (mut seen, deadline) = (0, std::time::Instant::now() + Duration::from_secs(60));
        while seen < last {
            assert!(std::time::Instant::now() < deadline, "only {seen} came");
            for stored in journal.read(at(100, seen), Position::END, 50_000).unwrap().blocks {
                assert_eq!(stored.block, block(seen + 1, 300));
                seen += 1;
            }
        }
    });
    journal.durable(last).await.unwrap();
}

#[tokio::test]
async fn a_pause_ends_when_somebody_waits_or_the_journal_closes() {
    let folder = tempfile::tempdir().unwrap();
    let pause = Duration::from_secs(3600);
    let settings = Settings { pause, ..Settings::default() };
    let (journal, _) = Journal::open(folder.path(), 100, settings).unwrap();
    for seq in 1..=10 {
        journal.append(block(seq, 100));
    }
    assert_eq!(seqs(&journal), []);

    journal.durable(10).await.unwrap();

    assert_eq!(seqs(&journal).len(), 10);
    journal.append(block(11, 100));
    drop(journal);
    assert_eq!(seqs(&open(folder.path(), 200).0).len(), 11);
}

#[tokio::test]
async fn a_block_that_is_not_in_the_journal_is_said_to_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path(), 100);
    journal.append(block(1, 10));
    journal.append(Block { records: Bytes::new(), ..block(2, 1) });
    journal.append(block(3, 10));

    assert!(matches!(journal.durable(2).await, Err(AppendError::Invalid)));
    journal.durable(1).await.unwrap();
    journal.durable(3).await.unwrap();
    assert_eq!(seqs(&journal), [1, 3]);
}

/// Set for the second process of the next test: the folder of its journal.
const LIMITED: &str = "PILOT_JOURNAL_LIMITED";

#[tokio::test]
async fn a_block_that_finds_no_space_is_cut_off_and_later_ones_go_on() {
    let Some(folder) = std::env::var_os(LIMITED) else { return run_limited() };
    let (journal, _) = open(Path::new(&folder), 100);
    journal.append(block(1, 10_000));
    journal.durable(1).await.unwrap();

    journal.append(block(2, 100_000));
    assert!(matches!(journal.durable(2).await, Err(AppendError::Full)));
    journal.append(block(3, 10_000));
    journal.durable(3).await.unwrap();

    assert_eq!(seqs(&journal), [1, 3]);
    assert!(matches!(journal.durable(2).await, Err(AppendError::Full)));
    let len = fs::metadata(&files(Path::new(&folder))[0]).unwrap().len();
    assert_eq!(len, BEGINNING + 2 * (HEADER as u64 + 10_000));
}

/// Runs the test again where no file may have more than 64 KiB: the system then
/// writes a part of a larger block and refuses the rest, as on a full disk.
fn run_limited() {
    let folder = tempfile::tempdir().unwrap();
    let limited = Command::new("sh")
        .args(["-c", r#"trap '' XFSZ; ulimit -f 128; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_block_that_finds_no_space_is_cut_off_and_later_ones_go_on"])
        .env(LIMITED, folder.path())
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&limited.stdout);
    assert!(limited.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(seqs(&open(folder.path(), 200).0), [1, 3]);
}
