use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::ResultView;
use pilot_local_api::{ApiError, ErrorCode, quoted};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::ending::verdict;
use crate::failure::Failure;
use crate::git::{Git, failed, paths};
use crate::waiting::{AtFirst, patiently};
use crate::{Ctl, shown};

/// What a worker with a work tree calls the changes in its result.
const BUNDLE: &str = "changes.bundle";

/// What it always has in its result.
const CHANGES: &str = "changes.json";

/// Characters of the description in the message of the merge.
const SUMMARY: usize = 72;

/// Merge what a `worker run --worktree` changed into a repository here.
///
/// Into the current branch, in a checkout without changes of its own. If files conflict, their
/// names are printed, the repository stays as it was, and the exit code is 8; the changes are
/// then at refs/pilot/ID for a merge by hand.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
    /// The repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
}

/// What is printed of a merge.
#[derive(Debug, Serialize)]
struct Merged {
    id: TaskId,
    /// merged, already_merged or unchanged.
    outcome: &'static str,
    /// Where the current branch is now.
    commit: String,
}

/// Where a bundle lies; one that came inside the result goes when this is dropped.
enum Bundle {
    There(PathBuf),
    Written(NamedTempFile),
}

impl Bundle {
    fn path(&self) -> &Path {
        match self {
            Self::There(path) => path,
            Self::Written(file) => file.path(),
        }
    }
}

pub(crate) async fn run(Args { id, repo }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let view = patiently(ctl, AtFirst::Fail, || ctl.client.result(id)).await?;
    verdict(id, view.state, view.reason.as_deref())?;
    let git = Git::at(&repo).with(&["fetch.fsckObjects=true", "transfer.fsckObjects=true"]);
    clean(&git, &repo).await?;
    let Some(bundle) = bundle(id, &view)? else {
        return told(ctl, &git, id, "unchanged").await;
    };
    let name = format!("refs/pilot/{id}");
    fetch(&git, bundle.path(), &name).await?;
    let is_there = ["merge-base", "--is-ancestor", &name, "HEAD"];
    if git.output(&is_there).await.map_err(ApiError::from)?.status.success() {
        return told(ctl, &git, id, "already_merged").await;
    }
    let task = ctl.client.task(id).await?;
    let first = task.description.lines().find(|line| !line.trim().is_empty());
    let summary = shown::short(first.unwrap_or_default().trim(), SUMMARY);
    let message = format!("Merge task {id}: {summary}");
    let merge = ["merge", "--no-ff", "--no-edit", "-m", &message, &name];
    let output = git.output(&merge).await.map_err(ApiError::from)?;
    if output.status.success() {
        return told(ctl, &git, id, "merged").await;
    }
    let unmerged = ["diff", "--name-only", "--diff-filter=U", "-z"];
    let files = paths(&git.run(&unmerged).await.map_err(ApiError::from)?);
    // If the merge did not begin, there is nothing to abort.
    let aborted = git.output(&["merge", "--abort"]).await.map_err(ApiError::from)?;
    if files.is_empty() {
        return Err(ApiError::from(failed(&merge, &output)).into());
    }
    if !aborted.status.success() {
        return Err(ApiError::from(failed(&["merge --abort"], &aborted)).into());
    }
    ctl.ui.answer(&files, |files| files.iter().map(|file| shown::line(file) + "\n").collect())?;
    let message = format!("task {id} changed what this branch changed, too; nothing was merged");
    Err(ApiError::new(ErrorCode::Conflict, message)
        .with_hint(format!("git merge {name}"))
        .with_detail("files", files)
        .into())
}

/// A checkout with a commit and nothing that a merge could spoil.
async fn clean(git: &Git, repo: &Path) -> Result<(), Failure> {
    let here = quoted(&repo.display().to_string());
    let inside = git.line(&["rev-parse", "--is-inside-work-tree"]).await.map_err(ApiError::from)?;
    if inside != "true" {
        let message = format!("{} is no work tree: there is nothing to merge into", repo.display());
        return Err(ApiError::new(ErrorCode::InvalidArgument, message).into());
    }
    if git.commit("HEAD").await.map_err(ApiError::from)?.is_none() {
        let message = format!("{} has no commit yet to merge into", repo.display());
        return Err(ApiError::new(ErrorCode::Conflict, message).into());
    }
    let status = ["status", "--porcelain", "-z", "--untracked-files=no"];
    let is_merging = git.commit("MERGE_HEAD").await.map_err(ApiError::from)?.is_some();
    if is_merging || !git.run(&status).await.map_err(ApiError::from)?.is_empty() {
        let message =
            format!("{} has changes that are not committed; nothing was merged", repo.display());
        return Err(ApiError::new(ErrorCode::Conflict, message)
            .with_hint(format!("git -C {here} stash"))
            .into());
    }
    Ok(())
}

