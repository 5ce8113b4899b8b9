//! What would be sent, found as the daemon finds it.

use core::error::Error as _;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use pilot_local_api::proto::PeerRef;
use pilot_local_api::proto::manifest::{Entry, EntryKind};
use pilot_local_api::transfers::PathText;
use pilot_local_api::{ApiError, ErrorCode, quoted};
use pilot_tree::{ScanError, ScanOptions, Source};
use serde::Serialize;

use super::count;
use super::standing::takes_data;
use crate::Ctl;
use crate::commands::called;
use crate::failure::Failure;
use crate::ui::table;
use crate::waiting::until_signal;
use crate::{shown, size};

/// Everything that would be sent.
#[derive(Debug, Serialize)]
struct Listing {
    files: u32,
    folders: u32,
    links: u32,
    bytes: u64,
    paths: Vec<Listed>,
    /// The first 100 things that do not travel.
    left_behind: Vec<LeftBehind>,
    /// How many more of them there are.
    more_left_behind: usize,
}

/// Something that cannot be sent.
#[derive(Debug, Serialize)]
struct LeftBehind {
    /// Where it is.
    path: PathText,
    /// Such as `a socket`.
    what: String,
}

/// One thing of it.
#[derive(Debug, Serialize)]
struct Listed {
    /// As it would arrive.
    path: PathText,
    kind: Kind,
    /// Bytes of its content; only files have any.
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<PathText>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    File,
    Folder,
    Link,
}

/// Lists what is at these absolute paths, if the peer would take it.
pub(super) async fn run(
    ctl: &Ctl,
    peer: &PeerRef,
    paths: Vec<PathText>,
    options: ScanOptions,
) -> Result<(), Failure> {
    let paths: Vec<PathBuf> = paths.into_iter().map(PathBuf::from).collect();
    let listed = async {
        let peer = takes_data(ctl, peer).await?;
        // On a thread of its own, so that a signal is heard meanwhile.
        let listing = tokio::task::spawn_blocking(move || Listing::of(&paths, &options));
        let listing = listing.await.map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("the listing broke off: {error}"))
        })??;
        Ok((listing, peer))
    };
    let stopped =
        || ApiError::new(ErrorCode::TransferCancelled, "stopped while listing; nothing was sent");
    let (listing, peer) = until_signal(listed, stopped).await?;
    ctl.ui.answer(&listing, |listing| text(listing, &called(&peer.identity)))
}

impl Listing {
    fn of(paths: &[PathBuf], options: &ScanOptions) -> Result<Self, ApiError> {
        let (source, scanned) =
            Source::scan(paths, options).map_err(|error| refused(&error, options))?;
        let manifest = source.manifest();
        manifest.encode().map_err(|error| {
            let message = format!("{error}; nothing was sent");
            ApiError::new(ErrorCode::LimitExceeded, message)
        })?;
        let totals = manifest.totals();
        let listed =
            manifest.entries().iter().enumerate().map(|(number, entry)| {
                Listed::of(entry, &manifest.path(number).unwrap_or_default())
            });
        let left_behind = scanned
            .skipped
            .into_iter()
            .map(|(path, special)| LeftBehind { path: path.into(), what: special.to_string() });
        Ok(Self {
            files: totals.files,
            folders: totals.folders,
            links: totals.links,
            bytes: totals.bytes,
            paths: listed.collect(),
            left_behind: left_behind.collect(),
            more_left_behind: scanned.more,
        })
    }
}

impl Listed {
    fn of(entry: &Entry, path: &[u8]) -> Self {
        let (kind, size, target) = match &entry.kind {
            EntryKind::Folder => (Kind::Folder, 0, None),
            EntryKind::File { size } => (Kind::File, *size, None),
            EntryKind::Link { target } => (Kind::Link, 0, Some(path_text(target.as_bytes()))),
        };
        Self { path: path_text(path), kind, size, target }
    }

    fn row(&self) -> String {
        let path = shown::path(self.path.as_bytes());
        let target = self.target.as_ref().map(|target| shown::path(target.as_bytes()));
        match self.kind {
            Kind::File => format!("{}\t{path}", size::bytes(self.size)),
            Kind::Folder => format!("-\t{path}/"),
            Kind::Link => format!("-\t{path} -> {}", target.unwrap_or_default()),
        }
    }
}

