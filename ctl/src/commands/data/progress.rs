//! How far a transfer is, on stderr: a bar for people, lines for programs.

use core::fmt::Write;
use std::io::IsTerminal as _;

use clap::ValueEnum;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use pilot_local_api::transfers::{TransferProblem, TransferState, TransferView};

use super::peer;
use crate::ui::Ui;
use crate::{shown, size};

/// The line while bytes move, of one file and of several.
const MOVING: &str = "{msg}  {wide_bar:.green}  {percent:>3} %  {moved}  {rate}/s  {left}";
const MANY: &str = "{msg}  {wide_bar:.green}  {percent:>3} %  {moved}  {prefix}  {rate}/s  {left}";

/// The line while nothing moves, as the peer is not reached or cannot go on.
const WAITING: &str = "{msg}";

/// The line while stdin is read.
const READING: &str = "reading stdin  {moved}  {rate}/s";

/// Characters of a peer's name in the line, and of what keeps a transfer.
const NAME: usize = 24;
const TROUBLE: usize = 120;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Wanted {
    /// A bar if stderr is a terminal, else only what keeps it from going on.
    Auto,
    /// The transfer as JSON, one line for each change.
    Json,
    /// Nothing.
    None,
}

/// Shows one transfer; what it drew is cleared once it is dropped.
pub(super) enum Progress {
    Nothing,
    Lines(Ui),
    /// What keeps the transfer, a line for each change; and what was said last.
    Troubles(Ui, Option<TransferProblem>),
    /// None until there is something to show.
    Bar(Option<Drawn>),
}

/// The line of one state and what keeps it. Another one has a line of its own,
/// as the rate of this one says nothing of it.
pub(super) struct Drawn {
    state: TransferState,
    trouble: Option<TransferProblem>,
    bar: ProgressBar,
}

/// Shows how much of stdin was read; what it drew is cleared once it is dropped.
pub(super) struct Reading(ProgressBar);

impl Progress {
    /// As it was wanted; with `--json` stderr is for programs and has no bar.
    pub(super) fn new(wanted: Wanted, ui: &Ui) -> Self {
        match wanted {
            Wanted::Json => Self::Lines(ui.clone()),
            Wanted::Auto if is_drawn(ui) => Self::Bar(None),
            Wanted::Auto if !ui.json() => Self::Troubles(ui.clone(), None),
            Wanted::Auto | Wanted::None => Self::Nothing,
        }
    }

    /// The transfer has come so far.
    pub(super) fn show(&mut self, view: &TransferView) {
        match self {
            Self::Nothing => {}
            Self::Lines(ui) => {
                ui.say(&shown::json(&serde_json::to_string(view).unwrap_or_default()));
            }
            Self::Troubles(ui, said) => {
                if *said != view.trouble && !view.state.is_terminal() {
                    said.clone_from(&view.trouble);
                    ui.say(&change(view));
                }
            }
            Self::Bar(drawn) if view.state.is_terminal() => *drawn = None,
            Self::Bar(drawn) => {
                if drawn.as_ref().is_none_or(|drawn| !drawn.is_of(view)) {
                    // Cleared before the next one is drawn in its place.
                    drop(drawn.take());
                }
                drawn.get_or_insert_with(|| begin(view, ProgressDrawTarget::stderr())).draw(view);
            }
        }
    }

    /// Time has passed without a change: the rate falls.
    pub(super) fn tick(&self) {
        if let Self::Bar(Some(drawn)) = self {
            drawn.bar.tick();
        }
    }

    /// Clears the line for something else; the next change draws it anew.
    pub(super) fn clear(&mut self) {
        if let Self::Bar(drawn) = self {
            *drawn = None;
        }
    }
}

impl Reading {
    /// With progress as it was wanted; for people only.
    pub(super) fn new(wanted: Wanted, ui: &Ui) -> Self {
        let on = match wanted {
            Wanted::Auto if is_drawn(ui) => ProgressDrawTarget::stderr(),
            Wanted::Auto | Wanted::Json | Wanted::None => ProgressDrawTarget::hidden(),
        };
        Self(ProgressBar::with_draw_target(None, on).with_style(styled(READING)))
    }

