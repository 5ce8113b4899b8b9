use std::path::{Path, PathBuf};

use clap::ValueEnum;
use pilot_flags::HumanDuration;
use pilot_local_api::proto::TransferId;
use pilot_local_api::transfers::{Direction, PathText, TransferView};
use pilot_local_api::{ApiError, ErrorCode};

use super::ending::{WAIT, ended, goes_on, verdict};
use super::progress::{Progress, Wanted};
use crate::Ctl;
use crate::failure::Failure;
use crate::files;
use crate::shown;
use crate::waiting::until_signal;

/// Copy what was received out of the inbox: `pilotctl data get ID --out ./in`.
///
/// Modes, times and links are kept, and the inbox keeps it, too, until
/// `pilotctl data rm ID`. Prints each path that was made at the top of DIR.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TransferId,
    /// Where to copy it.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// What to do where something of the same name is there already.
    #[arg(long, value_enum, default_value = "fail")]
    conflict: OnConflict,
    /// Wait until everything has arrived.
    #[arg(long)]
    wait: bool,
    /// How long to wait; the transfer goes on beyond it (exit code 24).
    #[arg(long, value_name = "DURATION", default_value = WAIT, requires = "wait")]
    timeout: HumanDuration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnConflict {
    /// Copy nothing.
    Fail,
    /// Leave what is there, and copy the others.
    Skip,
    /// Put the received one in its place.
    Overwrite,
    /// Give the received one another name.
    Rename,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let Args { id, out, conflict, wait, timeout } = args;
    let mut view = ctl.client.transfer(id).await?;
    if view.direction == Direction::Sent {
        let message = format!("transfer {id} was sent from here, and not received");
        return Err(ApiError::new(ErrorCode::Conflict, message).with_hint(INBOX).into());
    }
    if wait && !view.state.is_terminal() {
        let mut progress = Progress::new(Wanted::Auto, &ctl.ui);
        let waited = ended(ctl, view, timeout.0, &mut progress);
        let waited = until_signal(waited, || goes_on(id, Direction::Received)).await;
        progress.clear();
        view = waited?;
    }
    let task = view.task;
    let folder = arrived(view)?;
    let told = format!("stopped while copying; what was copied is in {}", out.display());
    // On a thread of its own, so that a signal is heard meanwhile.
    let copying = tokio::task::spawn_blocking(move || copy(&folder, &out, conflict));
    let copied = async {
        let copied = copying.await.map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("the copying broke off: {error}"))
        })?;
        copied.map_err(Failure::from)
    };
    let stopped = || {
        ApiError::new(ErrorCode::StillRunning, told).with_hint(format!("pilotctl data get {id}"))
    };
    let paths: Vec<PathText> =
        until_signal(copied, stopped).await?.into_iter().map(PathText::from).collect();
    if let (Some(task), false) = (task, ctl.ui.json()) {
        ctl.ui.say(&format!("belongs to task {task}"));
    }
    ctl.ui.answer(&paths, |paths| {
        paths.iter().map(|path| shown::path(path.as_bytes()) + "\n").collect()
    })
}

/// Where received transfers are listed.
const INBOX: &str = "pilotctl data inbox";

/// The folder of a transfer that has arrived; else the error of its state.
fn arrived(view: TransferView) -> Result<PathBuf, ApiError> {
    let id = view.id;
    verdict(&view).map_err(|error| {
        if view.state.is_terminal() {
            return error;
        }
        error.with_hint(format!("pilotctl data get {id} --wait"))
    })?;
    view.folder.map(PathBuf::from).ok_or_else(|| {
        let message = format!("transfer {id} is no longer in the inbox");
        ApiError::new(ErrorCode::NotFound, message).with_hint(INBOX)
    })
}

/// Copies the content of a folder of the inbox; the paths at the top of `out`.
fn copy(folder: &Path, out: &Path, conflict: OnConflict) -> Result<Vec<PathBuf>, ApiError> {
    let conflict = match conflict {
        OnConflict::Fail => pilot_tree::Conflict::Fail,
        OnConflict::Skip => pilot_tree::Conflict::Skip,
        OnConflict::Overwrite => pilot_tree::Conflict::Overwrite,
        OnConflict::Rename => pilot_tree::Conflict::Rename,
    };
    let copied = pilot_tree::copy_out(folder, out, conflict);
    let copied = copied.map_err(|error| files::not_copied(&error))?;
    let paths = copied.into_iter().map(|copied| copied.path);
    // What stands deeper was copied with the folder it is in.
    let top = std::path::absolute(out).unwrap_or_else(|_| out.to_owned());
    Ok(paths.filter(|path| path.parent() == Some(&top)).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use pilot_local_api::transfers::TransferState;

    use super::super::tests::view;
    use super::*;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(words: &[&str]) -> Result<Args, clap::Error> {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        Words::try_parse_from([&["get", id], words].concat()).map(|words| words.args)
    }

    #[test]
    fn without_flags_it_goes_here_and_over_nothing() {
        let args = parsed(&[]).unwrap();

        assert_eq!((args.out, args.conflict, args.wait), (".".into(), OnConflict::Fail, false));
        let args = parsed(&["--out=/x", "--conflict=rename", "--wait", "--timeout=5"]).unwrap();
        assert_eq!((args.out, args.conflict), ("/x".into(), OnConflict::Rename));
        assert_eq!((args.wait, args.timeout.0.as_secs()), (true, 5));
        for wrong in [&["--conflict=ask"][..], &["--timeout=5"]] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
        assert!(Words::try_parse_from(["get", "01890a5d"]).is_err());
    }

    #[test]
    fn only_what_has_arrived_is_copied() {
        let of = |state, folder: Option<&str>| {
            let folder = folder.map(|folder| PathText::Text(folder.to_owned()));
            let direction = Direction::Received;
            arrived(TransferView { direction, folder, ..view(state) })
        };

        assert_eq!(of(TransferState::Done, Some("/inbox/x")), Ok("/inbox/x".into()));
        assert_eq!(of(TransferState::Done, None).unwrap_err().code, ErrorCode::NotFound);
        let early = of(TransferState::Receiving, None).unwrap_err();
        assert_eq!(early.code, ErrorCode::StillRunning);
        assert!(early.hint.unwrap().ends_with("--wait"));
        let failed = of(TransferState::Failed, None).unwrap_err();
        assert_eq!(failed.code, ErrorCode::TransferFailed);
    }
}
