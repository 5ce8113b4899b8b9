//! What can be seen of a daemon that does not answer: its home folder, its
//! key file, its socket and its disk. Nothing here changes anything.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use pilot_local_api::doctor::{Cause, Finding, Severity};
use pilot_local_api::{CallError, ErrorCode, quoted};

/// Bytes that a daemon keeps free; with less it refuses new work.
const RESERVE: u64 = 32 << 20;

/// Free space below which the disk counts as nearly full, as the daemon does.
const NEARLY_FULL: u64 = 256 << 20;

/// Permission bits of others to write, and to do anything.
const OTHERS_WRITE: u32 = 0o022;
const OTHERS: u32 = 0o077;

/// Everything that is wrong, or the one thing that is always wrong here: that
/// `silence` is why the daemon was not heard.
pub(crate) fn findings(home: &Path, socket: &Path, silence: &CallError) -> Vec<Finding> {
    let mut findings = Vec::new();
    match fs::metadata(home) {
        Ok(metadata) => {
            findings.push(folder(home, &metadata));
            findings.extend(key(&home.join("node.key")));
            findings.extend(disk(home));
        }
        Err(error) => findings.push(no_folder(home, &error)),
    }
    findings.push(daemon(home, socket, silence));
    findings
}

fn folder(home: &Path, metadata: &Metadata) -> Finding {
    let (shown, word) = (home.display(), word(home));
    let me = rustix::process::geteuid().as_raw();
    let mode = metadata.mode() & 0o777;
    if !metadata.is_dir() {
        return problem(Cause::HomeNotAFolder, format!("the home {shown} is not a folder"))
            .safe("the daemon does not start, and changes nothing")
            .mend(format!("mv {word} {word}.old  # or give another one with --home"));
    }
    if metadata.uid() != me && me != 0 {
        let what = format!(
            "the home folder {shown} belongs to user {}, and this is user {me}",
            metadata.uid()
        );
        return problem(Cause::HomeNotOwned, what)
            .safe("no daemon of this user starts on it")
            .mend(format!("sudo chown -R {me} {word}  # or act as its owner"));
    }
    if mode & OTHERS_WRITE != 0 {
        let what = format!("others may write to the home folder {shown} (mode {mode:03o})");
        return problem(Cause::HomeTooOpen, what)
            .safe("the daemon does not start on it: others could give it another key")
            .mend(format!("chmod 700 {word}"));
    }
    Finding::new(Severity::Ok, Cause::Home, format!("the home folder {shown} is as it must be"))
}

fn no_folder(home: &Path, error: &io::Error) -> Finding {
    let (shown, word) = (home.display(), word(home));
    if error.kind() == ErrorKind::NotFound {
        return problem(Cause::HomeMissing, format!("there is no home folder {shown} yet"))
            .safe("the daemon makes it, and a key of its own, at its first start")
            .mend(format!("pilot-daemon --home {word} -registry-addr HOST:9000"));
    }
    problem(Cause::HomeNotOwned, format!("the home folder {shown} cannot be looked at: {error}"))
        .safe("nothing was changed")
        .mend(format!("ls -ld {word}"))
}

/// A key that is not there yet is made by the daemon.
fn key(path: &Path) -> Option<Finding> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let (shown, word) = (path.display(), word(path));
    let mode = metadata.mode() & 0o777;
    let safe = "the daemon does not start, and makes no other key: that would be another node";
    if !metadata.is_file() {
        return Some(
            problem(Cause::KeyUnusable, format!("the key file {shown} is not a file of its own"))
                .safe(safe)
                .mend(format!("ls -l {word}  # put the key itself there")),
        );
    }
    (mode & OTHERS != 0).then(|| {
        let what = format!("others may read the key file {shown} (mode {mode:03o})");
        problem(Cause::KeyUnusable, what).safe(safe).mend(format!("chmod 600 {word}"))
    })
}

fn disk(home: &Path) -> Option<Finding> {
    let stat = rustix::fs::statvfs(home).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let megabytes = free / 1_000_000;
    let mend = format!("df -h {}  # make room", word(home));
    if free < RESERVE {
        return Some(
            problem(Cause::DiskFull, format!("the disk is full ({megabytes} MB left)"))
                .safe("what was acknowledged is on it")
                .mend(mend),
        );
    }
    if free < NEARLY_FULL {
        let what = format!("the disk is nearly full ({megabytes} MB left)");
        return Some(
            Finding::new(Severity::Warning, Cause::DiskNearlyFull, what)
                .safe("everything works until 32 MiB are left; then new tasks are refused")
                .mend(mend),
        );
    }
    let what = format!("there is room on the disk: {megabytes} MB");
    Some(Finding::new(Severity::Ok, Cause::Disk, what))
}

