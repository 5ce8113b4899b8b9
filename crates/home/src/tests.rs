//! What a home refuses, and what survives in it.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_first_start_makes_a_private_folder_and_one_key_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");

    let home = Home::open(&path).unwrap();
    let id = home.load_key().unwrap().id();

    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("node.key")), 0o600);
    assert_eq!(fs::metadata(path.join("node.key")).unwrap().len(), 32);
    assert!(!path.join("node.key.new").exists());
    drop(home);
    assert_eq!(Home::open(&path).unwrap().load_key().unwrap().id(), id);
    let other = Home::open(&dir.path().join("c")).unwrap();
    assert_ne!(other.load_key().unwrap().id(), id);
}

#[test]
fn a_second_process_is_told_which_process_has_the_home() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();

    let error = Home::open(dir.path()).unwrap_err();

    let OpenHomeError::AlreadyRunning { pid, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*pid, Some(std::process::id()));
    assert!(error.to_string().contains(&std::process::id().to_string()));
    drop(home);
    Home::open(dir.path()).unwrap();
}

#[test]
fn files_of_a_dead_process_block_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("lock"), "4194304\nand more").unwrap();
    fs::write(dir.path().join("node.key.new"), "half a k").unwrap();
    let socket = dir.path().join("pilot.sock");
    drop(UnixListener::bind(&socket).unwrap());

    let home = Home::open(dir.path()).unwrap();
    home.load_key().unwrap();
    let _listener = bind_socket(&home, &socket).unwrap();

    let pid = fs::read_to_string(dir.path().join("lock")).unwrap();
    assert_eq!(pid, format!("{}\n", std::process::id()));
    assert_eq!(mode(&socket), 0o600);
    UnixStream::connect(&socket).unwrap();
}

#[test]
fn a_folder_that_others_can_write_to_is_no_home() {
    let dir = tempfile::tempdir().unwrap();
    for open in [0o770, 0o702, 0o777] {
        chmod(dir.path(), open);

        let error = Home::open(dir.path()).unwrap_err();

        assert!(matches!(error, OpenHomeError::TooOpen { mode, .. } if mode == open), "{error:?}");
        assert!(error.to_string().contains("chmod 700 "), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was put there");
    }
    chmod(dir.path(), 0o755);
    Home::open(dir.path()).unwrap();
}

#[test]
fn what_is_no_folder_is_no_home() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    File::create(&path).unwrap();

    assert!(matches!(Home::open(&path), Err(OpenHomeError::NotAFolder { .. })));
    let below = Home::open(&path.join("below"));
    assert!(matches!(below, Err(OpenHomeError::Access { .. })), "{below:?}");
}

#[test]
fn a_key_that_others_may_read_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let id = home.load_key().unwrap().id();
    let key = dir.path().join("node.key");
    for open in [0o640, 0o604, 0o660] {
        chmod(&key, open);

        let error = home.load_key().unwrap_err();

        assert!(matches!(error, LoadKeyError::TooOpen { mode, .. } if mode == open), "{error:?}");
        assert!(error.to_string().contains(&format!("chmod 600 {}", key.display())), "{error}");
    }
    chmod(&key, 0o400);
    assert_eq!(home.load_key().unwrap().id(), id);
}

#[test]
fn a_key_of_the_wrong_size_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let key = dir.path().join("node.key");
    for size in [0, 31, 33] {
        fs::write(&key, vec![7; size]).unwrap();
        chmod(&key, 0o600);

        let error = home.load_key().unwrap_err();

        let found = u64::try_from(size).unwrap();
        assert!(matches!(error, LoadKeyError::WrongLength { found: f, .. } if f == found));
        assert_eq!(fs::read(&key).unwrap(), vec![7; size]);
    }
}

#[test]
fn a_key_is_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let key = dir.path().join("node.key");

    symlink(dir.path().join("elsewhere"), &key).unwrap();
    assert!(matches!(home.load_key(), Err(LoadKeyError::NotAFile { .. })));
    assert!(!dir.path().join("elsewhere").exists());

    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    assert!(matches!(home.load_key(), Err(LoadKeyError::NotAFile { .. })));
}

#[test]
fn a_socket_that_is_answered_or_none_at_all_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let path = dir.path().join("other.sock");
    let other = UnixListener::bind(&path).unwrap();

    assert!(matches!(bind_socket(&home, &path), Err(BindSocketError::InUse { .. })));
    UnixStream::connect(&path).unwrap();
    drop(other);
    drop(bind_socket(&home, &path).unwrap());

    fs::remove_file(&path).unwrap();
    File::create(&path).unwrap().write_all(b"precious").unwrap();
    assert!(matches!(bind_socket(&home, &path), Err(BindSocketError::NotASocket { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_socket_path_beyond_the_systems_limit_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();

    let error = bind_socket(&home, &dir.path().join("x".repeat(120))).unwrap_err();

    assert!(matches!(error, BindSocketError::TooLong { .. }), "{error:?}");
    assert!(error.to_string().contains("--socket"));
}
