//! How often strangers may knock, each source by itself.

use core::num::NonZeroU32;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pilot_transport::{Knock, Knocks, Limiter, source};

/// New connections a second from one source; four seconds' worth at once.
///
/// All nodes of a site behind one address that come back together fit into
/// the burst, and what is refused tries again within a second.
const CONNECTIONS: NonZeroU32 = number(50);

/// Trust exchanges a second from one source; four seconds' worth at once. A
/// person pairs nodes one by one, and whoever is refused leaves its grant at
/// the rendezvous.
const TRUST_EXCHANGES: NonZeroU32 = number(5);

/// Sources that may be busy at once; beyond it new ones are refused.
const MAX_SOURCES: usize = 4096;

#[derive(Debug)]
pub(crate) struct Gate {
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    connections: Knocks,
    trust_exchanges: Limiter<IpAddr>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let connections = Knocks::new(CONNECTIONS, MAX_SOURCES, false);
        let trust_exchanges = Limiter::new(TRUST_EXCHANGES, MAX_SOURCES);
        Self { tables: Mutex::new(Tables { connections, trust_exchanges }) }
    }

    /// Somebody knocks from `ip`; `is_proved` if it answers there.
    pub(crate) fn knock(&self, ip: IpAddr, is_proved: bool, now: Instant) -> Knock {
        self.tables().connections.knock(ip, is_proved, now)
    }

    /// Whether somebody who was let in may hold a trust exchange.
    pub(crate) fn may_exchange(&self, ip: IpAddr, now: Instant) -> bool {
        let mut tables = self.tables();
        tables.connections.is_exempt(ip) || tables.trust_exchanges.take(source(ip), now).is_ok()
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

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn a_busy_source_proves_itself_is_refused_and_harms_no_other() {
        let gate = Gate::new();
        let (ip, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = Instant::now();
        let knock = |is_proved| gate.knock(ip, is_proved, now);

        let unproved = (0..1000).filter(|_| knock(false) == Knock::Accept).count();
        let proved = (0..1000).filter(|_| knock(true) == Knock::Accept).count();

        assert!(unproved + proved == 200 && unproved < 110, "{unproved} and {proved}");
        assert_eq!((knock(false), knock(true)), (Knock::Prove, Knock::Refuse));
        assert_eq!(gate.knock(other, false, now), Knock::Accept);
        assert_eq!(gate.knock(ip, true, now + Duration::from_secs(1)), Knock::Accept);
    }

    #[test]
    fn trust_exchanges_of_a_source_are_fewer() {
        let gate = Gate::new();
        let (ip, now) = ("2001:db8::1".parse().unwrap(), Instant::now());

        let held = (0..1000).filter(|_| gate.may_exchange(ip, now)).count();

        assert_eq!(held, 20);
        let neighbour = "2001:db8::2".parse().unwrap();
        assert!(!gate.may_exchange(neighbour, now), "one network is one source");
        assert!((0..1000).all(|_| gate.may_exchange("::1".parse().unwrap(), now)));
    }
}
