//! The clock of the tests: it stands still where it began.

use std::time::Instant;

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do, and there is no other way to one"
)]
pub(crate) fn start() -> Instant {
    Instant::now()
}
