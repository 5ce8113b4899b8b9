//! What a store promises, seen from outside.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use pilot_store::{Batch, CommitError, Epoch, OpenError, ReadError, Settings, Store};

const SCHEMA: &[&str] = &["CREATE TABLE item (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT"];

fn settings(folder: &Path) -> Settings {
    Settings::new(folder.join("test.db"), SCHEMA)
}

fn open(folder: &Path) -> Store {
    Store::open(&settings(folder)).unwrap()
}

fn put(epoch: Epoch, id: u32, bytes: usize) -> Batch {
    let mut batch = Batch::new(epoch);
    batch.write(move |transaction| {
        transaction
            .prepare_cached("INSERT INTO item (id, body) VALUES (?1, zeroblob(?2))")?
            .execute((id, u32::try_from(bytes).unwrap()))
            .map(drop)
    });
    batch
}

fn ids(store: &Store) -> Vec<u32> {
    store
        .read(|connection| {
            connection
                .prepare_cached("SELECT id FROM item ORDER BY id")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
        .unwrap()
}

/// Puts a copy of what a killed process would leave on the disk into a new folder.
fn as_after_a_kill(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}

#[tokio::test]
async fn what_resolved_is_on_disk_with_all_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let commits: Vec<_> = (0..500).map(|id| store.commit(put(store.epoch(), id, 10))).collect();

    for (id, commit) in (0..).zip(commits) {
        commit.await.unwrap();
        if id % 100 == 0 {
            let survivor = as_after_a_kill(folder.path());
            let found = ids(&open(survivor.path()));
            assert!(found.len() > id, "{} rows after {id} was acknowledged", found.len());
            assert!(found.iter().copied().eq(0..u32::try_from(found.len()).unwrap()));
        }
    }
}

#[tokio::test]
async fn a_dropped_commit_is_written_and_a_barrier_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for id in 0..50 {
        drop(store.commit(put(store.epoch(), id, 10)));
    }

    store.commit(store.batch()).await.unwrap();

    assert_eq!(ids(&store).len(), 50);
}

#[tokio::test]
async fn a_batch_is_written_whole_or_not_at_all_and_its_epoch_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let epoch = store.epoch();
    store.commit(put(epoch, 1, 10)).await.unwrap();
    let mut half = put(epoch, 2, 10);
    half.write(|transaction| {
        transaction.execute("INSERT INTO item (id, body) VALUES (1, x'')", []).map(drop)
    });

    let refused = store.commit(half).await;

    assert!(matches!(refused, Err(CommitError::Failed(_))), "{refused:?}");
    let stale = store.commit(put(epoch, 3, 10)).await;
    assert!(matches!(stale, Err(CommitError::Stale)), "{stale:?}");
    let stale_barrier = store.commit(Batch::new(epoch)).await;
    assert!(matches!(stale_barrier, Err(CommitError::Stale)), "{stale_barrier:?}");
    store.commit(put(store.epoch(), 4, 10)).await.unwrap();
    assert_eq!(ids(&store), [1, 4]);
}

#[tokio::test]
async fn a_panic_in_a_write_closes_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut batch = store.batch();
    batch.write(|_| panic!("a bug in a write"));

    assert!(matches!(store.commit(batch).await, Err(CommitError::Closed)));
    assert!(matches!(store.commit(store.batch()).await, Err(CommitError::Closed)));
    store.close();
    assert!(ids(&open(folder.path())).is_empty());
}

#[tokio::test]
async fn after_close_there_is_one_private_file_and_every_clone_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let clone = store.clone();
    let queued = store.commit(put(store.epoch(), 1, 10));
    for name in ["test.db", "test.db-wal", "test.db-shm", "test.db-lock"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }

    store.close();

    queued.await.unwrap();
    assert!(matches!(clone.commit(clone.batch()).await, Err(CommitError::Closed)));
    assert!(matches!(clone.read(|_| Ok(())), Err(ReadError::Closed)));
    assert!(!folder.path().join("test.db-wal").exists());
    assert_eq!(ids(&open(folder.path())), [1]);
}

#[tokio::test]
async fn reads_cannot_write_and_long_ones_do_not_stop_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.commit(put(store.epoch(), 1, 10)).await.unwrap();

    let written = store.read(|connection| connection.execute("DELETE FROM item", []));
    let (inside, entered) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let reading = store.read_blocking(move |connection| {
        let count = |sql| connection.query_row(sql, [], |row| row.get::<_, u32>(0));
        let before = count("SELECT count(*) FROM item")?;
        inside.send(()).unwrap();
        left.recv().unwrap();
        Ok((before, count("SELECT count(*) FROM item")?))
    });
    let writing = async {
        let in_read = tokio::task::spawn_blocking(move || entered.recv()).await.unwrap();
        in_read.unwrap();
        store.commit(put(store.epoch(), 2, 10)).await.unwrap();
        leave.send(()).unwrap();
    };
    let (counts, ()) = tokio::join!(reading, writing);

    assert!(matches!(written, Err(ReadError::Sqlite(_))), "{written:?}");
    assert_eq!(counts.unwrap(), (1, 1), "one snapshot");
    assert_eq!(ids(&store), [1, 2]);
}

