//! Finds workers for tasks of a pool, and makes ready what they are given.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pilot_identity::{Digest, NodeId, Outcome, Pass, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::{Attached, InputRef, TaskBody};
use pilot_store::{CommitError, ReadError};
use pilot_tasks::{Candidate, Choice, Placing, SubmittedPhase, SubmittedTask, choose};
use tokio::sync::Notify;

use super::TasksService;
use super::calls::length;
use super::candidates::Known;
use super::files::{Load, answer_for};
use crate::clock;
use crate::store::bodies::{self, Kind, Side};
use crate::store::tasks as rows;

/// Tasks of each pool that one round looks at.
const ROUND: usize = 64;
/// Pause between two rounds while tasks wait for a worker and nothing is heard.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long a task stays with a worker that is not reached before another is
/// looked for.
const STRANDED: Duration = Duration::from_secs(5);
/// How long the next worker may fetch an input.
const PASS: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the driver of placements is told, and what it knows.
#[derive(Debug, Default)]
pub(super) struct Places {
    bell: Notify,
    /// Whether what is held has been looked through since it was loaded.
    resumed: AtomicBool,
    pub(super) known: Known,
}

/// Why a task could not be made ready.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("{0}")]
    Never(String),
    #[error("{0}")]
    NotNow(String),
}

impl Places {
    /// A task waits for a worker, or a worker may have room.
    pub(super) fn wake(&self) {
        self.bell.notify_one();
    }

    /// The tasks were loaded anew.
    pub(super) fn resume(&self) {
        self.resumed.store(false, Ordering::SeqCst);
        self.wake();
    }
}

