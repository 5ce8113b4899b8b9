use core::time::Duration;
use std::path::PathBuf;

use pilot_flags::HumanDuration;
use pilot_local_api::proto::PeerRef;
use pilot_local_api::transfers::{Direction, Keep, SendRequest, TransferView};
use pilot_local_api::{ApiError, CallError, ErrorCode};

use super::ending::{WAIT, ended, goes_on, verdict};
use super::progress::{Progress, Wanted};
use super::{amount, paths, peer};
use crate::Ctl;
use crate::failure::Failure;
use crate::waiting::until_signal;

/// Send files and folders to a peer: `pilotctl data send backend ./src/auth/`.
///
/// They are read from where they lie while they are sent, so leave them as they
/// are until then. A peer that is away gets them when it is back; after a crash
/// of either side the transfer goes on where it was. The id goes to stderr, and
/// once the peer has everything on its disk, what was sent to stdout. Ctrl-C
/// stops waiting, not the transfer.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Who is to get it.
    peer: PeerRef,
    /// What to send: files, folders with all that is in them, symbolic links as links.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What the peer reads beside the names; at most 255 bytes.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    label: Option<String>,
    /// Leave out what matches this pattern, such as '*.o'. Repeatable.
    #[arg(long, value_name = "GLOB", allow_hyphen_values = true)]
    exclude: Vec<String>,
    /// Leave out what the .gitignore files in the folders name.
    #[arg(long)]
    gitignore: bool,
    /// Print the id once the transfer is safe on disk, and do not wait for its end.
    #[arg(long)]
    no_wait: bool,
    /// How long to wait; the transfer goes on beyond it (exit code 24).
    #[arg(long, value_name = "DURATION", default_value = WAIT, conflicts_with = "no_wait")]
    timeout: HumanDuration,
    /// It expires if it is not done within this time, such as 12h or 7d.
    #[arg(long, value_name = "DURATION")]
    expires: Option<HumanDuration>,
    /// How its progress is shown on stderr.
    #[arg(long, value_enum, default_value = "auto", conflicts_with = "no_wait")]
    progress: Wanted,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let Args { no_wait, timeout, progress, .. } = args;
    let request = request(args)?;
    // Not sent again by itself: a transfer whose answer was lost may be under way.
    let send = async { ctl.client.send(&request).await.map_err(|error| unsure(error).into()) };
    let view = until_signal(send, unknown).await?;
    if no_wait {
        return ctl.ui.answer(&view, |view| view.id.to_string());
    }
    let id = view.id;
    ctl.ui.say(&if ctl.ui.json() {
        format!("{{\"id\":\"{id}\"}}")
    } else {
        format!("transfer {id}: {} to {}", amount(&view), peer(&view))
    });
    until_signal(wait(ctl, view, timeout.0, progress), || goes_on(id, Direction::Sent)).await
}

async fn wait(
    ctl: &Ctl,
    view: TransferView,
    limit: Duration,
    progress: Wanted,
) -> Result<(), Failure> {
    let mut progress = Progress::new(progress, &ctl.ui);
    let view = ended(ctl, view, limit, &mut progress).await?;
    progress.clear();
    verdict(&view)?;
    ctl.ui.answer(&view, text)
}

fn request(args: Args) -> Result<SendRequest, Failure> {
    let here = std::env::current_dir().map_err(|error| {
        Failure::usage(format!("the current folder cannot be named: {error}; nothing was sent"))
    })?;
    Ok(SendRequest {
        id: None,
        to: args.peer.to_string(),
        paths: paths::absolute(&here, &args.paths)?,
        label: args.label,
        task: None,
        exclude: args.exclude,
        gitignore: args.gitignore,
        expires_ms: args.expires.map(HumanDuration::as_millis),
        limit: None,
        keep: Keep::default(),
    })
}

fn text(view: &TransferView) -> String {
    format!("sent {} to {}", amount(view), peer(view))
}

/// A connection that was lost between request and answer.
fn unsure(error: CallError) -> ApiError {
    let CallError::Lost(error) = error else { return error.into() };
    ApiError {
        message: format!("{}; whether the transfer was taken is not known", error.message),
        ..error
    }
    .with_hint("pilotctl data list --sent")
}

/// A signal came before the daemon's answer.
fn unknown() -> ApiError {
    let message = "stopped before the daemon answered; whether the transfer was taken is not known";
    ApiError::new(ErrorCode::StillRunning, message).with_hint("pilotctl data list --sent")
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
        Words::try_parse_from([&["send"], words].concat()).map(|words| words.args)
    }

    #[test]
    fn a_peer_and_paths_are_all_that_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();

        let args = parsed(&["backend", path]).unwrap();

        assert_eq!((args.timeout.0, args.no_wait), (Duration::from_secs(600), false));
        assert_eq!(args.progress, Wanted::Auto);
        let request = request(args).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), {
            format!(r#"{{"to":"backend","paths":["{path}"],"gitignore":false}}"#)
        });
        assert!(parsed(&["backend"]).is_err());
        assert!(parsed(&["not a peer", path]).is_err());
        assert!(parsed(&["backend", ""]).is_err());
    }

    #[test]
    fn every_flag_comes_through() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let flags = [
            "1:0001.0000.0002",
            path,
            path,
            "--label=-v2",
            "--exclude=*.o",
            "--exclude=!a",
            "--gitignore",
            "--expires=7d",
            "--progress=json",
            "--timeout=5m",
        ];

        let args = parsed(&flags).unwrap();

        assert_eq!((args.progress, args.timeout.0.as_secs()), (Wanted::Json, 300));
        let request = request(args).unwrap();
        assert_eq!((request.to.as_str(), request.paths.len()), ("1:0001.0000.0002", 2));
        assert_eq!(request.label.as_deref(), Some("-v2"));
        assert_eq!(request.exclude, ["*.o", "!a"]);
        assert!(request.gitignore);
        assert_eq!(request.expires_ms, Some(7 * 24 * 60 * 60 * 1000));
    }

    #[test]
    fn what_needs_a_wait_is_refused_without_one() {
        assert!(parsed(&["backend", "/", "--no-wait"]).unwrap().no_wait);
        assert!(parsed(&["backend", "/", "--no-wait", "--timeout=5m"]).is_err());
        assert!(parsed(&["backend", "/", "--no-wait", "--progress=json"]).is_err());
        assert!(parsed(&["backend", "/", "--progress=loud"]).is_err());
    }

    #[test]
    fn stdin_is_a_path_that_is_refused() {
        let args = parsed(&["backend", "-"]).unwrap();

        let Err(Failure::Error(error)) = request(args) else { panic!("it was taken") };

        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.contains("save it to a file"), "{}", error.message);
    }

    #[test]
    fn the_last_line_says_what_went_to_whom() {
        let mut view = view(TransferState::Done);

        assert_eq!(text(&view), "sent 2 files, 3.4 MB to backend");
        view.peer_name = None;
        assert_eq!(text(&view), "sent 2 files, 3.4 MB to 1:0001.0000.0002");
    }

    #[test]
    fn only_an_answer_that_was_lost_is_uncertain() {
        let away = || ApiError::new(ErrorCode::DaemonNotRunning, "gone");

        let lost = unsure(CallError::Lost(away()));
        let unsent = unsure(CallError::Unsent(away()));

        assert!(lost.message.contains("not known"), "{}", lost.message);
        assert_eq!(lost.hint.as_deref(), Some("pilotctl data list --sent"));
        assert_eq!(unsent, away());
    }
}