/// The bundle of a result; none if its task changed nothing.
fn bundle(id: TaskId, view: &ResultView) -> Result<Option<Bundle>, Failure> {
    if let Some(file) = view.files.iter().find(|file| file.name.as_str() == BUNDLE) {
        let written = NamedTempFile::new().and_then(|part| {
            fs::write(part.path(), &file.content_base64.0)?;
            Ok(part)
        });
        return Ok(Some(Bundle::Written(written.map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("cannot write the bundle: {error}"))
        })?)));
    }
    let named =
        |name: &str| view.attachments.iter().find(|file| file.name.as_bytes() == name.as_bytes());
    if let Some(path) = named(BUNDLE).and_then(|file| file.path.as_ref()) {
        let path = path.as_path().to_owned();
        // A folder would be taken for a repository, with settings of its own.
        return match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => Ok(Some(Bundle::There(path))),
            Ok(_) | Err(_) => Err(ApiError::new(
                ErrorCode::NotFound,
                format!("{BUNDLE} of task {id} is no file here"),
            )
            .with_hint("pilotctl data list")
            .into()),
        };
    }
    if named(CHANGES).is_some() {
        return Ok(None);
    }
    let message = format!("the result of task {id} has no {BUNDLE}: its worker had no work tree");
    Err(ApiError::new(ErrorCode::NotFound, message)
        .with_hint(format!("pilotctl task result {id}"))
        .into())
}

/// Brings what is in a bundle into the repository, under the name `name`.
async fn fetch(git: &Git, bundle: &Path, name: &str) -> Result<(), Failure> {
    let path = bundle.as_os_str();
    // With --quiet it does not say what is missing.
    let verify = [OsStr::new("bundle"), OsStr::new("verify"), path];
    let output = git.output(&verify).await.map_err(ApiError::from)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let missing: Vec<&str> = said.lines().filter_map(missing_commit).collect();
        if missing.is_empty() {
            return Err(ApiError::from(failed(&verify, &output)).into());
        }
        let message =
            format!("this repository lacks what the task began with: {}", missing.join(", "));
        return Err(ApiError::new(ErrorCode::NotFound, message)
            .with_hint("git fetch --all")
            .into());
    }
    let spec = format!("+{name}:{name}");
    let flags = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"].map(OsStr::new);
    let rest = ["--no-recurse-submodules", "--no-auto-maintenance", "--end-of-options"];
    let what = [path, OsStr::new(&spec)];
    let words = [&flags[..], &rest.map(OsStr::new), &what[..]].concat();
    git.run(&words).await.map_err(ApiError::from)?;
    Ok(())
}

/// The commit that a line of `bundle verify` says is missing.
fn missing_commit(line: &str) -> Option<&str> {
    let commit = line.strip_prefix("error: ")?.split(' ').next()?;
    let is_commit = matches!(commit.len(), 40 | 64);
    (is_commit && commit.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(commit)
}

async fn told(ctl: &Ctl, git: &Git, id: TaskId, outcome: &'static str) -> Result<(), Failure> {
    let commit = git.line(&["rev-parse", "--verify", "HEAD"]).await.map_err(ApiError::from)?;
    let merged = Merged { id, outcome, commit };
    ctl.ui.answer(&merged, |merged| {
        let what = match merged.outcome {
            "merged" => "merged",
            "unchanged" => "changed nothing",
            _ => "was merged before",
        };
        format!("task {} {what}; HEAD is {}", merged.id, merged.commit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_commits_are_read_of_what_git_says() {
        let commit = "a".repeat(40);

        assert_eq!(missing_commit(&format!("error: {commit} first")), Some(commit.as_str()));
        assert_eq!(missing_commit(&format!("error: {commit} ")), Some(commit.as_str()));
        assert_eq!(missing_commit("error: Repository lacks these prerequisite commits:"), None);
        assert_eq!(missing_commit(&commit), None);
    }
}
