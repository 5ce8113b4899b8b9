//! What users of this node ask for.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pilot_files::{Direction, Ending, Layout, LayoutError, Manifest, ManifestDigest, Transfer};
use pilot_identity::{NodeId, Scope, Timestamp};
use pilot_proto::manifest::ManifestBytesError;
use pilot_proto::{TaskId, TransferId};
use pilot_store::ReadError;
use pilot_tree::{DiskError, KeepError, ScanError, ScanOptions, Source, SourceBytesError};
use pilot_trust::{Standing, TrustState};
use rusqlite::Connection;
use tokio::sync::Notify;

use super::{ChangeError, DataService};
use crate::clock;
use crate::store::transfers;

/// What is to be sent.
#[derive(Debug)]
pub(crate) struct NewTransfer {
    /// Its id, if whoever asks has given it one: asked again, it is the same
    /// transfer.
    pub(crate) id: Option<TransferId>,
    pub(crate) to: NodeId,
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) label: Option<String>,
    /// The task that it belongs to.
    pub(crate) task: Option<TaskId>,
    /// Bytes a second at most.
    pub(crate) limit: Option<u64>,
    pub(crate) keep: Keep,
    pub(crate) options: ScanOptions,
    pub(crate) expires: Option<Duration>,
}

/// Where the content is read from while it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Where it lies.
    InPlace,
    /// A copy in the home folder.
    Copy,
    /// The home folder, to which it is moved.
    Take,
}

