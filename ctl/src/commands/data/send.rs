use core::cell::Cell;
use core::time::Duration;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use pilot_flags::HumanDuration;
use pilot_local_api::proto::{Component, PeerRef, TaskId, TransferId};
use pilot_local_api::transfers::{Direction, Keep, PathText, SendRequest, TransferView};
use pilot_local_api::{ApiError, CallError, ErrorCode};
use pilot_tree::ScanOptions;

use super::ending::{WAIT, ended, goes_on, verdict};
use super::progress::{Progress, Wanted};
use super::rate::Rate;
use super::spool::{self, Spooled};
use super::standing::takes_data;
use super::{amount, dry_run, paths, peer};
use crate::Ctl;
use crate::failure::Failure;
use crate::random::fresh_id;
use crate::waiting::{AtFirst, patiently, until_signal};

/// Send files and folders to a peer: `pilotctl data send backend ./src/auth/`.
///
/// They are read from where they lie while they are sent, so leave them as they
/// are until then, or use --copy. A peer that is away gets them when it is
/// back; after a crash of either side the transfer goes on where it was. The id
/// goes to stderr, and once the peer has everything on its disk, what was sent
/// to stdout. Ctrl-C stops waiting, not the transfer.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Who is to get it.
    peer: PeerRef,
    /// What to send: files, folders with all that is in them, symbolic links as
    /// links; or `-` alone, for stdin.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What the peer reads beside the names; at most 255 bytes.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    label: Option<String>,
    /// The task that it belongs to, which both sides see.
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,
    /// Leave out what matches this pattern, such as '*.o'. Repeatable.
    #[arg(long, value_name = "GLOB", allow_hyphen_values = true)]
    exclude: Vec<String>,
    /// Leave out what the .gitignore files in the folders name.
    #[arg(long)]
    gitignore: bool,
    /// What stdin is called at the peer [default: stdin].
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    #[arg(value_parser = OsStringValueParser::new()
        .try_map(|name| Component::new(name.as_bytes())))]
    name: Option<Component>,
    /// Bytes a second that it takes of the line at most, such as 500k, 10M or 2Mi.
    #[arg(long, value_name = "RATE")]
    limit: Option<Rate>,
    /// Copy everything into the node's home first: what lies here may change or
    /// go away at once.
    #[arg(long)]
    copy: bool,
    /// List what would be sent and send nothing.
    #[arg(long, conflicts_with_all = ["no_wait", "timeout", "progress"])]
    dry_run: bool,
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
    let (paths, spooled) = match What::of(&args)? {
        What::Paths(paths) if args.dry_run => {
            let options = ScanOptions { exclude: args.exclude, gitignore: args.gitignore };
            return dry_run::run(ctl, &args.peer, paths, options).await;
        }
        What::Paths(paths) => (paths, None),
        What::Stdin(name) => {
            let spooled = until_signal(stdin(ctl, &args.peer, name, progress), unread).await?;
            (vec![spooled.to_send()], Some(spooled))
        }
    };
    let id = fresh_id(TransferId::new)?;
    let keep = match (&spooled, args.copy) {
        (Some(_), _) => Keep::Take,
        (None, true) => Keep::Copy,
        (None, false) => Keep::InPlace,
    };
    let request = SendRequest { keep, paths, ..request(args, id) };
    let send = send(ctl, &request, id, spooled.as_ref());
    let view = until_signal(send, || unknown(id)).await?;
    // The daemon has it.
    drop(spooled);
    if no_wait {
        return ctl.ui.answer(&view, |view| view.id.to_string());
    }
    ctl.ui.say(&if ctl.ui.json() {
        format!("{{\"id\":\"{id}\"}}")
    } else {
        format!("transfer {id}: {} to {}", amount(&view), peer(&view))
    });
    until_signal(wait(ctl, view, timeout.0, progress), || goes_on(id, Direction::Sent)).await
}

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
enum What {
    /// What lies at these absolute paths.
    Paths(Vec<PathText>),
    /// What stdin has, under this name.
    Stdin(Component),
}

