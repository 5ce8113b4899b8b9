//! Whoever can send datagrams to a socket, or sits on the way.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pilot_local_api::tasks::{Role, TaskState};
use pilot_local_api::trust::TrustState;
use pilot_tests::{Team, eventually};
use pilot_transport::MARK;

use super::peers::{a_task, noise};
use super::proxy::Proxy;

/// A manager and a worker that reach each other through proxies only.
fn apart(abusive: bool) -> (Team, [Proxy; 2]) {
    let mut team = Team::start(&[]).unwrap();
    let proxies = ["manager", "worker"].map(|name| {
        let proxy = Proxy::start().unwrap();
        if abusive {
            proxy.abuse();
        }
        let endpoint = proxy.addr().unwrap().to_string();
        team.add(name, &["-endpoint", &endpoint]).unwrap();
        proxy.stand_for(team.node(name).socket_addr().unwrap());
        proxy
    });
    team.trust("manager", "worker").unwrap();
    (team, proxies)
}

/// One task from submit to receipt.
fn one_task(team: &Team, words: &str) {
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    let id = manager.submit(&team.peer("worker"), words).unwrap().id;
    let accepted = worker.accept().unwrap();
    assert_eq!((accepted.id, accepted.description.as_str()), (id, words));
    worker.send_results(id, words).unwrap();
    manager.until_state(id, TaskState::Succeeded).unwrap();
    assert_eq!(manager.result(id).unwrap().data.as_deref(), Some(words));
    worker.until(id, "the receipt is back", |view| !view.result_pending).unwrap();
}

/// Both tunnels' ends say that nothing ever broke.
fn nothing_broke(team: &mut Team) {
    for name in ["manager", "worker"] {
        assert_eq!(team.api(name).unwrap().status().unwrap().peers.connected, 1);
        let log = team.node_mut(name).process().unwrap().errors();
        assert!(log.contains("peer connected"), "{log}");
        assert!(!log.contains("peer disconnected"), "{log}");
        assert!(!log.contains("panic"), "{log}");
    }
}

#[test]
fn replayed_altered_and_truncated_datagrams_disturb_no_tunnel() {
    let (mut team, proxies) = apart(true);

    for round in 0..20 {
        one_task(&team, &format!("round {round}"));
    }

    nothing_broke(&mut team);
    assert!(proxies.iter().map(Proxy::carried).sum::<u64>() > 40);
    assert_eq!(team.api("worker").unwrap().tasks(Role::Received).unwrap().len(), 20);
}

#[test]
fn a_closed_tunnel_leaves_silence() {
    let (team, proxies) = apart(false);
    one_task(&team, "before");
    let carried = || proxies.iter().map(Proxy::carried).sum::<u64>();
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    assert!(carried() > 10, "nothing went through the proxies");

    manager.untrust(&team.peer("worker")).unwrap();
    for (api, peer) in [(&manager, "worker"), (&worker, "manager")] {
        let peer = team.peer(peer);
        eventually("trust has ended", || Ok(!api.stands(&peer, TrustState::Trusted)?)).unwrap();
        assert_eq!(api.status().unwrap().peers.connected, 0);
    }
    // After the last words, and a try of what was waiting.
    let is_silent = || {
        let before = carried();
        // More than a keepalive's time, in which the two once sent 25,000 a second.
        assert_eq!(worker.accept_within(Duration::from_secs(5))?, None);
        Ok(carried() == before)
    };
    eventually("there is silence", is_silent).unwrap();
}

#[test]
fn a_flood_of_forged_datagrams_changes_nothing_and_stops_no_work() {
    let mut team = Team::start(&["manager", "worker"]).unwrap();
    team.trust("manager", "worker").unwrap();
    one_task(&team, "before");
    let sockets = [
        team.node("manager").socket_addr().unwrap(),
        team.node("worker").socket_addr().unwrap(),
        team.rendezvous.addr(),
    ];
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));

    std::thread::scope(|scope| {
        scope.spawn(|| flood(&sockets, &over, &sent));
        while sent.load(Ordering::Relaxed) < 1000 {
            std::thread::yield_now();
        }
        for round in 0..10 {
            one_task(&team, &format!("round {round}"));
        }
        while sent.load(Ordering::Relaxed) < 20_000 {
            one_task(&team, "one more");
        }
        over.store(true, Ordering::Relaxed);
    });

    nothing_broke(&mut team);
    let worker = team.api("worker").unwrap();
    let received = worker.tasks(Role::Received).unwrap();
    assert!(received.iter().all(|task| task.state == TaskState::Succeeded), "{received:?}");
    assert_eq!(worker.status().unwrap().peers.pending, 0);
    // The rendezvous is there as before.
    team.add("newcomer", &[]).unwrap();
}

/// Datagrams of every sort: noise, what is plain text inside a tunnel, and
/// both behind whatever the first bytes of a datagram may be.
fn flood(sockets: &[SocketAddr], over: &AtomicBool, sent: &AtomicU64) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let plain = a_task();
    let heads: [&[u8]; 7] = [
        &[],
        &MARK,
        &[0x03, 0xeb],
        &[0x40],
        &[0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0x96],
        &[0xe0, 0, 0, 0, 1, 8],
        &[0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42],
    ];
    let mut seed = 0;
    while !over.load(Ordering::Relaxed) {
        seed += 1;
        for head in heads {
            for body in [plain.clone(), noise(seed, 40), noise(seed, 1200)] {
                let datagram = [head, &body].concat();
                for to in sockets {
                    // A full buffer drops it, as the network may.
                    drop(socket.send_to(&datagram, to));
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        // Leaves the daemons their share of the machine.
        std::thread::yield_now();
    }
}
