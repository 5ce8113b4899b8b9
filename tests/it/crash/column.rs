//! One team goes through every moment with the same victims.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use pilot_local_api::status::QueueCounts;
use pilot_local_api::tasks::{Role, TaskState, TaskView};
use pilot_proto::TaskId;
use pilot_tests::{Api, Team, eventually};

use super::cell::{Cell, MOMENTS, Moment, Program};
use super::send_results_unheard;

/// Runs every cell of these victims; gives those that passed, all of them.
pub(super) fn run(victims: &'static [Program]) -> anyhow::Result<Vec<Cell>> {
    let mut team = super::team();
    let mut ids = BTreeSet::new();
    let mut done = Vec::new();
    for moment in MOMENTS {
        let cell = Cell { moment, victims };
        let plan = Plan { moments: &[moment], victims };
        let id = play(&mut team, plan).with_context(|| format!("{cell:?}"))?;
        ensure!(ids.insert(id), "{cell:?}: an id came twice");
        done.push(cell);
    }
    let (manager, worker) = (team.api("manager")?, team.api("worker")?);
    for (api, role) in [(&manager, Role::Submitted), (&worker, Role::Received)] {
        let listed = api.tasks(role)?;
        ensure!(listed.iter().all(|task| task.state == TaskState::Succeeded), "{listed:?}");
        ensure!(listed.iter().map(|task| task.id).collect::<BTreeSet<_>>() == ids, "{listed:?}");
        let queues = api.status()?.queues;
        ensure!(queues == QueueCounts::default(), "{role:?}: {queues:?}");
    }
    Ok(done)
}

/// The same victims at every moment of one task.
pub(super) fn run_at_once(victims: &'static [Program]) -> anyhow::Result<()> {
    let mut team = super::team();
    play(&mut team, Plan { moments: &MOMENTS, victims }).map(drop)
}

/// When to strike, and whom.
#[derive(Debug, Clone, Copy)]
struct Plan<'a> {
    moments: &'a [Moment],
    victims: &'a [Program],
}

impl Plan<'_> {
    fn strikes(&self, moment: Moment) -> bool {
        self.moments.contains(&moment)
    }
}

/// Lets a task go its way, as planned.
fn play(team: &mut Team, plan: Plan<'_>) -> anyhow::Result<TaskId> {
    let result = format!("-result of {plan:?}");
    if plan.strikes(Moment::Submitted) {
        freeze(team, "worker")?;
    }
    let id = team.api("manager")?.submit(&team.peer("worker"), &format!("{plan:?}"))?.id;
    if plan.strikes(Moment::Submitted) {
        let state = team.api("manager")?.task(id)?.state;
        ensure!(state == TaskState::Queued, "too late: {state}");
    }
    strike(team, plan, Moment::Submitted)?;

    team.api("manager")?.until_state(id, TaskState::Delivered)?;
    strike(team, plan, Moment::Delivered)?;

    let accepted = team.api("worker")?.accept()?;
    ensure!(accepted.id == id && accepted.attempt == 1, "{accepted:?}");
    strike(team, plan, Moment::Accepted)?;
    team.api("manager")?.until_state(id, TaskState::Accepted)?;
    is_not_given_again(&team.api("worker")?)?;

    if plan.strikes(Moment::Sending) {
        send_results_unheard(team.api("worker")?.client(), id, &result)?;
        strike(team, plan, Moment::Sending)?;
    }
    if plan.strikes(Moment::Sent) {
        freeze(team, "manager")?;
    }
    let sent = team.api("worker")?.send_results(id, &result)?;
    ensure!(sent.state == TaskState::Succeeded, "{sent:?}");
    let too_late = plan.strikes(Moment::Sent) && !sent.result_pending;
    // What was sent before a strike may have gone all the way since.
    ensure!(!too_late || plan.strikes(Moment::Sending), "too late: {sent:?}");
    strike(team, plan, Moment::Sent)?;

    team.api("manager")?.until_state(id, TaskState::Succeeded)?;
    strike(team, plan, Moment::Arrived)?;

    let confirmed = |view: &TaskView| !view.result_pending;
    team.api("worker")?.until(id, "the receipt is back", confirmed)?;
    strike(team, plan, Moment::Confirmed)?;

    both_sides_agree(team, id, &result)?;
    if plan.victims.contains(&Program::Rendezvous) {
        bring_back_the_rendezvous(team)?;
    }
    Ok(id)
}

/// Kills the victims if it is time, and starts the daemons among them again.
/// The rendezvous stays away until the task has ended: it is not needed.
fn strike(team: &mut Team, plan: Plan<'_>, now: Moment) -> anyhow::Result<()> {
    if !plan.strikes(now) {
        return Ok(());
    }
    for victim in plan.victims {
        match victim {
            Program::Manager => team.node_mut("manager").kill()?,
            Program::Worker => team.node_mut("worker").kill()?,
            Program::Rendezvous => team.rendezvous.kill()?,
        }
    }
    for (name, program) in [("manager", Program::Manager), ("worker", Program::Worker)] {
        if plan.victims.contains(&program) {
            team.node_mut(name).restart()?;
        } else {
            team.node_mut(name).process().context("not running")?.thaw()?;
        }
    }
    Ok(())
}

fn freeze(team: &mut Team, name: &str) -> anyhow::Result<()> {
    team.node_mut(name).process().context("not running")?.freeze()
}

fn is_not_given_again(worker: &Api) -> anyhow::Result<()> {
    let given = worker.accept_within(Duration::ZERO)?;
    ensure!(given.is_none(), "given again: {given:?}");
    Ok(())
}

fn both_sides_agree(team: &Team, id: TaskId, result: &str) -> anyhow::Result<()> {
    let (manager, worker) = (team.api("manager")?, team.api("worker")?);
    is_not_given_again(&worker)?;
    let life = [TaskState::Queued, TaskState::Delivered, TaskState::Accepted, TaskState::Succeeded];
    // Being delivered is how it begins at the worker's node.
    for (view, wanted) in [
        (manager.task(id)?, life.as_slice()),
        (worker.task(id)?, life.get(1..).unwrap_or_default()),
    ] {
        ensure!(view.state == TaskState::Succeeded && view.attempt == 1, "{view:?}");
        ensure!(!view.result_pending && !view.late_result, "{view:?}");
        let mut states: Vec<TaskState> = view.history.iter().map(|change| change.state).collect();
        states.dedup();
        ensure!(states == wanted, "{view:?}");
    }
    let data = manager.result(id)?.data;
    ensure!(data.as_deref() == Some(result), "{data:?}");
    Ok(())
}

fn bring_back_the_rendezvous(team: &mut Team) -> anyhow::Result<()> {
    team.rendezvous.restart()?;
    for name in ["manager", "worker"] {
        let api = team.api(name)?;
        eventually(&format!("{name} is registered again"), || {
            Ok(api.status()?.rendezvous.connected)
        })?;
        let address = api.whoami()?.identity.address.map(|address| address.to_string());
        ensure!(address.as_deref() == Some(team.address(name)), "{name} is now {address:?}");
    }
    Ok(())
}
