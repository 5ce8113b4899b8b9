//! What gets into a transfer, and what stays behind.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use pilot_files::{MAX_DEPTH, ManifestError};

use super::*;
use crate::{ScanError, ScanOptions, Source, Special};

/// A folder with these in it: with `/` at the end folders, else files that
/// contain their path.
fn files(paths: &[&[u8]]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in paths {
        let path = folder.path().join(OsStr::from_bytes(name));
        if name.ends_with(b"/") {
            fs::create_dir_all(&path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
        }
    }
    folder
}

fn scan(paths: &[PathBuf], exclude: &[&str], gitignore: bool) -> Result<Source, ScanError> {
    let exclude = exclude.iter().map(|glob| (*glob).to_owned()).collect();
    Source::scan(paths, &ScanOptions { exclude, gitignore }).map(|(source, _)| source)
}

/// The paths of all entries, in their order.
fn listed(source: &Source) -> Vec<Vec<u8>> {
    let manifest = source.manifest();
    (0..manifest.entries().len()).map(|entry| manifest.path(entry).unwrap()).collect()
}

fn list(paths: &[PathBuf], exclude: &[&str], gitignore: bool) -> Vec<String> {
    let listed = listed(&scan(paths, exclude, gitignore).unwrap());
    listed.iter().map(|path| String::from_utf8(path.clone()).unwrap()).collect()
}

#[test]
fn everything_is_listed_in_the_order_of_the_names() {
    let long = [b'x'; 255];
    let names: [&[u8]; 7] = [b"b/", b"b/line\nfeed", b"b/\xff", b"b/dot.", b"b-", b"A", &long];
    let folder = files(&names);
    let file = folder.path().join("b/dot.");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4751)).unwrap();
    symlink("/nowhere/\u{1}", folder.path().join("link")).unwrap();

    let paths: Vec<PathBuf> =
        ["link", "b", "b-", "A", &"x".repeat(255)].map(|name| folder.path().join(name)).to_vec();
    let source = scan(&paths, &[], false).unwrap();

    let expected: [&[u8]; 8] =
        [b"A", b"b", b"b/dot.", b"b/line\nfeed", b"b/\xff", b"b-", b"link", &long];
    assert_eq!(listed(&source), expected);
    let manifest = source.manifest();
    let totals = manifest.totals();
    assert_eq!((totals.files, totals.folders, totals.links, totals.bytes), (6, 1, 1, 278));
    assert_eq!(manifest.entries()[2].mode, Mode::of(0o751));
    let EntryKind::Link { target } = &manifest.entries()[6].kind else { panic!() };
    assert_eq!(target.as_bytes(), b"/nowhere/\x01");
}

#[test]
fn a_path_arrives_under_its_last_component() {
    let folder = files(&[b"src/auth/a", b"src/b"]);
    let at = |path: &str| vec![folder.path().join(path)];
    symlink("src/auth", folder.path().join("link")).unwrap();

    for same in ["src/auth", "src/auth/", "src/auth/.", "src/../src/auth", "src/auth/../auth/"] {
        assert_eq!(list(&at(same), &[], false), ["auth", "auth/a"], "{same}");
    }
    assert_eq!(list(&at("src/auth/.."), &[], false), ["src", "src/auth", "src/auth/a", "src/b"]);
    assert_eq!(list(&at("link"), &[], false), ["link"]);
    let source = scan(&at("link/"), &[], false).unwrap();
    assert_eq!(listed(&source), [b"link".as_slice(), b"link/a"]);
    assert_eq!(fs::read(source.path(1).unwrap()).unwrap(), b"src/auth/a");
    let error = scan(&[PathBuf::from("/")], &[], false).unwrap_err();
    assert!(matches!(error, ScanError::NoName { .. }), "{error}");
}

#[test]
fn two_paths_of_one_name_are_refused() {
    let folder = files(&[b"a/x", b"b/x"]);

    let paths = [folder.path().join("a/x"), folder.path().join("b/x")];
    let error = scan(&paths, &[], false).unwrap_err();

    let text = error.to_string();
    assert!(matches!(error, ScanError::SameName { .. }));
    assert!(text.contains("a/x\" and") && text.contains("b/x\" would"), "{text}");
}

