//! A trusted peer that breaks whatever is asked of it, or lets it hang.

use std::time::{Duration, Instant};

use pilot_proto::control::{ControlAnswer, ControlRequest, Hello};
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::tasks::{
    MAX_ANSWER_FRAME, MAX_TASK_FRAME, Offer, TaskAnswer, TaskBody, TaskRequest,
};
use pilot_proto::{BootId, Service, TaskId, close, frame};
use pilot_tests::Team;
use pilot_transport::{Alpn, Endpoint, Framed};

use super::puppet::Puppet;

/// Accepts a connection, says hello, and breaks it off at the next stream.
async fn break_off(endpoint: &Endpoint) {
    // A node may dial twice and abandon one.
    let connection = loop {
        if let Ok(connection) = endpoint.accept().await.unwrap().accept().await {
            break connection;
        }
    };
    let (send, recv) = connection.accept_bi().await.unwrap();
    let mut control = Framed { send, recv };
    control.recv.read_exact(&mut [0; 2]).await.unwrap();
    control.expect::<ControlRequest>(MAX_SMALL_FRAME).await.unwrap();
    let hello = Hello { minor: 0, boot: BootId(1), capabilities: 0 };
    control.send(&ControlAnswer::Hello(hello), MAX_SMALL_FRAME).await.unwrap();
    control.finish().unwrap();
    connection.accept_bi().await.unwrap();
    connection.close(close::PROTOCOL, "not that");
}

#[test]
fn a_peer_that_breaks_every_session_is_dialled_with_pauses() {
    let team = Team::start(&["victim"]).unwrap();
    let mut puppet = Puppet::start(90, &[Alpn::Peer]).unwrap();
    puppet.befriend(&team, "victim").unwrap();
    team.api("victim").unwrap().submit(&puppet.peer(), "never taken").unwrap();

    let began = Instant::now();
    for _ in 0..6 {
        puppet.play(break_off(&puppet.endpoint)).unwrap();
    }

    // Two at once, as after a restart, and then half a second between.
    assert!(began.elapsed() > Duration::from_millis(1500), "{:?}", began.elapsed());
}

#[test]
fn a_peer_that_announces_large_frames_keeps_nobody_waiting() {
    let team = Team::start(&["target"]).unwrap();
    let (mut idle, mut busy) = (Puppet::start(91, &[]).unwrap(), Puppet::start(92, &[]).unwrap());
    idle.befriend(&team, "target").unwrap();
    busy.befriend(&team, "target").unwrap();
    let session = idle.session(team.node("target"), 1).unwrap();
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = idle.open(&session, Service::Tasks.number()).unwrap();
        let announced = u32::try_from(MAX_TASK_FRAME).unwrap().to_be_bytes();
        idle.play(stream.send.write_all(&announced)).unwrap().unwrap();
        open.push(stream);
    }
    // Streams come in order: those above were opened before this is answered.
    let mut echo = idle.open(&session, Service::Echo.number()).unwrap();
    let echoed = idle.play(async {
        echo.send.write_all(b"?").await.unwrap();
        echo.finish().unwrap();
        echo.recv.read_to_end(9).await
    });
    assert_eq!(echoed.unwrap().unwrap(), b"?");
    let body = TaskBody { description: "x".repeat(1024 * 1024), ..TaskBody::default() };
    let offer = Offer {
        id: TaskId::from_bytes([7; 16]),
        attempt: 1,
        priority: 0,
        deadline_ms: None,
        queue_timeout_ms: None,
        run_timeout_ms: None,
        body: frame::encode(&body, MAX_TASK_FRAME).unwrap().split_off(frame::PREFIX).into(),
    };

    let session = busy.session(team.node("target"), 1).unwrap();
    let mut stream = busy.open(&session, Service::Tasks.number()).unwrap();
    let answer = busy.play(async {
        stream.send(&TaskRequest::Offer(offer), MAX_TASK_FRAME).await.unwrap();
        stream.expect::<TaskAnswer>(MAX_ANSWER_FRAME).await
    });

    assert_eq!(answer.unwrap(), Ok(TaskAnswer::Offered));
}