    /// To be told from another thread how much it is.
    pub(super) fn bar(&self) -> ProgressBar {
        self.0.clone()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Whether stderr shows a line that changes.
fn is_drawn(ui: &Ui) -> bool {
    std::io::stderr().is_terminal() && !ui.json()
}

impl Drawn {
    fn is_of(&self, view: &TransferView) -> bool {
        self.state == view.state && self.trouble == view.trouble
    }

    fn draw(&self, view: &TransferView) {
        self.bar.set_length(view.bytes);
        self.bar.set_prefix(files(view));
        self.bar.set_position(view.bytes_done);
    }
}

fn begin(view: &TransferView, on: ProgressDrawTarget) -> Drawn {
    let bar = ProgressBar::with_draw_target(Some(view.bytes), on)
        .with_style(styled(template(view)))
        .with_message(message(view))
        .with_prefix(files(view))
        .with_position(view.bytes_done);
    // What was there before says nothing of the rate.
    bar.reset_eta();
    Drawn { state: view.state, trouble: view.trouble.clone(), bar }
}

/// Files that are through, of all: `123/4,567 files`.
fn files(view: &TransferView) -> String {
    format!("{}/{} files", HumanCount(view.files_done), HumanCount(view.files))
}

/// What keeps it, or that nothing does any more, in a line.
fn change(view: &TransferView) -> String {
    match trouble(view) {
        Some(trouble) => format!("waiting: {trouble}"),
        None => format!("goes on: {}", view.state),
    }
}

fn trouble(view: &TransferView) -> Option<String> {
    view.trouble.as_ref().map(|problem| shown::short(&problem.message, TROUBLE))
}

fn message(view: &TransferView) -> String {
    let name = shown::short(&peer(view), NAME);
    if let Some(trouble) = trouble(view) {
        return format!("waiting: {trouble}; Ctrl-C stops waiting, not the transfer");
    }
    match view.state {
        TransferState::Waiting => {
            format!("waiting for {name} to be there; Ctrl-C stops waiting, not the transfer")
        }
        TransferState::Receiving => format!("receiving from {name}"),
        TransferState::Sending
        | TransferState::Done
        | TransferState::Failed
        | TransferState::Cancelled
        | TransferState::Expired => format!("sending to {name}"),
    }
}

const fn template(view: &TransferView) -> &'static str {
    match (view.state, &view.trouble) {
        (TransferState::Waiting, _) | (_, Some(_)) => WAITING,
        (_, None) if view.files > 1 => MANY,
        (_, None) => MOVING,
    }
}

fn styled(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    style
        .progress_chars("=> ")
        .with_key("moved", |state: &ProgressState, out: &mut dyn Write| {
            let moved = size::bytes(state.pos());
            match state.len() {
                Some(total) => put(out, &format!("{moved} of {}", size::bytes(total))),
                None => put(out, &moved),
            }
        })
        .with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
            put(out, &size::bytes(whole(state.per_sec())));
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn Write| {
            let missing = state.len().unwrap_or_default().saturating_sub(state.pos());
            put(out, &left(missing, whole(state.per_sec())));
        })
}

fn put(out: &mut dyn Write, text: &str) {
    // Nobody is there to be told that a terminal is not written to.
    let _: core::fmt::Result = out.write_str(text);
}

/// A rate in whole bytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates, and gives 0 for what is no number"
)]
const fn whole(rate: f64) -> u64 {
    rate as u64
}

/// How long `missing` bytes take at this rate: `12s left`, `3m 05s left`, `2h 10m left`.
fn left(missing: u64, rate: u64) -> String {
    if rate == 0 {
        return "stalled".to_owned();
    }
    let seconds = missing.div_ceil(rate);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s left"),
        (0, _) => format!("{minutes}m {:02}s left", seconds % 60),
        (_, _) => format!("{hours}h {minutes:02}m left"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::view;
    use super::*;

    #[test]
    fn time_left_follows_from_the_rate() {
        let table = [
            (0, 5, "0s left"),
            (1, 5, "1s left"),
            (59, 1, "59s left"),
            (185, 1, "3m 05s left"),
            (7_800, 1, "2h 10m left"),
            (7, 0, "stalled"),
        ];
        for (missing, rate, shown) in table {
            assert_eq!(left(missing, rate), shown);
        }
        assert_eq!((whole(1.9), whole(f64::NAN), whole(f64::INFINITY)), (1, 0, u64::MAX));
    }

    #[test]
    fn every_line_can_be_drawn() {
        for template in [WAITING, MOVING, MANY, READING] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
        let mut view = view(TransferState::Sending);
        let drawn = begin(&view, ProgressDrawTarget::hidden());
        let bar = &drawn.bar;
        assert!(drawn.is_of(&view));
        assert_eq!((bar.length(), bar.position()), (Some(3_400_000), 1_700_000));
        assert_eq!(bar.message(), "sending to backend");

        assert_eq!(bar.prefix(), "0/2 files");

        (view.bytes_done, view.files_done) = (3_400_000, 2);
        drawn.draw(&view);

        assert_eq!((bar.position(), bar.prefix().as_str()), (3_400_000, "2/2 files"));
        view.state = TransferState::Receiving;
        assert!(!drawn.is_of(&view));
    }

    #[test]
    fn many_files_are_counted_and_a_single_one_is_not() {
        let of = |files, state| template(&TransferView { files, ..view(state) });

        assert_eq!(of(1, TransferState::Sending), MOVING);
        assert_eq!(of(2, TransferState::Receiving), MANY);
        assert_eq!(of(2, TransferState::Waiting), WAITING);
        let view = TransferView { files: 4567, files_done: 123, ..view(TransferState::Sending) };
        assert_eq!(files(&view), "123/4,567 files");
    }

    #[test]
    fn what_keeps_a_transfer_takes_the_line_until_it_is_over() {
        let message = "the receiver's\u{1b}[2J disk is full".to_owned();
        let problem = TransferProblem { code: "disk_full".to_owned(), message };
        let mut view = TransferView { trouble: Some(problem), ..view(TransferState::Sending) };

        let drawn = begin(&view, ProgressDrawTarget::hidden());

        let wanted = "waiting: the receiver's\\u{1b}[2J disk is full";
        assert!(drawn.bar.message().starts_with(wanted), "{}", drawn.bar.message());
        assert_eq!((change(&view).as_str(), template(&view)), (wanted, WAITING));
        view.trouble = None;
        assert!(!drawn.is_of(&view));
        assert_eq!(change(&view), "goes on: sending");
    }

    #[test]
    fn programs_get_no_bar() {
        assert!(matches!(Progress::new(Wanted::Auto, &Ui::new(true)), Progress::Nothing));
        assert!(matches!(Progress::new(Wanted::None, &Ui::new(false)), Progress::Nothing));
        assert!(matches!(Progress::new(Wanted::Json, &Ui::new(false)), Progress::Lines(_)));
    }
}
