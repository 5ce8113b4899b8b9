//! `pilotctl`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pilot_ctl::run(std::env::args_os())
}
