//! Files that are to go with a task or a result: small ones inside it, any
//! others on a transfer that the daemon makes of them.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use pilot_local_api::Base64;
use pilot_local_api::proto::FileName;
use pilot_local_api::proto::tasks::MAX_FILES;
use pilot_local_api::tasks::ContentFile;
use pilot_local_api::transfers::PathText;

use crate::failure::Failure;
use crate::payload::{limited, unreadable};

/// Bytes of plain files that go inside a task or a result, all together.
///
/// More is better on a transfer, which need not begin anew when a connection
/// breaks, and is in nobody's memory.
const MAX_INSIDE: u64 = 1024 * 1024;

/// What goes with a task or a result, and how.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Inside it.
    pub(crate) files: Vec<ContentFile>,
    /// On a transfer, by their absolute paths.
    pub(crate) attach: Vec<PathText>,
}

/// Files and folders as they are given, each with the flag that names it in errors.
#[derive(Debug, Default)]
pub(crate) struct Given(Vec<One>);

#[derive(Debug)]
struct One {
    path: PathBuf,
    flag: &'static str,
    metadata: Metadata,
}

impl Given {
    /// Adds a file or folder. A link stands for what it points to.
    pub(crate) fn add(&mut self, path: &Path, flag: &'static str) -> Result<(), Failure> {
        let failed = |error: io::Error| unreadable(&error, flag, &path.display().to_string());
        let metadata = fs::metadata(path).map_err(failed)?;
        let is_link = fs::symlink_metadata(path).map_err(failed)?.is_symlink();
        // What ends in `..` has no name of its own; the folder it means has.
        let path = if is_link || path.file_name().is_none() {
            path.canonicalize().map_err(failed)?
        } else {
            path.to_owned()
        };
        self.0.push(One { path, flag, metadata });
        Ok(())
    }

    /// Adds what is in a folder, by name; links in it stay links.
    pub(crate) fn add_all_in(&mut self, path: &Path, flag: &'static str) -> Result<(), Failure> {
        let failed = |error: io::Error| unreadable(&error, flag, &path.display().to_string());
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = entries.map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let metadata = entry.metadata().map_err(failed)?;
            if !(metadata.is_file() || metadata.is_dir() || metadata.is_symlink()) {
                let shown = entry.path().display().to_string();
                return Err(Failure::usage(format!(
                    "{shown} in {flag} is no file, link or folder; nothing was sent"
                )));
            }
            self.0.push(One { path: entry.path(), flag, metadata });
        }
        Ok(())
    }

    /// Reads what goes inside. If all of it is few and small files, that is
    /// all; otherwise only what cannot be read twice, as a pipe.
    pub(crate) fn load(self) -> Result<Load, Failure> {
        let (files, streams): (Vec<One>, Vec<One>) =
            self.0.into_iter().partition(|one| !one.is_stream());
        let size: u64 = files.iter().map(|one| one.metadata.len()).sum();
        let goes_inside = size <= MAX_INSIDE
            && files.len() + streams.len() <= MAX_FILES
            && files.iter().all(|one| one.metadata.is_file() && one.name().is_some());
        let mut load = Load::default();
        if goes_inside {
            load.files = files.iter().map(One::read).collect::<Result<_, _>>()?;
        } else {
            load.attach = files.iter().map(One::absolute).collect::<Result<_, _>>()?;
        }
        for stream in &streams {
            load.files.push(stream.read()?);
        }
        Ok(load)
    }
}

impl One {
    /// Whether it is a pipe or the like, whose bytes come only once.
    fn is_stream(&self) -> bool {
        !(self.metadata.is_file() || self.metadata.is_dir() || self.metadata.is_symlink())
    }

    /// Its name, if it may have it inside a task.
    fn name(&self) -> Option<FileName> {
        self.path.file_name()?.to_str()?.parse().ok()
    }

    fn read(&self) -> Result<ContentFile, Failure> {
        let (shown, flag) = (self.path.display().to_string(), self.flag);
        let Some(name) = self.name() else {
            return Err(Failure::usage(format!("{shown} for {flag} has no name to go under")));
        };
        let file = File::open(&self.path).map_err(|error| unreadable(&error, flag, &shown))?;
        Ok(ContentFile { name, content_base64: Base64(limited(file, flag, &shown)?) })
    }

