//! Real NATs made of network namespaces, and real programs behind them.
//!
//! The program starts itself again inside namespaces of its own, so it needs
//! no rights, sees no network but its own, and leaves nothing behind. Where a
//! machine allows no namespaces or lacks a tool, the tests are ignored with the
//! reason; with `PILOT_TESTS_MUST_RUN=1` that is a failure.
//!
//! `lab` is the internet in a box, `net` what may be in it beside Pilot,
//! `self_tests` prove both without Pilot, and `scenarios` are Pilot's.

mod lab;
mod net;
mod pilot;
mod sandbox;
mod scenarios;
mod self_tests;
mod suite;

use std::io::{self, Write as _};
use std::num::NonZero;
use std::process::ExitCode;
use std::thread;

use libtest_mimic::{Arguments, Trial};

use crate::sandbox::Sandbox;

/// Tests that run at once. Each spends most of its time waiting.
const TESTS_PER_CORE: usize = 3;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    arguments.test_threads.get_or_insert(cores * TESTS_PER_CORE);
    if arguments.list {
        return libtest_mimic::run(&arguments, trials()).exit_code();
    }
    let trials = match Sandbox::enter() {
        Sandbox::Inside => trials(),
        Sandbox::Done(code) => return code,
        Sandbox::Impossible(why) => {
            trials().into_iter().map(|trial| suite::instead(&trial, why.clone())).collect()
        }
        Sandbox::Unbuilt(why) => {
            drop(writeln!(io::stderr(), "{why:#}"));
            return ExitCode::FAILURE;
        }
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials() -> Vec<Trial> {
    [self_tests::trials(), scenarios::trials()].into_iter().flatten().collect()
}
