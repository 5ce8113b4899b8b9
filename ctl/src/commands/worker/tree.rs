//! A git work tree for each task, and what was changed in it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use pilot_local_api::ApiError;
use pilot_local_api::proto::TaskId;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::git::{Git, GitError, paths};
use crate::shown;

/// The parameter that names the commit a task begins with.
const COMMIT: &str = "commit";

/// Bytes of the name of a commit.
const MAX_NAME: usize = 255;

/// Files that are listed in changes.json; the patch has all of them.
const MAX_LISTED: usize = 10_000;

/// No program of the repository runs for what is done here: whoever may submit
/// a task may put files into it.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "commit.gpgsign=false",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "user.name=pilot worker",
    "user.email=pilot@localhost",
];

/// A patch that can be applied whatever the settings of people are
/// (`--default-prefix` would be shorter, and needs git 2.41).
const PATCH: [&str; 7] = [
    "diff",
    "--binary",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--src-prefix=a/",
    "--dst-prefix=b/",
];

/// The repository that tasks work in.
#[derive(Debug)]
pub(super) struct Repository {
    git: Git,
    /// Git has locks that do not wait for each other.
    turn: Semaphore,
}

/// The work tree of one task.
#[derive(Debug)]
pub(super) struct Tree {
    git: Git,
    base: String,
}

