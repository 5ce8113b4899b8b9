//! How little is sent when there is nothing to say.

use std::time::Duration;

use crate::homes::Homes;
use crate::nat::{Kind, PortRule};

const MINUTE: Duration = Duration::from_secs(60);

/// The most probes that either side sent in any minute of the next twenty,
/// after the first few minutes.
fn busiest_minute(homes: &mut Homes) -> usize {
    homes.world.run_for(5 * MINUTE);
    let start = homes.world.now;
    homes.world.run_for(20 * MINUTE);
    let sides = [(homes.a, homes.b), (homes.b, homes.a)];
    let sent = |(node, peer), minute| {
        let from = start + minute * MINUTE;
        homes.world.peer(node, peer).probes_between(from, from + MINUTE)
    };
    sides.into_iter().flat_map(|side| (0..20).map(move |minute| sent(side, minute))).max().unwrap()
}

#[test]
fn an_idle_direct_pair_sends_a_ping_and_a_pong_for_each_keepalive() {
    let mut homes = Homes::of(1, Kind::PortRestricted, Kind::PortRestricted, PortRule::Random);
    homes.talk_direct();
    homes.world.traffic(homes.a, homes.b, false);

    // 25 s: three pings in a minute at most, and as many pongs.
    assert!(busiest_minute(&mut homes) <= 6);
    assert!(homes.both_direct(), "{}", homes.story());
    let direct = |(node, peer)| homes.world.peer(node, peer).uses.len();
    assert!([(homes.a, homes.b), (homes.b, homes.a)].map(direct).iter().all(|uses| *uses <= 3));
}

#[test]
fn an_idle_pair_that_cannot_be_direct_tries_a_few_times_an_hour() {
    for (a, b) in [
        (Kind::Symmetric, Kind::Symmetric),
        (Kind::Blocked, Kind::Cone),
        (Kind::Blocked, Kind::Blocked),
    ] {
        let mut homes = Homes::of(2, a, b, PortRule::Random);
        homes.talk();
        homes.world.traffic(homes.a, homes.b, false);

        let most = busiest_minute(&mut homes);

        assert!(most < 30, "{a:?} and {b:?}: {most}");
    }
}

#[test]
fn a_pair_that_nobody_wants_is_silent() {
    let mut homes = Homes::of(3, Kind::Cone, Kind::Cone, PortRule::Random);
    assert_eq!(busiest_minute(&mut homes), 0);

    homes.talk_direct();
    homes.world.traffic(homes.a, homes.b, false);
    homes.world.want(homes.a, homes.b, false);
    homes.world.want(homes.b, homes.a, false);

    assert_eq!(busiest_minute(&mut homes), 0);
    // Relayed again, and ready for the next one.
    assert!(!homes.both_direct());
    homes.talk_direct();
}

#[test]
fn a_busy_direct_pair_is_pinged_about_once_a_second() {
    let mut homes = Homes::of(4, Kind::Cone, Kind::Cone, PortRule::Random);
    homes.talk_direct();
    homes.world.run_for(Duration::from_secs(60));
    let start = homes.world.now;
    homes.world.run_for(MINUTE);

    for (node, peer) in [(homes.a, homes.b), (homes.b, homes.a)] {
        let sent = homes.world.peer(node, peer).probes_between(start, homes.world.now);
        assert!((110..=150).contains(&sent), "{sent} probes in a minute");
    }
}