fn daemon(home: &Path, socket: &Path, silence: &CallError) -> Finding {
    let (shown, word) = (socket.display(), word(socket));
    let said = silence.api();
    if said.code == ErrorCode::InvalidArgument {
        return problem(Cause::SocketPathTooLong, &said.message).safe("nothing was changed").mend(
            "pilotctl --socket /run/user/$(id -u)/pilot.sock whoami  # and so for the daemon",
        );
    }
    if said.code == ErrorCode::NotAllowed {
        return problem(Cause::SocketNotAllowed, &said.message)
            .safe("the daemon serves its own user and root")
            .mend(format!("ls -l {word}  # act as its owner"));
    }
    if fs::symlink_metadata(socket).is_ok_and(|metadata| !metadata.file_type().is_socket()) {
        return problem(Cause::SocketInTheWay, format!("{shown} is in the way and is no socket"))
            .safe("the daemon does not start, and does not remove it")
            .mend(format!("mv {word} {word}.old"));
    }
    let kept = "everything that was acknowledged is on disk, and goes on when it runs again";
    if matches!(silence, CallError::Lost(_)) {
        return problem(Cause::DaemonNotRunning, &said.message)
            .safe(kept)
            .mend("systemctl restart pilot-daemon  # or stop it and start it by hand");
    }
    if let Some(pid) = running(home) {
        let home = home.display();
        let what = format!("a daemon has the home {home} (process {pid}), and not this socket");
        return problem(Cause::DaemonElsewhere, what)
            .safe("it goes on; only pilotctl does not find it")
            .mend(format!("ps -o args= -p {pid}  # give pilotctl the same --socket"));
    }
    let mend = said.hint.clone().unwrap_or_else(|| "pilot-daemon".to_owned());
    problem(Cause::DaemonNotRunning, &said.message).safe(kept).mend(mend)
}

/// The daemon whose number is in the lock file, if it is one and lives. Where
/// the system does not tell, none.
fn running(home: &Path) -> Option<u32> {
    let text = fs::read_to_string(home.join("lock")).ok()?;
    let pid: u32 = text.trim_end().parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim_end() == "pilot-daemon").then_some(pid)
}

fn problem(code: Cause, what: impl Into<String>) -> Finding {
    Finding::new(Severity::Problem, code, what)
}

fn word(path: &Path) -> String {
    quoted(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use pilot_local_api::ApiError;

    use super::*;

    fn silence() -> CallError {
        let error = ApiError::new(ErrorCode::DaemonNotRunning, "no daemon listens");
        CallError::Unsent(error.with_hint("pilot-daemon"))
    }

    /// What is wrong with `home`, by code, with the command that mends it.
    fn wrong(home: &Path) -> Vec<(Cause, String)> {
        findings(home, &home.join("pilot.sock"), &silence())
            .into_iter()
            .filter(|finding| finding.severity == Severity::Problem)
            .map(|finding| {
                assert!(finding.safe.is_some() && finding.code.error().is_some(), "{finding:?}");
                (finding.code, finding.mend.unwrap())
            })
            .collect()
    }

    fn codes(home: &Path) -> Vec<Cause> {
        wrong(home).into_iter().map(|(code, _)| code).collect()
    }

    #[test]
    fn a_home_that_is_not_there_comes_with_the_command_that_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("not there");

        let wrong = wrong(&home);

        assert_eq!(wrong[0].0, Cause::HomeMissing);
        assert!(wrong[0].1.contains(&format!("--home '{}'", home.display())), "{wrong:?}");
    }

    #[test]
    fn folder_key_and_socket_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        fs::set_permissions(home, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(codes(home), [Cause::DaemonNotRunning]);

        fs::set_permissions(home, Permissions::from_mode(0o770)).unwrap();
        assert_eq!(codes(home), [Cause::HomeTooOpen, Cause::DaemonNotRunning]);
        fs::set_permissions(home, Permissions::from_mode(0o700)).unwrap();

        fs::write(home.join("node.key"), [0; 32]).unwrap();
        fs::set_permissions(home.join("node.key"), Permissions::from_mode(0o644)).unwrap();
        assert_eq!(codes(home), [Cause::KeyUnusable, Cause::DaemonNotRunning]);
        fs::remove_file(home.join("node.key")).unwrap();

        fs::write(home.join("pilot.sock"), "no socket").unwrap();
        assert_eq!(codes(home), [Cause::SocketInTheWay]);
        assert_eq!(codes(&home.join("pilot.sock"))[0], Cause::HomeNotAFolder);
    }

    #[test]
    fn a_lock_of_another_program_is_no_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        fs::set_permissions(home, Permissions::from_mode(0o700)).unwrap();

        for lock in [std::process::id().to_string(), "x".to_owned(), String::new()] {
            fs::write(home.join("lock"), lock).unwrap();

            assert_eq!(codes(home), [Cause::DaemonNotRunning]);
        }
    }

    #[test]
    fn a_socket_that_cannot_be_used_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let error = |code| CallError::Unsent(ApiError::new(code, "why"));

        let table = [
            (ErrorCode::NotAllowed, Cause::SocketNotAllowed),
            (ErrorCode::InvalidArgument, Cause::SocketPathTooLong),
        ];

        for (code, cause) in table {
            let found = findings(folder.path(), &folder.path().join("s"), &error(code));
            assert_eq!(found.last().unwrap().code, cause);
        }
    }
}
