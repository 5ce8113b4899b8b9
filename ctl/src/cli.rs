//! The words of the command line that all commands share.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use pilot_local_api::{ApiError, ErrorCode};

use crate::commands::Command;

/// Talks to the Pilot daemon on this machine: trust peers, submit tasks to
/// them, serve theirs, send them files and messages, and hear of each other by
/// events.
///
/// A PEER is an address (1:0001.0000.0002), a unique name or a public key.
/// A payload is the text itself, `-` for stdin or `@FILE` (`@@` for a text that
/// begins with `@`).
///
/// Exit codes: 0 done, 1 internal, 2 usage, 3 not found, 4 not trusted or not
/// allowed, 5 nothing came, 6 no daemon, 7 peer unreachable, 8 conflict, 9
/// version mismatch, 10 over a limit. Of a task, a transfer or a message that was
/// waited for: 20 failed, 21 declined, 22 cancelled, 23 expired, 24 still running, 25
/// input required.
#[derive(Debug, Parser)]
#[command(name = "pilotctl", version, arg_required_else_help = true)]
#[command(disable_help_subcommand = false, max_term_width = 100)]
pub(crate) struct Cli {
    /// Answer with one JSON value (of a stream: one a line), errors as JSON on stderr.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// The node's home folder [env: PILOT_HOME] [default: ~/.pilot].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,

    /// The daemon's socket [env: PILOT_SOCKET] [default: pilot.sock in the home folder].
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Where the daemon listens: a flag counts before a variable. A home that
    /// was given by a flag is not overruled by the socket of a variable.
    pub(crate) fn socket(
        &self,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<PathBuf, ApiError> {
        let of_variable = || given(&variable, "PILOT_SOCKET").filter(|_| self.home.is_none());
        if let Some(socket) = self.socket.clone().or_else(of_variable) {
            return Ok(socket);
        }
        let home = self.home(&variable).ok_or_else(|| {
            ApiError::new(
                ErrorCode::InvalidArgument,
                "there is no home folder here: HOME is not set; nothing was sent",
            )
            .with_hint("pilotctl --home DIR whoami")
        })?;
        Ok(home.join("pilot.sock"))
    }

    /// The node's home folder; none if nothing says where it is.
    pub(crate) fn home(&self, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        let home = self.home.clone().or_else(|| given(&variable, "PILOT_HOME"));
        home.or_else(|| given(&variable, "HOME").map(|home| home.join(".pilot")))
    }
}

/// A variable that is set to something.
fn given(variable: impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    variable(name).filter(|value| !value.is_empty()).map(PathBuf::from)
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
    fn the_socket_is_named_by_flag_then_variable_then_home() {
        let environment = |name: &str| match name {
            "PILOT_HOME" => Some("/env".into()),
            "PILOT_SOCKET" => Some("/env.sock".into()),
            _ => Some("/root".into()),
        };
        let table: [(&[&str], &str, &str); 4] = [
            (&["whoami"], "/env.sock", "/root/.pilot/pilot.sock"),
            (&["whoami", "--home", "/h"], "/h/pilot.sock", "/h/pilot.sock"),
            (&["--socket", "/s", "whoami"], "/s", "/s"),
            (&["--socket", "/s", "--home", "/h", "whoami"], "/s", "/s"),
        ];
        for (words, with_variables, without) in table {
            let cli = Cli::try_parse_from([&["pilotctl"], words].concat()).unwrap();
            let only_home = |name: &str| environment(name).filter(|_| name == "HOME");

            assert_eq!(cli.socket(environment), Ok(PathBuf::from(with_variables)), "{words:?}");
            assert_eq!(cli.socket(only_home), Ok(PathBuf::from(without)), "{words:?}");
        }
        let cli = Cli::try_parse_from(["pilotctl", "whoami"]).unwrap();
        assert_eq!(cli.socket(|_| None).unwrap_err().code, ErrorCode::InvalidArgument);
    }
}
