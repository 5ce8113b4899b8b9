//! Small files that travel inside a task or a result.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use pilot_local_api::proto::FileName;
use pilot_local_api::tasks::ContentFile;
use pilot_local_api::{ApiError, Base64, ErrorCode};
use tempfile::Builder;

use crate::failure::Failure;
use crate::payload::{code_of, limited, unreadable};

/// What a written file may be used for, less the umask.
const MODE: u32 = 0o666;

/// One file with its content; `flag` names it in errors.
pub(crate) fn read(path: &Path, flag: &str) -> Result<ContentFile, Failure> {
    let shown = path.display().to_string();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name: FileName =
        name.parse().map_err(|error| Failure::usage(format!("{shown} for {flag}: {error}")))?;
    let file = File::open(path).map_err(|error| unreadable(&error, flag, &shown))?;
    let is_dir = file.metadata().map(|meta| meta.is_dir());
    if is_dir.map_err(|error| unreadable(&error, flag, &shown))? {
        let error = ApiError::new(
            ErrorCode::InvalidArgument,
            format!("{shown} for {flag} is a folder; nothing was sent"),
        );
        let packed = format!("tar -C {shown} -cf {name}.tar . && … {flag} {name}.tar");
        return Err(error.with_hint(packed).into());
    }
    Ok(ContentFile { name, content_base64: Base64(limited(file, flag, &shown)?) })
}

/// All files of a folder, by name; folders inside it are refused.
pub(crate) fn read_dir(path: &Path, flag: &str) -> Result<Vec<ContentFile>, Failure> {
    let shown = path.display().to_string();
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| unreadable(&error, flag, &shown))?;
    let mut files = Vec::new();
    for entry in entries {
        files.push(read(&entry.path(), flag)?);
    }
    files.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
    Ok(files)
}

/// Writes files into a folder, which is made if need be. A file of the same
/// name and content is left as it is; one of other content is a conflict, and
/// then nothing is written.
pub(crate) fn write(folder: &Path, files: &[ContentFile]) -> Result<(), Failure> {
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
    for (path, file) in missing {
        write_one(folder, &path, &file.content_base64.0)?;
    }
    Ok(())
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
    use super::*;

    fn file(name: &str, content: &'static [u8]) -> ContentFile {
        ContentFile { name: name.parse().unwrap(), content_base64: Base64(content.into()) }
    }

    fn code(failed: Result<(), Failure>) -> ErrorCode {
        let Err(Failure::Error(error)) = failed else { panic!("{failed:?}") };
        error.code
    }

    #[test]
    fn files_are_written_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("new/out");
        let files = vec![file("a", b"1"), file("b.txt", b"")];

        write(&out, &files).unwrap();
        write(&out, &files).unwrap();

        assert_eq!(read_dir(&out, "--dir").unwrap(), files);
    }

    #[test]
    fn no_file_is_overwritten_and_none_is_written_beside_a_conflict() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), "mine").unwrap();

        let failed = write(dir.path(), &[file("a", b"1"), file("b", b"theirs")]);

        assert_eq!(code(failed), ErrorCode::Conflict);
        assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "mine");
        assert!(!dir.path().join("a").exists());
    }

    #[test]
    fn a_folder_inside_a_folder_and_a_missing_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("inner")).unwrap();

        assert_eq!(code(read_dir(dir.path(), "--dir").map(drop)), ErrorCode::InvalidArgument);
        assert_eq!(code(read(&dir.path().join("x"), "--file").map(drop)), ErrorCode::NotFound);
    }
}
