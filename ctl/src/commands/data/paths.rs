//! What is sent, as the daemon finds it from its own current folder.

use std::io;
use std::path::{Path, PathBuf};

use pilot_local_api::quoted;
use pilot_local_api::transfers::PathText;

use crate::failure::Failure;
use crate::payload::unreadable;

/// The paths as they were given, each made absolute against the folder `here`.
/// All of them are there.
pub(super) fn absolute(here: &Path, paths: &[PathBuf]) -> Result<Vec<PathText>, Failure> {
    paths.iter().map(|path| one(here, path).map(PathText::from)).collect()
}

fn one(here: &Path, path: &Path) -> Result<PathBuf, Failure> {
    let shown = path.display().to_string();
    let failed = |error: io::Error| {
        if path.as_os_str().is_empty() || error.kind() == io::ErrorKind::NotFound {
            let there_is_no = format!("there is no {}; nothing was sent", quoted(&shown));
            return Failure::usage(there_is_no);
        }
        unreadable(&error, "PATH", &shown)
    };
    let whole = std::path::absolute(here.join(path)).map_err(failed)?;
    // Of a link, the link itself is what is sent.
    std::fs::symlink_metadata(if path.as_os_str().is_empty() { path } else { &whole })
        .map_err(failed)?;
    // What ends in `..` has no name of its own; the folder it means has.
    if whole.file_name().is_none() { whole.canonicalize().map_err(failed) } else { Ok(whole) }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use pilot_local_api::ErrorCode;

    use super::*;

    fn message(failed: Result<PathBuf, Failure>) -> String {
        let Err(Failure::Error(error)) = failed else { panic!("{failed:?}") };
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        error.message
    }

    #[test]
    fn paths_are_absolute_and_their_links_stay_links() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(here.join("src/auth")).unwrap();
        std::fs::write(here.join("-"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", here.join("broken")).unwrap();
        let odd = OsStr::from_bytes(b"\xff\n");
        std::fs::write(here.join(odd), "").unwrap();
        let table = [
            (Path::new("./src/auth"), here.join("src/auth")),
            (Path::new("src/../broken"), here.join("src/../broken")),
            (Path::new("src/.."), here.clone()),
            (Path::new("."), here.clone()),
            (Path::new("./-"), here.join("-")),
            (Path::new(odd), here.join(odd)),
            (&here, here.clone()),
        ];
        for (path, wanted) in table {
            assert_eq!(one(&here, path).unwrap(), wanted, "{path:?}");
        }
        let folder = one(&here, Path::new("./src/auth/")).unwrap();
        assert_eq!(folder.file_name(), Some(OsStr::new("auth")));
    }

    #[test]
    fn what_is_missing_is_named_and_the_others_are_not_sent_either() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("there"), "").unwrap();

        let failed = absolute(dir.path(), &["there".into(), "not there".into()]);

        let failed = failed.map(|paths| paths[0].clone().into());
        assert_eq!(message(failed), "there is no 'not there'; nothing was sent");
        for (path, part) in [("", "there is no ''"), ("there/x", "there/x")] {
            let message = message(one(dir.path(), Path::new(path)));
            assert!(message.contains(part), "{message}");
            assert!(message.ends_with("nothing was sent"), "{message}");
        }
    }
}
