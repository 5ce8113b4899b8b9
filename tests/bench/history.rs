//! A node that has done very many tasks: what it takes to list, accept and start.

use std::time::Instant;

use anyhow::Context as _;
use pilot_local_api::tasks::{AcceptRequest, ListQuery, SendResultsRequest, SubmitRequest};
use pilot_tests::Programs;

use crate::line::Line;
use crate::load::block_on;
use crate::pair::Pair;
use crate::samples::Samples;
use crate::tasks;

/// Finished tasks in the store of each node.
const FINISHED: usize = 100_000;

/// How often each is measured, and how often the daemon is started.
const TIMES: usize = 100;
const STARTS: usize = 5;

pub(crate) fn with_history(_: &Programs) -> anyhow::Result<Vec<Line>> {
    block_on(async {
        let mut pair = Pair::start().await?;
        let few = listing(&pair, &ListQuery::default()).await?;
        tasks::crowd(&pair, FINISHED).await?;
        let all = listing(&pair, &ListQuery::default()).await?;
        let failed = Some(pilot_local_api::tasks::TaskState::Failed);
        let state = ListQuery { state: failed, ..ListQuery::default() };
        let none = listing(&pair, &state).await?;
        let accepts = accepts(&pair).await?;
        let mut starts = Samples::default();
        for _ in 0..STARTS {
            let worker = pair.team.node_mut("worker");
            worker.kill()?;
            let started = Instant::now();
            worker.restart()?;
            starts.since(started);
        }
        let history = FINISHED.into();
        Ok(vec![
            Line::millis("history_list", &all)
                .at_most(20.0)
                .baseline("the same before there were tasks", few.median())
                .with("finished", history),
            Line::millis("history_list_of_a_state", &none).at_most(20.0),
            Line::millis("history_accept", &accepts).at_most(5.0),
            Line::millis("history_start", &starts).at_most(300.0),
        ])
    })
}

/// `GET tasks`, as `pilotctl task list` asks.
async fn listing(pair: &Pair, query: &ListQuery) -> anyhow::Result<Samples> {
    let mut took = Samples::default();
    for _ in 0..TIMES {
        let started = Instant::now();
        pair.manager.tasks(query).await?;
        took.since(started);
    }
    Ok(took)
}

/// An accept of a task that waits.
async fn accepts(pair: &Pair) -> anyhow::Result<Samples> {
    let mut took = Samples::default();
    for _ in 0..TIMES {
        let to = pair.worker_address.clone().into();
        let task = pair.manager.submit(&SubmitRequest::new(to, "one more".to_owned())).await?;
        // The first of these looks waits for it to come.
        while pair.worker.task(task.id).await.is_err() {
            tokio::task::yield_now().await;
        }
        let started = Instant::now();
        let accepted = pair.worker.accept(&AcceptRequest::default()).await?;
        took.since(started);
        let accepted = accepted.context("the task went away")?;
        pair.worker.send_results(accepted.id, &SendResultsRequest::default()).await?;
    }
    Ok(took)
}
