//! The reference of all commands, `ctl/REFERENCE.md`: what `--help` says.
//!
//! `UPDATE_REFERENCE=1 cargo test -p pilot-ctl reference` writes it anew.

use clap::{Command, CommandFactory as _};

use crate::cli::Cli;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/REFERENCE.md");

#[test]
fn the_reference_says_what_the_commands_say() {
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut wanted =
        "# pilotctl\n\nWhat `--help` says of each command. Kept by a test.\n".to_owned();
    describe(&mut root, &mut wanted);

    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(PATH, &wanted).unwrap();
    }

    let written = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(written == wanted, "out of date: UPDATE_REFERENCE=1 cargo test -p pilot-ctl reference");
}

/// A chapter for each command that does something.
fn describe(command: &mut Command, text: &mut String) {
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    let name = command.get_bin_name().unwrap_or("pilotctl");
    text.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", lines.join("\n")));
    for below in command.get_subcommands_mut() {
        assert!(below.get_about().is_some(), "{} says nothing of itself", below.get_name());
        if below.get_name() != "help" && !below.is_hide_set() {
            describe(below, text);
        }
    }
}
