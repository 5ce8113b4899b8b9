//! A request for a task as the service takes it.

use std::collections::BTreeSet;
use std::time::Duration;

use pilot_identity::{NodeId, Scope, Timestamp};
use pilot_local_api::ErrorCode;
use pilot_local_api::tasks::{OnDepFailure, Preference, SubmitRequest, Target};
use pilot_proto::tasks::{InlineFile, MAX_EXCLUSIVE, TaskBody, TaskExtras};
use pilot_proto::{PeerRef, TaskId};
use pilot_tasks::{Dependency, MAX_AFTER, MAX_INPUTS, MAX_RETRIES, Plan, Pool};
use pilot_trust::Standing;

use super::failure::Failure;
use super::task_files::paths;
use crate::clock;
use crate::node::Node;
use crate::services::tasks::NewTask;

/// Bytes of an idempotency key.
const MAX_KEY: usize = 255;

/// Bytes of the name of a group.
const MAX_GROUP: usize = 128;

/// Looks up whom it names, and checks what can be checked before it is taken.
pub(super) async fn new_task(node: &Node, request: SubmitRequest) -> Result<NewTask, Failure> {
    let plan = plan(&request)?;
    let to = match &request.to {
        Target::Peer(peer) => trusted(node, peer).await?,
        Target::Any | Target::Tag(_) => node.id(),
    };
    if request.idempotency_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_KEY) {
        return Err(Failure::invalid(format!("an idempotency key has 1 to {MAX_KEY} bytes")));
    }
    let id = match request.id {
        Some(id) => id,
        None => new_id(clock::now())?,
    };
    let files = request.files.into_iter();
    let files = files.map(|file| InlineFile { name: file.name, content: file.content_base64.0 });
    let extras = TaskExtras {
        exclusive: request.exclusive,
        leave_result: request.leave_result,
        inputs: Vec::new(),
    };
    Ok(NewTask {
        id,
        to,
        body: TaskBody {
            description: request.description,
            params: request.params.0,
            files: files.collect(),
            attached: None,
            extras,
        },
        priority: request.priority.unwrap_or_default(),
        deadline_in: request.deadline_in_ms.map(Duration::from_millis),
        queue_timeout: request.queue_timeout_ms.map(Duration::from_millis),
        run_timeout: request.run_timeout_ms.map(Duration::from_millis),
        idempotency_key: request.idempotency_key,
        attach: paths(request.attach)?,
        plan,
    })
}

/// What is wanted beyond one offer.
fn plan(request: &SubmitRequest) -> Result<Plan, Failure> {
    let pool = match &request.to {
        Target::Peer(_) if !request.require.is_empty() || !request.prefer.is_empty() => {
            return Err(Failure::invalid(
                "what is required or preferred of a worker goes with `any` or `tag:KEY=VALUE`",
            ));
        }
        Target::Peer(_) => None,
        Target::Any | Target::Tag(_) => {
            let tag = match &request.to {
                Target::Tag(tag) => Some(tag.clone()),
                Target::Any | Target::Peer(_) => None,
            };
            let tags = tag.into_iter().chain(request.require.iter().cloned()).collect();
            let prefer = request.prefer.iter().map(|preference| match preference {
                Preference::Polo => pilot_tasks::Preference::Polo,
                Preference::Idle => pilot_tasks::Preference::Idle,
                Preference::Latency => pilot_tasks::Preference::Latency,
            });
            Some(Pool { tags, prefer: prefer.collect() })
        }
    };
    if request.retries > MAX_RETRIES {
        return Err(limit(format!("{} retries, {MAX_RETRIES} are allowed", request.retries)));
    }
    let named = |what: &str, name: &Option<String>, max: usize| match name {
        Some(name) if name.is_empty() || name.len() > max => {
            Err(Failure::invalid(format!("{what} has 1 to {max} bytes")))
        }
        Some(_) | None => Ok(()),
    };
    named("the name of a group", &request.group, MAX_GROUP)?;
    named("an exclusive key", &request.exclusive, MAX_EXCLUSIVE)?;
    let inputs: BTreeSet<TaskId> = request.input_from.iter().copied().collect();
    if inputs.len() > MAX_INPUTS || inputs.len() < request.input_from.len() {
        return Err(limit(format!("at most {MAX_INPUTS} different tasks can be its input")));
    }
    let mut seen = BTreeSet::new();
    let after = request.after.iter().chain(&request.input_from).copied();
    let after: Vec<TaskId> = after.filter(|id| seen.insert(*id)).collect();
    if after.len() > MAX_AFTER {
        return Err(limit(format!("it can come after at most {MAX_AFTER} tasks")));
    }
    Ok(Plan {
        pool,
        retries_left: request.retries,
        group: request.group.clone(),
        exclusive: request.exclusive.clone(),
        after: after.into_iter().map(|id| Dependency { id, over: false }).collect(),
        run_anyway: request.on_dep_failure == OnDepFailure::Run,
        inputs: request.input_from.clone(),
        leave_result: request.leave_result,
        has_kept_files: false,
    })
}

fn limit(message: String) -> Failure {
    Failure::new(ErrorCode::LimitExceeded, message)
}

/// A peer that this node may give tasks.
async fn trusted(node: &Node, wanted: &PeerRef) -> Result<NodeId, Failure> {
    let to = node.directory().find(wanted).await?;
    let standing = node.trust().standing(to);
    if !standing.is_mutual() {
        return Err(not_mutual(wanted, standing));
    }
    if !standing.received.contains(Scope::Tasks) {
        let message =
            format!("{wanted} does not allow this node to submit tasks; nothing was submitted");
        return Err(Failure::new(ErrorCode::NotAllowed, message)
            .hint(format!("pilotctl trust show {wanted}"))
            .detail("peer", wanted.to_string()));
    }
    Ok(to)
}

fn not_mutual(wanted: &PeerRef, standing: Standing) -> Failure {
    match standing.state {
        pilot_trust::TrustState::Requested => Failure::new(
            ErrorCode::NotTrusted,
            format!("{} has not answered this node's trust yet; nothing was submitted", wanted),
        )
        .hint("pilotctl whoami  # then, on the peer: pilotctl trust ADDRESS")
        .detail("peer", wanted.to_string()),
        pilot_trust::TrustState::Pending
        | pilot_trust::TrustState::None
        | pilot_trust::TrustState::Mutual => Failure::not_trusted(wanted),
    }
}

fn new_id(now: Timestamp) -> Result<TaskId, Failure> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| Failure::internal(&error))?;
    Ok(TaskId::new(now, random))
}