impl What {
    fn of(args: &Args) -> Result<Self, Failure> {
        let is_stdin = |path: &PathBuf| path.as_os_str() == "-";
        let refused = |why: &str| {
            let message = format!("{why}; nothing was sent");
            let error = ApiError::new(ErrorCode::InvalidArgument, message);
            Err(error.with_hint("pilotctl data send --help").into())
        };
        if !args.paths.iter().any(is_stdin) {
            if args.name.is_some() {
                return refused("--name is for stdin, which is sent with - in place of the paths");
            }
            return Ok(Self::Paths(paths::absolute(&here()?, &args.paths)?));
        }
        if args.paths.len() > 1 {
            return refused("stdin (-) is sent alone; a file called - is sent as ./-");
        }
        if args.gitignore || !args.exclude.is_empty() {
            return refused("--exclude and --gitignore are for folders, and stdin (-) is one file");
        }
        if args.dry_run {
            return refused("what stdin has is known only once it is read: no --dry-run with -");
        }
        let name = args.name.clone().map_or_else(|| Component::new(b"stdin"), Ok);
        Ok(Self::Stdin(name.map_err(|error| Failure::usage(error.to_string()))?))
    }
}

fn here() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| {
        Failure::usage(format!("the current folder cannot be named: {error}; nothing was sent"))
    })
}

