//! Cookies: what a beacon remembers of a hello is in the challenge itself.
//!
//! A cookie is a MAC over place, key and time, so that a flood of hellos from
//! addresses that are not its sender's costs no memory.

use std::time::{Duration, Instant};

use pilot_proto::beacon::COOKIE_BYTES;

use super::place::Place;

/// A cookie holds for the rest of the window in which it was made, and the
/// next: one to two of these. Shorter than a client's silence until it is
/// forgotten, so no recorded bind outlives what its number is compared with.
const WINDOW: Duration = Duration::from_secs(30);

type Cookie = [u8; COOKIE_BYTES];

#[derive(Debug)]
pub(super) struct Cookies {
    secret: [u8; 32],
    since: Instant,
}

impl Cookies {
    /// `secret` is drawn anew at each start.
    pub(super) const fn new(secret: [u8; 32], since: Instant) -> Self {
        Self { secret, since }
    }

    pub(super) fn make(&self, place: Place, client: &[u8; 32], now: Instant) -> Cookie {
        self.of_window(place, client, self.window(now))
    }

    pub(super) fn holds(
        &self,
        cookie: &Cookie,
        place: Place,
        client: &[u8; 32],
        now: Instant,
    ) -> bool {
        let window = self.window(now);
        let is_of = |window| differs(&self.of_window(place, client, window), cookie) == 0;
        is_of(window) || window.checked_sub(1).is_some_and(is_of)
    }

    fn window(&self, now: Instant) -> u64 {
        now.duration_since(self.since).as_secs() / WINDOW.as_secs()
    }

    fn of_window(&self, place: Place, client: &[u8; 32], window: u64) -> Cookie {
        let mut mac = blake3::Hasher::new_keyed(&self.secret);
        match place {
            Place::Udp { remote, local } => {
                let local = local.map_or_else(String::new, |ip| ip.to_string());
                mac.update(&[0]).update(format!("{remote} {local}").as_bytes())
            }
            Place::Carrier { id, .. } => mac.update(&[1]).update(&id.0.to_be_bytes()),
        };
        mac.update(&[0]).update(client).update(&window.to_be_bytes());
        mac.finalize().as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

/// Zero if they are the same; takes as long for the first byte as for the last.
fn differs(a: &Cookie, b: &Cookie) -> u8 {
    a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b))
}

#[cfg(test)]
mod tests {
    use super::super::place::CarrierId;
    use super::*;

    const CLIENT: [u8; 32] = [1; 32];

    fn udp(port: u16) -> Place {
        Place::udp(([192, 0, 2, 1], port).into(), None)
    }

    #[test]
    fn a_cookie_is_of_one_place_and_one_key() {
        let start = Instant::now();
        let cookies = Cookies::new([7; 32], start);
        let cookie = cookies.make(udp(1), &CLIENT, start);

        assert!(cookies.holds(&cookie, udp(1), &CLIENT, start));
        let carrier = Place::Carrier { id: CarrierId(1), remote: ([192, 0, 2, 1], 1).into() };
        for place in [udp(2), Place::udp(([192, 0, 2, 2], 1).into(), None), carrier] {
            assert!(!cookies.holds(&cookie, place, &CLIENT, start), "{place:?}");
        }
        assert!(!cookies.holds(&cookie, udp(1), &[2; 32], start));
        assert!(!Cookies::new([8; 32], start).holds(&cookie, udp(1), &CLIENT, start));
        for at in 0..COOKIE_BYTES {
            let mut changed = cookie;
            changed[at] ^= 1;
            assert!(!cookies.holds(&changed, udp(1), &CLIENT, start), "{at}");
        }
    }

    #[test]
    fn a_cookie_lasts_for_its_window_and_the_next() {
        let start = Instant::now();
        let cookies = Cookies::new([7; 32], start);
        let at = |secs| start + Duration::from_secs(secs);
        let (early, late) =
            (cookies.make(udp(1), &CLIENT, at(30)), cookies.make(udp(1), &CLIENT, at(59)));

        for cookie in [early, late] {
            assert!(cookies.holds(&cookie, udp(1), &CLIENT, at(59)));
            assert!(cookies.holds(&cookie, udp(1), &CLIENT, at(89)));
            assert!(!cookies.holds(&cookie, udp(1), &CLIENT, at(90)));
            assert!(!cookies.holds(&cookie, udp(1), &CLIENT, at(29)));
        }
    }
}
