//! The folder of a task: what came with it, and where its result goes.
//!
//! ```text
//! description   task.json   files/…   inputs/1/data   inputs/1/files/…   result/
//! ```
//!
//! Names in it are the submitter's: each is one component of a path, or the
//! task is refused. What came on a transfer is not copied: its names are links
//! to the inbox.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use pilot_local_api::CallError;
use pilot_local_api::tasks::{AcceptedTask, TaskInput, read_data_fields};

use tokio::task::spawn_blocking;

use crate::Ctl;
use crate::shown;

/// The folder of one task; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Contents {
    path: PathBuf,
    has_inputs: bool,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContentsError {
    /// A name in it is no name of a file.
    #[error("it comes with a file that has no usable name: {0}")]
    Name(String),
    /// Two files have one name.
    #[error("two files that come with it have one name: {0}")]
    Twice(String),
    /// A link in it leads elsewhere.
    #[error("it comes with a link that leads out of its folder: {0}")]
    Outside(String),
    /// The disk did not take it.
    #[error("cannot write {path}: {error}")]
    Disk {
        /// What.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The daemon did not give it.
    #[error(transparent)]
    Daemon(#[from] CallError),
}

impl Contents {
    /// Makes the folder `path` for a task, which as JSON is `json`.
    pub(super) async fn make(
        path: PathBuf,
        task: &AcceptedTask,
        json: &[u8],
        ctl: &Ctl,
    ) -> Result<Self, ContentsError> {
        make_folder(&path)?;
        let contents = Self { path, has_inputs: !task.inputs.is_empty() };
        make_folder(&contents.result())?;
        write(&contents.path.join("description"), task.description.as_bytes())?;
        write(&contents.path.join("task.json"), json)?;
        if !task.attachments.is_empty() || task.attached.is_some() {
            contents.files(task, ctl).await?;
        }
        if contents.has_inputs {
            make_folder(&contents.path.join("inputs"))?;
            for (number, input) in task.inputs.iter().enumerate() {
                contents.input(number + 1, input).await?;
            }
        }
        Ok(contents)
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the command leaves the files of its result.
    pub(super) fn result(&self) -> PathBuf {
        self.path.join("result")
    }

    /// Where results of earlier tasks are, if there are any.
    pub(super) fn inputs(&self) -> Option<PathBuf> {
        self.has_inputs.then(|| self.path.join("inputs"))
    }

    async fn files(&self, task: &AcceptedTask, ctl: &Ctl) -> Result<(), ContentsError> {
        let folder = self.path.join("files");
        make_folder(&folder)?;
        for attachment in task.attachments.iter().filter(|attachment| attachment.path.is_none()) {
            let name = attachment.name.as_path();
            let path = folder.join(component(name)?);
            // One component of UTF-8, as files inside a task are called.
            let asked = name.to_str().ok_or_else(|| unusable(name))?;
            write_new(&path, &ctl.client.attachment(task.id, asked).await?)?;
        }
        // Of many, only some are listed.
        if let Some(inbox) = task.attached.as_ref().and_then(|attached| attached.folder.as_ref()) {
            let inbox = inbox.as_path();
            let disk = |error| ContentsError::Disk { path: inbox.to_owned(), error };
            for entry in fs::read_dir(inbox).map_err(disk)? {
                let entry = entry.map_err(disk)?;
                link(&entry.path(), &folder.join(entry.file_name())).await?;
            }
        }
        Ok(())
    }

    async fn input(&self, number: usize, input: &TaskInput) -> Result<(), ContentsError> {
        let folder = self.path.join("inputs").join(number.to_string());
        make_folder(&folder)?;
        let data = read_data_fields(input.data.clone(), input.data_base64.clone());
        // Both forms at once are no answer of a daemon.
        write(&folder.join("data"), &data.unwrap_or_default())?;
        if input.files.is_empty() && input.attachments.is_empty() {
            return Ok(());
        }
        let files = folder.join("files");
        make_folder(&files)?;
        for file in &input.files {
            write_new(&files.join(file.name.as_str()), &file.content_base64.0)?;
        }
        for attachment in &input.attachments {
            let Some(there) = &attachment.path else { continue };
            link(there.as_path(), &files.join(component(attachment.name.as_path())?)).await?;
        }
        Ok(())
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        // What the command made unreadable stays until the folder of all tasks goes.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// A path that is one name.
fn component(name: &Path) -> Result<&Path, ContentsError> {
    let mut components = name.components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name.as_os_str() => Ok(name),
        _ => Err(unusable(name)),
    }
}

fn unusable(name: &Path) -> ContentsError {
    ContentsError::Name(shown::path(name.as_os_str().as_encoded_bytes()))
}

/// For nobody else: what tasks bring may be secret.
fn make_folder(path: &Path) -> Result<(), ContentsError> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.map_err(|error| ContentsError::Disk { path: path.to_owned(), error })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ContentsError> {
    fs::write(path, bytes).map_err(|error| ContentsError::Disk { path: path.to_owned(), error })
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), ContentsError> {
    let written = fs::File::create_new(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| not_written(path, error))
}

/// Links to what came on a transfer, in whose folder it is.
async fn link(to: &Path, path: &Path) -> Result<(), ContentsError> {
    let disk = |error| ContentsError::Disk { path: to.to_owned(), error };
    let there = to.to_owned();
    // There may be very many files in it.
    let looked = spawn_blocking(move || way_out(&there)).await;
    if let Some(out) = looked.unwrap_or_else(|lost| Err(lost.into())).map_err(disk)? {
        let name = out.strip_prefix(to.parent().unwrap_or(to)).unwrap_or(&out);
        return Err(ContentsError::Outside(shown::path(name.as_os_str().as_encoded_bytes())));
    }
    symlink(to, path).map_err(|error| not_written(path, error))
}

/// What leads out of the folder that `path` is in: itself if it is a link, or a
/// link in it that does not lead to something there. Through it a command would
/// read, or write, what the submitter chose.
fn way_out(path: &Path) -> io::Result<Option<PathBuf>> {
    let found = fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return Ok(Some(path.to_owned()));
    }
    if !found.is_dir() {
        return Ok(None);
    }
    let home = path.parent().unwrap_or(path).canonicalize()?;
    let mut left = vec![path.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder)? {
            let (kind, path) = entry.and_then(|entry| Ok((entry.file_type()?, entry.path())))?;
            if kind.is_dir() {
                left.push(path);
            } else if kind.is_symlink()
                && !path.canonicalize().is_ok_and(|there| there.starts_with(&home))
            {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

fn not_written(path: &Path, error: io::Error) -> ContentsError {
    if error.kind() == ErrorKind::AlreadyExists {
        let name = path.file_name().unwrap_or_default();
        return ContentsError::Twice(shown::path(name.as_encoded_bytes()));
    }
    ContentsError::Disk { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use pilot_local_api::proto::TaskId;
    use pilot_local_api::tasks::{Attachment, ContentFile, Params};
    use pilot_local_api::{Base64, Client};

    use super::*;
    use crate::ui::Ui;

    fn ctl() -> Ctl {
        Ctl { client: Client::new("/nowhere"), home: PathBuf::new(), ui: Ui::new(false) }
    }

    fn task(inputs: Vec<TaskInput>) -> AcceptedTask {
        AcceptedTask {
            id: TaskId::from_bytes([1; 16]),
            description: "what".into(),
            params: Params::default(),
            from: "1:0001.0000.0001".into(),
            from_name: None,
            attempt: 1,
            lease_expires_at: None,
            deadline_at: None,
            attachments: Vec::new(),
            attached: None,
            inputs,
        }
    }

    fn input(files: &[(&str, &'static [u8])], attachments: Vec<Attachment>) -> TaskInput {
        let file = |(name, bytes): &(&str, &'static [u8])| ContentFile {
            name: name.parse().unwrap(),
            content_base64: Base64((*bytes).into()),
        };
        TaskInput {
            task: TaskId::from_bytes([2; 16]),
            is_json: false,
            data: Some("earlier".into()),
            data_base64: None,
            files: files.iter().map(file).collect(),
            attachments,
        }
    }

    fn at(name: &[u8], path: &Path) -> Attachment {
        let name = Path::new(OsStr::from_bytes(name)).into();
        Attachment { name, size: 1, path: Some(path.into()) }
    }

    #[tokio::test]
    async fn a_task_and_results_of_earlier_ones_are_in_its_folder_while_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (path, there) = (dir.path().join("t"), dir.path().join("there"));
        fs::write(&there, "2").unwrap();
        let task = task(vec![input(&[], vec![]), input(&[("a", b"1")], vec![at(b"b", &there)])]);

        let contents = Contents::make(path.clone(), &task, b"{}", &ctl()).await.unwrap();

        let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
        assert_eq!((read("description"), read("task.json")), ("what".into(), "{}".into()));
        assert_eq!(read("inputs/1/data"), "earlier");
        assert_eq!((read("inputs/2/files/a"), read("inputs/2/files/b")), ("1".into(), "2".into()));
        assert_eq!(contents.inputs().unwrap(), path.join("inputs"));
        assert!(!path.join("files").exists() && path.join("result").is_dir());
        drop(contents);
        assert!(!path.exists() && there.exists());
    }

    #[tokio::test]
    async fn a_link_that_leads_out_of_a_transfer_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, came, secret) =
            (dir.path().join("t"), dir.path().join("came"), dir.path().join("secret"));
        fs::create_dir_all(came.join("d/deep")).unwrap();
        fs::write(came.join("a"), "1").unwrap();
        fs::write(&secret, "2").unwrap();
        symlink("../../a", came.join("d/deep/fine")).unwrap();
        let made = async |name: &str| {
            let attached = at(name.as_bytes(), &came.join(name));
            let task = task(vec![input(&[], vec![attached])]);
            Contents::make(path.clone(), &task, b"{}", &ctl()).await
        };
        drop(made("d").await.unwrap());

        symlink("a", came.join("link")).unwrap();
        let top = made("link").await.unwrap_err();
        assert!(matches!(top, ContentsError::Outside(name) if name == "link"));
        for target in ["/etc/passwd", "../../../secret", "/nowhere/at/all"] {
            let link = came.join("d/deep/evil");
            symlink(target, &link).unwrap();
            let deep = made("d").await.unwrap_err();
            assert!(matches!(deep, ContentsError::Outside(name) if name == "d/deep/evil"));
            fs::remove_file(link).unwrap();
        }
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_name_that_leads_elsewhere_is_refused_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        for name in [&b".."[..], b"../x", b"a/b", b"/etc/x", b"", b".", b"a/"] {
            let task = task(vec![input(&[], vec![at(name, dir.path())])]);

            let refused = Contents::make(path.clone(), &task, b"{}", &ctl()).await.unwrap_err();

            assert!(matches!(refused, ContentsError::Name(_)), "{name:?}: {refused}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{name:?}");
        }
        let twice = task(vec![input(&[("a", b"1")], vec![at(b"a", dir.path())])]);
        let refused = Contents::make(path, &twice, b"{}", &ctl()).await.unwrap_err();
        assert!(matches!(refused, ContentsError::Twice(_)), "{refused}");
    }
}
