use std::io::IsTerminal as _;

use pilot_local_api::CallError;
use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::{LogPiece, read_data_fields};

use super::ending::goes_on;
use crate::Ctl;
use crate::failure::Failure;
use crate::waiting::{AtFirst, patiently, until_signal};

/// Print what a task's command wrote: the newest of it, on either node.
///
/// What is not kept any more is told on stderr. Exit code 0 whether or not the task succeeded.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
    /// Go on with what it writes until the task has ended.
    #[arg(long, short)]
    follow: bool,
    /// Of this attempt [default: of the newest].
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let id = args.id;
    until_signal(follow(&args, ctl), || goes_on(id)).await
}

/// Prints each byte once, also when the daemon restarts in between.
async fn follow(args: &Args, ctl: &Ctl) -> Result<(), Failure> {
    let mut printer = Printer::new(std::io::stdout().is_terminal());
    loop {
        let open = || ctl.client.logs(args.id, args.follow, args.attempt);
        let at_first = if args.follow { AtFirst::Wait } else { AtFirst::Fail };
        let mut lines = patiently(ctl, at_first, open).await?;
        loop {
            match lines.next().await {
                Ok(Some(piece)) => printer.print(ctl, piece)?,
                Ok(None) => return printer.end(ctl),
                Err(CallError::Lost(_)) if args.follow => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What was printed so far.
#[derive(Debug)]
struct Printer {
    /// The attempt, and how many bytes it had written.
    seen: Option<(u32, u64)>,
    is_terminal: bool,
    /// The beginning of a character whose end has not come.
    begun: Vec<u8>,
}

impl Printer {
    const fn new(is_terminal: bool) -> Self {
        Self { seen: None, is_terminal, begun: Vec::new() }
    }

    fn print(&mut self, ctl: &Ctl, piece: LogPiece) -> Result<(), Failure> {
        let LogPiece { attempt, offset, .. } = piece;
        let bytes = read_data_fields(piece.data.clone(), piece.data_base64.clone());
        let bytes = bytes.map_err(|error| Failure::usage(error.to_string()))?;
        let (fresh, missing) = self.fresh(attempt, offset, &bytes);
        let fresh = fresh.to_vec();
        if missing > 0 {
            self.end(ctl)?;
            ctl.ui.say(&format!("({missing} bytes of attempt {attempt} are not kept)"));
        }
        if fresh.is_empty() {
            return Ok(());
        }
        if ctl.ui.json() {
            return ctl.ui.answer(&piece, |_| String::new());
        }
        if self.is_terminal {
            let whole = self.whole(fresh);
            return ctl.ui.peer_text(&whole);
        }
        ctl.ui.data(&fresh)
    }

    /// What of a piece was not printed yet, and how many bytes before it will
    /// never come.
    fn fresh<'a>(&mut self, attempt: u32, offset: u64, bytes: &'a [u8]) -> (&'a [u8], u64) {
        let seen = self.seen.filter(|(seen, _)| *seen == attempt).map_or(0, |(_, end)| end);
        let known = usize::try_from(seen.saturating_sub(offset)).unwrap_or(usize::MAX);
        let fresh = bytes.get(known..).unwrap_or_default();
        let end = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.seen = Some((attempt, end.max(seen)));
        (fresh, offset.saturating_sub(seen))
    }

    /// All characters that are whole; the last one waits if it is not.
    fn whole(&mut self, fresh: Vec<u8>) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend(fresh);
        let cut = bytes.utf8_chunks().last().map_or(0, |chunk| {
            let rest = chunk.invalid();
            let may_go_on =
                std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_none());
            if may_go_on { rest.len() } else { 0 }
        });
        self.begun = bytes.split_off(bytes.len().saturating_sub(cut));
        bytes
    }

    /// A character that never came whole.
    fn end(&mut self, ctl: &Ctl) -> Result<(), Failure> {
        ctl.ui.peer_text(&std::mem::take(&mut self.begun))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_not_printed_again_and_what_is_missing_is_told() {
        let mut printer = Printer::new(false);

        assert_eq!(printer.fresh(1, 0, b"one"), (&b"one"[..], 0));
        assert_eq!(printer.fresh(1, 0, b"onetwo"), (&b"two"[..], 0));
        assert_eq!(printer.fresh(1, 0, b"one"), (&b""[..], 0));
        assert_eq!(printer.fresh(1, 10, b"end"), (&b"end"[..], 4));
        assert_eq!(printer.fresh(2, 0, b"again"), (&b"again"[..], 0));
        assert_eq!(printer.fresh(3, 7, b"late"), (&b"late"[..], 7));
    }

    #[test]
    fn a_character_that_comes_in_two_pieces_is_shown_as_one() {
        let mut printer = Printer::new(true);
        let (first, second) = "aé".as_bytes().split_at(2);

        assert_eq!(printer.whole(first.to_vec()), b"a");
        assert_eq!(printer.whole(second.to_vec()), "é".as_bytes());
        assert_eq!(printer.whole(b"x\xff".to_vec()), b"x\xff");
        assert!(printer.begun.is_empty());
    }
}
