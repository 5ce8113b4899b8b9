//! A trusted peer whose tasks and results name files that are not theirs, or
//! not there.

use std::fs;

use pilot_local_api::tasks::TaskState;
use pilot_proto::data::{Told, TransferOffer};
use pilot_proto::manifest;
use pilot_proto::tasks::{Attached, ResultBody, TaskAnswer, TaskBody, TaskRefusal, TaskRequest};
use pilot_proto::{TaskId, TransferId};
use pilot_tests::Team;
use pilot_transport::{Connection, Framed};

use super::files::{entry, file, last_of, offered, piece, send_pieces, transfer_id};
use super::peers::{encoded, exchange, offer, result, task};
use super::puppet::Puppet;

const CONTENT: &[u8] = b"right";

/// Offers a transfer of one file that belongs to `task`.
fn begin(puppet: &Puppet, session: &Connection, seed: u8, task: TaskId) -> (Framed, Attached) {
    let manifest = manifest::encode(&[entry(0, b"five", file(5))]).unwrap();
    let plain = super::files::offer(seed, &manifest, 5);
    let offer = TransferOffer { task: Some(task), ..plain };
    let (talk, told) = offered(puppet, session, &offer, &manifest);
    assert!(matches!(told, Told::Missing(_)), "{told:?}");
    let manifest_hash = offer.manifest_hash;
    (talk, Attached { transfer: transfer_id(seed), manifest_hash, files: 1, bytes: 5 })
}

/// Sends what is missing.
fn end(puppet: &Puppet, session: &Connection, talk: &mut Framed, id: TransferId) {
    let bytes = piece(0, CONTENT, *blake3::hash(CONTENT).as_bytes());
    send_pieces(puppet, session, id, &bytes);
    assert_eq!(last_of(puppet, talk), Told::Complete);
}

/// What is answered to a task that names these files.
fn offer_with(puppet: &Puppet, session: &Connection, seed: u8, files: Attached) -> TaskAnswer {
    let body = TaskBody { attached: Some(files), ..task("look") };
    exchange(puppet, session, &TaskRequest::Offer(offer(seed, &body)))
}

fn refused(refusal: TaskRefusal) -> TaskAnswer {
    TaskAnswer::Refused(refusal)
}

/// Ways to name files that are not just these.
fn lies(files: Attached) -> [Attached; 4] {
    [
        Attached { transfer: transfer_id(200), ..files },
        Attached { manifest_hash: [0; 32], ..files },
        Attached { files: 2, ..files },
        Attached { bytes: u64::MAX, ..files },
    ]
}

#[test]
fn a_task_is_taken_with_its_own_files_and_with_no_others() {
    let team = Team::start(&["target"]).unwrap();
    let [mut one, mut other] = [41, 42].map(|seed| Puppet::start(seed, &[]).unwrap());
    one.befriend(&team, "target").unwrap();
    other.befriend(&team, "target").unwrap();
    let session = one.session(team.node("target"), 1).unwrap();
    let second = other.session(team.node("target"), 1).unwrap();
    let wanted = offer(1, &task("look")).id;

    let (mut talk, files) = begin(&one, &session, 1, wanted);
    let too_early = offer_with(&one, &session, 1, files);
    assert_eq!(too_early, refused(TaskRefusal::Internal), "not all of it is here: try later");
    end(&one, &session, &mut talk, files.transfer);
    for lie in lies(files) {
        assert_eq!(offer_with(&one, &session, 1, lie), refused(TaskRefusal::Invalid), "{lie:?}");
    }
    let of_another_task = offer_with(&one, &session, 2, files);
    let of_another_peer = offer_with(&other, &second, 1, files);
    assert_eq!([of_another_task, of_another_peer], [(); 2].map(|()| refused(TaskRefusal::Invalid)));
    let api = team.api("target").unwrap();
    assert_eq!(api.accept_within(std::time::Duration::ZERO).unwrap(), None);

    assert_eq!(offer_with(&one, &session, 1, files), TaskAnswer::Offered);
    let accepted = api.accept().unwrap();
    assert_eq!(accepted.id, wanted);
    let path = accepted.attachments[0].path.clone().unwrap();
    assert_eq!(fs::read(path.as_path()).unwrap(), CONTENT);
    // An offer again is the same one, also if its files have been removed since.
    api.send_results(wanted, "seen").unwrap();
    api.remove_transfer(files.transfer).unwrap();
    assert_eq!(offer_with(&one, &session, 1, files), TaskAnswer::Offered);
}

#[test]
fn a_result_is_taken_with_its_own_files_and_with_no_others() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(43, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let session = puppet.session(team.node("target"), 1).unwrap();
    let target = team.api("target").unwrap();
    let wanted = target.submit(&puppet.peer(), "for the puppet").unwrap().id;
    let give = |files| {
        let body =
            ResultBody { data: "see".into(), attached: Some(files), ..ResultBody::default() };
        let result = result(&puppet, &team, wanted, encoded(&body));
        exchange(&puppet, &session, &TaskRequest::Result(result))
    };

    let (mut talk, files) = begin(&puppet, &session, 1, wanted);
    assert_eq!(give(files), refused(TaskRefusal::Internal), "not all of it is here: try later");
    end(&puppet, &session, &mut talk, files.transfer);
    for lie in lies(files) {
        assert_eq!(give(lie), refused(TaskRefusal::Invalid), "{lie:?}");
    }
    assert!(!target.task(wanted).unwrap().state.is_terminal());

    assert!(matches!(give(files), TaskAnswer::Receipt(_)));
    let result = target.result(wanted).unwrap();
    assert_eq!((result.state, result.data.as_deref()), (TaskState::Succeeded, Some("see")));
    let path = result.attachments[0].path.clone().unwrap();
    assert_eq!(fs::read(path.as_path()).unwrap(), CONTENT);
}

#[test]
fn whoever_only_brings_files_cannot_end_the_task_that_they_wait_for() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(44, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let session = puppet.session(team.node("target"), 1).unwrap();
    let folder = team.path("files");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("f"), "x").unwrap();
    let target = team.api("target").unwrap();
    let request = pilot_tests::api::with_files(&puppet.peer(), "for the puppet", &[&folder]);
    let waiting = target.submit_as(&request).unwrap();

    let body = encoded(&ResultBody::default());
    let result = result(&puppet, &team, waiting.id, body);
    let answer = exchange(&puppet, &session, &TaskRequest::Result(result));

    assert_eq!(answer, refused(TaskRefusal::Unknown));
    assert_eq!(target.task(waiting.id).unwrap().state, TaskState::Queued);
}
