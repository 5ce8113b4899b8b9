//! Git, run as a program in one folder.
//!
//! What the caller's environment says about repositories is not passed on: the
//! folder alone decides which one it is. Nothing asks for a password, and no
//! call goes on for ever.

use core::time::Duration;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use pilot_local_api::{ApiError, ErrorCode};
use tokio::process::Command;
use tokio::time::timeout;

/// Time after which one call of git is given up.
///
/// The checkout of a large repository takes a minute on a slow disk; a remote
/// that does not answer never ends.
const LIMIT: Duration = Duration::from_secs(600);

/// The same of a fetch: other tasks wait for it.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// Variables by which a caller of git redirects it, as `git rev-parse
/// --local-env-vars` lists them, and the namespace.
pub(crate) const REDIRECTING: [&str; 15] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// Why git did not do something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// It is not installed.
    #[error("git is not installed, or not on the PATH")]
    Missing,
    /// It could not be run.
    #[error("cannot run git: {0}")]
    NotRun(io::Error),
    /// It took too long.
    #[error("git {what} was given up after {} s", limit.as_secs())]
    TooLong { what: String, limit: Duration },
    /// It said no.
    #[error("git {what}: {said}")]
    Failed { what: String, said: String },
}

impl From<GitError> for ApiError {
    fn from(error: GitError) -> Self {
        let message = error.to_string();
        match error {
            GitError::Missing => {
                Self::new(ErrorCode::NotFound, message).with_hint("apt-get install git")
            }
            GitError::NotRun(_) | GitError::TooLong { what: _, limit: _ } => {
                Self::new(ErrorCode::Internal, message)
            }
            GitError::Failed { what: _, said: _ } => Self::new(ErrorCode::Conflict, message),
        }
    }
}

/// Git in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    folder: PathBuf,
    /// Settings that come before those of the repository.
    settings: Vec<&'static str>,
    /// Where its repository is, if the folder is not to be asked.
    repository: Option<PathBuf>,
}

impl Git {
    /// In the repository that the folder is in.
    pub(crate) fn at(folder: impl Into<PathBuf>) -> Self {
        let settings = vec!["submodule.recurse=false"];
        Self { folder: folder.into(), settings, repository: None }
    }

    /// In a work tree whose repository is known: what its `.git` says by now
    /// does not count, nor does a repository that the folder is in.
    pub(crate) fn of_tree(folder: impl Into<PathBuf>, repository: PathBuf) -> Self {
        Self { repository: Some(repository), ..Self::at(folder) }
    }

