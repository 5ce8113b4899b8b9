//! Brings grants to their receivers: over the open tunnel, through the
//! rendezvous, and at the endpoints known from before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pilot_identity::{NodeId, SignedGrant};
use pilot_overlay::{DialError, Overlay};
use pilot_proto::registry::{Answer, Grants, PutGrant, Request};
use pilot_proto::trust::{TrustAnswer, TrustOffer};
use pilot_trust::Via;
use tokio_util::sync::CancellationToken;

use super::TrustService;

/// Pause before grants that have not reached the rendezvous are put there
/// again, while the line is up.
const PUT_AGAIN: Duration = Duration::from_secs(60);

impl TrustService {
    /// Brings a grant to its receiver on every way there is: over the open
    /// tunnel, through the rendezvous, and at the endpoints known from before.
    pub(super) async fn deliver(self: Arc<Self>, to: NodeId, grant: SignedGrant) {
        let Ok(_turn) = self.carriers.acquire().await else { return };
        let Some(overlay) = self.overlay.get() else { return };
        self.to_put.notify_one();
        let serial = grant.assume_verified().serial;
        if overlay.send_grant(&to, grant.clone()).await {
            self.quiet_turn(|machine, _| machine.handle_delivered(to, serial, Via::Peer)).await;
        } else {
            self.offer_directly(to, grant).await;
        }
    }

    /// Dials the endpoints known from before and holds a trust exchange.
    pub(super) async fn offer_directly(self: &Arc<Self>, to: NodeId, grant: SignedGrant) {
        let Some(overlay) = self.overlay.get() else { return };
        let endpoints: Vec<SocketAddr> =
            overlay.card(&to).map_or_else(Vec::new, |card| card.endpoints.as_slice().to_vec());
        if endpoints.is_empty() {
            return;
        }
        let serial = grant.assume_verified().serial;
        let me = overlay.registry().and_then(|registry| registry.status().registered);
        let offer = TrustOffer {
            grant,
            address: me.as_ref().map(|me| me.address),
            name: me.and_then(|me| me.name),
        };
        let answer = overlay.offer_trust(to, &endpoints, &offer).await;
        let yours = match answer {
            Ok(TrustAnswer::Stored { yours }) => {
                self.quiet_turn(|machine, _| machine.handle_delivered(to, serial, Via::Peer)).await;
                yours
            }
            Ok(TrustAnswer::Stale { serial, yours }) => {
                self.quiet_turn(|machine, now| {
                    machine.handle_peer_serial(to, serial, Via::Peer, now);
                })
                .await;
                yours
            }
            Ok(TrustAnswer::Invalid | TrustAnswer::Full) | Err(DialError::NotTrusted) => None,
            Err(error) => {
                tracing::debug!(peer = %to.short(), %error, "no trust exchange");
                None
            }
        };
        if let Some(yours) = yours.filter(|yours| yours.assume_verified().from == to)
            && let Err(error) = self.receive(&yours, None).await
        {
            tracing::warn!(%error, "a grant could not be written");
        }
    }

    /// Puts grants at the rendezvous whenever some are not there.
    pub(super) async fn put_at_registry(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.to_put.notified() => {
                    self.put_all().await;
                    self.put.notify_one();
                }
                () = tokio::time::sleep(PUT_AGAIN) => self.put_all().await,
            }
        }
    }

    async fn put_all(self: &Arc<Self>) {
        let Some(registry) = self.overlay.get().and_then(Overlay::registry) else { return };
        let grants: Vec<SignedGrant> = self.look(|machine, now| {
            machine
                .grants_to_deliver(now)
                .filter(|signed| {
                    let record = machine.record(signed.assume_verified().to);
                    record.is_some_and(|record| !record.reached.registry)
                })
                .cloned()
                .collect()
        });
        for batch in Grants::batches(grants) {
            let request = Request::PutGrants(batch.clone());
            match registry.ask(&request).await {
                Ok(Answer::GrantsPut(answers)) => self.put(&batch, &answers).await,
                Ok(_) => tracing::warn!("the rendezvous answered something else than was asked"),
                Err(error) => {
                    tracing::debug!(%error, "grants are not at the rendezvous yet");
                    return;
                }
            }
        }
    }

    async fn put(self: &Arc<Self>, grants: &Grants, answers: &[PutGrant]) {
        for (signed, answer) in grants.as_slice().iter().zip(answers) {
            let grant = signed.assume_verified();
            let (to, sent) = (grant.to, grant.serial);
            match *answer {
                PutGrant::Stored => {
                    self.quiet_turn(|machine, _| {
                        machine.handle_delivered(to, sent, Via::Registry);
                    })
                    .await;
                }
                PutGrant::Stale { serial } => {
                    self.quiet_turn(|machine, now| {
                        machine.handle_peer_serial(to, serial, Via::Registry, now);
                    })
                    .await;
                }
                PutGrant::Invalid | PutGrant::NoSuchNode | PutGrant::MailboxFull => {
                    tracing::warn!(peer = %to.short(), ?answer, "the rendezvous did not take a grant");
                }
            }
        }
    }
}