/// Why a task has no work tree.
#[derive(Debug, thiserror::Error)]
pub(super) enum TreeError {
    /// The task names no commit.
    #[error("the parameter commit is no name of a commit")]
    Name,
    /// The commit is not there, and no remote has it.
    #[error("commit {0} is not in the worker's repository")]
    NoCommit(String),
    /// The commit is not there, and whether a remote has it is not known.
    #[error("the commit of the task could not be fetched: {0}")]
    Fetch(#[source] GitError),
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Why the changes in a work tree are not in the result.
#[derive(Debug, thiserror::Error)]
pub(super) enum CollectError {
    /// Git would look into it, and do what its settings say.
    #[error("a submodule that has a repository in the work tree: {0}")]
    Submodule(String),
    /// The folder of the result is none any more.
    #[error("the command replaced the folder of its result")]
    Result,
    /// A file of the result cannot be written.
    #[error("cannot write {name}: {error}")]
    Disk {
        /// Which.
        name: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// `changes.json` in the result.
#[derive(Debug, Serialize)]
struct Changes<'a> {
    /// The commit that the task began with.
    base: &'a str,
    /// That with which it ended; the same if nothing was changed.
    head: &'a str,
    /// What differs between them, at most the first [`MAX_LISTED`].
    files: Vec<String>,
}

impl Repository {
    /// The repository in a folder; what a killed worker left there is forgotten.
    pub(super) async fn open(folder: &Path) -> Result<Self, ApiError> {
        let git = Git::at(folder).with(SETTINGS);
        git.run(&["rev-parse", "--git-dir"]).await?;
        git.run(&["worktree", "prune"]).await?;
        Ok(Self { git, turn: Semaphore::new(1) })
    }

    /// Makes a work tree in the folder `path`, which is not there yet, at the
    /// commit that the task names, or at the repository's own.
    pub(super) async fn tree(
        &self,
        path: PathBuf,
        params: &[(String, String)],
    ) -> Result<Tree, TreeError> {
        let named = params.iter().find(|(name, _)| name == COMMIT);
        let name = named.map_or("HEAD", |(_, value)| value.as_str());
        if !is_name(name) {
            return Err(TreeError::Name);
        }
        let _turn = self.turn.acquire().await;
        let mut base = self.git.commit(name).await?;
        if base.is_none() {
            self.git.fetch().await.map_err(TreeError::Fetch)?;
            base = self.git.commit(name).await?;
        }
        let base = base.ok_or_else(|| TreeError::NoCommit(name.to_owned()))?;
        let words = ["worktree", "add", "--detach", "--quiet"].map(OsStr::new);
        let at = [path.as_os_str(), OsStr::new(&base)];
        self.git.run(&[&words[..], &at[..]].concat()).await?;
        // Now, for the command may write another into the tree.
        let mut there = Git::at(&path).run(&["rev-parse", "--absolute-git-dir"]).await?;
        while there.ends_with(b"\n") {
            there.pop();
        }
        let there = PathBuf::from(OsString::from_vec(there));
        Ok(Tree { git: Git::of_tree(path, there).with(SETTINGS), base })
    }

    /// Removes a work tree, whatever is in it.
    pub(super) async fn remove(&self, tree: &Tree) -> Result<(), GitError> {
        let _turn = self.turn.acquire().await;
        let words = ["worktree", "remove", "--force"].map(OsStr::new);
        let removed = self.git.run(&[&words[..], &[tree.folder().as_os_str()]].concat()).await;
        if removed.is_err() {
            // What the command left there may not be a work tree any more.
            drop(fs::remove_dir_all(tree.folder()));
            self.git.run(&["worktree", "prune"]).await?;
        }
        Ok(())
    }

    /// Removes what there is of a work tree whose making was given up.
    pub(super) async fn forget(&self, path: &Path) {
        let _turn = self.turn.acquire().await;
        drop(fs::remove_dir_all(path));
        // What stays is forgotten when the next worker begins.
        drop(self.git.run(&["worktree", "prune"]).await);
    }

    /// Writes what was changed in a work tree into `result`: `changes.json`,
    /// and if there is anything `changes.patch` and `changes.bundle`.
    pub(super) async fn collect(
        &self,
        tree: &Tree,
        id: TaskId,
        result: &Path,
    ) -> Result<(), CollectError> {
        let (git, base) = (&tree.git, &tree.base);
        if !fs::symlink_metadata(result).is_ok_and(|found| found.is_dir()) {
            return Err(CollectError::Result);
        }
        tree.check_submodules().await?;
        git.run(&["add", "--all"]).await?;
        let staged = git.output(&["diff", "--cached", "--quiet"]).await?;
        if !staged.status.success() {
            let (author, message) =
                ("--author=pilot worker <pilot@localhost>", format!("task {id}"));
            git.run(&["commit", "--quiet", "--no-verify", author, "-m", &message]).await?;
        }
        let head = git.line(&["rev-parse", "--verify", "HEAD^{commit}"]).await?;
        let mut changes = Changes { base, head: &head, files: Vec::new() };
        if head != *base {
            let list = ["diff", "--name-only", "--no-renames", "-z", base, &head];
            changes.files = paths(&git.run(&list).await?);
            changes.files.truncate(MAX_LISTED);
            let words = [&PATCH[..], &[base, &head]].concat();
            git.run_into(&words, fresh(result, "changes.patch")?).await?;
            self.bundle(tree, id, &head, result).await?;
        }
        let json = serde_json::to_vec(&changes).unwrap_or_default();
        let written = fresh(result, "changes.json")?.write_all(&json);
        written.map_err(|error| CollectError::Disk { name: "changes.json", error })
    }

    /// The commits that the base does not have, under the name `refs/pilot/ID`.
    async fn bundle(
        &self,
        tree: &Tree,
        id: TaskId,
        head: &str,
        result: &Path,
    ) -> Result<(), CollectError> {
        let range = format!("{}..{head}", tree.base);
        if tree.git.line(&["rev-list", "--count", &range]).await? == "0" {
            // It went back to an earlier commit: the patch says so.
            return Ok(());
        }
        let (name, not) = (format!("refs/pilot/{id}"), format!("^{}", tree.base));
        let _turn = self.turn.acquire().await;
        tree.git.run(&["update-ref", &name, head]).await?;
        let made = match fresh(result, "changes.bundle") {
            Ok(file) => {
                let words = ["bundle", "create", "--quiet", "-", &name, &not];
                tree.git.run_into(&words, file).await.map_err(CollectError::from)
            }
            Err(error) => Err(error),
        };
        tree.git.run(&["update-ref", "-d", &name]).await?;
        made
    }
}

impl Tree {
    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        self.git.folder()
    }

    /// Git works in submodules as the settings of their own repositories say,
    /// which may be the command's: none of them has one here.
    async fn check_submodules(&self) -> Result<(), CollectError> {
        let listed = self.git.run(&["ls-files", "--stage", "-z"]).await?;
        for entry in listed.split(|byte| *byte == 0) {
            // Mode, object, stage, a tab and the path.
            let Some(tab) = entry.iter().position(|byte| *byte == b'\t') else { continue };
            let (stage, path) = entry.split_at(tab);
            let path = OsStr::from_bytes(path.get(1..).unwrap_or_default());
            if stage.starts_with(b"160000 ")
                && fs::symlink_metadata(self.folder().join(path).join(".git")).is_ok()
            {
                let shown = shown::path(path.as_encoded_bytes());
                return Err(CollectError::Submodule(shown));
            }
        }
        Ok(())
    }
}

/// A new file of the result, whatever the command left under its name.
fn fresh(result: &Path, name: &'static str) -> Result<File, CollectError> {
    let path = result.join(name);
    let made = match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => File::create_new(&path),
    };
    made.map_err(|error| CollectError::Disk { name, error })
}

/// Whether a text may be handed to git as the name of a commit.
fn is_name(name: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "._/-".contains(letter);
    !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('-') && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TaskId {
        TaskId::from_bytes([7; 16])
    }

    async fn repository(dir: &Path) -> Repository {
        let git = Git::at(dir).with(SETTINGS);
        git.run(&["init", "--quiet", "--initial-branch=main"]).await.unwrap();
        fs::write(dir.join("a"), "1\n").unwrap();
        git.run(&["add", "--all"]).await.unwrap();
        git.run(&["commit", "--quiet", "-m", "first"]).await.unwrap();
        Repository::open(dir).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_changed_is_bundled_and_the_tree_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, path, out) =
            (dir.path().join("repo"), dir.path().join("tree"), dir.path().join("out"));
        fs::create_dir(&repo).unwrap();
        fs::create_dir(&out).unwrap();
        let repository = repository(&repo).await;
        let tree = repository.tree(path.clone(), &[]).await.unwrap();
        fs::write(path.join("a"), "2\n").unwrap();
        fs::write(path.join("b c"), "new\n").unwrap();

        repository.collect(&tree, id(), &out).await.unwrap();
        repository.remove(&tree).await.unwrap();

        let json: serde_json::Value =
            serde_json::from_slice(&fs::read(out.join("changes.json")).unwrap()).unwrap();
        assert_eq!(json["files"], serde_json::json!(["a", "b c"]));
        assert_ne!(json["base"], json["head"]);
        let patch = fs::read_to_string(out.join("changes.patch")).unwrap();
        assert!(patch.contains("+new"), "{patch}");
        let bundle = out.join("changes.bundle");
        let heads = ["bundle", "list-heads", bundle.to_str().unwrap()];
        let heads = repository.git.line(&heads).await.unwrap();
        assert_eq!(heads, format!("{} refs/pilot/{}", json["head"].as_str().unwrap(), id()));
        assert!(!path.exists());
        let kept = repository.git.line(&["for-each-ref", "refs/pilot"]).await.unwrap();
        let trees = repository.git.line(&["worktree", "list", "--porcelain"]).await.unwrap();
        assert_eq!((kept.as_str(), trees.matches("worktree ").count()), ("", 1));
    }

