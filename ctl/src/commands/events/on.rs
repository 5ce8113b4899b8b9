use core::pin::pin;
use std::ffi::OsString;

use pilot_local_api::events::EventLine;
use pilot_local_api::{ApiError, ErrorCode};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::acks::Acks;
use super::follow::{Follower, Line};
use super::in_order::{InOrder, Ticket};
use super::job::{Job, Outcome};
use super::selection::Selection;
use super::subscribe::HURRY;
use crate::child::not_run;
use crate::failure::Failure;
use crate::waiting::Signals;
use crate::{Ctl, shown};

/// Events that wait for being acknowledged behind one whose command still
/// runs; no further command is started beyond that.
const WAITING: usize = 10_000;

/// Run a command for each event, at most --parallel of them at once
///
/// The command finds the event as a line of JSON on stdin, and in PILOT_EVENT_ID, _TOPIC, _FROM,
/// _FROM_NAME, _AT, _SEQ and, up to 64 KiB, _DATA. It is run without a shell. One that does not
/// end with 0 is told on stderr; with --durable it is run again three times (after 1, 2 and 4 s)
/// before its event is given up. With --durable an event is acknowledged once its command has
/// ended, so that none is left out whatever is stopped when; it may be run twice then.
/// Ctrl-C ends the commands that run (SIGTERM, after 5 s SIGKILL).
///
/// Examples:
///   pilotctl events on --topic "specialist.backend.*" -- ./run-tests.sh
///   pilotctl events on --topic build.done --durable deploy -- sh -c 'jq .data | ./deploy.sh'
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Commands that run at once, at the most.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    cmd: Vec<OsString>,
}

/// Why no more commands are started.
enum End {
    Counted,
    Timeout,
    Signal(u8),
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let Args { selection, parallel, cmd } = args;
    let mut signals = Signals::listen()?;
    let again = selection.durable().is_some();
    let mut running = Running {
        ctl,
        acks: Acks::new(ctl, selection.durable().cloned()),
        order: InOrder::default(),
        job: Job { words: cmd, again, ui: ctl.ui.clone() },
        jobs: JoinSet::new(),
        parallel: usize::from(parallel),
        left: selection.count(),
        begun: 0,
        stop: watch::Sender::new(false),
    };
    let mut end = running.until_end(&selection, &mut signals).await;
    // What runs may end by itself, unless a signal or a failure came first.
    if matches!(end, Ok(End::Counted | End::Timeout)) {
        tokio::select! {
            done = running.ended() => if let Err(failure) = done {
                end = Err(failure);
            },
            number = signals.next() => end = Ok(End::Signal(number)),
        }
    }
    running.stop.send_replace(true);
    let stopped = running.ended().await;
    let Running { acks, begun, .. } = running;
    let acknowledged = match end {
        Ok(End::Signal(_)) => timeout(HURRY, acks.finish()).await.unwrap_or(Ok(())),
        Ok(End::Counted | End::Timeout) | Err(_) => acks.finish().await,
    };
    match end? {
        End::Signal(number) => Err(Failure::Stopped(number)),
        End::Timeout if begun == 0 => Err(selection.nothing().into()),
        End::Counted | End::Timeout => stopped.and(acknowledged),
    }
}

struct Running<'a> {
    ctl: &'a Ctl,
    acks: Acks<'a>,
    order: InOrder,
    job: Job,
    jobs: JoinSet<(Option<Ticket>, Outcome)>,
    parallel: usize,
    /// Events that are still wanted.
    left: u64,
    begun: u64,
    stop: watch::Sender<bool>,
}

impl Running<'_> {
    /// Starts a command for each event that comes.
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
            let is_free = self.jobs.len() < self.parallel && self.order.len() < WAITING;
            let is_connected = follower.is_connected();
            tokio::select! {
                biased;
                number = signals.next() => return Ok(End::Signal(number)),
                turn = self.acks.turn(), if is_connected => turn?,
                Some(done) = self.jobs.join_next() => self.done(done)?,
                line = follower.next(), if is_free => self.begin(line?),
                () = &mut limit => return Ok(End::Timeout),
            }
        }
        Ok(End::Counted)
    }

    fn begin(&mut self, line: Line) {
        let ticket = line.cursor.clone().map(|cursor| self.order.begin(cursor));
        if line.is_gap {
            let gap: EventLine = serde_json::from_slice(&line.text).unwrap_or_default();
            let (count, from) = (gap.gap.unwrap_or_default(), shown::line(&gap.from));
            self.ctl.ui.say(&format!("gap: {count} events of {from} at the most were lost"));
            self.end(ticket.as_ref());
            return;
        }
        self.left -= 1;
        self.begun += 1;
        let (job, stop) = (self.job.clone(), self.stop.subscribe());
        self.jobs.spawn(async move { (ticket, job.run(line, stop).await) });
    }

    fn done(
        &mut self,
        done: Result<(Option<Ticket>, Outcome), tokio::task::JoinError>,
    ) -> Result<(), Failure> {
        let (ticket, outcome) = done.map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("a command was lost: {error}"))
        })?;
        match outcome {
            Outcome::Done => {
                self.end(ticket.as_ref());
                Ok(())
            }
            Outcome::Stopped => Ok(()),
            Outcome::NotRun(kind, why) => {
                let name = self.job.words.first().cloned().unwrap_or_default();
                Err(not_run(&name, kind, &why).into())
            }
        }
    }

    fn end(&mut self, ticket: Option<&Ticket>) {
        if let Some(cursor) = ticket.and_then(|ticket| self.order.end(ticket)) {
            self.acks.note(&cursor);
        }
    }

    /// Until no command runs any more.
    async fn ended(&mut self) -> Result<(), Failure> {
        let mut outcome = Ok(());
        loop {
            tokio::select! {
                turn = self.acks.turn() => outcome = outcome.and(turn),
                done = self.jobs.join_next() => match done {
                    Some(done) => {
                        let done = self.done(done);
                        outcome = outcome.and(done);
                    }
                    None => return outcome,
                },
            }
        }
    }
}