fn text(listing: &Listing, peer: &str) -> String {
    let mut text = table("SIZE\tPATH", listing.paths.iter().map(Listed::row));
    for LeftBehind { path, what } in &listing.left_behind {
        text.push_str(&format!("\nleft behind: {}, {what}", shown::path(path.as_bytes())));
    }
    if listing.more_left_behind > 0 {
        text.push_str(&format!("\nleft behind: {} more", listing.more_left_behind));
    }
    let (files, folders) = (count(listing.files, "file"), count(listing.folders, "folder"));
    let (links, bytes) = (count(listing.links, "link"), size::bytes(listing.bytes));
    text + &format!("\n{files}, {folders}, {links}, {bytes} for {peer}; nothing was sent")
}

/// As the daemon would refuse it.
fn refused(error: &ScanError, options: &ScanOptions) -> ApiError {
    let why = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    let message = format!("{error}{why}; nothing was sent");
    let refused = ApiError::new(ErrorCode::InvalidArgument, message);
    match error {
        ScanError::Read { path, .. } => {
            refused.with_hint(format!("ls -ld {}", quoted(&path.display().to_string())))
        }
        ScanError::Glob { .. } => refused.with_hint("man gitignore  # such are the patterns"),
        ScanError::Manifest(_) if options.gitignore || !options.exclude.is_empty() => {
            refused.with_hint("pilotctl data send … --dry-run  # without --exclude, --gitignore")
        }
        ScanError::Manifest(_)
        | ScanError::SameName { .. }
        | ScanError::NoName { .. }
        | ScanError::TooDeep { .. } => refused,
    }
}

fn path_text(bytes: &[u8]) -> PathText {
    OsStr::from_bytes(bytes).into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use tempfile::TempDir;

    use super::*;

    /// A folder with a folder `src` of everything in it.
    fn planted() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("src");
        fs::create_dir_all(top.join("empty")).unwrap();
        fs::write(top.join("a\x1b[2J"), [7; 1500]).unwrap();
        fs::write(top.join("b.o"), "object").unwrap();
        fs::write(top.join(OsStr::from_bytes(b"\xff")), "").unwrap();
        symlink("no\nwhere", top.join("link")).unwrap();
        drop(UnixListener::bind(top.join("socket")).unwrap());
        dir
    }

    fn listing(exclude: &[&str]) -> Result<Listing, ApiError> {
        let exclude = exclude.iter().map(ToString::to_string).collect();
        let dir = planted();
        Listing::of(&[dir.path().join("src")], &ScanOptions { exclude, gitignore: false })
    }

    #[test]
    fn each_thing_has_a_line_and_what_is_left_out_has_none() {
        let shown = text(&listing(&["*.o"]).unwrap(), "backend");

        let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
        assert_eq!(
            lines[..5],
            [
                "SIZE    PATH",
                "-       src/",
                "1.5 kB  src/a\\u{1b}[2J",
                "-       src/empty/",
                "-       src/link -> no\\nwhere",
            ]
        );
        assert_eq!(lines[5], "0 B     src/\\xff");
        assert!(lines[6].starts_with("left behind: /"), "{}", lines[6]);
        assert!(lines[6].ends_with("src/socket, a socket"), "{}", lines[6]);
        let totals = "2 files, 2 folders, 1 link, 1.5 kB for backend; nothing was sent";
        assert_eq!(lines[7..], [totals]);
    }

    #[test]
    fn programs_get_every_path_with_its_kind_and_size() {
        let value = serde_json::to_value(listing(&[]).unwrap()).unwrap();

        assert_eq!((&value["files"], &value["links"]), (&3.into(), &1.into()));
        assert_eq!((&value["folders"], &value["bytes"]), (&2.into(), &1506.into()));
        let wanted = serde_json::json!({"path": "src/b.o", "kind": "file", "size": 6});
        assert_eq!(value["paths"][2], wanted);
        assert_eq!(value["paths"][4]["target"], "no\nwhere");
        assert_eq!(value["paths"][5]["path"]["base64"], "c3JjL/8=");
        assert_eq!(value["left_behind"][0]["what"], "a socket");
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_the_reason() {
        let options = ScanOptions::default();

        let missing = Listing::of(&["/nowhere".into()], &options).unwrap_err();
        let nothing = listing(&["*"]).unwrap_err();

        assert_eq!(missing.code, ErrorCode::InvalidArgument);
        assert!(missing.message.contains("No such file"), "{}", missing.message);
        assert_eq!(missing.hint.as_deref(), Some("ls -ld /nowhere"));
        assert_eq!(nothing.message, "there is nothing in it; nothing was sent");
        assert!(nothing.hint.unwrap().contains("without --exclude"));
    }
}
