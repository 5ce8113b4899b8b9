//! A test on a disk that has little room.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::skip;

/// Set in a copy of a test's program that runs on a small disk of its own; names
/// its folder.
const DISK: &str = "PILOT_TEST_SMALL_DISK";

/// Runs `work` on a file system of `size` (as `mount` takes it) that has its own
/// folder and is the place for temporary files. It is mounted in a namespace,
/// in a copy of this program that runs just this test; skips where there are no
/// such namespaces.
///
/// # Errors
///
/// If the copy does not start.
///
/// # Panics
///
/// If `work` does.
pub fn on_small_disk(test: &str, size: &str, work: impl FnOnce(&Path)) -> io::Result<()> {
    if let Some(disk) = std::env::var_os(DISK) {
        work(Path::new(&disk));
        return Ok(());
    }
    if !Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|done| done.success()) {
        skip("no user and mount namespaces here to mount a small disk in");
        return Ok(());
    }
    let disk = tempfile::tempdir()?;
    let script = "mount -t tmpfs -o size=\"$1\" none \"$2\"; shift 2; exec \"$@\"";
    let copy = Command::new("unshare")
        .args(["-rm", "sh", "-ec", script, "-", size])
        .arg(disk.path())
        .arg(std::env::current_exe()?)
        .args(["--exact", test, "--nocapture"])
        .env(DISK, disk.path())
        .env("TMPDIR", disk.path())
        .output()?;
    let shown = String::from_utf8_lossy(&copy.stdout);
    let stderr = String::from_utf8_lossy(&copy.stderr);
    assert!(copy.status.success() && shown.contains("1 passed"), "{shown}\n{stderr}");
    Ok(())
}
