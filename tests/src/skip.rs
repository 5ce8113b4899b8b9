//! Tests that need what a machine may lack.

use std::io::{self, Write as _};

/// Whether a test that cannot run is a failure (`PILOT_TESTS_MUST_RUN=1`, as in CI).
#[must_use]
pub fn must_run() -> bool {
    std::env::var_os("PILOT_TESTS_MUST_RUN").is_some()
}

/// Says that a test is skipped, and why. Where tests must run
/// ([`must_run`]) it fails instead.
///
/// # Panics
///
/// If tests must run.
pub fn skip(why: &str) {
    assert!(!must_run(), "cannot be skipped here: {why}");
    // Past the capture of the test's output, so that it is seen.
    drop(writeln!(io::stderr(), "SKIPPED: {why}"));
}