/// Why nothing is sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("there is no mutual trust with this peer")]
    NotTrusted(Standing),
    #[error("this peer does not take data from here")]
    NotAllowed,
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Keep(#[from] KeepError),
    #[error(transparent)]
    Manifest(#[from] ManifestBytesError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("cannot write to the home folder")]
    Home(#[from] io::Error),
    #[error(transparent)]
    Source(#[from] SourceBytesError),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error("the rest of an earlier try is in the way")]
    Rest(#[from] DiskError),
    #[error("transfers cannot be read")]
    Read(#[from] ReadError),
    #[error("the system gives no randomness")]
    Random,
}

/// Transfers that are being entered, or whose rest is being removed.
#[derive(Debug, Default)]
pub(super) struct Preparing {
    ids: Mutex<BTreeSet<TransferId>>,
    left: Notify,
}

/// One of them, until it is dropped.
pub(super) struct Entered<'a>(&'a Preparing, TransferId);

impl Preparing {
    fn ids(&self) -> MutexGuard<'_, BTreeSet<TransferId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else has to do with it.
    pub(super) async fn enter(&self, id: TransferId) -> Entered<'_> {
        loop {
            // Who leaves from here on is heard.
            let mut left = std::pin::pin!(self.left.notified());
            left.as_mut().enable();
            if self.ids().insert(id) {
                return Entered(self, id);
            }
            left.await;
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.ids().remove(&self.1);
        self.0.left.notify_waiters();
    }
}

impl DataService {
    /// Looks at what is to be sent and enters the transfer; both are on disk
    /// when this returns.
    ///
    /// Cancel safe: it goes on without whoever asked, and is entered whole or
    /// not at all.
    pub(crate) async fn send(self: &Arc<Self>, new: NewTransfer) -> Result<Transfer, SendError> {
        let service = Arc::clone(self);
        let sending = self.tasks.spawn(async move { service.look_and_enter(new).await });
        sending.await.unwrap_or_else(|_| Err(ChangeError::Stopping.into()))
    }

    async fn look_and_enter(self: &Arc<Self>, new: NewTransfer) -> Result<Transfer, SendError> {
        let now = clock::now();
        let id = match new.id {
            Some(id) => id,
            None => fresh_id(now).map_err(|_| SendError::Random)?,
        };
        // Who asks again meanwhile finds what this one has entered.
        let _preparing = self.preparing.enter(id).await;
        if let Some(known) = self.find(id)? {
            let is_it = known.direction == Direction::Sent && known.peer == new.to;
            return if is_it { Ok(known) } else { Err(ChangeError::Exists.into()) };
        }
        self.check_standing(new.to)?;
        let folder = self.outgoing.join(id.to_string());
        let (paths, options, keep) = (new.paths, new.options, new.keep);
        let scanning = self.tasks.spawn_blocking({
            let folder = folder.clone();
            move || prepare(&folder, &paths, &options, keep)
        });
        let prepared = scanning.await.map_err(|_| ChangeError::Stopping)?;
        let (manifest, digest) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.remove_folder(folder).await;
                return Err(error);
            }
        };
        let mut transfer = Transfer::begin(id, new.to, Direction::Sent, &manifest, digest, now);
        transfer.label = new.label.unwrap_or_default();
        transfer.task = new.task;
        transfer.limit = new.limit;
        transfer.expires = new.expires.map(|after| now.saturating_add(after));
        if let Err(error) = self.enter(transfer.clone()).await {
            self.remove_folder(folder).await;
            return Err(error.into());
        }
        self.wake_link(new.to);
        Ok(transfer)
    }

    fn check_standing(&self, peer: NodeId) -> Result<(), SendError> {
        let standing = self.trust.standing(peer);
        match standing.state {
            TrustState::Mutual if standing.received.contains(Scope::Data) => Ok(()),
            TrustState::Mutual => Err(SendError::NotAllowed),
            TrustState::None | TrustState::Requested | TrustState::Pending => {
                Err(SendError::NotTrusted(standing))
            }
        }
    }

    /// Ends one that goes on; one that has ended stays as it is.
    pub(crate) async fn cancel(
        self: &Arc<Self>,
        id: TransferId,
    ) -> Result<Option<Transfer>, ChangeError> {
        self.end(id, Ending::Cancelled).await
    }

    /// Forgets one that has ended, with what is in the inbox of it. False if
    /// it goes on.
    pub(crate) async fn remove(self: &Arc<Self>, transfer: &Transfer) -> Result<bool, ChangeError> {
        if !transfer.is_settled() {
            return Ok(false);
        }
        if let Some(folder) = self.folder(transfer) {
            self.remove_folder(folder).await;
            let (inbox, name) = (self.inbox.clone(), transfer.id.to_string());
            let forgetting = move || pilot_tree::forget_held(&inbox, &name);
            if let Ok(Err(error)) = self.tasks.spawn_blocking(forgetting).await {
                tracing::warn!(%error, "what was held of a transfer is still listed");
            }
        }
        self.forget(transfer.id).await?;
        Ok(true)
    }

    /// The newest transfers.
    pub(crate) async fn list(
        &self,
        direction: Option<Direction>,
        peer: Option<NodeId>,
        limit: u32,
    ) -> Result<Vec<Transfer>, ReadError> {
        let list = move |connection: &Connection| {
            transfers::list(connection, direction, peer.as_ref(), limit)
        };
        self.store.read_blocking(list).await
    }
}

/// An id that no other transfer has.
pub(crate) fn fresh_id(now: Timestamp) -> Result<TransferId, getrandom::Error> {
    let mut random = [0; 10];
    getrandom::fill(&mut random)?;
    Ok(TransferId::new(now, random))
}

/// Writes manifest and source into the transfer's folder; blocks.
fn prepare(
    folder: &Path,
    paths: &[PathBuf],
    options: &ScanOptions,
    keep: Keep,
) -> Result<(Arc<Manifest>, ManifestDigest), SendError> {
    // What a crash left of the same one.
    pilot_tree::discard(folder)?;
    let kept = folder.join("content");
    let (source, scanned) = match keep {
        Keep::InPlace => Source::scan(paths, options)?,
        Keep::Copy => pilot_tree::keep(paths, options, &kept)?,
        Keep::Take => pilot_tree::take(paths, &kept)?,
    };
    for (path, special) in &scanned.skipped {
        tracing::info!(?path, ?special, "left out of a transfer");
    }
    let manifest = source.manifest();
    Layout::of(manifest)?;
    let manifest_bytes = manifest.encode()?;
    let digest = ManifestDigest {
        bytes: u32::try_from(manifest_bytes.len()).unwrap_or(u32::MAX),
        hash: *blake3::hash(&manifest_bytes).as_bytes(),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    write(&folder.join("manifest"), &manifest_bytes)?;
    write(&folder.join("source"), &source.to_bytes()?)?;
    File::open(folder)?.sync_all()?;
    Ok((Arc::clone(manifest), digest))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
