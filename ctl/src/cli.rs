//! The words of the command line that all commands share.

use std::path::PathBuf;

use clap::Parser;
use pilot_local_api::{ApiError, ErrorCode};

use crate::commands::Command;

/// Talks to the Pilot daemon on this machine: trust peers, submit tasks to
/// them, and serve theirs.
///
/// A PEER is an address (1:0001.0000.0002), a unique name or a public key.
/// A payload is the text itself, `-` for stdin or `@FILE` (`@@` for a text that
/// begins with `@`).
///
/// Exit codes: 0 done, 1 internal, 2 usage, 3 not found, 4 not trusted or not
/// allowed, 5 nothing came, 6 no daemon, 7 peer unreachable, 8 conflict, 9
/// version mismatch, 10 over a limit. Of a task that was waited for: 20 failed,
/// 21 declined, 22 cancelled, 23 expired, 24 still running, 25 input required.
#[derive(Debug, Parser)]
#[command(name = "pilotctl", version, arg_required_else_help = true)]
#[command(disable_help_subcommand = false, max_term_width = 100)]
pub(crate) struct Cli {
    /// Answer with one JSON value (of a stream: one a line), errors as JSON on stderr.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// The node's home folder [default: ~/.pilot].
    #[arg(long, global = true, env = "PILOT_HOME", value_name = "DIR", hide_env_values = true)]
    pub(crate) home: Option<PathBuf>,

    /// The daemon's socket [default: pilot.sock in the home folder].
    #[arg(long, global = true, env = "PILOT_SOCKET", value_name = "PATH", hide_env_values = true)]
    pub(crate) socket: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Where the daemon listens.
    pub(crate) fn socket(&self) -> Result<PathBuf, ApiError> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let home = self.home.clone().or_else(|| std::env::home_dir().map(|dir| dir.join(".pilot")));
        let home = home.filter(|home| !home.as_os_str().is_empty()).ok_or_else(|| {
            ApiError::new(
                ErrorCode::InvalidArgument,
                "there is no home folder here: HOME is not set; nothing was sent",
            )
            .with_hint("pilotctl --home DIR whoami")
        })?;
        Ok(home.join("pilot.sock"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_socket_is_in_the_home_unless_it_is_given() {
        let cli = |words: &[&str]| Cli::try_parse_from([&["pilotctl"], words].concat()).unwrap();

        let home = cli(&["whoami", "--home", "/h"]);
        let socket = cli(&["--socket", "/s", "--home", "/h", "whoami"]);

        assert_eq!(home.socket(), Ok(PathBuf::from("/h/pilot.sock")));
        assert_eq!(socket.socket(), Ok(PathBuf::from("/s")));
    }
}
