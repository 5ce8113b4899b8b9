//! Processes that left the group of their command, as `setsid`, `timeout` and
//! servers that go into the background do.
//!
//! They are known by the `PILOT_TASK_DIR` they were started with, of which no
//! two tasks have the same. One that was started without it, or wrote over it,
//! is not found; nor is any on a system other than Linux, where the environment
//! of a process cannot be read from a file.

use core::time::Duration;
use std::path::Path;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// How often they are looked for: whoever starts others may be faster once,
/// and takes a moment to be gone.
pub(super) const ROUNDS: u32 = 100;

/// Time between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

/// Ends the processes of the tasks that have `folder` or one in it, until none
/// is left. With `since` only those are looked at that were started after the
/// process of this number, a short time ago.
pub(super) async fn end(folder: &Path, since: Option<i32>) {
    for _ in 0..ROUNDS {
        let folder = folder.to_owned();
        // A look at each of thousands of processes takes its time.
        let ended = spawn_blocking(move || kill(&folder, since)).await;
        if ended.unwrap_or_default() == 0 {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// The same once: how many there were.
#[cfg(target_os = "linux")]
pub(super) fn kill(folder: &Path, since: Option<i32>) -> usize {
    linux::kill(folder, since)
}

/// The same once: how many there were.
#[cfg(not(target_os = "linux"))]
pub(super) fn kill(_folder: &Path, _since: Option<i32>) -> usize {
    0
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{self, File};
    use std::io::Read as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;

    use rustix::process::{
        Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal,
    };

    const NAME: &[u8] = b"PILOT_TASK_DIR=";

    /// Bytes of an environment that are looked at; the system takes 6 MiB.
    const MAX_ENVIRONMENT: u64 = 8 * 1024 * 1024;

    /// Numbers that are tried one by one; more than that are listed.
    const MAX_TRIED: i32 = 4096;

    pub(super) fn kill(folder: &Path, since: Option<i32>) -> usize {
        let own = getpid();
        let numbers = since.and_then(after).unwrap_or_else(all);
        let others = numbers.into_iter().filter_map(Pid::from_raw).filter(|pid| *pid != own);
        others.filter(|pid| kill_if(*pid, folder.as_os_str().as_bytes())).count()
    }

    /// The numbers given after this one, as long as they have not begun anew.
    fn after(first: i32) -> Option<Vec<i32>> {
        let load = fs::read_to_string("/proc/loadavg").ok()?;
        let last: i32 = load.split_ascii_whitespace().last()?.parse().ok()?;
        let count = last.checked_sub(first)?;
        (0..MAX_TRIED).contains(&count).then(|| (first..=last).collect())
    }

    fn all() -> Vec<i32> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
        names.filter_map(|name| name.to_str()?.parse().ok()).collect()
    }

    /// Ends a process if it is of such a task.
    fn kill_if(pid: Pid, folder: &[u8]) -> bool {
        // Held first: its number may be another's by the time it was looked at.
        let held = pidfd_open(pid, PidfdFlags::empty());
        if !is_of(pid, folder) {
            return false;
        }
        match held {
            Ok(held) => pidfd_send_signal(held, Signal::KILL).is_ok(),
            // A system of before 2019 has none.
            Err(_) => kill_process(pid, Signal::KILL).is_ok(),
        }
    }

    /// Whether it was started with a folder that is this one or in it. Nobody
    /// can read that of another user's process.
    fn is_of(pid: Pid, folder: &[u8]) -> bool {
        let mut environment = Vec::new();
        let path = format!("/proc/{}/environ", pid.as_raw_nonzero());
        let read = File::open(path)
            .and_then(|file| file.take(MAX_ENVIRONMENT).read_to_end(&mut environment));
        read.is_ok() && has(&environment, folder)
    }

    pub(super) fn has(environment: &[u8], folder: &[u8]) -> bool {
        environment.split(|byte| *byte == 0).any(|variable| {
            let rest = variable.strip_prefix(NAME).and_then(|value| value.strip_prefix(folder));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::Command;

    use super::*;

    #[test]
    fn a_folder_is_that_of_a_task_or_of_all_of_them() {
        let environment = b"A=1\0PILOT_TASK_DIR=/t/w/10\0B=PILOT_TASK_DIR=/x\0";

        for (folder, expected) in [
            ("/t/w/10", true),
            ("/t/w", true),
            ("/t/w/1", false),
            ("/x", false),
            ("/t/w/10/a", false),
        ] {
            assert_eq!(linux::has(environment, folder.as_bytes()), expected, "{folder}");
        }
    }

    #[tokio::test]
    async fn who_left_the_group_is_ended_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let start = |name: &str| {
            let mut command = Command::new("sleep");
            let command = command.arg("600").process_group(0);
            command.env("PILOT_TASK_DIR", dir.path().join(name)).spawn().unwrap()
        };
        let (mut first, mut second, mut other) = (start("1"), start("1"), start("10"));

        end(&dir.path().join("1"), None).await;

        for child in [&mut first, &mut second] {
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        }
        assert!(other.try_wait().unwrap().is_none());
        end(dir.path(), i32::try_from(other.id()).ok()).await;
        assert_eq!(other.wait().unwrap().signal(), Some(9));
    }
}