/// Reads stdin, unless it is known already that the peer does not take it.
async fn stdin(
    ctl: &Ctl,
    peer: &PeerRef,
    name: Component,
    progress: Wanted,
) -> Result<Spooled, Failure> {
    takes_data(ctl, peer).await?;
    spool::read(ctl, name, progress).await
}
/// Asks the daemon, again if it is stopped meanwhile: with an id of its own it
/// is the same transfer however often.
async fn send(
    ctl: &Ctl,
    request: &SendRequest,
    id: TransferId,
    spooled: Option<&Spooled>,
) -> Result<TransferView, Failure> {
    let was_lost = Cell::new(false);
    let call = || async {
        spooled.map_or(Ok(()), Spooled::offer)?;
        let answer = ctl.client.send(request).await;
        was_lost.set(was_lost.get() || matches!(answer, Err(CallError::Lost(_))));
        answer
    };
    let answer = patiently(ctl, AtFirst::Fail, call).await;
    answer.map_err(|error| unsure(error, id, was_lost.get()).into())
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

/// Without what is to be sent.
fn request(args: Args, id: TransferId) -> SendRequest {
    SendRequest {
        id: Some(id),
        to: args.peer.to_string(),
        paths: Vec::new(),
        label: args.label,
        task: args.task,
        exclude: args.exclude,
        gitignore: args.gitignore,
        expires_ms: args.expires.map(HumanDuration::as_millis),
        limit: args.limit.map(|Rate(rate)| rate),
        keep: Keep::default(),
    }
}

fn text(view: &TransferView) -> String {
    format!("sent {} to {}", amount(view), peer(view))
}

/// The daemon went away, and may have taken the transfer before it did.
fn unsure(error: CallError, id: TransferId, was_lost: bool) -> ApiError {
    let error = match error {
        CallError::Unsent(error) | CallError::Lost(error) if was_lost => error,
        CallError::Unsent(error) | CallError::Lost(error) | CallError::Refused(error) => {
            return error;
        }
    };
    let message = format!(
        "{}; whether transfer {id} was taken is not known: look before you send it again",
        error.message
    );
    ApiError { message, ..error }.with_hint(SENT).with_detail("transfer", id.to_string())
}

/// A signal came before the daemon's answer.
fn unknown(id: TransferId) -> ApiError {
    let message = format!(
        "stopped before the daemon answered; whether transfer {id} was taken is not known: look \
         before you send it again"
    );
    ApiError::new(ErrorCode::StillRunning, message)
        .with_hint(SENT)
        .with_detail("transfer", id.to_string())
}

/// A signal came before stdin had ended.
fn unread() -> ApiError {
    ApiError::new(ErrorCode::TransferCancelled, "stopped while reading stdin; nothing was sent")
}

/// Where transfers that were sent are seen.
const SENT: &str = "pilotctl data list --sent";

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
        let What::Paths(paths) = What::of(&args).unwrap() else { panic!("it is no stdin") };
        assert_eq!(paths, [PathText::Text(path.to_owned())]);
        assert_eq!(serde_json::to_string(&request(args, id())).unwrap(), {
            let id = id();
            format!(
                r#"{{"id":"{id}","to":"backend","paths":[],"gitignore":false,"keep":"in_place"}}"#
            )
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
            "--task=01890a5d-ac96-774b-bcce-b302099a8099",
            "--limit=10M",
            "--copy",
        ];

        let args = parsed(&flags).unwrap();

        assert_eq!((args.progress, args.timeout.0.as_secs()), (Wanted::Json, 300));
        assert!(args.copy);
        assert!(matches!(What::of(&args), Ok(What::Paths(paths)) if paths.len() == 2));
        let request = request(args, id());
        assert_eq!((request.to.as_str(), request.limit), ("1:0001.0000.0002", Some(10_000_000)));
        let task = "01890a5d-ac96-774b-bcce-b302099a8099";
        assert_eq!(request.task.map(|task| task.to_string()).as_deref(), Some(task));
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
        assert!(parsed(&["backend", "/", "--dry-run"]).unwrap().dry_run);
        assert!(parsed(&["backend", "/", "--dry-run", "--no-wait"]).is_err());
        assert!(parsed(&["backend", "/", "--dry-run", "--progress=none"]).is_err());
        assert!(parsed(&["backend", "/", "--limit=999"]).is_err());
    }

    #[test]
    fn stdin_is_sent_alone_under_a_name() {
        let of = |words: &[&str]| What::of(&parsed(words).unwrap());
        let stdin = |name: &[u8]| What::Stdin(Component::new(name).unwrap());

        assert_eq!(of(&["backend", "-"]).unwrap(), stdin(b"stdin"));
        assert_eq!(of(&["backend", "-", "--name=-a b", "--copy"]).unwrap(), stdin(b"-a b"));
        let refused: [&[&str]; 6] = [
            &["-", "/"],
            &["-", "-"],
            &["-", "--exclude=*.o"],
            &["-", "--gitignore"],
            &["-", "--dry-run"],
            &["/", "--name=x"],
        ];
        for words in refused {
            let Err(Failure::Error(error)) = of(&[&["backend"], words].concat()) else {
                panic!("{words:?} was taken")
            };
            assert_eq!(error.code, ErrorCode::InvalidArgument);
            assert!(error.message.ends_with("nothing was sent"), "{}", error.message);
        }
        for name in ["", ".", "a/b"] {
            assert!(parsed(&["backend", "-", &format!("--name={name}")]).is_err(), "{name:?}");
        }
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
        let away = || ApiError::new(ErrorCode::DaemonNotRunning, "gone").with_hint("pilot-daemon");

        let lost = unsure(CallError::Lost(away()), id(), true);
        let gone_since = unsure(CallError::Unsent(away()), id(), true);
        let unsent = unsure(CallError::Unsent(away()), id(), false);
        let refused = unsure(CallError::Refused(away()), id(), true);

        for uncertain in [lost, gone_since, unknown(id())] {
            let id = id().to_string();
            assert!(uncertain.message.contains(&format!("{id} was taken is not known")));
            assert_eq!(uncertain.hint.as_deref(), Some("pilotctl data list --sent"));
            assert_eq!(uncertain.details["transfer"], id);
        }
        assert_eq!((unsent, refused), (away(), away()));
    }

    fn id() -> TransferId {
        view(TransferState::Done).id
    }
}
