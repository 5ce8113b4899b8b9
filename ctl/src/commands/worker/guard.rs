//! The process that outlives worker run if that is killed, and ends what it left.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::strays;
use crate::child::Group;
use crate::failure::Failure;
use crate::waiting::ignore_stops;

/// Groups that are remembered; worker run has far fewer slots.
const MAX_GROUPS: usize = 10_000;

/// Bytes of a line on stdin: a sign and a number.
const MAX_LINE: usize = 32;

/// End what worker run left when it was killed. Started by worker run alone.
///
/// It is told on stdin which process groups run (`+NUMBER`) and which have ended
/// (`-NUMBER`). When stdin ends it kills those that are left, and on Linux who left
/// them, and removes the folder with what their tasks had. Tasks are leased to this process: by the
/// time they go to another worker, nobody is at them any more.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder.
    folder: PathBuf,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let Args { folder } = args;
    // It ends with worker run, and not before.
    let _signals = ignore_stops()?;
    for group in left(BufReader::new(io::stdin().lock())) {
        group.kill();
    }
    for _ in 0..strays::ROUNDS {
        if strays::kill(&folder, None) == 0 {
            break;
        }
        std::thread::sleep(strays::PAUSE);
    }
    sweep(&folder);
    Ok(())
}

/// The groups that still ran when their worker was gone.
fn left(mut lines: impl BufRead) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let read = io::Read::take(&mut lines, limit).read_until(b'\n', &mut line);
        if read.unwrap_or_default() == 0 {
            return groups;
        }
        let Some((sign, number)) = line.split_first() else { continue };
        let number = core::str::from_utf8(number).ok().and_then(|text| text.trim().parse().ok());
        let Some(group) = number.and_then(Group::from_number) else { continue };
        groups.retain(|known| *known != group);
        if *sign == b'+' && groups.len() < MAX_GROUPS {
            groups.push(group);
        }
    }
}

/// Removes the folder, and does not wait for it: the tasks are to go on.
fn sweep(folder: &Path) {
    if !folder.exists() {
        return;
    }
    let mut command = Command::new("rm");
    command.arg("-rf").arg("--").arg(folder).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // It only takes room in the folder for what is temporary.
    drop(command.spawn());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_and_not_ended_is_left() {
        let long = "+".repeat(MAX_LINE * 3);
        let said = format!("+100\n+200\n-100\n+300\n+300\nx\n+0\n-1\n+1\n+x\n{long}\n\n-200");

        let left = left(said.as_bytes());

        assert_eq!(left, [Group::from_number(300).unwrap()]);
    }
}
