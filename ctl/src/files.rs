//! Writes the files of a task or a result where their user wants them.

use core::error::Error as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use pilot_local_api::tasks::{AttachedFiles, ContentFile};
use pilot_local_api::{ApiError, ErrorCode};
use pilot_tree::{Conflict, CopyError, copy_out};
use tempfile::Builder;

use crate::failure::Failure;
use crate::payload::code_of;

/// What a written file may be used for, less the umask.
const MODE: u32 = 0o666;

/// Writes files into a folder, which is made if need be: those of a message,
/// and those that came on a transfer, out of the inbox.
///
/// A file of a message that is there already with this content is left as it
/// is; whatever else has a name of theirs is a conflict, and then nothing is written.
pub(crate) async fn write(
    folder: &Path,
    files: Vec<ContentFile>,
    attached: Option<&AttachedFiles>,
) -> Result<(), Failure> {
    let inbox = match attached {
        Some(AttachedFiles { folder: Some(inbox), .. }) => Some(inbox.as_path().to_owned()),
        Some(AttachedFiles { folder: None, transfer, .. }) => {
            let message = format!("the files of transfer {transfer} are not in this node's inbox");
            return Err(ApiError::new(ErrorCode::NotFound, message)
                .with_hint("pilotctl data list")
                .into());
        }
        None => None,
    };
    let folder = folder.to_owned();
    // On a thread of its own, so that a signal is heard meanwhile.
    let writing = tokio::task::spawn_blocking(move || write_all(&folder, &files, inbox));
    writing.await.map_err(|error| {
        ApiError::new(ErrorCode::Internal, format!("the writing broke off: {error}"))
    })?
}

fn write_all(folder: &Path, files: &[ContentFile], inbox: Option<PathBuf>) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| unwritable(&error, folder))?;
    let mut missing = Vec::new();
    for file in files {
        let path = folder.join(file.name.as_str());
        match fs::read(&path) {
            Ok(there) if there == file.content_base64.0 => {}
            Ok(_) => return Err(conflict(&path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push((path, file)),
            Err(error) => return Err(unwritable(&error, &path)),
        }
    }
    if let Some(inbox) = inbox {
        copy_out(&inbox, folder, Conflict::Fail).map_err(|error| not_copied(&error))?;
    }
    for (path, file) in missing {
        write_one(folder, &path, &file.content_base64.0)?;
    }
    Ok(())
}

/// What was received stays where it is.
pub(crate) fn not_copied(error: &CopyError) -> ApiError {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let cause = cause.filter(|cause| cause.kind() != io::ErrorKind::AlreadyExists);
    let message = match cause {
        Some(cause) => format!("{error}: {cause}; the inbox still has it"),
        None => format!("{error}; the inbox still has it"),
    };
    ApiError::new(cause.map_or(ErrorCode::Conflict, code_of), message)
        .with_hint("choose another folder with --out DIR")
}

/// Whole or not at all, and never over another file.
fn write_one(folder: &Path, path: &Path, content: &[u8]) -> Result<(), Failure> {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(MODE);
    let part = Builder::new().prefix(".pilot-").permissions(permissions).tempfile_in(folder);
    let mut part = part.map_err(|error| unwritable(&error, folder))?;
    part.write_all(content).map_err(|error| unwritable(&error, path))?;
    part.persist_noclobber(path).map_err(|error| {
        if error.error.kind() == io::ErrorKind::AlreadyExists {
            return conflict(path);
        }
        unwritable(&error.error, path)
    })?;
    Ok(())
}

fn conflict(path: &Path) -> Failure {
    let shown = path.display();
    ApiError::new(ErrorCode::Conflict, format!("{shown} is there with other content; it is kept"))
        .with_hint("choose another folder with --out DIR")
        .into()
}

fn unwritable(error: &io::Error, path: &Path) -> Failure {
    let message = format!("cannot write {}: {error}; the daemon still has it", path.display());
    ApiError::new(code_of(error), message).into()
}

#[cfg(test)]
mod tests {
    use pilot_local_api::Base64;
    use pilot_local_api::proto::TransferId;

    use super::*;

    fn file(name: &str, content: &'static [u8]) -> ContentFile {
        ContentFile { name: name.parse().unwrap(), content_base64: Base64(content.into()) }
    }

    fn code(failed: Result<(), Failure>) -> ErrorCode {
        let Err(Failure::Error(error)) = failed else { panic!("{failed:?}") };
        error.code
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    fn attached(folder: Option<&Path>) -> AttachedFiles {
        let transfer = TransferId::from_bytes([1; 16]);
        AttachedFiles { transfer, files: 1, bytes: 1, folder: folder.map(Into::into) }
    }

    #[tokio::test]
    async fn files_of_both_kinds_are_written_into_one_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (inbox, out) = (dir.path().join("inbox"), dir.path().join("new/out"));
        fs::create_dir_all(inbox.join("d")).unwrap();
        fs::write(inbox.join("d/c"), "3").unwrap();

        write(&out, vec![file("a", b"1"), file("b.txt", b"")], None).await.unwrap();
        write(&out, vec![file("a", b"1")], Some(&attached(Some(&inbox)))).await.unwrap();

        let written = ["a", "b.txt", "d/c"].map(|name| read(&out.join(name)));
        assert_eq!(written, ["1", "", "3"]);
        assert_eq!(read(&inbox.join("d/c")), "3");
    }

    #[tokio::test]
    async fn no_file_is_overwritten_and_none_is_written_beside_a_conflict() {
        let dir = tempfile::tempdir().unwrap();
        let (inbox, out) = (dir.path().join("inbox"), dir.path().join("out"));
        fs::create_dir_all(&inbox).unwrap();
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join("b"), "mine").unwrap();
        fs::write(inbox.join("c"), "theirs").unwrap();

        let failed = write(&out, vec![file("a", b"1"), file("b", b"theirs")], None).await;
        assert_eq!(code(failed), ErrorCode::Conflict);
        let both = vec![file("a", b"1"), file("b", b"theirs")];
        let failed = write(&out, both, Some(&attached(Some(&inbox)))).await;
        assert_eq!(code(failed), ErrorCode::Conflict);
        fs::rename(out.join("b"), out.join("c")).unwrap();
        let failed = write(&out, vec![file("a", b"1")], Some(&attached(Some(&inbox)))).await;
        assert_eq!(code(failed), ErrorCode::Conflict);

        assert_eq!(read(&out.join("c")), "mine");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn files_that_are_not_here_are_not_found() {
        let dir = tempfile::tempdir().unwrap();

        let failed = write(dir.path(), Vec::new(), Some(&attached(None))).await;

        assert_eq!(code(failed), ErrorCode::NotFound);
    }
}
