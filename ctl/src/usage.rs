//! Words that are no command, and those that ask for help.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use pilot_local_api::{ApiError, ErrorCode};

use crate::failure::Failure;
use crate::ui::Ui;

/// Ends the program as clap wants it: help and the version on stdout with 0,
/// everything else on stderr with 2, as JSON if `--json` is among the words.
pub(crate) fn end(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let ui = Ui::new(json);
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return ui.data(text.as_bytes()).map_or_else(|failure| ui.fail(&failure), |()| 0.into());
    }
    if !json {
        ui.say(text.trim_end());
        return ErrorCode::InvalidArgument.exit_code().into();
    }
    ui.fail(&Failure::from(told(&text)))
}

/// What clap says, as an error object: its first paragraph, and the command
/// that shows the usage.
fn told(text: &str) -> ApiError {
    let paragraph = text.split("\n\n").next().unwrap_or(text).trim();
    let message = paragraph.strip_prefix("error: ").unwrap_or(paragraph);
    let words: Vec<&str> = message.split_whitespace().collect();
    let error = ApiError::new(ErrorCode::InvalidArgument, words.join(" "));
    let usage = text.lines().find_map(|line| line.trim().strip_prefix("Usage: "));
    let command: Vec<&str> = usage
        .into_iter()
        .flat_map(str::split_whitespace)
        .take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
        .take_while(|word| !word.starts_with('-'))
        .collect();
    let command = if command.is_empty() { "pilotctl".to_owned() } else { command.join(" ") };
    error.with_hint(format!("{command} --help"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clap_says_becomes_an_error_object() {
        let text = "error: the following required arguments were not provided:\n  --to <PEER>\n\n\
                    Usage: pilotctl task submit --to <PEER>\n\nFor more information, try '--help'.\n";

        let error = told(text);

        assert_eq!(
            error.message,
            "the following required arguments were not provided: --to <PEER>"
        );
        assert_eq!(error.hint.as_deref(), Some("pilotctl task submit --help"));
        assert_eq!(told("odd").hint.as_deref(), Some("pilotctl --help"));
    }
}
