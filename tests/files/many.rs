//! Many files, and a large one.

use std::fs::{self, File};
use std::io::{BufReader, Read, Write as _};
use std::path::Path;

use super::tree::Tree;
use super::{noise, received, sent, team};

#[test]
fn ten_thousand_small_files_arrive_identical() {
    let team = team();
    let source = team.folder().join("source");
    let content = noise(10, 10_000 * 4096);
    for (number, content) in content.chunks(4096).enumerate() {
        let folder = source.join(format!("{:02}", number % 37));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(number.to_string()), content).unwrap();
    }

    let view = sent(&team, &[&source]);

    let arrived = received(&team, view.id).join("source");
    assert!(Tree::of(&arrived).unwrap() == Tree::of(&source).unwrap());
    assert_eq!(view.files, 10_000);
}

#[test]
fn two_gigabytes_arrive_identical() {
    let team = team();
    let source = team.folder().join("source");
    let mut file = File::create(&source).unwrap();
    let mut block = noise(11, 10_000_000);
    for number in 0..200_u64 {
        // No two pages are alike.
        for page in block.chunks_exact_mut(4096) {
            page.first_chunk_mut().map(|start| *start = number.to_be_bytes()).unwrap();
        }
        file.write_all(&block).unwrap();
    }

    let view = sent(&team, &[&source]);

    let arrived = received(&team, view.id).join("source");
    assert_eq!(view.bytes, 2_000_000_000);
    assert!(is_same(&arrived, &source), "another file arrived");
}

fn is_same(one: &Path, other: &Path) -> bool {
    let open = |path| BufReader::with_capacity(1 << 20, File::open(path).unwrap());
    let (mut one, mut other) = (open(one), open(other));
    let (mut here, mut there) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let len = other.read(&mut here).unwrap();
        if len == 0 {
            return one.read(&mut there).unwrap() == 0;
        }
        let there = there.get_mut(..len).unwrap();
        if one.read_exact(there).is_err() || here.get(..len) != Some(&*there) {
            return false;
        }
    }
}
