//! Keeps the port of this node mapped at its router, where there is one.

use std::net::{SocketAddr, SocketAddrV4};

use pilot_overlay::Overlay;
use pilot_portmap::Mapping;
use pilot_transport::local_candidates;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Serves until `stop`, and tells what is mapped. A node that is bound to loopback, or has no private
/// address, asks nobody.
pub(crate) async fn keep(
    overlay: Overlay,
    told: watch::Sender<Vec<Mapping>>,
    stop: CancellationToken,
) {
    let (at, local) = watch::channel(None);
    let mut mapped = told.subscribe();
    let follow = async {
        let mut candidates = overlay.reach().candidates();
        loop {
            let now = private(&local_candidates(overlay.local_addr()));
            at.send_if_modified(|at| std::mem::replace(at, now) != now);
            if candidates.changed().await.is_err() {
                return;
            }
        }
    };
    let tell = async {
        while mapped.changed().await.is_ok() {
            let mappings = mapped.borrow_and_update().clone();
            let external = mappings.iter().map(|mapping| mapping.external).collect();
            overlay.reach().set_port_mapped(external);
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = pilot_portmap::keep(local, told) => {}
        () = follow => {}
        () = tell => {}
    }
}

/// The address behind a NAT, if there is one.
fn private(candidates: &[SocketAddr]) -> Option<SocketAddrV4> {
    candidates.iter().find_map(|candidate| match candidate {
        SocketAddr::V4(at) if at.ip().is_private() => Some(*at),
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_private_address_is_behind_a_router_that_may_be_asked() {
        let first = |texts: &[&str]| {
            let all: Vec<SocketAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
            private(&all).map(|at| at.to_string())
        };

        assert_eq!(
            first(&["203.0.113.9:7", "[fd00::1]:7", "192.168.1.11:7", "10.0.0.1:7"]),
            Some("192.168.1.11:7".to_owned())
        );
        assert_eq!(first(&["203.0.113.9:7", "127.0.0.1:7", "[::1]:7"]), None);
    }
}
