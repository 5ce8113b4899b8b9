//! The one place that prints: data to stdout, talk to stderr.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;

use pilot_local_api::errors::ErrorBody;
use pilot_local_api::{ApiError, ErrorCode};
use serde::Serialize;
use tabwriter::TabWriter;

use crate::failure::Failure;
use crate::shown;

/// How answers are shown.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    json: bool,
}

impl Ui {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether answers are for programs.
    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    /// Prints an answer: the value itself, or text for people, a line each.
    pub(crate) fn answer<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            let text = serde_json::to_string(value).map_err(|error| {
                ApiError::new(ErrorCode::Internal, format!("cannot write the answer: {error}"))
            })?;
            return self.data((shown::json(&text) + "\n").as_bytes());
        }
        let mut text = text(value);
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        self.data(text.as_bytes())
    }

    /// Prints bytes as they are, at once.
    pub(crate) fn data(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| {
            if error.kind() == ErrorKind::BrokenPipe {
                return Failure::OutputClosed;
            }
            ApiError::new(ErrorCode::Internal, format!("cannot write to stdout: {error}")).into()
        })
    }

    /// Prints bytes that a peer wrote: as they are, or escaped on a terminal.
    pub(crate) fn peer_data(&self, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.is_empty() || !io::stdout().is_terminal() {
            return self.data(bytes);
        }
        let mut text = shown::lines(&String::from_utf8_lossy(bytes));
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.data(text.as_bytes())
    }

    /// Prints a part of a longer text that a peer wrote, escaped for a terminal.
    pub(crate) fn peer_text(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.data(shown::lines(&String::from_utf8_lossy(bytes)).as_bytes())
    }

    /// Says something beside the data.
    pub(crate) fn say(&self, text: &str) {
        // A closed stderr is no reason to fail.
        drop(writeln!(io::stderr(), "{text}"));
    }

    /// Says a line that a program wrote, which may repeat what a peer did: as
    /// it is, or escaped on a terminal.
    pub(crate) fn said(&self, by: &str, line: &[u8]) {
        let mut text = by.as_bytes().to_vec();
        if io::stderr().is_terminal() {
            text.extend_from_slice(shown::path(line).as_bytes());
        } else {
            text.extend_from_slice(line);
        }
        text.push(b'\n');
        // A closed stderr is no reason to fail.
        drop(io::stderr().write_all(&text));
    }

    /// Says why a command did not succeed, and gives its exit code.
    pub(crate) fn fail(&self, failure: &Failure) -> ExitCode {
        match failure {
            Failure::Error(error) | Failure::Signal { number: _, told: error } => self.error(error),
            Failure::Stopped(_) | Failure::OutputClosed => {}
        }
        ExitCode::from(failure.exit_code())
    }

    fn error(&self, error: &ApiError) {
        if self.json {
            let body = ErrorBody { error: error.clone() };
            return self.say(&shown::json(&serde_json::to_string(&body).unwrap_or_default()));
        }
        self.say(&format!("error: {} [{}]", shown::line(&error.message), error.code));
        if let Some(hint) = &error.hint {
            self.say(&format!("try: {}", shown::line(hint)));
        }
    }
}

/// Rows as a table with a heading; the cells of a row are apart by tabs.
pub(crate) fn table(heading: &str, rows: impl IntoIterator<Item = String>) -> String {
    let mut writer = TabWriter::new(Vec::new()).padding(2);
    let rows = rows.into_iter().map(|row| format!("\n{row}"));
    let text: String = std::iter::once(heading.to_owned()).chain(rows).collect();
    // Writing to memory does not fail.
    drop(writer.write_all(text.as_bytes()));
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8(bytes).unwrap_or(text)
}

/// Names and values, one pair a line; pairs without a value are left out.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    let given = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
    given.map(|(name, value)| format!("{name}: {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_missing_values_left_out() {
        let shown = table("A\tB", ["long\tx".to_owned(), "y\tz".to_owned()]);

        assert_eq!(shown, "A     B\nlong  x\ny     z");
        assert_eq!(pairs([("a", Some("1".to_owned())), ("b", None)]), "a: 1\n");
    }
}
