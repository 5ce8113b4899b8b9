//! Logs that are not the worker's own, and keys of two submitters.

use pilot_proto::tasks::{
    Logs, MAX_LOG_OFFSET, MAX_LOG_PIECE, Offer, TaskAnswer, TaskBody, TaskExtras, TaskRefusal,
    TaskRequest,
};
use pilot_tests::Team;

use super::peers::{exchange, offer, task};
use super::puppet::Puppet;

#[test]
fn nobody_but_its_worker_says_what_a_task_wrote() {
    let team = Team::start(&["target"]).unwrap();
    let mut worker = Puppet::start(31, &[]).unwrap();
    let mut other = Puppet::start(32, &[]).unwrap();
    worker.befriend(&team, "target").unwrap();
    other.befriend(&team, "target").unwrap();
    let target = team.api("target").unwrap();
    let id = target.submit(&worker.peer(), "for the worker").unwrap().id;
    let said = |puppet: &Puppet, logs: Logs| {
        let session = puppet.session(team.node("target"), 1).unwrap();
        exchange(puppet, &session, &TaskRequest::Logs(logs))
    };
    let logs = Logs { id, attempt: 1, offset: 0, bytes: b"real".as_slice().into() };
    let forged = Logs { bytes: b"forged".as_slice().into(), ..logs.clone() };
    let refused = |refusal| TaskAnswer::Refused(refusal);

    assert_eq!(said(&other, forged.clone()), refused(TaskRefusal::Unknown));
    let unknown = Logs { id: offer(1, &task("x")).id, ..forged.clone() };
    assert_eq!(said(&worker, unknown), refused(TaskRefusal::Unknown));
    let attempt = Logs { attempt: 2, ..forged.clone() };
    assert_eq!(said(&worker, attempt), refused(TaskRefusal::Superseded));
    let long = Logs { bytes: vec![0; MAX_LOG_PIECE + 1].into(), ..forged.clone() };
    assert_eq!(said(&worker, long), refused(TaskRefusal::Invalid));
    let far = Logs { offset: MAX_LOG_OFFSET + 1, ..forged };
    assert_eq!(said(&worker, far), refused(TaskRefusal::Invalid));
    for _ in 0..2 {
        assert_eq!(said(&worker, logs.clone()), TaskAnswer::Logged { end: 4 });
    }
    let question = Logs { bytes: bytes::Bytes::new(), ..logs };
    assert_eq!(said(&worker, question), TaskAnswer::Logged { end: 4 });

    let shown = team.node("target").ctl(&["task", "logs", &id.to_string()]).unwrap();
    assert_eq!(shown.stdout, b"real");
}

#[test]
fn of_the_tasks_of_a_key_one_is_worked_on_at_a_time() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(33, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let target = team.api("target").unwrap();
    let session = puppet.session(team.node("target"), 1).unwrap();
    let offered = |seed: u8, key: &str| {
        let extras = TaskExtras { exclusive: Some(key.to_owned()), ..TaskExtras::default() };
        let body = TaskBody { extras, ..task("exclusive") };
        let offer = Offer { body: body.encode().into(), ..offer(seed, &task("")) };
        (offer.id, exchange(&puppet, &session, &TaskRequest::Offer(offer)))
    };

    let (first, answer) = offered(1, "gpu");
    assert_eq!(answer, TaskAnswer::Offered);
    let (second, _) = offered(2, "gpu");
    let (third, _) = offered(3, "disk");
    let long = offered(4, &"k".repeat(129)).1;
    assert_eq!(long, TaskAnswer::Refused(TaskRefusal::Invalid));
    let accept = || target.accept_within(std::time::Duration::ZERO).unwrap().map(|task| task.id);

    assert_eq!([accept(), accept(), accept()], [Some(first), Some(third), None]);
    target.send_results(first, "done").unwrap();
    assert_eq!([accept(), accept()], [Some(second), None]);
}
