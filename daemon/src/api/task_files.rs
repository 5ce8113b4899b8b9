//! Files of tasks and results as the API takes and shows them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pilot_identity::NodeId;
use pilot_local_api::tasks::{AttachedFiles, Attachment, LISTED_NAMES};
use pilot_local_api::transfers::PathText;
use pilot_proto::tasks::{Attached, InlineFile};

use super::failure::Failure;
use crate::node::Node;
use crate::services::data::SendError;
use crate::services::tasks::{LoadError, ShelfError};

/// The files of a task or a result.
pub(super) struct Files {
    pub(super) attachments: Vec<Attachment>,
    pub(super) attached: Option<AttachedFiles>,
}

/// The paths of files that are to go with a task or a result.
pub(super) fn paths(attach: Vec<PathText>) -> Result<Vec<PathBuf>, Failure> {
    let paths: Vec<PathBuf> = attach.into_iter().map(PathBuf::from).collect();
    match paths.iter().find(|path| !path.is_absolute()) {
        Some(relative) => Err(Failure::invalid(format!("{relative:?} is no absolute path"))),
        None => Ok(paths),
    }
}

/// All files of a task or a result of `peer`: those in its body, and those that
/// came on a transfer.
pub(super) async fn files(
    node: &Node,
    peer: NodeId,
    inline: &[InlineFile],
    attached: Option<&Attached>,
) -> Result<Files, Failure> {
    let mut attachments: Vec<Attachment> = inline.iter().map(attachment).collect();
    let Some(attached) = attached else { return Ok(Files { attachments, attached: None }) };
    let transfer = node.data().find(attached.transfer)?;
    let folder = transfer
        .filter(|transfer| transfer.peer == peer)
        .and_then(|transfer| node.data().folder(&transfer));
    if let Some(folder) = folder.clone() {
        attachments.extend(listed(folder).await?);
    }
    let attached = AttachedFiles {
        transfer: attached.transfer,
        files: attached.files,
        bytes: attached.bytes,
        folder: folder.map(PathText::from),
    };
    Ok(Files { attachments, attached: Some(attached) })
}

/// The same of files that lie in a folder of this node.
pub(super) async fn lying_in(
    folder: Option<PathBuf>,
    inline: &[InlineFile],
) -> Result<Vec<Attachment>, Failure> {
    let mut attachments: Vec<Attachment> = inline.iter().map(attachment).collect();
    if let Some(folder) = folder {
        attachments.extend(listed(folder).await?);
    }
    Ok(attachments)
}

async fn listed(folder: PathBuf) -> Result<Vec<Attachment>, Failure> {
    let listed = tokio::task::spawn_blocking(move || top(&folder)).await;
    match listed.map_err(|error| Failure::internal(&error))? {
        Ok(listed) => Ok(listed),
        // Somebody took it away by hand; that there were files is shown.
        Err(error) => {
            tracing::warn!(%error, "the files of a task cannot be listed");
            Ok(Vec::new())
        }
    }
}

/// A file in a body; its bytes stay in the store.
fn attachment(file: &InlineFile) -> Attachment {
    Attachment {
        name: PathText::Text(file.name.as_str().to_owned()),
        size: u64::try_from(file.content.len()).unwrap_or(u64::MAX),
        path: None,
    }
}

/// What is at the top of a folder, by name.
fn top(folder: &Path) -> io::Result<Vec<Attachment>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.sort_unstable();
    names.truncate(LISTED_NAMES);
    let listed = names.into_iter().map(|name| {
        let path = folder.join(&name);
        let size = size_below(&path)?;
        Ok(Attachment { name: name.into(), size, path: Some(path.into()) })
    });
    listed.collect()
}

/// Bytes of a file, or of all files in a folder. Links are not followed, and
/// count nothing.
fn size_below(path: &Path) -> io::Result<u64> {
    let mut size: u64 = 0;
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        } else if metadata.is_file() {
            size = size.saturating_add(metadata.len());
        }
    }
    Ok(size)
}

impl From<ShelfError> for Failure {
    fn from(error: ShelfError) -> Self {
        match error {
            ShelfError::Keep(error) => SendError::Keep(error).into(),
            ShelfError::Stopped => Self::internal(&error),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Send(error) => (*error).into(),
            LoadError::Commit(error) => error.into(),
            LoadError::Random => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_at_the_top_are_listed_with_what_is_below_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (outside, folder) = (dir.path().join("outside"), dir.path().join("folder"));
        fs::create_dir_all(folder.join("d/deeper")).unwrap();
        fs::write(&outside, [0; 1000]).unwrap();
        fs::write(folder.join("d/deeper/a"), [0; 5]).unwrap();
        fs::write(folder.join("d/b"), [0; 7]).unwrap();
        fs::write(folder.join("c"), [0; 3]).unwrap();
        symlink(&outside, folder.join("d/link")).unwrap();
        symlink(dir.path(), folder.join("up")).unwrap();

        let listed = top(&folder).unwrap();

        let at = |name: &str, size| Attachment {
            name: PathText::Text(name.to_owned()),
            size,
            path: Some(folder.join(name).into()),
        };
        assert_eq!(listed, [at("c", 3), at("d", 12), at("up", 0)]);
        assert!(top(&outside).is_err());
    }

    #[test]
    fn only_absolute_paths_are_taken() {
        let text = |path: &str| PathText::Text(path.to_owned());

        assert_eq!(paths(vec![text("/a b")]).unwrap(), [PathBuf::from("/a b")]);
        assert!(paths(vec![text("/a"), text("b")]).is_err());
    }
}
