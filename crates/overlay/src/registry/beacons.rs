//! Which beacons a node uses: those its operator names, and those the
//! rendezvous tells of.

use pilot_proto::registry::Beacon;
use pilot_transport::{BeaconAt, HostPort};

/// The operator's beacons first. Where the rendezvous tells of one without a
/// host, it means its own.
pub(super) fn list(configured: &[HostPort], registry: &HostPort, told: &[Beacon]) -> Vec<BeaconAt> {
    let told = told.iter().filter_map(|beacon| {
        let host = beacon.host.as_str();
        let at = match host {
            "" => registry.at(beacon.port),
            host => HostPort::new(host, beacon.port).ok(),
        };
        Some(BeaconAt { target: at?, key: Some(beacon.key) })
    });
    let mut list: Vec<BeaconAt> = Vec::new();
    for beacon in told {
        if !list.iter().any(|known| known.target == beacon.target) {
            list.push(beacon);
        }
    }
    for (place, given) in configured.iter().enumerate() {
        let known = list.iter().position(|beacon| beacon.target == *given);
        let beacon = match known {
            Some(known) => list.remove(known),
            None => BeaconAt { target: given.clone(), key: None },
        };
        list.insert(place.min(list.len()), beacon);
    }
    list
}

#[cfg(test)]
mod tests {
    use pilot_identity::NodeKey;
    use pilot_proto::beacon::Services;
    use pilot_proto::text::Text;
    use zeroize::Zeroizing;

    use super::*;

    fn at(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    fn told(host: &str, port: u16) -> Beacon {
        let key = NodeKey::from_seed(&Zeroizing::new([1; 32])).id();
        Beacon { host: Text::clipped(host), port, key, services: Services::ALL }
    }

    fn listed(configured: &[&str], told: &[Beacon]) -> Vec<(String, bool)> {
        let configured: Vec<HostPort> = configured.iter().copied().map(at).collect();
        list(&configured, &at("pilot.example:9000"), told)
            .into_iter()
            .map(|beacon| (beacon.target.to_string(), beacon.key.is_some()))
            .collect()
    }

    #[test]
    fn the_rendezvous_own_beacon_is_where_the_rendezvous_is() {
        let beacons = [told("", 9001), told("far.example", 9001), told("", 9001), told("", 0)];

        assert_eq!(
            listed(&[], &beacons),
            [("pilot.example:9001".to_owned(), true), ("far.example:9001".to_owned(), true)]
        );
    }

    #[test]
    fn the_operators_beacon_comes_first_and_takes_the_key_that_is_told() {
        let beacons = [told("far.example", 9001), told("", 9001)];

        assert_eq!(listed(&["near.example:1"], &[]), [("near.example:1".to_owned(), false)]);
        assert_eq!(
            listed(&["pilot.example:9001"], &beacons),
            [("pilot.example:9001".to_owned(), true), ("far.example:9001".to_owned(), true)]
        );
    }
}
