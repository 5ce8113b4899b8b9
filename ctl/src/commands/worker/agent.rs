//! Agents for which the command line is known.

use std::ffi::OsString;

use clap::ValueEnum;

/// An agent that takes what is to be done on stdin, works in the current
/// folder and prints what it has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Agent {
    Claude,
    Codex,
    Gemini,
}

impl Agent {
    /// The program, and the words with which it neither asks nor waits.
    const fn line(self) -> (&'static str, &'static str) {
        match self {
            Self::Claude => ("claude", "-p --permission-mode acceptEdits --output-format text"),
            Self::Codex => ("codex", "exec --sandbox workspace-write"),
            Self::Gemini => ("gemini", "--approval-mode=yolo"),
        }
    }

    /// What follows the caller's own words.
    const fn last(self) -> &'static str {
        match self {
            // A hyphen has it read stdin.
            Self::Codex => " -",
            Self::Claude | Self::Gemini => "",
        }
    }

    /// The program it needs.
    pub(super) const fn program(self) -> &'static str {
        self.line().0
    }

    /// The command line that runs it; `more` are words for it.
    pub(super) fn words(self, more: &[OsString]) -> Vec<OsString> {
        let ((program, words), last) = (self.line(), self.last());
        let script =
            format!(r#"exec {program} {words} "$@"{last} < "$PILOT_TASK_DIR/description""#);
        let fixed = ["sh", "-c", script.as_str(), program].map(OsString::from);
        fixed.into_iter().chain(more.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_agent_is_one_command_line() {
        let table = [
            (
                Agent::Claude,
                r#"exec claude -p --permission-mode acceptEdits --output-format text "$@" < "$PILOT_TASK_DIR/description""#,
            ),
            (
                Agent::Codex,
                r#"exec codex exec --sandbox workspace-write "$@" - < "$PILOT_TASK_DIR/description""#,
            ),
            (
                Agent::Gemini,
                r#"exec gemini --approval-mode=yolo "$@" < "$PILOT_TASK_DIR/description""#,
            ),
        ];
        for (agent, script) in table {
            let words = agent.words(&["--model".into(), "a b".into()]);

            assert_eq!(words, ["sh", "-c", script, agent.program(), "--model", "a b"]);
        }
    }

    #[test]
    fn the_words_and_the_description_reach_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("claude");
        std::fs::write(&program, "#!/bin/sh\nfor word; do echo \"$word\"; done\ncat\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        std::fs::write(dir.path().join("description"), "do it").unwrap();
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        let words = Agent::Claude.words(&["a b".into()]);

        let mut command = std::process::Command::new(&words[0]);
        command.args(&words[1..]).env("PATH", path).env("PILOT_TASK_DIR", dir.path());
        let output = command.output().unwrap();

        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.starts_with("-p\n") && printed.ends_with("\na b\ndo it"), "{printed:?}");
    }
}