    fn absolute(&self) -> Result<PathText, Failure> {
        let path = std::path::absolute(&self.path);
        let failed = |error| unreadable(&error, self.flag, &self.path.display().to_string());
        path.map(PathText::from).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use pilot_local_api::ErrorCode;

    use super::*;

    const FLAG: &str = "--attach";

    fn loaded(paths: &[PathBuf]) -> Load {
        let mut given = Given::default();
        paths.iter().for_each(|path| given.add(path, FLAG).unwrap());
        given.load().unwrap()
    }

    fn names(load: &Load) -> Vec<&str> {
        load.files.iter().map(|file| file.name.as_str()).collect()
    }

    fn code<T: std::fmt::Debug>(failed: Result<T, Failure>) -> ErrorCode {
        let Err(Failure::Error(error)) = failed else { panic!("{failed:?}") };
        error.code
    }

    #[test]
    fn small_files_go_inside_and_all_of_it_goes_beside_once_it_is_more() {
        let dir = tempfile::tempdir().unwrap();
        let [small, large] = ["small", "large"].map(|name| dir.path().join(name));
        fs::write(&small, "1").unwrap();
        File::create(&large).unwrap().set_len(MAX_INSIDE - 1).unwrap();
        let both = [small.clone(), large.clone()];

        let inside = loaded(&both);
        assert_eq!((names(&inside), inside.attach.len()), (vec!["small", "large"], 0));

        File::create(&large).unwrap().set_len(MAX_INSIDE).unwrap();
        let beside = loaded(&both);
        assert_eq!(names(&beside), [""; 0]);
        assert_eq!(beside.attach, both.map(PathText::from));
        assert_eq!(loaded(&[]), Load::default());
    }

    #[test]
    fn folders_links_to_them_and_odd_names_go_beside() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        fs::create_dir_all(here.join("folder/inner")).unwrap();
        symlink("folder", here.join("link")).unwrap();
        let odd = here.join(OsStr::from_bytes(b"\xff\n"));
        fs::write(&odd, "").unwrap();
        let table = [
            (here.join("folder"), here.join("folder")),
            (here.join("folder/inner/.."), here.join("folder")),
            (here.join("link"), here.join("folder")),
            (odd.clone(), odd),
        ];

        for (given, goes) in table {
            assert_eq!(loaded(std::slice::from_ref(&given)).attach, [goes.into()], "{given:?}");
        }
    }

    #[test]
    fn what_is_in_a_folder_goes_by_name_and_its_links_stay_links() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("b"), "2").unwrap();
        fs::write(at("a"), "1").unwrap();
        let load = |path: &Path| {
            let mut given = Given::default();
            given.add_all_in(path, "--dir").map(|()| given.load().unwrap())
        };
        assert_eq!(names(&load(dir.path()).unwrap()), ["a", "b"]);

        symlink("a", at("c")).unwrap();
        let linked = load(dir.path()).unwrap();
        assert_eq!(linked.attach, [at("a"), at("b"), at("c")].map(PathText::from));
        fs::remove_file(at("c")).unwrap();
        fs::create_dir(at("c")).unwrap();
        assert_eq!(load(dir.path()).unwrap().attach.len(), 3);

        assert_eq!(code(load(&at("nowhere"))), ErrorCode::NotFound);
        let _socket = std::os::unix::net::UnixListener::bind(at("d")).unwrap();
        assert_eq!(code(load(dir.path())), ErrorCode::InvalidArgument);
    }

    #[test]
    fn more_files_than_a_task_holds_go_beside() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..=MAX_FILES {
            fs::write(dir.path().join(number.to_string()), "").unwrap();
        }

        let mut given = Given::default();
        given.add_all_in(dir.path(), "--dir").unwrap();

        assert_eq!(given.load().unwrap().attach.len(), MAX_FILES + 1);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let missing = Given::default().add(Path::new("/nowhere/at/all"), FLAG);

        assert_eq!(code(missing), ErrorCode::NotFound);
    }
}