impl TasksService {
    pub(super) async fn place_all(self: Arc<Self>) {
        loop {
            let some_wait = match self.place_some().await {
                Ok(some_wait) => some_wait,
                Err(error) => {
                    tracing::warn!(%error, "workers are looked for again soon");
                    true
                }
            };
            let again = async {
                if some_wait {
                    tokio::time::sleep(LOOK_AGAIN).await;
                } else {
                    std::future::pending().await
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.places.bell.notified() => {}
                () = again => {}
            }
        }
    }

    /// Places what can be placed. Whether something waits.
    async fn place_some(&self) -> Result<bool, CommitError> {
        if !self.places.resumed.swap(true, Ordering::SeqCst) {
            self.turn(|desk, _, now| desk.submitter.resume(now)).await?;
        }
        let stranded = self.take_back_stranded().await?;
        let waiting = self.desk().submitter.unplaced(ROUND);
        if waiting.is_empty() {
            return Ok(stranded);
        }
        let mut candidates: Option<Vec<Candidate>> = None;
        let mut unplaced = false;
        for id in waiting {
            let task = {
                let desk = self.desk();
                // Of what is not on disk yet the bell rings once more when it is.
                let durable = desk.submitter.is_durable(&id);
                desk.submitter.task(&id).filter(|_| durable).cloned()
            };
            let Some(task) = task.filter(|task| task.unplaced().is_some()) else { continue };
            let Some(pool) = &task.extras.plan.pool else {
                let choice = Choice { chosen: Ok(task.peer), verdicts: Vec::new() };
                unplaced |= !self.settle_one(&task, choice).await?;
                continue;
            };
            if candidates.is_none() {
                candidates = Some(self.candidates().await);
            }
            let known = candidates.get_or_insert_default();
            let has_files = task.extras.plan.has_kept_files;
            let choice = choose(pool, known, &task.extras.declined_by, has_files);
            let chosen = choice.chosen.clone();
            if self.settle_one(&task, choice).await? {
                let given = known.iter_mut().find(|known| Ok(known.peer) == chosen);
                if let Some(candidate) = given {
                    candidate.given += 1;
                }
            } else {
                unplaced = true;
            }
        }
        Ok(unplaced || stranded)
    }

    /// Gives a task to who was chosen, or says why it is given to nobody.
    /// Whether it does not wait any more.
    async fn settle_one(&self, task: &SubmittedTask, choice: Choice) -> Result<bool, CommitError> {
        let id = task.terms.id;
        let Choice { chosen, verdicts } = choice;
        let to = match chosen {
            Ok(to) => to,
            // It waits for that already, as far as it is shown.
            Err(why)
                if task.unplaced() == Some(&why)
                    && task.extras.verdicts.len() == verdicts.len() =>
            {
                return Ok(false);
            }
            Err(why) => {
                let said = |desk: &mut super::Desk, _: &mut _, now| {
                    desk.submitter.not_placed(&id, &why, verdicts, now);
                };
                self.turn(said).await?;
                return Ok(false);
            }
        };
        let made = self.prepare(task, to).await;
        let (body, attached) = match made {
            Ok(made) => made,
            Err(PrepareError::Commit(error)) => return Err(error),
            Err(PrepareError::Never(why)) => {
                self.turn(|desk, _, now| desk.submitter.cannot_place(&id, &why, now)).await?;
                return Ok(true);
            }
            Err(error @ (PrepareError::Read(_) | PrepareError::NotNow(_))) => {
                let why = format!("what goes with it cannot be made ready now: {error}");
                self.turn(|desk, _, now| desk.submitter.not_placed(&id, &why, verdicts, now))
                    .await?;
                return Ok(false);
            }
        };
        let placed = self
            .turn(|desk, batch, now| {
                let digest = body.as_ref().map(|body| (length(body), Digest::of(body)));
                let placing = Placing { to, body: digest, attached, verdicts };
                let placed = desk.submitter.place(&id, placing, now);
                if placed {
                    answer_for(batch, attached);
                    if let Some(body) = body {
                        bodies::put(batch, Side::Submitted, Kind::Task, id, body);
                    }
                }
                placed
            })
            .await?;
        match attached {
            Some(_) if placed => self.loaded.notify_one(),
            Some(attached) => self.unload(attached.transfer).await,
            None => {}
        }
        Ok(true)
    }

    /// The body with what is only known now, if there is any such thing, and
    /// the files, on their way to `to`.
    async fn prepare(
        &self,
        task: &SubmittedTask,
        to: NodeId,
    ) -> Result<(Option<Bytes>, Option<Attached>), PrepareError> {
        let id = task.terms.id;
        let files = if task.extras.plan.has_kept_files {
            let kept = self.shelves.get(Side::Submitted, id);
            let kept = kept.map_err(|error| PrepareError::NotNow(error.to_string()))?;
            if kept.is_empty() {
                return Err(gone("its files are no longer kept; submit it again"));
            }
            kept
        } else {
            Vec::new()
        };
        if files.is_empty() && task.extras.plan.inputs.is_empty() {
            return Ok((None, None));
        }
        let body = self.task_body(Side::Submitted, id)?;
        let mut body: TaskBody = body.ok_or_else(|| gone("its content is gone"))?;
        body.extras.inputs = self.inputs_of(task, to)?;
        let attached =
            if files.is_empty() { None } else { Some(self.send_files(id, to, files).await?) };
        body.attached = attached.or(body.attached);
        Ok((Some(Bytes::from(body.encode())), attached))
    }

    async fn send_files(
        &self,
        task: TaskId,
        to: NodeId,
        paths: Vec<PathBuf>,
    ) -> Result<Attached, PrepareError> {
        let label = format!("files of task {task}");
        let loaded = self.load(Load { task, to, paths, label }).await;
        loaded.map_err(|error| PrepareError::NotNow(error.to_string()))
    }

    /// What the worker needs to fetch the inputs of a task.
    fn inputs_of(&self, task: &SubmittedTask, to: NodeId) -> Result<Vec<InputRef>, PrepareError> {
        let mut inputs = Vec::new();
        for input in &task.extras.plan.inputs {
            // What is in memory may be newer than what is on disk, and gets there
            // before what is decided by it.
            let live = self.desk().submitter.task(input).cloned();
            let found = match live {
                Some(task) => Some(task),
                None => self.store.read(|connection| rows::submitted(connection, *input))?,
            };
            let from = found.ok_or_else(|| gone("a task whose result is its input is gone"))?;
            let delivery = from.delivery().filter(|given| given.outcome == Outcome::Succeeded);
            let Some(delivery) = delivery else {
                return Err(gone("a task whose result is its input has none"));
            };
            let (attempt, worker) = (from.terms.attempt, from.peer);
            let expires = clock::now().saturating_add(PASS);
            let pass =
                Pass { task: input.uuid(), attempt, submitter: self.key.id(), worker, to, expires };
            let pass = postcard::to_allocvec(&pass.sign(&self.key));
            inputs.push(InputRef {
                task: *input,
                attempt,
                worker,
                digest: *delivery.digest.as_bytes(),
                len: delivery.len,
                pass: pass.ok().map(Bytes::from),
            });
        }
        Ok(inputs)
    }

    /// Takes back what nobody has heard of, as its worker is not reached.
    /// Whether some tasks of a pool are still on their way.
    async fn take_back_stranded(&self) -> Result<bool, CommitError> {
        let now = clock::now();
        let on_their_way: Vec<(TaskId, NodeId, Timestamp)> = {
            let desk = self.desk();
            let queued = desk.submitter.tasks().filter(|task| {
                task.extras.plan.pool.is_some()
                    && matches!(task.phase, SubmittedPhase::Queued { .. })
            });
            let since = |task: &SubmittedTask| task.extras.ready.unwrap_or(task.created);
            queued.map(|task| (task.terms.id, task.peer, since(task))).collect()
        };
        let Some(overlay) = self.overlay.get() else { return Ok(!on_their_way.is_empty()) };
        for (id, peer, since) in &on_their_way {
            if since.saturating_add(STRANDED) <= now && overlay.current(peer).is_none() {
                self.turn(|desk, _, now| desk.submitter.take_back(id, now)).await?;
            }
        }
        Ok(!on_their_way.is_empty())
    }
}

fn gone(why: &str) -> PrepareError {
    PrepareError::Never(why.to_owned())
}
