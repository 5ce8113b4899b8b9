//! The daemon itself and the machine it runs on.

use pilot_local_api::doctor::{Cause, Finding};
use pilot_local_api::quoted;

use super::{Facts, ok, problem, warning};

/// Free space below which the disk counts as nearly full: eight times what is
/// kept free for results.
const NEARLY_FULL: u64 = 256 << 20;

/// Permission bits by which others could put their own key into the home.
const OTHERS_WRITE: u32 = 0o022;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![daemon(facts)];
    findings.extend(version(facts));
    findings.push(home(facts));
    findings.push(disk(facts));
    findings
}

fn daemon(facts: &Facts) -> Finding {
    let up = pilot_flags::HumanDuration::from_secs(facts.uptime.as_secs());
    let (version, pid) = (&facts.version, facts.pid);
    ok(Cause::DaemonRunning, format!("the daemon runs: version {version}, pid {pid}, up {up}"))
}

fn version(facts: &Facts) -> Option<Finding> {
    let client = facts.client.as_ref().filter(|client| **client != facts.version)?;
    let what = format!("pilotctl is of version {client}, the daemon of {}", facts.version);
    Some(
        warning(Cause::DaemonVersion, what)
            .safe("what both know works; neither takes what it does not understand")
            .mend("systemctl restart pilot-daemon  # or start it again by hand"),
    )
}

fn home(facts: &Facts) -> Finding {
    let shown = facts.home.display();
    let Some(mode) = facts.home_mode.filter(|mode| mode & OTHERS_WRITE != 0) else {
        return ok(Cause::Home, format!("the home folder {shown} is this user's alone"));
    };
    let what = format!(
        "others may write to the home folder {shown} (mode {mode:03o}); the daemon will not start \
         again"
    );
    warning(Cause::HomeTooOpen, what)
        .safe("the daemon goes on until it is stopped; the key file itself is closed to others")
        .mend(format!("chmod 700 {}", quoted(&shown.to_string())))
}

fn disk(facts: &Facts) -> Finding {
    let free = facts.free_bytes / 1_000_000;
    let mend = format!("df -h {}  # make room", quoted(&facts.home.display().to_string()));
    if facts.disk_full {
        return problem(Cause::DiskFull, format!("the disk is full ({free} MB left)"))
            .safe("new tasks are refused, results are still taken; nothing was lost")
            .mend(mend);
    }
    if facts.free_bytes < NEARLY_FULL {
        return warning(Cause::DiskNearlyFull, format!("the disk is nearly full ({free} MB left)"))
            .safe("everything works until 32 MiB are left; then new tasks are refused")
            .mend(mend);
    }
    ok(Cause::Disk, format!("there is room on the disk: {free} MB"))
}
