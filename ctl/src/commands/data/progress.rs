//! How far a transfer is, on stderr: a bar for people, lines for programs.

use core::fmt::Write;
use std::io::IsTerminal as _;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use pilot_local_api::transfers::{TransferState, TransferView};

use super::peer;
use crate::ui::Ui;
use crate::{shown, size};

/// The line while bytes move.
const MOVING: &str = "{msg}  {bar:20.green}  {percent:>3} %  {moved}  {rate}/s  {left}";

/// The line while the peer is not reached.
const WAITING: &str = "{msg}";

/// Characters of a peer's name in the line.
const NAME: usize = 24;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Wanted {
    /// A bar if stderr is a terminal, else nothing.
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
    /// None until there is something to show.
    Bar(Option<Drawn>),
}

/// The line of one state. Another state has a line of its own, as the rate of
/// this one says nothing of it.
pub(super) struct Drawn {
    state: TransferState,
    bar: ProgressBar,
}

impl Progress {
    /// As it was wanted; with `--json` stderr is for programs and has no bar.
    pub(super) fn new(wanted: Wanted, ui: &Ui) -> Self {
        match wanted {
            Wanted::Json => Self::Lines(ui.clone()),
            Wanted::Auto if std::io::stderr().is_terminal() && !ui.json() => Self::Bar(None),
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
            Self::Bar(drawn) if view.state.is_terminal() => *drawn = None,
            Self::Bar(drawn) => {
                if drawn.as_ref().is_none_or(|drawn| drawn.state != view.state) {
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

impl Drawn {
    fn draw(&self, view: &TransferView) {
        self.bar.set_length(view.bytes);
        self.bar.set_position(view.bytes_done);
    }
}

fn begin(view: &TransferView, on: ProgressDrawTarget) -> Drawn {
    let bar = ProgressBar::with_draw_target(Some(view.bytes), on)
        .with_style(style(view.state))
        .with_message(message(view))
        .with_position(view.bytes_done);
    // What was there before says nothing of the rate.
    bar.reset_eta();
    Drawn { state: view.state, bar }
}

fn message(view: &TransferView) -> String {
    let name = shown::short(&peer(view), NAME);
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

fn style(state: TransferState) -> ProgressStyle {
    let template = if state == TransferState::Waiting { WAITING } else { MOVING };
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    style
        .progress_chars("=> ")
        .with_key("moved", |state: &ProgressState, out: &mut dyn Write| {
            let total = size::bytes(state.len().unwrap_or_default());
            put(out, &format!("{} of {total}", size::bytes(state.pos())));
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
    fn both_lines_can_be_drawn() {
        for template in [WAITING, MOVING] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
        let mut view = view(TransferState::Sending);
        let drawn = begin(&view, ProgressDrawTarget::hidden());
        let Drawn { state: TransferState::Sending, bar } = &drawn else { panic!("another state") };
        assert_eq!((bar.length(), bar.position()), (Some(3_400_000), 1_700_000));
        assert_eq!(bar.message(), "sending to backend");

        view.bytes_done = 3_400_000;
        drawn.draw(&view);

        assert_eq!(bar.position(), 3_400_000);
    }

    #[test]
    fn programs_get_no_bar() {
        assert!(matches!(Progress::new(Wanted::Auto, &Ui::new(true)), Progress::Nothing));
        assert!(matches!(Progress::new(Wanted::None, &Ui::new(false)), Progress::Nothing));
        assert!(matches!(Progress::new(Wanted::Json, &Ui::new(false)), Progress::Lines(_)));
    }
}
