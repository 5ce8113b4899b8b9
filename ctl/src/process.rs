//! Processes with which leases end.

use std::fs;

use pilot_local_api::tasks::ProcessRef;
use rustix::process::{Pid, getppid};

/// Who called this program; none if that is nobody of this machine's.
pub(crate) fn parent() -> Option<ProcessRef> {
    let pid = u32::try_from(getppid().map(Pid::as_raw_nonzero)?.get()).ok()?;
    Some(of(pid))
}

/// A process that is there.
pub(crate) fn of(pid: u32) -> ProcessRef {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    ProcessRef { pid, started: stat.as_deref().and_then(started) }
}

/// Field 22 of a line of `/proc/PID/stat`. The second is the program's name,
/// in which there may be anything; the last `)` ends it.
fn started(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_may_look_like_the_fields_after_it() {
        let fields = "S 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 99";

        assert_eq!(started(&format!("7 (a) S 3 (b)) {fields}")), Some(4711));
        for broken in ["", "7 (a", "7 (a) S 1 2 3"] {
            assert_eq!(started(broken), None, "{broken:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn whoever_called_this_program_has_started() {
        assert!(parent().unwrap().started.is_some());
    }
}
