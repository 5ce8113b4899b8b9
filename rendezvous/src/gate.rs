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

/// Receipts of one key a second: four full batches. Each costs the registry
/// two signatures, all of them some 3 % of a core, and who works faster
/// catches up later.
const RECEIPTS: NonZeroU32 = number(256);

/// Workers a second of whom one key may ask for the polo: ten full questions,
/// each of which takes some 20 ms if a full book is theirs.
const POLOS: NonZeroU32 = number(2560);

/// How many such workers a question for all that leads to a polo stands for:
/// its answer is as long as that of a full question.
const DETAIL: u32 = 256;

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
            receipts: Limiter::new(RECEIPTS, max_keys),
            polos: Limiter::new(POLOS, max_keys),
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
            Request::PutReceipts(receipts) => {
                tables.receipts.take_many(id, cost(receipts.as_slice()), now)
            }
            Request::Polo(ids) => tables.polos.take_many(id, cost(ids.as_slice()), now),
            Request::PoloOf(_) => tables.polos.take_many(id, DETAIL, now),
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

/// What a list costs: one each, and an empty one as much as one.
fn cost<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX).max(1)
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

    use pilot_identity::{Digest, NodeKey, Outcome, Receipt, ReceiptTimes};
    use pilot_proto::registry::{PoloIds, PutReceipt, Receipts};

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
    fn receipts_and_questions_for_polo_are_limited_by_what_they_cost() {
        let many = NonZeroU32::new(10_000).unwrap();
        let gate = Gate::new(&Rates { requests_per_second: many, ..rates(true) }, 10);
        let (ip, now) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Instant::now());
        let key = |seed| NodeKey::from_seed(&[seed; 32].into()).id();
        let admitted = |id, request: Request| {
            (0..2000).filter(|_| gate.admit(id, ip, &request, now).is_ok()).count()
        };
        let polos = |count| Request::Polo(PoloIds::batches(&vec![key(9); count]).remove(0));
        let receipts = |count| {
            let signed = receipt().sign(&NodeKey::from_seed(&[1; 32].into()));
            let receipt = signed.countersign(&NodeKey::from_seed(&[2; 32].into()));
            let put = PutReceipt { receipt, kind: 0 };
            Request::PutReceipts(Receipts::first_of(vec![put; count]))
        };

        assert_eq!(admitted(key(1), receipts(64)), 16);
        assert_eq!(admitted(key(2), receipts(1)), 1024);
        assert_eq!(admitted(key(3), Request::PutReceipts(Receipts::default())), 1024);
        assert_eq!(admitted(key(1), polos(256)), 40);
        assert_eq!(admitted(key(1), Request::PoloOf(key(2))), 0, "both are one kind of question");
        assert_eq!(admitted(key(2), Request::PoloOf(key(1))), 40, "each key for itself");
        assert_eq!(admitted(key(3), polos(10)), 1024);
        assert_eq!(admitted(key(1), Request::Beacons), 2000);
    }

    fn receipt() -> Receipt {
        Receipt {
            task: uuid::Uuid::nil(),
            attempt: 1,
            submitter: NodeKey::from_seed(&[2; 32].into()).id(),
            worker: NodeKey::from_seed(&[1; 32].into()).id(),
            outcome: Outcome::Succeeded,
            digest: Digest::of(b""),
            times: ReceiptTimes::default(),
        }
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
