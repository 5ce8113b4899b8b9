//! What the demonstration tells, with the time since it began.

use std::io::{self, Write as _};
use std::time::Instant;

/// A timeline on stdout.
pub(crate) struct Story {
    began: Instant,
}

impl Story {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now() }
    }

    /// A heading.
    pub(crate) fn chapter(&mut self, title: &str) -> anyhow::Result<()> {
        Ok(writeln!(io::stdout(), "\n{title}")?)
    }

    /// Something that has just happened.
    pub(crate) fn tell(&mut self, what: &str) -> anyhow::Result<()> {
        let since = self.began.elapsed().as_secs_f64();
        Ok(writeln!(io::stdout(), "  {since:8.3} s  {what}")?)
    }

    /// A line without a time.
    pub(crate) fn note(&mut self, what: &str) -> anyhow::Result<()> {
        Ok(writeln!(io::stdout(), "              {what}")?)
    }
}
