//! Trees that are sent and received in the tests.

mod copy;
mod finish;
mod held;
mod incoming;
mod keep;
mod planted;
mod scan;
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilot_files::{Layout, Manifest, PieceHash};
use pilot_proto::Component;
use pilot_proto::manifest::{Entry, EntryKind, LinkTarget, Mode, Modified};
use tempfile::TempDir;

use crate::{Incoming, WriteError, Written};

const TOP: u32 = 0;

/// What is sent.
#[derive(Default, Clone)]
struct Sample {
    entries: Vec<Entry>,
    contents: BTreeMap<u32, Vec<u8>>,
}

impl Sample {
    /// Returns what others say to be in it.
    fn folder(&mut self, parent: u32, name: &[u8]) -> u32 {
        self.add(parent, name, EntryKind::Folder, 0o755)
    }

    fn file(&mut self, parent: u32, name: &[u8], content: &[u8]) {
        let kind = EntryKind::File { size: content.len() as u64 };
        let number = self.add(parent, name, kind, 0o644) - 1;
        self.contents.insert(number, content.to_vec());
    }

    fn link(&mut self, parent: u32, name: &[u8], target: &[u8]) {
        let target = LinkTarget::new(target).unwrap();
        self.add(parent, name, EntryKind::Link { target }, 0o777);
    }

    /// Of what was added last.
    fn dress(&mut self, mode: u32, modified: (i64, u32)) {
        let entry = self.entries.last_mut().unwrap();
        entry.mode = Mode::of(mode);
        entry.modified = Modified::new(modified.0, modified.1).unwrap();
    }

    fn add(&mut self, parent: u32, name: &[u8], kind: EntryKind, mode: u32) -> u32 {
        let (name, mode) = (Component::new(name).unwrap(), Mode::of(mode));
        let modified = Modified::new(1_600_000_000, 123_456_789).unwrap();
        self.entries.push(Entry { parent, name, kind, mode, modified });
        u32::try_from(self.entries.len()).unwrap()
    }

    fn manifest(&self) -> Arc<Manifest> {
        Arc::new(Manifest::new(self.entries.clone()).unwrap())
    }

    fn pieces(&self) -> u64 {
        Layout::of(&self.manifest()).unwrap().pieces()
    }

    fn piece(&self, number: u64) -> (Vec<u8>, PieceHash) {
        let piece = Layout::of(&self.manifest()).unwrap().piece(number).unwrap();
        let at = usize::try_from(piece.offset).unwrap();
        let content = self.contents[&piece.entry][at..at + piece.len].to_vec();
        let hash = PieceHash::of(&content, piece.offset, piece.is_only);
        (content, hash)
    }
}

/// A home with an inbox.
struct Inbox {
    home: TempDir,
}

impl Inbox {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("inbox")).unwrap();
        Self { home }
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("inbox")
    }

    fn incoming(&self) -> PathBuf {
        self.path().join(".incoming/7")
    }

    fn tree(&self) -> PathBuf {
        self.incoming().join("tree")
    }

    fn begin(&self, sample: &Sample) -> Incoming {
        let manifest = sample.manifest();
        Incoming::create(&self.incoming(), &manifest.encode().unwrap(), manifest).unwrap()
    }

    fn reopen(&self) -> Incoming {
        Incoming::open(&self.incoming()).unwrap()
    }

    /// All of it, finished.
    fn receive(&self, sample: &Sample) -> PathBuf {
        let mut incoming = self.begin(sample);
        write_all(&mut incoming, sample);
        incoming.finish(&self.path(), "id").unwrap()
    }
}

fn write(incoming: &mut Incoming, sample: &Sample, number: u64) -> Result<Written, WriteError> {
    let (content, hash) = sample.piece(number);
    incoming.write_piece(number, &content, &hash)
}

fn write_all(incoming: &mut Incoming, sample: &Sample) {
    for number in 0..sample.pieces() {
        write(incoming, sample, number).unwrap();
    }
}

/// Everything that was sent is at `top` as it was sent, and nothing else.
fn assert_is(top: &Path, sample: &Sample) {
    let manifest = sample.manifest();
    for (number, entry) in (0_u32..).zip(manifest.entries()) {
        let path = top.join(crate::os_path(&manifest.path(number as usize).unwrap()));
        let metadata = fs::symlink_metadata(&path).unwrap();
        let found = (metadata.mtime(), metadata.mtime_nsec());
        let wanted = (entry.modified.seconds(), i64::from(entry.modified.nanos()));
        assert_eq!(found, wanted, "{path:?}");
        match &entry.kind {
            EntryKind::Link { target } => {
                let said = fs::read_link(&path).unwrap();
                assert_eq!(said.as_os_str().as_encoded_bytes(), target.as_bytes(), "{path:?}");
                continue;
            }
            EntryKind::Folder => assert!(metadata.is_dir(), "{path:?}"),
            EntryKind::File { .. } => {
                assert!(metadata.is_file(), "{path:?}");
                // A file that its owner may not read is read by root alone.
                if metadata.mode() & 0o400 != 0 {
                    let content = &sample.contents[&number];
                    assert!(fs::read(&path).unwrap() == *content, "{path:?}");
                }
            }
        }
        assert_eq!(metadata.mode() & 0o7777, u32::from(entry.mode.bits()), "{path:?}");
    }
    assert_eq!(count(top), manifest.entries().len());
}

/// How many things are in a folder and below.
fn count(folder: &Path) -> usize {
    let inner = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    inner
        .map(|entry| 1 + if entry.file_type().unwrap().is_dir() { count(&entry.path()) } else { 0 })
        .sum()
}

/// Whether this user may do what modes forbid; says so, as what is tested then
/// is less.
fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        #[expect(clippy::print_stderr, reason = "a test that is left out is to be seen")]
        {
            eprintln!("{test}: left out, as root may do everything");
        }
    }
    is_root
}