    #[tokio::test]
    async fn a_tree_in_which_nothing_was_changed_has_no_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, out) = (dir.path().join("repo"), dir.path().join("out"));
        fs::create_dir(&repo).unwrap();
        fs::create_dir(&out).unwrap();
        let repository = repository(&repo).await;
        let params = [("commit".to_owned(), "main".to_owned())];
        let tree = repository.tree(dir.path().join("tree"), &params).await.unwrap();

        repository.collect(&tree, id(), &out).await.unwrap();

        let names: Vec<_> =
            fs::read_dir(&out).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(names, ["changes.json"]);
    }

    #[tokio::test]
    async fn what_the_command_left_in_place_of_git_or_of_a_file_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, path, out) =
            (dir.path().join("repo"), dir.path().join("tree"), dir.path().join("out"));
        fs::create_dir(&repo).unwrap();
        fs::create_dir(&out).unwrap();
        let repository = repository(&repo).await;
        let tree = repository.tree(path.clone(), &[]).await.unwrap();
        let (evil, precious) = (dir.path().join("evil"), dir.path().join("precious"));
        fs::remove_file(path.join(".git")).unwrap();
        let own = Git::at(&path);
        own.run(&["init", "--quiet"]).await.unwrap();
        let filter = format!("touch '{}'; cat", evil.display());
        own.run(&["config", "filter.x.clean", &filter]).await.unwrap();
        fs::write(path.join(".gitattributes"), "* filter=x\n").unwrap();
        fs::write(path.join("a"), "2\n").unwrap();
        fs::write(&precious, "mine").unwrap();
        for name in ["changes.json", "changes.patch", "changes.bundle"] {
            std::os::unix::fs::symlink(&precious, out.join(name)).unwrap();
        }

        repository.collect(&tree, id(), &out).await.unwrap();

        assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
        assert!(fs::read_to_string(out.join("changes.patch")).unwrap().contains("+2"));
        assert!(!evil.exists());
        repository.remove(&tree).await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_submodule_with_a_repository_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, out) = (dir.path().join("repo"), dir.path().join("out"));
        fs::create_dir(&repo).unwrap();
        fs::create_dir(&out).unwrap();
        let repository = repository(&repo).await;
        let head = repository.git.line(&["rev-parse", "HEAD"]).await.unwrap();
        let link = format!("160000,{head},s b");
        let words = ["update-index", "--add", "--cacheinfo", link.as_str()];
        repository.git.run(&words).await.unwrap();
        repository.git.run(&["commit", "--quiet", "-m", "link"]).await.unwrap();
        let tree = repository.tree(dir.path().join("tree"), &[]).await.unwrap();
        repository.collect(&tree, id(), &out).await.unwrap();

        Git::at(tree.folder().join("s b")).run(&["init", "--quiet"]).await.unwrap();
        let refused = repository.collect(&tree, id(), &out).await.unwrap_err();

        assert!(matches!(refused, CollectError::Submodule(path) if path == "s b"));
    }

    #[tokio::test]
    async fn a_remote_that_does_not_answer_says_nothing_about_a_commit() {
        let dir = tempfile::tempdir().unwrap();
        let repository = repository(dir.path()).await;
        repository.git.run(&["remote", "add", "origin", "/nowhere/at/all"]).await.unwrap();
        let params = [("commit".to_owned(), "absent".to_owned())];

        let refused = repository.tree(dir.path().join("tree"), &params).await.unwrap_err();

        assert!(matches!(refused, TreeError::Fetch(_)), "{refused}");
    }

    #[tokio::test]
    async fn a_commit_that_is_not_there_or_no_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let repository = repository(dir.path()).await;
        let absent = "0123456789012345678901234567890123456789";
        for (name, is_absent) in
            [(absent, true), ("--all", false), ("", false), ("HEAD@{1}", false), ("a b", false)]
        {
            let params = [("commit".to_owned(), name.to_owned())];

            let refused = repository.tree(dir.path().join("tree"), &params).await.unwrap_err();

            assert_eq!(matches!(refused, TreeError::NoCommit(_)), is_absent, "{name}: {refused}");
        }
    }
}
