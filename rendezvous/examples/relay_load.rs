//! How fast the beacon relays, and what that costs it.
//!
//! ```text
//! cargo run --release --example relay_load [SECONDS] [IDLE CLIENTS] [BATCHES AHEAD]
//! ```
//!
//! One node sends batches of 64 KiB to another through a beacon in this
//! process, as fast as they arrive. A line says how much arrived, how much of
//! it was lost, and the CPU time of the beacon's thread alone; another what the
//! process holds in memory with idle clients bound. The first says where the
//! beacon is, for whoever wants to send it something else meanwhile.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    dead_code,
    reason = "a measuring program, with the node of the tests"
)]

#[path = "../tests/it/relayed.rs"]
mod relayed;

use std::fs;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pilot_proto::beacon::Services;
use pilot_rendezvous::beacon::{Admission, Beacon, BeaconSettings, ByteRate};
use relayed::{Relayed, id, key};

/// Datagrams of a batch, and the bytes of each: what nodes send.
const DATAGRAMS: usize = 45;
const STRIDE: usize = 1452;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("a number"));
    let (seconds, idle, ahead) =
        (words.next().unwrap_or(5), words.next().unwrap_or(5_000), words.next().unwrap_or(16));
    let settings = BeaconSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        alternate: None,
        services: Services::ALL,
        admission: Admission::Open,
        max_clients: NonZeroU32::MAX,
        client_rate: ByteRate(0),
        pair_rate: ByteRate(0),
        binds_per_second: NonZeroU32::MAX,
        stun_per_second: NonZeroU32::MAX,
        limit_loopback: false,
    };
    let server = key(0);
    let server_id = server.id();
    let beacon = Beacon::start(Arc::new(server), &settings).unwrap();
    let addr = beacon.local_addr();
    println!("beacon on {addr}");
    let before = resident();
    for seed in 0..idle {
        // Each idle node has its own port, and closes it again: the beacon
        // keeps it for its ninety seconds.
        Relayed::bound(u16::try_from(seed).unwrap() + 100, addr, server_id).await;
    }
    println!("{idle} idle clients: {} kB resident, {} kB before", resident(), before);

    let sender = Relayed::bound(1, addr, server_id).await;
    let batch = Relayed::relayed(id(2), &[0x40; STRIDE - 16]).repeat(DATAGRAMS);
    let arrived = Arc::new(AtomicU64::new(0));
    let (ready, is_ready) = std::sync::mpsc::channel();
    let counted = Arc::clone(&arrived);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let receiver = Relayed::bound(2, addr, server_id).await;
            ready.send(()).unwrap();
            let mut buffer = vec![0; 65_536];
            loop {
                let received = receiver.receive_batch(&mut buffer);
                let Ok((len, _)) = tokio::time::timeout(Duration::from_secs(1), received).await
                else {
                    return;
                };
                counted.fetch_add(u64::try_from(len).unwrap(), Ordering::Relaxed);
            }
        });
    });
    is_ready.recv().unwrap();
    let (start, cpu) = (Instant::now(), cpu_of("beacon"));
    let mut sent = 0;
    let len = u64::try_from(batch.len()).unwrap();
    while start.elapsed() < Duration::from_secs(seconds) {
        // As a congestion window would: no more than so much on its way.
        let mut patience = 0;
        while sent > arrived.load(Ordering::Relaxed) + ahead * len && patience < 10_000 {
            tokio::task::yield_now().await;
            std::thread::yield_now();
            patience += 1;
        }
        if patience == 10_000 {
            sent = arrived.load(Ordering::Relaxed);
        }
        sender.send_batch(&batch, STRIDE).await;
        sent += len;
    }
    let took = start.elapsed().as_secs_f64();
    let used = cpu_of("beacon") - cpu;
    thread.join().unwrap();
    let counters = beacon.counters();
    #[expect(clippy::cast_precision_loss, reason = "shown to a person")]
    let (got, passed) =
        (arrived.load(Ordering::Relaxed) as f64 / 1e9, counters.forwarded_bytes as f64 / 1e9);
    println!(
        "{got:.2} GB arrived in {took:.1} s, {:.0} MB/s; {passed:.2} GB passed on; {:.3} CPU s/GB \
         in the beacon; overflowed {}, garbage {}",
        got * 1000.0 / took,
        used.as_secs_f64() / passed,
        counters.overflowed,
        counters.garbage,
    );
    println!("{} kB resident at the end", resident());
}

/// What the thread of this name has used of the CPU.
fn cpu_of(name: &str) -> Duration {
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        if fs::read_to_string(task.join("comm")).unwrap().trim() == name {
            let stat = fs::read_to_string(task.join("schedstat")).unwrap();
            return Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap());
        }
    }
    panic!("no thread {name}");
}

/// Kilobytes that this process holds.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
