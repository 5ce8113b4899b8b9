//! Who is let in, and how often they may ask.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pilot_identity::NodeId;
use pilot_proto::registry::{Refusal, RefusalCode, Request};
use pilot_transport::{Knock, Knocks, Limiter};

use crate::registry::refusal;
use crate::settings::Rates;

/// Sources that may be busy at once; see [`Limiter`].
const MAX_SOURCES: usize = 65_536;

/// Batches of receipts of one key a second. Each costs the registry at most
/// 64 times two signatures: four of them some 3 % of a core, and who works
/// faster catches up later.
const RECEIPT_BATCHES: NonZeroU32 = number(4);

/// Questions of one key for polo a second, each of which goes over all pairs
/// of up to 256 workers: some 20 ms if a full book is theirs.
const POLO_LOOKUPS: NonZeroU32 = number(10);

#[derive(Debug)]
pub(crate) struct Gate {
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    connections: Knocks,
    requests: Limiter<NodeId>,
    key_lookups: Limiter<NodeId>,
    receipts: Limiter<NodeId>,
    polos: Limiter<NodeId>,
}

impl Gate {
    /// `max_keys` may be busy at once.
    pub(crate) fn new(rates: &Rates, max_keys: usize) -> Self {
        let tables = Tables {
            connections: Knocks::new(
                rates.connections_per_second,
                MAX_SOURCES,
                rates.limit_loopback,
            ),
            requests: Limiter::new(rates.requests_per_second, max_keys),
            key_lookups: Limiter::new(rates.key_lookups_per_second, max_keys),
            receipts: Limiter::new(RECEIPT_BATCHES, max_keys),
            polos: Limiter::new(POLO_LOOKUPS, max_keys),
        };
        Self { tables: Mutex::new(tables) }
    }

    /// Somebody knocks from `ip`; `is_proved` if it answers there.
    pub(crate) fn knock(&self, ip: IpAddr, is_proved: bool, now: Instant) -> Knock {
        self.tables().connections.knock(ip, is_proved, now)
    }

    /// Lets a request in, or says why not.
    pub(crate) fn admit(
        &self,
        id: NodeId,
        from: IpAddr,
        request: &Request,
        now: Instant,
    ) -> Result<(), Refusal> {
        let mut tables = self.tables();
        if tables.connections.is_exempt(from) {
            return Ok(());
        }
        let taken = tables.requests.take(id, now).and_then(|()| match request {
            Request::KeyOf(_) => tables.key_lookups.take(id, now),
            Request::PutReceipts(_) => tables.receipts.take(id, now),
            Request::Polo(_) | Request::PoloOf(_) => tables.polos.take(id, now),
            Request::Register(_)
            | Request::Resolve(_)
            | Request::Roster { .. }
            | Request::PutGrants(_)
            | Request::AckGrants(_)
            | Request::Watch
            | Request::Release
            | Request::Beacons => Ok(()),
        });
        taken.map_err(limited)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn number(of: u32) -> NonZeroU32 {
    match NonZeroU32::new(of) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

fn limited(wait: Duration) -> Refusal {
    // Rounded up, so that who waits that long is not a moment too early.
    let retry_after_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).saturating_add(1);
    refusal(RefusalCode::RateLimited { retry_after_ms }, "this node asks too often")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use pilot_proto::registry::{PoloIds, Receipts};

    use super::*;
    use crate::settings::Settings;

    fn rates(limit_loopback: bool) -> Rates {
        let one = NonZeroU32::MIN;
        Rates {
            connections_per_second: one,
            requests_per_second: one,
            key_lookups_per_second: one,
            limit_loopback,
        }
    }

    #[test]
    fn a_busy_source_proves_itself_and_is_then_refused() {
        let gate = Gate::new(&rates(false), 10);
        let (ip, now) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), Instant::now());

        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(gate.knock(ip, false, now));
        }
        assert_eq!(seen, [Knock::Accept, Knock::Accept, Knock::Accept, Knock::Prove]);
        assert_eq!(gate.knock(ip, true, now), Knock::Accept);
        assert_eq!(gate.knock(ip, true, now), Knock::Refuse);
        let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
        assert_eq!(gate.knock(other, false, now), Knock::Accept);
    }

    #[test]
    fn receipts_and_questions_for_polo_are_limited_beside_all_requests() {
        let many = NonZeroU32::new(1000).unwrap();
        let gate = Gate::new(&Rates { requests_per_second: many, ..rates(true) }, 10);
        let (ip, now) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Instant::now());
        let key = |seed| pilot_identity::NodeKey::from_seed(&[seed; 32].into()).id();
        let admitted = |id, request: Request| {
            (0..200).filter(|_| gate.admit(id, ip, &request, now).is_ok()).count()
        };

        assert_eq!(admitted(key(1), Request::PutReceipts(Receipts::default())), 16);
        assert_eq!(admitted(key(1), Request::Polo(PoloIds::default())), 40);
        assert_eq!(admitted(key(1), Request::PoloOf(key(2))), 0, "both are one kind of question");
        assert_eq!(admitted(key(2), Request::PoloOf(key(1))), 40, "each key for itself");
        assert_eq!(admitted(key(1), Request::Beacons), 200);
    }

    #[test]
    fn this_machine_is_not_limited_unless_it_is_set() {
        let (ip, now) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Instant::now());
        let accepted = |limit| {
            let gate = Gate::new(&rates(limit), 10);
            (0..100).filter(|_| gate.knock(ip, true, now) == Knock::Accept).count()
        };

        assert_eq!((accepted(false), accepted(true)), (100, 4));
        let default = Settings::new(([127, 0, 0, 1], 0).into(), "/".into());
        assert!(!default.rates.limit_loopback);
    }
}
