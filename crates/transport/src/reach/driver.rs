//! The one task that gives the machines their packets and their time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep_until, timeout};

use super::Reach;
use super::beacon::Errand;
use super::network::Network;
use crate::candidates::local_candidates;
use crate::carrier::{Carrier, CarrierError, Opening, Pump, open};

/// How long a name may take to be looked up.
const LOOK_UP_PATIENCE: Duration = Duration::from_secs(5);

/// Longest time without a look at the clock.
const IDLE: Duration = Duration::from_secs(60);

/// What an errand comes back with.
enum Done {
    LookedUp(usize, std::io::Result<Vec<SocketAddr>>),
    Carried(usize, Result<(Carrier, Pump), CarrierError>),
    /// A carrier has ended.
    Ended,
    /// The network of this machine may have changed.
    Changed(Network),
}

impl Reach {
    /// Finds paths and keeps them, until the endpoint is gone. The first call
    /// counts; others return at once.
    ///
    /// Cancel safe: dropped, paths stay as they are and nothing is answered.
    pub async fn drive(&self) {
        let Some(mut datagrams) = self.take_datagrams() else { return };
        let listen = self.0.socket.local();
        let mut errands: FuturesUnordered<BoxFuture<'_, Done>> = FuturesUnordered::new();
        errands.push(next_change(Network::watch()));
        self.with(|state, now| state.set_own(local_candidates(listen), now));
        loop {
            let (due, next) = {
                let mut state = self.lock();
                let now = Instant::now();
                let due = state.beacons.errands(now);
                (due, state.next_deadline())
            };
            for errand in due {
                errands.push(self.run(errand));
            }
            let latest = Instant::now() + IDLE;
            let until = next.map_or(latest, |next| next.min(latest));
            tokio::select! {
                datagram = datagrams.next() => match datagram {
                    Some(datagram) => self.lock().handle(&datagram, Instant::now()),
                    None => return,
                },
                () = self.0.poked.notified() => {}
                () = self.0.socket.routes.stirred.notified() => {
                    self.lock().peers.look_at_stirred(Instant::now());
                }
                Some(done) = errands.next() => {
                    self.finish(done, &mut errands);
                }
                () = sleep_until(until.into()) => self.lock().handle_timeout(Instant::now()),
            }
        }
    }

    fn run(&self, errand: Errand) -> BoxFuture<'_, Done> {
        match errand {
            Errand::LookUp(at, target) => Box::pin(async move {
                let found = async {
                    let found = tokio::net::lookup_host((target.host(), target.port())).await?;
                    Ok(found.collect())
                };
                let found = timeout(LOOK_UP_PATIENCE, found).await;
                Done::LookedUp(
                    at,
                    found.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())),
                )
            }),
            Errand::Carry(at, target, key) => Box::pin(async move {
                let Self(inner) = self;
                let opening =
                    Opening { socket: &inner.socket, tls: &inner.tls, proxies: &inner.proxies };
                Done::Carried(at, open(&opening, &target, key).await)
            }),
        }
    }

    fn finish<'a>(&'a self, done: Done, errands: &mut FuturesUnordered<BoxFuture<'a, Done>>) {
        let mut state = self.lock();
        let (me, now) = (state.key.id(), Instant::now());
        match done {
            Done::LookedUp(at, found) => state.beacons.looked_up(at, found, me, now),
            Done::Carried(at, Ok((carrier, pump))) => {
                state.beacons.carried(at, Ok(carrier), me, now);
                errands.push(Box::pin(async move {
                    pump.await;
                    Done::Ended
                }));
            }
            Done::Carried(at, Err(error)) => {
                tracing::debug!(%error, "no carrier");
                state.beacons.carried(at, Err(error.to_string()), me, now);
            }
            Done::Ended => {}
            Done::Changed(network) => {
                state.set_own(local_candidates(self.0.socket.local()), now);
                errands.push(next_change(network));
            }
        }
        state.run_beacons(now);
    }
}

/// Of which a part done is kept while other things happen.
fn next_change<'a>(mut network: Network) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        network.changed().await;
        Done::Changed(network)
    })
}