#[test]
fn what_does_not_travel_is_told() {
    let folder = files(&[b"dir/file"]);
    let _socket = UnixListener::bind(folder.path().join("dir/socket")).unwrap();
    for number in 0..101 {
        let made = std::process::Command::new("mkfifo")
            .arg(folder.path().join(format!("dir/pipe{number:03}")))
            .status();
        assert!(made.unwrap().success());
    }

    let paths = [folder.path().join("dir"), PathBuf::from("/dev/null")];
    let (source, scanned) = Source::scan(&paths, &ScanOptions::default()).unwrap();

    assert_eq!(listed(&source), [b"dir".as_slice(), b"dir/file"]);
    assert_eq!((scanned.skipped.len(), scanned.more), (100, 3));
    assert_eq!(scanned.skipped[0].1, Special::Pipe);
    let (_, alone) = Source::scan(
        &[folder.path().join("dir/socket"), "/dev/null".into(), folder.path().join("dir/file")],
        &ScanOptions::default(),
    )
    .unwrap();
    let kinds: Vec<Special> = alone.skipped.iter().map(|(_, kind)| *kind).collect();
    assert_eq!(kinds, [Special::Device, Special::Socket]);
}

#[test]
fn what_cannot_be_sent_is_an_error() {
    let folder = files(&[b"empty/"]);
    let missing = folder.path().join("missing");

    let error = scan(std::slice::from_ref(&missing), &[], false).unwrap_err();
    assert!(matches!(&error, ScanError::Read { path, .. } if path.ends_with("missing")), "{error}");
    let error = scan(&[folder.path().join("empty")], &["{"], false).unwrap_err();
    assert!(matches!(&error, ScanError::Glob { glob, .. } if glob == "{"), "{error}");
    for nothing in [scan(&[], &[], false), scan(&[folder.path().join("empty")], &["*"], false)] {
        let error = nothing.unwrap_err();
        assert!(matches!(error, ScanError::Manifest(ManifestError::Empty)), "{error}");
    }
}

#[test]
fn folders_that_are_too_deep_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("d");
    let deep = |depth: u32| (0..depth).map(|_| "d").collect::<PathBuf>();
    fs::create_dir_all(folder.path().join(deep(MAX_DEPTH))).unwrap();
    scan(std::slice::from_ref(&top), &[], false).unwrap();

    fs::create_dir_all(folder.path().join(deep(MAX_DEPTH + 1))).unwrap();
    let error = scan(&[top], &[], false).unwrap_err();

    assert!(matches!(error, ScanError::TooDeep { .. }), "{error}");
}

#[test]
fn what_is_excluded_stays_behind() {
    let folder = files(&[b"p/a.o", b"p/a.c", b"p/target/x", b"p/src/target", b"p/src/b.o", b"q.o"]);
    let paths = [folder.path().join("p"), folder.path().join("q.o")];

    let all = list(&paths, &["*.o", "target/"], false);
    assert_eq!(all, ["p", "p/a.c", "p/src", "p/src/target"]);
    let anchored = list(&paths[..1], &["/p/src/*", "!b.o"], false);
    assert_eq!(anchored, ["p", "p/a.c", "p/a.o", "p/src", "p/src/b.o", "p/target", "p/target/x"]);
}

#[test]
fn what_git_ignores_stays_behind_if_that_is_wanted() {
    let folder = files(&[b"r/.git/HEAD", b"r/p/a.o", b"r/p/keep.o", b"r/p/out/x", b"r/p/q/out/y"]);
    let repository = folder.path().join("r");
    fs::write(folder.path().join(".gitignore"), "a.o\nq\n").unwrap();
    fs::write(repository.join(".gitignore"), "*.o\n").unwrap();
    fs::write(repository.join("p/.gitignore"), "/out\n!keep.o\n").unwrap();
    let paths = [repository.join("p")];

    let listed = list(&paths, &[], true);

    assert_eq!(listed, ["p", "p/.gitignore", "p/keep.o", "p/q", "p/q/out", "p/q/out/y"]);
    assert_eq!(list(&paths, &[], false).len(), 9);
    let whole = list(&[repository], &["p"], true);
    assert_eq!(whole, ["r", "r/.gitignore"]);
}

#[test]
fn what_may_not_be_read_is_an_error_that_names_it() {
    if is_root("what_may_not_be_read_is_an_error_that_names_it") {
        return;
    }
    for locked in ["dir/file", "dir"] {
        let folder = files(&[b"dir/file"]);
        let path = folder.path().join(locked);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();

        let error = scan(&[folder.path().join("dir")], &[], false).unwrap_err();

        let ScanError::Read { path: named, .. } = &error else { panic!("{error}") };
        assert_eq!(*named, path.canonicalize().unwrap_or_else(|_| path.clone()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
}
