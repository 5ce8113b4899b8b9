//! A transfer that runs on while the network changes: one task after the
//! other, each with a file, and a file that comes back with its result and is
//! compared byte by byte.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use pilot_local_api::Base64;
use pilot_local_api::tasks::{ContentFile, SubmitRequest, TaskState};
use pilot_proto::{PeerRef, TaskId};
use pilot_tests::api::task_for;
use pilot_tests::{Api, Node};

use super::worker::{Worker, reversed};

/// Ends of tasks that may wait to be looked at.
const ENDS: usize = 100_000;

/// A running transfer.
#[derive(Debug)]
pub(crate) struct Stream {
    worker: Worker,
    over: Arc<AtomicBool>,
    ends: Receiver<Round>,
    thread: Option<JoinHandle<anyhow::Result<Vec<TaskId>>>>,
}

/// One task, from submitting it to comparing its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
}

impl Stream {
    /// Starts it from one node to another; each task carries `bytes` both ways.
    pub(crate) fn start(
        from: &Node,
        to: &Node,
        peer: PeerRef,
        bytes: usize,
    ) -> anyhow::Result<Self> {
        let worker = Worker::start(to)?;
        let api = from.api()?;
        let over = Arc::new(AtomicBool::new(false));
        let (sender, ends) = sync_channel(ENDS);
        let stop = Arc::clone(&over);
        let work = move || {
            let mut ids = Vec::new();
            for number in 0_u64.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (id, round) = transfer(&api, &peer, content(number, bytes))?;
                ids.push(id);
                match sender.try_send(round) {
                    Ok(()) => {}
                    Err(mpsc::TrySendError::Full(_)) => bail!("nobody looks at the ends"),
                    Err(mpsc::TrySendError::Disconnected(_)) => break,
                }
            }
            Ok(ids)
        };
        let thread = thread::Builder::new().name("stream".to_owned()).spawn(work)?;
        Ok(Self { worker, over, ends, thread: Some(thread) })
    }

    /// Waits for `count` rounds that were begun from now on.
    pub(crate) fn rounds(&self, count: usize, patience: Duration) -> anyhow::Result<Vec<Round>> {
        let now = Instant::now();
        let mut rounds = Vec::new();
        while rounds.len() < count {
            let left = (now + patience).saturating_duration_since(Instant::now());
            match self.ends.recv_timeout(left) {
                Ok(round) if round.begun >= now => rounds.push(round),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} of {count} rounds within {patience:?}", rounds.len())
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the transfer has failed"),
            }
        }
        Ok(rounds)
    }

    /// How long it takes from now until a round that is begun from now on has ended.
    pub(crate) fn goes_on(&self, patience: Duration) -> anyhow::Result<Duration> {
        let now = Instant::now();
        let rounds = self.rounds(1, patience)?;
        Ok(rounds.first().context("no round")?.ended.saturating_duration_since(now))
    }

    /// Rounds a second over `time`.
    pub(crate) fn rate(&self, time: Duration) -> anyhow::Result<f64> {
        let start = Instant::now();
        let mut count = 0_u32;
        while let Some(left) = time.checked_sub(start.elapsed()) {
            match self.ends.recv_timeout(left) {
                Ok(round) if round.ended >= start => count += 1,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the transfer has failed"),
            }
        }
        Ok(f64::from(count) / time.as_secs_f64())
    }

    /// Ends it: every task was answered right, and given to the worker once.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.over.store(true, Ordering::SeqCst);
        let thread = self.thread.take().context("finished already")?;
        let submitted = thread.join().map_err(|_| anyhow!("the transfer panicked"))??;
        let mut times = BTreeMap::<TaskId, u32>::new();
        for (id, attempt) in self.worker.accepted() {
            *times.entry(id).or_default() += 1;
            ensure!(attempt == 1, "task {id} had {attempt} attempts");
        }
        for id in &submitted {
            let count = times.remove(id).unwrap_or_default();
            ensure!(count == 1, "task {id} was done {count} times");
        }
        ensure!(times.is_empty(), "tasks that nobody submitted: {times:?}");
        Ok(())
    }
}

fn transfer(api: &Api, peer: &PeerRef, content: Vec<u8>) -> anyhow::Result<(TaskId, Round)> {
    let begun = Instant::now();
    let wanted = reversed(&content);
    let file = ContentFile { name: "bulk".parse()?, content_base64: Base64(content.into()) };
    let request = SubmitRequest { files: vec![file], ..task_for(peer, "bulk") };
    let id = api.submit_as(&request)?.id;
    api.until_state(id, TaskState::Succeeded)?;
    let files = api.result(id)?.files;
    let [file] = files.as_slice() else { bail!("task {id} has {} files", files.len()) };
    ensure!(*file.content_base64.0 == wanted, "the file of task {id} is not what was sent");
    Ok((id, Round { begun, ended: Instant::now() }))
}

/// So many bytes in which no two places are alike.
fn content(number: u64, bytes: usize) -> Vec<u8> {
    // Marsaglia's xorshift; it never is 0 if it does not begin with it.
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = core::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    });
    words.flatten().take(bytes).collect()
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // Whoever did not finish it has failed for another reason.
            drop(thread.join());
        }
    }
}
