//! The receiver's side: what peers offer, and the pieces they send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pilot_files::{Blame, Direction, Ending, Manifest, ManifestDigest, Transfer};
use pilot_identity::{NodeId, Scope};
use pilot_proto::TransferId;
use pilot_proto::close;
use pilot_proto::data::{DataRefusal, DataRequest, MAX_TALK_FRAME, Said, Told, TransferOffer};
use pilot_proto::manifest::MAX_MANIFEST;
use pilot_proto::text::Text;
use pilot_transport::{Framed, FramedError, RecvStream, SendStream, next_frame, send_frame};
use pilot_tree::{Incoming, OpenError};
use tokio::time::timeout;

use super::landing::{Landing, News, refusal};
use super::refused::Refused;
use super::turned_away::TurnedAway;
use super::{ChangeError, DataService};
use crate::clock;
use crate::store::transfers;

/// How long a peer may take for the first frame of a stream, for the next page
/// of a manifest, and for the next piece: 1 MiB in this time is 35 kB/s.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a transfer is kept whose sender set no time and says nothing more.
const KEPT_FOR: Duration = Duration::from_secs(14 * 24 * 3600);

/// How often the sender is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Free bytes that a transfer leaves on the disk.
const LEAVE_FREE: u64 = 64 * 1024 * 1024;

impl DataService {
    /// Serves one stream of a peer.
    pub(crate) async fn serve(self: &Arc<Self>, peer: NodeId, mut framed: Framed) {
        let request = timeout(PATIENCE, framed.expect::<DataRequest>(MAX_TALK_FRAME)).await;
        let served = match request {
            Ok(Ok(DataRequest::Offer(offer))) => self.answer(peer, offer, framed).await,
            Ok(Ok(DataRequest::Pieces(id))) => {
                match self.landings.get(id).filter(|landing| landing.peer == peer) {
                    Some(landing) => self.take(&landing, &mut framed.recv).await,
                    None => {
                        framed.refuse(close::NOT_ALLOWED);
                        Ok(())
                    }
                }
            }
            Ok(Ok(DataRequest::Cancel(id))) => self.answer_cancel(peer, id, framed).await,
            Ok(Err(_)) | Err(_) => {
                framed.refuse(close::PROTOCOL);
                Ok(())
            }
        };
        if let Err(error) = served {
            tracing::debug!(peer = %peer.short(), %error, "a stream of data broke off");
        }
    }

    async fn answer(
        self: &Arc<Self>,
        peer: NodeId,
        offer: TransferOffer,
        framed: Framed,
    ) -> Result<(), FramedError> {
        let Framed { mut send, mut recv } = framed;
        let landing = match self.landing_of(peer, &offer, &mut send, &mut recv).await? {
            Ok(Some(landing)) => landing,
            Ok(None) => return say_last(&mut send, &Told::Complete).await,
            Err(Refused(code, reason)) => {
                self.turn_away(peer, &offer, code, &reason);
                let told = Told::Refused(code, Text::clipped(&reason));
                return say_last(&mut send, &told).await;
            }
        };
        self.gate.open(offer.id);
        self.fill(&landing, &mut send, &mut recv).await?;
        if let Some(missing) = landing.missing() {
            send_frame(&mut send, &Told::Missing(missing), MAX_TALK_FRAME).await?;
        }
        // Perhaps it was the last thing that was missing, or nothing is.
        self.finish_if_complete(&landing).await;
        self.tell_news(&landing, &mut send, &mut recv).await
    }

    /// Remembers what was not let in, for whoever looks after this node.
    fn turn_away(&self, peer: NodeId, offer: &TransferOffer, code: DataRefusal, reason: &str) {
        if code == DataRefusal::Cancelled {
            return self.gate.open(offer.id);
        }
        let away = TurnedAway { id: offer.id, peer, bytes: offer.bytes, reason: reason.to_owned() };
        if self.gate.shut(away, Instant::now()) {
            tracing::warn!(transfer = %offer.id, peer = %peer.short(), bytes = offer.bytes, reason,
                "a transfer is not let in");
        }
    }