    /// With settings that count more than those of the repository.
    pub(crate) fn with(mut self, settings: &[&'static str]) -> Self {
        self.settings.extend_from_slice(settings);
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs it with these words, the first of which is its command; what it
    /// printed, whatever it ended with.
    ///
    /// Dropping the future ends it.
    pub(crate) async fn output<S: AsRef<OsStr> + Sync>(
        &self,
        words: &[S],
    ) -> Result<Output, GitError> {
        ended(self.command(words), words, LIMIT).await
    }

    /// The same of what must succeed; what it prints goes into a file.
    pub(crate) async fn run_into<S: AsRef<OsStr> + Sync>(
        &self,
        words: &[S],
        file: File,
    ) -> Result<(), GitError> {
        let mut command = self.command(words);
        // `output` would take it else.
        let child = command.stdout(file).stderr(Stdio::piped()).spawn().map_err(not_run)?;
        let output = waited(child.wait_with_output(), words, LIMIT).await?;
        if output.status.success() { Ok(()) } else { Err(failed(words, &output)) }
    }

    /// Fetches what the remotes have, for at most [`FETCH_LIMIT`].
    pub(crate) async fn fetch(&self) -> Result<(), GitError> {
        let words = ["fetch", "--all", "--quiet"];
        let mut command = self.command(&words);
        let is_told = |name: &&str| std::env::var_os(name).is_some();
        if !["GIT_SSH_COMMAND", "GIT_SSH"].iter().any(is_told)
            && !self.output(&["config", "core.sshCommand"]).await?.status.success()
        {
            // ssh asks the terminal itself, whatever git was told.
            command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes");
        }
        let output = ended(command, &words, FETCH_LIMIT).await?;
        if output.status.success() { Ok(()) } else { Err(failed(&words, &output)) }
    }

    fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = Command::new("git");
        for name in REDIRECTING {
            command.env_remove(name);
        }
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").arg("-C").arg(&self.folder);
        if let Some(repository) = &self.repository {
            command.arg(flag("--git-dir=", repository)).arg(flag("--work-tree=", &self.folder));
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        command.args(words).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// The same of what must succeed: what it printed.
    pub(crate) async fn run<S: AsRef<OsStr> + Sync>(
        &self,
        words: &[S],
    ) -> Result<Vec<u8>, GitError> {
        let output = self.output(words).await?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(failed(words, &output))
    }

    /// The same of what prints one line of text.
    pub(crate) async fn line<S: AsRef<OsStr> + Sync>(
        &self,
        words: &[S],
    ) -> Result<String, GitError> {
        let printed = self.run(words).await?;
        Ok(String::from_utf8_lossy(&printed).trim_end().to_owned())
    }

    /// Which commit a name means; none if it means none here.
    pub(crate) async fn commit(&self, name: &str) -> Result<Option<String>, GitError> {
        let name = format!("{name}^{{commit}}");
        let words = ["rev-parse", "--verify", "--quiet", "--end-of-options", &name];
        let output = self.output(&words).await?;
        // With --end-of-options it is printed, too, by some versions.
        let printed = String::from_utf8_lossy(&output.stdout);
        let commit = printed.lines().last().map(str::trim).unwrap_or_default();
        Ok((output.status.success() && !commit.is_empty()).then(|| commit.to_owned()))
    }
}

async fn ended<S: AsRef<OsStr>>(
    mut command: Command,
    words: &[S],
    limit: Duration,
) -> Result<Output, GitError> {
    waited(command.output(), words, limit).await
}

async fn waited<S: AsRef<OsStr>>(
    output: impl Future<Output = io::Result<Output>>,
    words: &[S],
    limit: Duration,
) -> Result<Output, GitError> {
    match timeout(limit, output).await {
        Ok(output) => output.map_err(not_run),
        Err(_elapsed) => Err(GitError::TooLong { what: what(words), limit }),
    }
}

fn not_run(error: io::Error) -> GitError {
    if error.kind() == io::ErrorKind::NotFound {
        return GitError::Missing;
    }
    GitError::NotRun(error)
}

fn flag(name: &str, path: &Path) -> OsString {
    let mut word = OsString::from(name);
    word.push(path);
    word
}

/// The error of a call that did not succeed.
pub(crate) fn failed<S: AsRef<OsStr>>(words: &[S], output: &Output) -> GitError {
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    let said = if said.is_empty() { "it failed and said nothing" } else { said };
    GitError::Failed { what: what(words), said: said.to_owned() }
}

fn what<S: AsRef<OsStr>>(words: &[S]) -> String {
    words.first().map(|word| word.as_ref().to_string_lossy().into_owned()).unwrap_or_default()
}

/// Paths that git printed with `-z`.
pub(crate) fn paths(printed: &[u8]) -> Vec<String> {
    let names = printed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_repository_is_said_and_nothing_above_it_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        Git::at(dir.path()).run(&["init", "--quiet"]).await.unwrap();
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();

        assert!(Git::at(&inner).run(&["status"]).await.is_ok());
        let known = Git::of_tree(&inner, inner.join("gone"));
        let failed = known.run(&["status"]).await.unwrap_err();

        assert!(matches!(failed, GitError::Failed { .. }), "{failed}");
        assert!(failed.to_string().contains("not a git repository"), "{failed}");
        assert_eq!(Git::at(dir.path()).commit("HEAD").await.unwrap(), None);
        assert_eq!(Git::at(dir.path()).commit("--all").await.unwrap(), None);
    }

    #[test]
    fn paths_end_with_a_zero() {
        assert_eq!(paths(b"a b\0\nc\0"), ["a b", "\nc"]);
        assert_eq!(paths(b""), [""; 0]);
    }
}
