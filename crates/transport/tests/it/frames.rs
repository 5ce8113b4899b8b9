//! Large frames, and who must wait for whom.

use std::time::Duration;

use pilot_transport::{
    AcceptError, Alpn, Budget, Connection, Expect, FramedError, Priority, RecvStream, SendStream,
    next_frame_within, send_frame,
};
use tokio::time::Instant;

use crate::nodes::{connected, in_time, node, node_with, settings};

const LIMIT: usize = 1024 * 1024;

const LARGE: usize = 200 * 1024;

/// A stream on which a large frame is announced and nothing of it is sent.
async fn promised(from: &Connection, to: &Connection) -> (SendStream, RecvStream) {
    let (mut send, _) = from.open_bi(Priority::Task).await.unwrap();
    send.write_all(&u32::try_from(LARGE).unwrap().to_be_bytes()).await.unwrap();
    (send, to.accept_bi().await.unwrap().1)
}

/// A stream on which a large frame is sent.
async fn sent(from: &Connection, to: &Connection) -> RecvStream {
    let (mut send, _) = from.open_bi(Priority::Task).await.unwrap();
    send_frame(&mut send, &vec![7_u8; LARGE - 3], LIMIT).await.unwrap();
    send.finish().unwrap();
    to.accept_bi().await.unwrap().1
}

async fn read(recv: &mut RecvStream, budget: &Budget) -> Result<usize, FramedError> {
    let read = next_frame_within::<Vec<u8>>(recv, LIMIT, budget).await?;
    Ok(read.map_or(0, |(bytes, _share)| bytes.len()))
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_stays_away_gives_its_memory_back_to_those_that_wait() {
    let (client, server) = (node(1), node(2));
    let (ours, theirs) = connected(&client, &server).await;
    let budget = Budget::new(LARGE);
    let (_open, mut idle) = promised(&ours, &theirs).await;
    let mut busy = sent(&ours, &theirs).await;

    let outcomes =
        async { tokio::join!(biased; read(&mut idle, &budget), read(&mut busy, &budget)) };
    let outcomes = tokio::time::timeout(Duration::from_secs(120), outcomes).await;

    assert_eq!(outcomes, Ok((Err(FramedError::Stalled), Ok(LARGE - 3))));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_trickles_is_given_up_too() {
    let (client, server) = (node(1), node(2));
    let (ours, theirs) = connected(&client, &server).await;
    let budget = Budget::new(LARGE);
    let (mut open, mut idle) = promised(&ours, &theirs).await;
    let trickle = async {
        loop {
            open.write_all(&[0]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    };
    let began = Instant::now();

    let outcome = tokio::select! {
        outcome = read(&mut idle, &budget) => outcome,
        () = trickle => unreachable!(),
    };

    assert_eq!(outcome, Err(FramedError::Stalled));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test]
async fn who_has_a_part_of_the_memory_leaves_the_rest_to_others() {
    let server = node(1);
    let (slow, quick) = (node(2), node(3));
    let (theirs, at_slow) = connected(&slow, &server).await;
    let (others, at_quick) = connected(&quick, &server).await;
    let whole = Budget::new(2 * LARGE);
    let (part, other) = (whole.part(LARGE), whole.part(LARGE));
    let (_one, mut one) = promised(&theirs, &at_slow).await;
    let (_two, mut two) = promised(&theirs, &at_slow).await;
    let mut quick = sent(&others, &at_quick).await;

    let got = in_time(async {
        tokio::select! {
            biased;
            _ = read(&mut one, &part) => None,
            _ = read(&mut two, &part) => None,
            got = read(&mut quick, &other) => Some(got),
        }
    });

    assert_eq!(got.await, Some(Ok(LARGE - 3)));
}

#[tokio::test]
async fn a_handshake_that_is_kept_half_done_gives_its_place_back() {
    let path = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut patient = settings(&[Alpn::Peer]);
    patient.idle_timeout = Duration::from_secs(3600);
    patient.handshake_timeout = Duration::from_millis(300);
    let (client, server) = (node(1), node_with(2, patient));
    let dial = client.connect(Expect::Key(server.id()), path.local_addr().unwrap(), Alpn::Peer);
    let mut first = vec![0; 2048];
    let half = async {
        let len = path.recv(&mut first).await.unwrap();
        path.send_to(&first[..len], server.local_addr()).await.unwrap();
        server.accept().await.unwrap().accept().await
    };

    let accepted = tokio::select! {
        accepted = in_time(half) => accepted,
        dialled = dial => panic!("{dialled:?}"),
    };

    assert!(matches!(accepted, Err(AcceptError::TooSlow)), "{accepted:?}");
}