    /// The landing of what is offered; none if all of it is there.
    async fn landing_of(
        self: &Arc<Self>,
        peer: NodeId,
        offer: &TransferOffer,
        send: &mut SendStream,
        recv: &mut RecvStream,
    ) -> Result<Result<Option<Arc<Landing>>, Refused>, FramedError> {
        let known = match self.known(peer, offer) {
            Ok(known) => known,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Some(transfer) = known {
            return Ok(self.land_again(&transfer).await);
        }
        if let Err(refused) = self.has_room(peer, offer) {
            return Ok(Err(refused));
        }
        send_frame(send, &Told::SendManifest, MAX_TALK_FRAME).await?;
        let manifest = match read_manifest(offer, recv).await? {
            Ok(manifest) => manifest,
            Err(refused) => return Ok(Err(refused)),
        };
        Ok(self.land(peer, offer, manifest).await.map(Some))
    }

    /// The transfer that is offered, if it is known and goes on or is complete.
    fn known(&self, peer: NodeId, offer: &TransferOffer) -> Result<Option<Transfer>, Refused> {
        let known = self.find(offer.id).map_err(|error| Refused::internal(&error))?;
        match known {
            None if !self.trust.allows(peer, Scope::Data) => {
                let reason = "this peer may not send data here".to_owned();
                Err(Refused(DataRefusal::NotAllowed, reason))
            }
            None => Ok(None),
            Some(transfer)
                if transfer.peer == peer
                    && transfer.direction == Direction::Received
                    && transfer.manifest.hash == offer.manifest_hash =>
            {
                match transfer.ended().and_then(|(_, ending)| refusal(ending)) {
                    Some((code, reason)) => Err(Refused(code, reason)),
                    None => Ok(Some(transfer)),
                }
            }
            Some(_) => Err(ChangeError::Exists.into()),
        }
    }

    /// Whether the disk has room for it, and this peer may have so much of it.
    fn has_room(&self, peer: NodeId, offer: &TransferOffer) -> Result<(), Refused> {
        let held = self.store.read(|connection| transfers::held(connection, &peer));
        let held = held.map_err(|error| Refused::internal(&error))?;
        self.quota.check(held, offer.bytes)?;
        self.store.room_for_new_work().map_err(|_| Refused::disk_full())?;
        let free = rustix::fs::statvfs(&self.home)
            .map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let needed = offer.bytes.saturating_add(LEAVE_FREE);
        if needed <= free { Ok(()) } else { Err(Refused::disk_full()) }
    }

    /// One that is known: as it is in memory, or on disk after a restart.
    async fn land_again(
        self: &Arc<Self>,
        transfer: &Transfer,
    ) -> Result<Option<Arc<Landing>>, Refused> {
        if !transfer.is_live() {
            return Ok(None);
        }
        if let Some(landing) = self.landings.get(transfer.id) {
            return Ok(Some(landing));
        }
        let folder = self.incoming_folder(transfer.id);
        let opening = self.tasks.spawn_blocking(move || Incoming::open(&folder));
        let opened = opening.await.map_err(|error| Refused::internal(&error))?;
        let incoming = match opened {
            Ok(incoming) => incoming,
            // It was put there before this node stopped, and that was not written.
            Err(OpenError::NotThere { .. }) if self.inbox_folder(transfer.id).is_dir() => {
                self.end(transfer.id, Ending::Complete).await?;
                return Ok(None);
            }
            // It has to begin anew, with the next offer.
            Err(error @ (OpenError::NotThere { .. } | OpenError::Damaged { .. })) => {
                self.remove_folder(self.incoming_folder(transfer.id)).await;
                self.forget(transfer.id).await?;
                return Err(Refused::internal(&error));
            }
            Err(error @ OpenError::Disk(_)) => return Err(Refused::internal(&error)),
        };
        let landing = self.landings.add(Landing::new(transfer, incoming));
        self.note_landed(&landing);
        Ok(Some(landing))
    }

    /// A new one: its folder first, then its record.
    async fn land(
        self: &Arc<Self>,
        peer: NodeId,
        offer: &TransferOffer,
        manifest_bytes: Vec<u8>,
    ) -> Result<Arc<Landing>, Refused> {
        let invalid = |error: &dyn std::fmt::Display| {
            Refused(DataRefusal::Invalid, format!("the manifest: {error}"))
        };
        let manifest = Manifest::decode(&manifest_bytes).map_err(|error| invalid(&error))?;
        if manifest.totals().bytes != offer.bytes {
            return Err(invalid(&"it has another length than was offered"));
        }
        let now = clock::now();
        let digest = ManifestDigest { bytes: offer.manifest_bytes, hash: offer.manifest_hash };
        let mut transfer =
            Transfer::begin(offer.id, peer, Direction::Received, &manifest, digest, now);
        transfer.label = offer.label.as_str().to_owned();
        transfer.task = offer.task;
        let left = offer.expires_ms.map_or(KEPT_FOR, Duration::from_millis);
        transfer.expires = Some(now.saturating_add(left));
        // One at a time: a second talk about the same one must not find a folder
        // without a record, and take it for the rest of a crash.
        let _turn = self.beginning.lock().await;
        if let Some(landing) = self.landings.get(offer.id) {
            return Ok(landing);
        }
        let folder = self.incoming_folder(offer.id);
        let manifest = Arc::new(manifest);
        let creating = self.tasks.spawn_blocking(move || {
            pilot_tree::discard(&folder)?;
            Incoming::create(&folder, &manifest_bytes, manifest)
        });
        let created = creating.await.map_err(|error| Refused::internal(&error))?;
        let incoming = created.map_err(|error| Refused::from(&error))?;
        self.enter(transfer.clone()).await?;
        tracing::info!(transfer = %transfer.id, peer = %peer.short(), bytes = offer.bytes,
            "a transfer is coming in");
        Ok(self.landings.add(Landing::new(&transfer, incoming)))
    }

    /// Says how far it is until it is over, or the sender says that it is.
    async fn tell_news(
        self: &Arc<Self>,
        landing: &Arc<Landing>,
        send: &mut SendStream,
        recv: &mut RecvStream,
    ) -> Result<(), FramedError> {
        let mut news = landing.watch();
        let mut hearing = Box::pin(next_frame::<Said>(recv, MAX_TALK_FRAME));
        loop {
            let now = news.borrow_and_update().clone();
            match now {
                News::Complete => return say_last(send, &Told::Complete).await,
                News::Refused(code, reason) => {
                    let told = Told::Refused(code, Text::clipped(&reason));
                    return say_last(send, &told).await;
                }
                News::Arrived { pieces, .. } => {
                    send_frame(send, &Told::Arrived(pieces), MAX_TALK_FRAME).await?;
                }
            }
            let next = async {
                let is_over = |news: &News| !matches!(news, News::Arrived { .. });
                if timeout(TELL_EVERY, news.wait_for(is_over)).await.is_err() {
                    // The sender of the news stays while the landing does.
                    drop(news.changed().await);
                }
            };
            tokio::select! {
                () = next => {}
                said = &mut hearing => {
                    if let Some(Said::Failed(reason)) = said? {
                        self.fail(landing, Blame::Source, reason.as_str()).await;
                    }
                    // It says nothing else any more.
                    return Ok(());
                }
            }
        }
    }

    async fn answer_cancel(
        self: &Arc<Self>,
        peer: NodeId,
        id: TransferId,
        mut framed: Framed,
    ) -> Result<(), FramedError> {
        let unknown =
            || Told::Refused(DataRefusal::Unknown, Text::clipped("no such transfer here"));
        self.gate.open(id);
        let known =
            self.find(id).ok().flatten().filter(|transfer| {
                transfer.peer == peer && transfer.direction == Direction::Received
            });
        let told = match known {
            None => unknown(),
            Some(_) => match self.end(id, Ending::Cancelled).await {
                Ok(Some(transfer)) => match transfer.ended().map(|(_, ending)| refusal(ending)) {
                    Some(None) => Told::Complete,
                    Some(Some((code, reason))) => Told::Refused(code, Text::clipped(&reason)),
                    None => unknown(),
                },
                Ok(None) => unknown(),
                Err(error) => {
                    let Refused(code, reason) = error.into();
                    Told::Refused(code, Text::clipped(&reason))
                }
            },
        };
        framed.send(&told, MAX_TALK_FRAME).await?;
        framed.finish()
    }
}

async fn say_last(send: &mut SendStream, told: &Told) -> Result<(), FramedError> {
    send_frame(send, told, MAX_TALK_FRAME).await?;
    send.finish().map_err(|_| FramedError::Closed)
}

/// Reads the pages of a manifest that has the length and hash that were offered.
async fn read_manifest(
    offer: &TransferOffer,
    recv: &mut RecvStream,
) -> Result<Result<Vec<u8>, Refused>, FramedError> {
    let invalid = |reason: &str| Ok(Err(Refused(DataRefusal::Invalid, reason.to_owned())));
    let Ok(len @ 1..=MAX_MANIFEST) = usize::try_from(offer.manifest_bytes) else {
        return invalid("the manifest is too long");
    };
    let mut manifest = Vec::new();
    while manifest.len() < len {
        let said = timeout(PATIENCE, next_frame::<Said>(recv, MAX_TALK_FRAME)).await;
        match said.map_err(|_| FramedError::Stalled)??.ok_or(FramedError::Ended)? {
            Said::Page(page) if !page.is_empty() && manifest.len() + page.len() <= len => {
                manifest.extend_from_slice(&page);
            }
            Said::Page(_) | Said::Hashes(_) | Said::Failed(_) => {
                return invalid("the manifest did not come");
            }
        }
    }
    if *blake3::hash(&manifest).as_bytes() == offer.manifest_hash {
        Ok(Ok(manifest))
    } else {
        invalid("the manifest is another one than was offered")
    }
}
