//! Lifetimes of mappings, found out.

use std::collections::BTreeMap;

use super::*;
use crate::clock;

const SERVER: &str = "203.0.113.10:9001";

/// A NAT that forgets after a while, and a server.
struct Lab {
    forgets: Duration,
    knows_response_port: bool,
    used: BTreeMap<u16, (LocalId, Instant)>,
    open: Vec<LocalId>,
    now: Instant,
    start: Instant,
}

impl Lab {
    fn new(forgets: u64) -> Self {
        let now = clock::start();
        let (used, open) = (BTreeMap::new(), Vec::new());
        let forgets = Duration::from_secs(forgets);
        Self { forgets, knows_response_port: true, used, open, now, start: now }
    }

    fn answer(&mut self, ask: &StunAsk) -> Option<StunHeard> {
        let own = 5_000 + u16::try_from(ask.local.0).unwrap();
        self.used.insert(own, (ask.local, self.now));
        let mapped = SocketAddr::from(([198, 51, 100, 2], own));
        let what = Heard::Answer { mapped, other: None };
        let to = ask.response_port.filter(|_| self.knows_response_port).unwrap_or(own);
        let (local, used) = self.used.get(&to)?;
        let alive = self.now < *used + self.forgets;
        alive.then_some(StunHeard { id: ask.id, local: *local, what })
    }

    /// Runs to the end, or for so long.
    fn run(&mut self, lifetime: &mut Lifetime, until: Option<Duration>) {
        loop {
            while let Some(output) = lifetime.poll_output() {
                match output {
                    StunOutput::Ask(ask) => {
                        if let Some(heard) = self.answer(&ask) {
                            lifetime.handle_stun(heard, self.now);
                        }
                    }
                    StunOutput::OpenSockets { request, count } => {
                        self.open = (1..=u32::from(count)).map(LocalId).collect();
                        let sockets = self.open.iter().map(|local| (*local, None)).collect();
                        lifetime.handle_sockets(Opened { request, sockets }, self.now);
                    }
                    StunOutput::CloseSockets(locals) => {
                        self.open.retain(|local| !locals.contains(local));
                    }
                }
            }
            let Some(next) = lifetime.next_deadline() else { return };
            if until.is_some_and(|until| next > self.start + until) {
                return;
            }
            self.now = next;
            lifetime.handle_timeout(next);
        }
    }

    fn measure(&mut self) -> Lifetime {
        let mut lifetime = Lifetime::new();
        lifetime.handle_server(Some(SERVER.parse().unwrap()), 0, self.now);
        self.run(&mut lifetime, None);
        assert_eq!(self.open, []);
        lifetime
    }
}

#[test]
fn the_keepalive_is_just_under_the_longest_silence_that_was_survived() {
    let seconds = Duration::from_secs;
    for (forgets, survived, keepalive) in
        [(120, 26, 25), (30, 26, 25), (20, 16, 15), (12, 10, 9), (7, 6, 5), (5, 4, 3)]
    {
        let lifetime = Lab::new(forgets).measure();

        assert_eq!(lifetime.measured(), Some(seconds(survived)), "{forgets}");
        assert_eq!(lifetime.keepalive(), seconds(keepalive), "{forgets}");
        assert!(lifetime.keepalive() < seconds(forgets));
    }
}

#[test]
fn it_takes_half_a_minute_and_a_short_life_is_noticed_before() {
    let mut lab = Lab::new(5);
    let mut lifetime = Lifetime::new();
    lifetime.handle_server(Some(SERVER.parse().unwrap()), 0, lab.now);
    assert_eq!(lifetime.keepalive(), KEEPALIVE);

    lab.run(&mut lifetime, Some(Duration::from_secs(8)));
    assert_eq!((lifetime.measured(), lifetime.keepalive()), (None, Duration::from_secs(3)));

    lab.run(&mut lifetime, None);
    assert!(lab.now < lab.start + Duration::from_secs(29));
    assert_eq!(lifetime.measured(), Some(Duration::from_secs(4)));
}

#[test]
fn a_server_that_does_not_know_response_port_teaches_nothing() {
    let mut lab = Lab { knows_response_port: false, ..Lab::new(120) };

    let lifetime = lab.measure();

    assert_eq!((lifetime.measured(), lifetime.keepalive()), (None, KEEPALIVE));
}

#[test]
fn silence_teaches_nothing_either() {
    let lifetime = Lab::new(1).measure();

    assert_eq!((lifetime.measured(), lifetime.keepalive()), (None, KEEPALIVE));
}

#[test]
fn another_network_is_measured_anew_and_the_same_is_not() {
    let mut lab = Lab::new(30);
    let mut lifetime = lab.measure();
    let server = Some(SERVER.parse().unwrap());

    lifetime.handle_server(server, 0, lab.now);
    assert!(lifetime.poll_output().is_none());
    lifetime.handle_server(server, 1, lab.now);
    assert_eq!(lifetime.measured(), None);
    lab.forgets = Duration::from_secs(8);
    lab.run(&mut lifetime, None);

    assert_eq!(lifetime.keepalive(), Duration::from_secs(5));
}

#[test]
fn fewer_sockets_measure_fewer_silences() {
    let lab = Lab::new(120);
    let mut lifetime = Lifetime::new();
    lifetime.handle_server(Some(SERVER.parse().unwrap()), 0, lab.now);
    let Some(StunOutput::OpenSockets { request, .. }) = lifetime.poll_output() else { panic!() };

    lifetime.handle_sockets(Opened { request, sockets: vec![(LocalId(1), None)] }, lab.now);

    assert_eq!(lifetime.poll_output(), Some(StunOutput::CloseSockets(vec![LocalId(1)])));
    assert_eq!(lifetime.next_deadline(), None);
}
