//! Folders with something in them, and what that is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file in a folder with its bytes.
pub(super) type Content = BTreeMap<PathBuf, Vec<u8>>;

/// Bytes of each file, save the last.
const EACH: usize = 3 << 20;

/// Makes a folder of files in folders, which have so many bytes together.
pub(super) fn plant(folder: &Path, bytes: usize) -> anyhow::Result<()> {
    let mut left = bytes;
    let mut number: u32 = 0;
    while left > 0 {
        let len = left.min(EACH);
        let within = folder.join(format!("part {}", number % 3));
        fs::create_dir_all(&within)?;
        let words = (0..len.div_ceil(4)).map(|at| at.wrapping_mul(2_654_435_761) >> 7);
        let mut content: Vec<u8> =
            words.flat_map(|word| (word.to_le_bytes()[0] as u32 ^ number).to_be_bytes()).collect();
        content.truncate(len);
        fs::write(within.join(format!("{number}.bin")), content)?;
        left -= len;
        number += 1;
    }
    Ok(())
}

/// What is in a folder.
pub(super) fn content(folder: &Path) -> anyhow::Result<Content> {
    let mut content = Content::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(within) = folders.pop() {
        for entry in fs::read_dir(folder.join(&within))? {
            let entry = entry?;
            let name = within.join(entry.file_name());
            if entry.metadata()?.is_dir() {
                folders.push(name);
            } else {
                content.insert(name, fs::read(entry.path())?);
            }
        }
    }
    Ok(content)
}
