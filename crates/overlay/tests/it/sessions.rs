//! One session a peer, for the admitted alone, gone when it should be.

use pilot_overlay::{DialError, LinkEvent};
use pilot_proto::close;
use pilot_transport::{FramedError, Priority};

use crate::nodes::{Doomed, Node, echo, pair, within};

#[tokio::test]
async fn whoever_dials_both_use_one_session() {
    let (mut one, mut two) = pair();

    let dialled = within(one.overlay.session(two.id)).await.unwrap();
    assert_eq!(two.hears(one.id).await, LinkEvent::Up);
    let again = within(one.overlay.session(two.id)).await.unwrap();
    let accepted = within(two.overlay.session(one.id)).await.unwrap();

    assert_eq!(dialled.connection().stable_id(), again.connection().stable_id());
    assert!(echo(&dialled).await && echo(&accepted).await);
    assert_eq!((one.heard(), two.heard()), (vec![LinkEvent::Up], vec![]));
}

#[tokio::test]
async fn two_that_dial_at_once_keep_one_session_and_lose_no_stream() {
    for _ in 0..10 {
        let (mut one, mut two) = pair();

        let (from_one, from_two) = within(async {
            tokio::join!(one.overlay.session(two.id), two.overlay.session(one.id))
        })
        .await;

        assert!(echo(&from_one.unwrap()).await && echo(&from_two.unwrap()).await);
        assert!(echo(&one.overlay.current(&two.id).unwrap()).await);
        assert!(echo(&two.overlay.current(&one.id).unwrap()).await);
        let ups = |events: Vec<LinkEvent>| events.iter().filter(|e| **e == LinkEvent::Up).count();
        assert_eq!((ups(one.heard()), ups(two.heard())), (1, 1));
    }
}

#[tokio::test]
async fn a_key_that_is_not_admitted_gets_no_session() {
    let (mut one, mut two) = pair();
    two.expel(one.id);

    let refused = within(one.overlay.session(two.id)).await.unwrap_err();
    one.expel(two.id);
    let own = within(one.overlay.session(two.id)).await.unwrap_err();

    assert!(matches!(refused, DialError::NotTrustedThere), "{refused:?}");
    assert!(matches!(own, DialError::NotTrusted), "{own:?}");
    assert!(!two.heard().contains(&LinkEvent::Up) && !one.heard().contains(&LinkEvent::Up));
}

#[tokio::test]
async fn parting_ends_the_session_at_both_ends() {
    let (one, mut two) = pair();
    let session = within(one.overlay.session(two.id)).await.unwrap();
    assert_eq!(two.hears(one.id).await, LinkEvent::Up);

    one.expel(two.id);
    one.overlay.part(&two.id, close::NOT_TRUSTED, "over");

    assert_eq!(two.hears(one.id).await, LinkEvent::Down);
    assert_eq!(two.hears(one.id).await, LinkEvent::NotTrusted);
    assert!(!echo(&session).await);
    assert!(two.overlay.current(&one.id).is_none() && one.overlay.current(&two.id).is_none());
}

#[tokio::test]
async fn a_stream_of_a_peer_that_is_not_admitted_any_more_is_refused() {
    let (one, two) = pair();
    let session = within(one.overlay.session(two.id)).await.unwrap();
    assert!(echo(&session).await);

    // The connection itself is not closed: the stream alone is checked.
    two.expel(one.id);

    assert!(!echo(&session).await);
    assert!(!session.connection().is_closed());
}

#[tokio::test]
async fn an_unknown_service_is_refused_and_the_session_lives_on() {
    let (one, two) = pair();
    let session = within(one.overlay.session(two.id)).await.unwrap();

    let (mut send, mut recv) = within(session.connection().open_bi(Priority::Task)).await.unwrap();
    send.write_all(&999_u16.to_be_bytes()).await.unwrap();
    let refused: FramedError = within(recv.read_exact(&mut [0; 1])).await.unwrap_err().into();

    assert!(
        matches!(refused, FramedError::Stopped { code } if code == close::UNKNOWN_SERVICE),
        "{refused:?}"
    );
    assert!(echo(&session).await);
}

#[tokio::test]
async fn waiting_for_a_peer_ends_when_it_appears_and_when_trust_ends() {
    let (one, two) = (Node::start(1, 10), Node::start(2, 20));
    one.admit(two.id);
    two.admit(one.id);
    let waiting = one.overlay.connected(two.id);
    let appear = async {
        tokio::task::yield_now().await;
        one.meet(&two);
    };

    let (session, ()) = within(async { tokio::join!(waiting, appear) }).await;

    assert!(echo(&session.unwrap()).await);
    one.expel(two.id);
    one.overlay.part(&two.id, close::NOT_TRUSTED, "over");
    let over = within(one.overlay.connected(two.id)).await.unwrap_err();
    assert!(matches!(over, DialError::NotTrusted), "{over:?}");
}

#[tokio::test]
async fn a_peer_that_restarted_is_dialled_anew_and_its_dead_session_buried() {
    let mut one = Node::start(1, 10);
    let two = Doomed::start(2, 20, &one);
    let old = within(one.overlay.session(two.id)).await.unwrap();
    assert_eq!(one.hears(two.id).await, LinkEvent::Up);

    // As after a kill -9: the same key and another run, elsewhere; nobody says goodbye.
    let id = two.id;
    two.kill();
    let reborn = Node::start(2, 21);
    reborn.admit(one.id);
    one.meet(&reborn);
    let new = within(one.overlay.connected(id)).await.unwrap();

    assert_eq!(one.hears(id).await, LinkEvent::Down);
    assert!(old.connection().is_closed());
    assert!(echo(&new).await);
    assert_eq!(new.connection().remote_addr(), reborn.overlay.local_addr());
}

#[tokio::test]
async fn a_node_that_stops_says_goodbye() {
    let (one, mut two) = pair();
    drop(within(one.overlay.session(two.id)).await.unwrap());
    assert_eq!(two.hears(one.id).await, LinkEvent::Up);

    within(one.overlay.stop()).await;

    assert_eq!(two.hears(one.id).await, LinkEvent::Down);
    assert!(matches!(
        within(one.overlay.session(two.id)).await,
        Err(DialError::Stopping | DialError::Unreachable(_))
    ));
}
