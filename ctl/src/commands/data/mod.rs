mod cancel;
mod dry_run;
mod ending;
mod get;
mod inbox;
mod list;
mod paths;
mod progress;
mod rate;
mod rm;
mod send;
mod spool;
mod standing;

use clap::Subcommand;
use pilot_local_api::transfers::TransferView;

use super::cell;
use crate::Ctl;
use crate::failure::Failure;
use crate::ui::table;
use crate::{shown, size};

/// Characters of a label, or of names, in a row.
const WIDTH: usize = 60;

/// Send files and folders to peers, and look at what is sent and received.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Send(send::Args),
    Inbox(inbox::Args),
    List(list::Args),
    Get(get::Args),
    Cancel(cancel::Args),
    Rm(rm::Args),
}

pub(crate) async fn run(command: Command, ctl: &Ctl) -> Result<(), Failure> {
    match command {
        // Much larger than the others; boxed so that they do not carry it.
        Command::Send(args) => Box::pin(send::run(args, ctl)).await,
        Command::Inbox(args) => inbox::run(args, ctl).await,
        Command::List(args) => list::run(args, ctl).await,
        Command::Get(args) => Box::pin(get::run(args, ctl)).await,
        Command::Cancel(args) => cancel::run(args, ctl).await,
        Command::Rm(args) => rm::run(args, ctl).await,
    }
}

/// The other node by its name, or by its address if it has none.
fn peer(view: &TransferView) -> String {
    shown::line(view.peer_name.as_ref().unwrap_or(&view.peer))
}

/// The other node by everything it is called: `backend (1:0001.0000.0002)`.
fn called(view: &TransferView) -> String {
    match &view.peer_name {
        Some(name) => format!("{} ({})", shown::line(name), shown::line(&view.peer)),
        None => shown::line(&view.peer),
    }
}

/// How much it is: `12 files, 3.4 MB`. Folders and links count where there is no file.
fn amount(view: &TransferView) -> String {
    let counted = match (view.files, view.folders, view.links) {
        (0, 0, links) if links > 0 => count(links, "link"),
        (0, folders, _) if folders > 0 => count(folders, "folder"),
        (files, _, _) => count(files, "file"),
    };
    format!("{counted}, {}", size::bytes(view.bytes))
}

fn count(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// What it is, for a row: what its sender called it, else its names.
fn what(view: &TransferView) -> String {
    if !view.label.is_empty() {
        return shown::short(&view.label, WIDTH);
    }
    let names: Vec<String> = view.names.iter().map(|name| shown::path(name.as_bytes())).collect();
    shown::short(&names.join(", "), WIDTH)
}

/// Transfers as a table, whose rows end with what each is; and before that
/// with the task that it belongs to, if one does.
fn rows(heading: &str, views: &[TransferView], row: impl Fn(&TransferView) -> String) -> String {
    if views.iter().all(|view| view.task.is_none()) {
        let row = |view: &TransferView| format!("{}\t{}", row(view), what(view));
        return table(&format!("{heading}\tWHAT"), views.iter().map(row));
    }
    let row = |view: &TransferView| format!("{}\t{}\t{}", row(view), cell(view.task), what(view));
    table(&format!("{heading}\tTASK\tWHAT"), views.iter().map(row))
}

/// Where it is, and why it did not go on or does not just now: `failed (disk_full)`.
fn state(view: &TransferView) -> String {
    match view.error.as_ref().or(view.trouble.as_ref()) {
        Some(problem) => format!("{} ({})", view.state, shown::line(&problem.code)),
        None => view.state.to_string(),
    }
}

/// One transfer in a line.
fn line(view: &TransferView) -> String {
    format!("{}  {}", view.id, state(view))
}

#[cfg(test)]
mod tests {
    use pilot_local_api::transfers::{PathText, TransferProblem, TransferState};

    use super::*;

    /// A transfer of two files to a node called `backend`.
    pub(super) fn view(state: TransferState) -> TransferView {
        let text = format!(
            r#"{{"id":"01890a5d-ac96-774b-bcce-b302099a8057","direction":"sent","peer":"1:0001.0000.0002","peer_name":"backend","state":"{state}","label":"","files":2,"folders":1,"links":0,"bytes":3400000,"bytes_done":1700000,"names":["src"],"created_at":"2026-02-09T12:00:00.000Z"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_amount_counts_files_and_only_without_them_folders_and_links() {
        let table = [
            ((2, 1, 4), "2 files, 3.4 MB"),
            ((1, 0, 0), "1 file, 3.4 MB"),
            ((0, 3, 1), "3 folders, 3.4 MB"),
            ((0, 0, 1), "1 link, 3.4 MB"),
            ((0, 0, 0), "0 files, 3.4 MB"),
        ];
        for ((files, folders, links), wanted) in table {
            let view = TransferView { files, folders, links, ..view(TransferState::Done) };

            assert_eq!(amount(&view), wanted);
        }
    }

    #[test]
    fn a_state_says_what_keeps_it_and_an_end_why() {
        let problem =
            |code: &str| TransferProblem { code: code.to_owned(), message: String::new() };
        let mut view = view(TransferState::Sending);

        assert_eq!(state(&view), "sending");
        view.trouble = Some(problem("quota_exceeded"));
        assert_eq!(state(&view), "sending (quota_exceeded)");
        let error = Some(problem("disk_full"));
        let failed = TransferView { state: TransferState::Failed, error, ..view };
        assert_eq!(state(&failed), "failed (disk_full)");
    }

    #[test]
    fn tasks_have_a_column_as_soon_as_there_is_one() {
        let task = "01890a5d-ac96-774b-bcce-b302099a8099";
        let mut views = [view(TransferState::Done), view(TransferState::Done)];
        let shown = |views: &[TransferView]| rows("SIZE", views, |_| "x".to_owned());

        assert_eq!(shown(&views), "SIZE  WHAT\nx     src\nx     src");
        views[0].task = task.parse().ok();
        let with = shown(&views);

        let lines: Vec<Vec<&str>> =
            with.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines, [["SIZE", "TASK", "WHAT"], ["x", task, "src"], ["x", "-", "src"]]);
    }

    #[test]
    fn what_a_peer_wrote_cannot_command_the_terminal() {
        let evil = "\u{1b}]0;owned\u{7}\u{202e}x\r\n";
        let problem = TransferProblem { code: evil.to_owned(), message: evil.to_owned() };
        let kept = TransferView { trouble: Some(problem.clone()), ..view(TransferState::Sending) };
        let mut view = TransferView {
            peer: evil.to_owned(),
            peer_name: Some(evil.to_owned()),
            error: Some(problem),
            names: vec![PathText::Text(evil.to_owned())],
            ..view(TransferState::Failed)
        };

        let named = what(&view);
        view.label = evil.to_owned();

        let states = [state(&view), line(&view), state(&kept)];
        for text in [named, what(&view), peer(&view), called(&view)].into_iter().chain(states) {
            assert!(!text.contains(|letter: char| letter.is_control() || letter == '\u{202e}'));
            assert!(text.contains("owned"), "{text:?}");
        }
    }

    #[test]
    fn a_row_shows_the_label_or_else_the_names() {
        let mut view = view(TransferState::Done);
        view.names = ["a b", "\u{e9}"].map(|name| PathText::Text(name.to_owned())).into();

        assert_eq!(what(&view), "a b, \u{e9}");
        view.label = "the build".to_owned();
        assert_eq!(what(&view), "the build");
    }
}
