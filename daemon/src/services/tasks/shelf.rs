//! Files that stay with this node until somebody is to have them: those of a
//! task whose worker is not chosen yet, and those of a result that stays here.
//!
//! ```text
//! kept/asked/ID/…    of a task that this node gave
//! kept/left/ID/…     of the result of a task that it did
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pilot_identity::Timestamp;
use pilot_proto::TaskId;
use pilot_store::ReadError;
use pilot_tasks::ReceivedTask;
use pilot_tree::{KeepError, ScanOptions, keep};

use super::TasksService;
use super::calls::Row;
use super::passing::entries;
use crate::clock;
use crate::store::bodies::{self, Kind, Side};
use crate::store::tasks as rows;

/// How long a result that stays with its worker is kept after its end.
pub(crate) const LEFT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Time between two looks for what is kept no longer.
const TIDY: Duration = Duration::from_secs(3600);

/// Why files could not be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShelfError {
    #[error(transparent)]
    Keep(#[from] KeepError),
    #[error("the copying was stopped")]
    Stopped,
}

/// Where the folders are.
#[derive(Debug, Clone)]
pub(super) struct Shelves {
    kept: PathBuf,
}

impl Shelves {
    pub(super) fn new(home: &Path) -> Self {
        Self { kept: home.join("kept") }
    }

    fn of(&self, side: Side) -> PathBuf {
        self.kept.join(match side {
            Side::Submitted => "asked",
            Side::Received => "left",
        })
    }

    fn folder(&self, side: Side, id: TaskId) -> PathBuf {
        self.of(side).join(id.to_string())
    }

    /// Copies files; they may change or go away once this returns.
    pub(super) async fn put(
        &self,
        side: Side,
        id: TaskId,
        paths: Vec<PathBuf>,
    ) -> Result<(), ShelfError> {
        let folder = self.folder(side, id);
        let copied = tokio::task::spawn_blocking(move || {
            // What a call left behind that was not finished.
            if folder.exists() {
                drop(fs::remove_dir_all(&folder));
            }
            keep(&paths, &ScanOptions::default(), &folder).map(drop)
        });
        Ok(copied.await.map_err(|_| ShelfError::Stopped)??)
    }

    /// What is kept of a task, by its paths; nothing if there is nothing.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub(super) fn get(&self, side: Side, id: TaskId) -> io::Result<Vec<PathBuf>> {
        match entries(self.folder(side, id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            found => found,
        }
    }

    /// The folder of what is kept of a task.
    pub(super) fn is_here(&self, side: Side, id: TaskId) -> Option<PathBuf> {
        Some(self.folder(side, id)).filter(|folder| folder.is_dir())
    }

    fn all(&self, side: Side) -> Vec<TaskId> {
        let entries = fs::read_dir(self.of(side)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    pub(super) fn remove(&self, side: Side, id: TaskId) {
        if let Err(error) = fs::remove_dir_all(self.folder(side, id))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%id, %error, "what was kept of a task cannot be removed");
        }
    }
}

impl TasksService {
    /// Removes what is kept no longer, at once and every hour.
    pub(super) async fn tidy_up(self: Arc<Self>) {
        loop {
            if let Err(error) = self.tidy().await {
                tracing::warn!(%error, "what was kept of tasks is looked through again later");
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(TIDY) => {}
            }
        }
    }

    async fn tidy(&self) -> Result<(), ReadError> {
        let now = clock::now();
        for id in self.shelves.all(Side::Submitted) {
            // Whoever fills it just now has a turn at it.
            let _turn = self.loading.turn(id).await;
            let is_wanted = match self.row(id).await {
                // Another attempt may be made by hand.
                Ok(Some(Row::Submitted(task))) => {
                    task.ending().is_none_or(|ending| !is_over(ending.at, now))
                }
                Ok(Some(Row::Received(_)) | None) => false,
                Err(_) => true,
            };
            if !is_wanted {
                self.shelves.remove(Side::Submitted, id);
            }
        }
        let old = self.store.read_blocking(move |connection| {
            let mut old = Vec::new();
            for id in bodies::all_of(connection, Side::Received, Kind::Result)? {
                let record = rows::received(connection, id)?.filter(ReceivedTask::is_settled);
                let ended = record.and_then(|task| task.ending().map(|ending| ending.at));
                if ended.is_some_and(|at| is_over(at, now)) {
                    old.push(id);
                }
            }
            Ok(old)
        });
        for id in old.await? {
            let mut batch = self.store.batch();
            bodies::forget(&mut batch, Side::Received, Kind::Result, id);
            if self.store.commit(batch).await.is_ok() {
                self.shelves.remove(Side::Received, id);
            }
        }
        for id in self.shelves.all(Side::Received) {
            let _turn = self.loading.turn(id).await;
            if self.result_body(Side::Received, id)?.is_none() {
                self.shelves.remove(Side::Received, id);
            }
        }
        Ok(())
    }
}

fn is_over(ended: Timestamp, now: Timestamp) -> bool {
    ended.saturating_add(LEFT) <= now
}
