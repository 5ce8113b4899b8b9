use core::pin::pin;
use core::time::Duration;

use tokio::time::{sleep, timeout};

use super::acks::Acks;
use super::follow::{Cursor, Follower, Line};
use super::selection::Selection;
use crate::failure::Failure;
use crate::ui::Ui;
use crate::waiting::Signals;
use crate::{Ctl, shown};

/// Bytes of lines that are written at once, if so many are there.
const BATCH: usize = 256 * 1024;

/// How long the program goes on after a signal, for what is being written and acknowledged.
pub(super) const HURRY: Duration = Duration::from_secs(1);

/// Print events as they come, as JSON lines: id, topic, from, at, seq, data
///
/// Without --since, --last and --durable the values that are kept (publish --retain) come first.
/// What was lost is told by a line {"gap":N,…}, which --count does not count. With --durable
/// what was printed is acknowledged, and never printed again; while the daemon is away, it is
/// waited for.
///
/// Examples:
///   pilotctl events subscribe --topic "specialist.*"
///   pilotctl events subscribe --topic build.done --last 1 --count 1 --timeout 30s
///   pilotctl events subscribe --topic "task.*" --durable audit >> audit.ndjson
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
}

/// Why no more is printed.
enum End {
    Counted,
    Timeout,
    Signal(u8),
}

pub(crate) async fn run(Args { selection }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let mut printing = Printing {
        ctl,
        acks: Acks::new(ctl, selection.durable().cloned()),
        left: selection.count(),
        printed: 0,
    };
    let end = printing.until_end(&selection, &mut signals).await;
    let Printing { acks, printed, .. } = printing;
    // What was written is acknowledged, whatever ended it.
    let acknowledged = match end {
        Ok(End::Signal(_)) => timeout(HURRY, acks.finish()).await.unwrap_or(Ok(())),
        Ok(End::Counted | End::Timeout) | Err(_) => acks.finish().await,
    };
    match end? {
        End::Signal(number) => Err(Failure::Stopped(number)),
        End::Timeout if printed == 0 => Err(selection.nothing().into()),
        End::Counted | End::Timeout => acknowledged,
    }
}

struct Printing<'a> {
    ctl: &'a Ctl,
    acks: Acks<'a>,
    /// Events that are still wanted.
    left: u64,
    printed: u64,
}

impl Printing<'_> {
    async fn until_end(
        &mut self,
        selection: &Selection,
        signals: &mut Signals,
    ) -> Result<End, Failure> {
        let mut limit = pin!(sleep(selection.limit()));
        let mut follower = tokio::select! {
            begun = Follower::begin(self.ctl, selection.request()) => begun?,
            () = &mut limit => return Ok(End::Timeout),
            number = signals.next() => return Ok(End::Signal(number)),
        };
        while self.left > 0 {
            let line = tokio::select! {
                biased;
                number = signals.next() => return Ok(End::Signal(number)),
                turn = self.acks.turn(), if follower.is_connected() => {
                    turn?;
                    continue;
                }
                line = follower.next() => line?,
                () = &mut limit => return Ok(End::Timeout),
            };
            let batch = Batch::of(line, &mut follower, self.left)?;
            if let Some(number) = self.print(batch, &follower, signals).await? {
                return Ok(End::Signal(number));
            }
        }
        Ok(End::Counted)
    }

    /// Writes some lines; the number of the signal that came meanwhile.
    async fn print(
        &mut self,
        batch: Batch,
        follower: &Follower<'_>,
        signals: &mut Signals,
    ) -> Result<Option<u8>, Failure> {
        let Batch { text, cursors, events } = batch;
        let mut writing = pin!(write(&self.ctl.ui, text));
        let mut signal = None;
        loop {
            tokio::select! {
                biased;
                written = &mut writing => break written?,
                number = signals.next(), if signal.is_none() => {
                    signal = Some(number);
                    // Whoever reads has a moment for what is being written.
                    match timeout(HURRY, &mut writing).await {
                        Ok(written) => break written?,
                        Err(_elapsed) => return Ok(signal),
                    }
                }
                turn = self.acks.turn(), if follower.is_connected() => turn?,
            }
        }
        cursors.iter().for_each(|cursor| self.acks.note(cursor));
        self.left = self.left.saturating_sub(events);
        self.printed += events;
        Ok(signal)
    }
}

/// Lines that are written at once.
struct Batch {
    text: Vec<u8>,
    cursors: Vec<Cursor>,
    events: u64,
}

impl Batch {
    /// This line and those that are there already, with `left` events at the most.
    fn of(first: Line, follower: &mut Follower<'_>, left: u64) -> Result<Self, Failure> {
        let mut batch = Self { text: Vec::new(), cursors: Vec::new(), events: 0 };
        batch.add(first);
        while batch.events < left && batch.text.len() < BATCH {
            let Some(line) = follower.ready()? else { break };
            batch.add(line);
        }
        Ok(batch)
    }

    fn add(&mut self, line: Line) {
        shown::push_json(&mut self.text, &line.text);
        self.text.push(b'\n');
        self.cursors.extend(line.cursor);
        self.events += u64::from(!line.is_gap);
    }
}

/// Writes on a thread of its own, so that signals are heard while nobody reads.
async fn write(ui: &Ui, text: Vec<u8>) -> Result<(), Failure> {
    let ui = ui.clone();
    let writing = tokio::task::spawn_blocking(move || ui.data(&text));
    writing.await.unwrap_or(Err(Failure::OutputClosed))
}