#[tokio::test]
async fn migrations_run_once_and_a_newer_schema_is_refused() {
    const TWO: &[&str] =
        &[SCHEMA[0], "CREATE TABLE second (id INTEGER); INSERT INTO second VALUES (7)"];
    let folder = tempfile::tempdir().unwrap();
    let two = Settings { migrations: TWO, ..settings(folder.path()) };
    let old = open(folder.path());
    old.commit(put(old.epoch(), 1, 10)).await.unwrap();
    old.close();

    for _ in 0..2 {
        let store = Store::open(&two).unwrap();
        let rows =
            store.read(|c| c.query_row("SELECT count(*) FROM second", [], |r| r.get::<_, u32>(0)));
        assert_eq!(rows.unwrap(), 1);
        assert_eq!(ids(&store), [1]);
        store.close();
    }

    let refused = Store::open(&settings(folder.path())).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 2, known: 1, .. }), "{refused:?}");
    Store::open(&two).unwrap();
}

#[test]
fn two_stores_cannot_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());

    let second = Store::open(&settings(folder.path()));

    assert!(matches!(second, Err(OpenError::Locked { .. })), "{second:?}");
    drop(first);
    open(folder.path());
}

#[test]
fn a_file_that_is_no_database_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("test.db"), [7; 8192]).unwrap();

    let refused = Store::open(&settings(folder.path()));

    assert!(matches!(refused, Err(OpenError::Corrupt { .. })), "{refused:?}");
    assert_eq!(fs::read(folder.path().join("test.db")).unwrap(), [7; 8192]);
}

#[tokio::test]
async fn damage_is_found_after_an_unclean_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for id in 0..200 {
        drop(store.commit(put(store.epoch(), id, 1000)));
    }
    store.close();
    let path = folder.path().join("test.db");
    let mut bytes = fs::read(&path).unwrap();
    let page = bytes.len() / 2 / 4096 * 4096;
    bytes[page..page + 4096].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    fs::write(folder.path().join("test.db-lock"), "").unwrap();

    let refused = Store::open(&settings(folder.path()));

    assert!(matches!(refused, Err(OpenError::Corrupt { .. })), "{refused:?}");
}

#[test]
fn a_reserve_that_is_not_free_refuses_new_work_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Settings { reserve: u64::MAX, ..settings(folder.path()) }).unwrap();

    assert!(matches!(store.room_for_new_work(), Err(CommitError::DiskFull)));
    drop(store);
    assert!(open(folder.path()).room_for_new_work().is_ok());
}

/// Set in a copy of this program that a test runs; names the folder to work in.
const FOLDER: &str = "PILOT_STORE_TEST_FOLDER";

/// This program again, to run one test in a process of its own.
fn this_test(name: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    [program.as_str(), "--exact", name, "--nocapture"].map(str::to_owned).to_vec()
}

#[tokio::test]
async fn a_killed_process_leaves_every_row_it_acknowledged() {
    use std::io::{BufRead as _, BufReader, Write as _};
    if let Some(folder) = std::env::var_os(FOLDER) {
        let store = open(Path::new(&folder));
        for id in 0_u32.. {
            store.commit(put(store.epoch(), id, 100)).await.unwrap();
            writeln!(std::io::stdout(), "row {id}").unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let command = this_test("a_killed_process_leaves_every_row_it_acknowledged");
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "row 300"));

    child.kill().unwrap();
    let rest = lines.filter(|line| line.starts_with("row ")).count();
    child.wait().unwrap();

    let found = ids(&open(folder.path()));
    assert!(found.len() >= 301 + rest, "{} of {} rows", found.len(), 301 + rest);
    assert!(found.iter().copied().eq(0..u32::try_from(found.len()).unwrap()));
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test that cannot run here must say so")]
async fn a_full_disk_refuses_and_recovers_by_itself() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return fill_a_disk(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    if !Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|done| done.success()) {
        eprintln!("SKIPPED: no user and mount namespaces here to mount a small disk in");
        return;
    }
    let done = Command::new("unshare")
        .args([
            "-rm",
            "sh",
            "-ec",
            "mount -t tmpfs -o size=4m none \"$1\"; shift; exec \"$@\"",
            "-",
        ])
        .arg(folder.path())
        .args(this_test("a_full_disk_refuses_and_recovers_by_itself"))
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"));
}

/// Runs on a disk of 4 MiB.
async fn fill_a_disk(folder: &Path) {
    let ballast = folder.join("ballast");
    let store = Store::open(&Settings { reserve: 1 << 20, ..settings(folder) }).unwrap();
    store.commit(put(store.epoch(), 0, 100)).await.unwrap();
    store.room_for_new_work().unwrap();

    // A result still finds room in the reserve where new work does not.
    fs::write(&ballast, vec![1; 3 << 20]).unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(10), async {
        while store.room_for_new_work().is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    store.commit(put(store.epoch(), 1, 100_000)).await.unwrap();

    let epoch = store.epoch();
    let full = store.commit(put(epoch, 2, 2 << 20)).await;
    assert!(matches!(full, Err(CommitError::DiskFull)), "{full:?}");
    assert!(matches!(store.commit(put(epoch, 3, 10)).await, Err(CommitError::Stale)));
    assert_eq!(ids(&store), [0, 1], "reading goes on");

    fs::remove_file(&ballast).unwrap();
    store.commit(put(store.epoch(), 4, 1 << 20)).await.unwrap();
    store.room_for_new_work().unwrap();
    store.close();
    assert_eq!(ids(&open(folder)), [0, 1, 4]);
}
