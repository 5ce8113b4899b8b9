//! A daemon's local API for tests that wait for each answer.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use pilot_local_api::client::CallError;
use pilot_local_api::events::{NewEvent, PublishedView, TopicsView};
use pilot_local_api::identity::WhoAmI;
use pilot_local_api::peers::{PeerView, PeersQuery, PingView, ResolveView};
use pilot_local_api::status::StatusView;
use pilot_local_api::tasks::{
    AcceptRequest, AcceptedTask, CancelRequest, ListQuery, ReleaseRequest, ResultView, Role,
    SendResultsRequest, SubmitRequest, TaskState, TaskView, WaitQuery,
};
use pilot_local_api::transfers::{Keep, PathText, SendRequest, TransferView, TransfersQuery};
use pilot_local_api::trust::{TrustRequest, TrustState, TrustView};
use pilot_local_api::{ApiError, Client};
use pilot_proto::{PeerRef, TaskId, TransferId};
use tokio::runtime::{Builder, Runtime};

/// How long a task may take to get where a test expects it.
const PATIENCE: Duration = Duration::from_secs(15);

/// A client of one daemon, each call of which waits for its answer.
#[derive(Debug)]
pub struct Api {
    runtime: Runtime,
    client: Client,
}

/// What a call comes to.
pub type Answer<T> = Result<T, CallError>;

/// Each method without words of its own is the one of [`Client`].
#[expect(missing_docs, reason = "the methods of the client, which explains them")]
#[expect(clippy::missing_errors_doc, reason = "every call fails as the client's do")]
impl Api {
    /// The daemon whose home is `home`.
    ///
    /// # Errors
    ///
    /// If the system gives no runtime.
    pub fn new(home: &Path) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("no runtime")?;
        Ok(Self { runtime, client: Client::new(home.join("pilot.sock")) })
    }

    /// The client itself, for what is not here.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    pub fn whoami(&self) -> Answer<WhoAmI> {
        self.runtime.block_on(self.client.whoami())
    }

    pub fn status(&self) -> Answer<StatusView> {
        self.runtime.block_on(self.client.status())
    }

    pub fn peers(&self) -> Answer<Vec<PeerView>> {
        self.runtime.block_on(self.client.peers(&PeersQuery::default()))
    }

    pub fn metrics(&self) -> Answer<String> {
        self.runtime.block_on(self.client.metrics())
    }

    pub fn resolve(&self, peer: &PeerRef) -> Answer<ResolveView> {
        self.runtime.block_on(self.client.resolve(peer))
    }

    pub fn ping(&self, peer: &PeerRef, timeout: Duration) -> Answer<PingView> {
        self.runtime.block_on(self.client.ping(peer, timeout))
    }

    /// Trusts `peer` with everything.
    pub fn trust(&self, peer: &PeerRef) -> Answer<TrustView> {
        self.trust_as(&TrustRequest {
            peer: peer.clone(),
            fingerprint: None,
            allow: None,
            expires_in_ms: None,
        })
    }

    pub fn trust_as(&self, request: &TrustRequest) -> Answer<TrustView> {
        self.runtime.block_on(self.client.trust(request))
    }

    pub fn trust_show(&self, peer: &PeerRef) -> Answer<TrustView> {
        self.runtime.block_on(self.client.trust_show(peer))
    }

    pub fn trust_check(&self, peer: &PeerRef) -> Answer<TrustView> {
        self.runtime.block_on(self.client.trust_check(peer))
    }

    /// Whether this node lists `peer` with this state of trust; asks nobody else.
    pub fn stands(&self, peer: &PeerRef, state: TrustState) -> Answer<bool> {
        let listed = self.runtime.block_on(self.client.trust_list())?;
        let found = listed.into_iter().find(|view| match peer {
            PeerRef::Address(address) => view.identity.address.as_ref() == Some(address),
            PeerRef::Name(name) => view.identity.name.as_ref() == Some(name),
            PeerRef::Key(key) => view.identity.public_key == *key,
        });
        Ok(found.map_or(TrustState::None, |view| view.state) == state)
    }

    pub fn untrust(&self, peer: &PeerRef) -> Answer<TrustView> {
        self.runtime.block_on(self.client.untrust(peer))
    }

    /// Submits a task that is described as `description`.
    pub fn submit(&self, to: &PeerRef, description: &str) -> Answer<TaskView> {
        self.submit_as(&task_for(to, description))
    }

    pub fn submit_as(&self, request: &SubmitRequest) -> Answer<TaskView> {
        self.runtime.block_on(self.client.submit(request))
    }

    pub fn task(&self, id: TaskId) -> Answer<TaskView> {
        self.runtime.block_on(self.client.task(id))
    }

    pub fn tasks(&self, role: Role) -> Answer<Vec<TaskView>> {
        let query = ListQuery { role: Some(role), ..ListQuery::default() };
        self.runtime.block_on(self.client.tasks(&query))
    }

    pub fn result(&self, id: TaskId) -> Answer<ResultView> {
        self.runtime.block_on(self.client.result(id))
    }

    /// Accepts a task, waiting for one as long as anything may take.
    ///
    /// # Errors
    ///
    /// If none comes.
    pub fn accept(&self) -> anyhow::Result<AcceptedTask> {
        self.accept_within(PATIENCE)?.context("no task came")
    }

    pub fn accept_within(&self, patience: Duration) -> Answer<Option<AcceptedTask>> {
        let timeout_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let request = AcceptRequest { timeout_ms, ..AcceptRequest::default() };
        self.runtime.block_on(self.client.accept(&request))
    }

    /// Accepts under a claim, without waiting.
    pub fn accept_as(&self, claim: &str) -> Answer<Option<AcceptedTask>> {
        let claim = Some(claim.to_owned());
        let request = AcceptRequest { claim, ..AcceptRequest::default() };
        self.runtime.block_on(self.client.accept(&request))
    }

    pub fn accept_as_asked(&self, request: &AcceptRequest) -> Answer<Option<AcceptedTask>> {
        self.runtime.block_on(self.client.accept(request))
    }

    pub fn release(&self, id: TaskId, request: &ReleaseRequest) -> Answer<TaskView> {
        self.runtime.block_on(self.client.release(id, request))
    }

    pub fn write_log(&self, id: TaskId, bytes: &[u8]) -> Answer<()> {
        self.runtime.block_on(self.client.write_log(id, bytes.to_vec().into()))
    }

    /// Ends a task well, with `data`.
    pub fn send_results(&self, id: TaskId, data: &str) -> Answer<TaskView> {
        self.runtime.block_on(self.client.send_results(id, &results(data)))
    }

    pub fn send_results_as(&self, id: TaskId, request: &SendResultsRequest) -> Answer<TaskView> {
        self.runtime.block_on(self.client.send_results(id, request))
    }

    pub fn cancel(&self, id: TaskId) -> Answer<TaskView> {
        self.cancel_as(id, &CancelRequest::default())
    }

    pub fn cancel_as(&self, id: TaskId, request: &CancelRequest) -> Answer<TaskView> {
        self.runtime.block_on(self.client.cancel(id, request))
    }

    pub fn send(&self, request: &SendRequest) -> Answer<TransferView> {
        self.runtime.block_on(self.client.send(request))
    }

    pub fn transfer(&self, id: TransferId) -> Answer<TransferView> {
        self.runtime.block_on(self.client.transfer(id))
    }

    pub fn transfers(&self) -> Answer<Vec<TransferView>> {
        self.runtime.block_on(self.client.transfers(&TransfersQuery::default()))
    }

    pub fn cancel_transfer(&self, id: TransferId) -> Answer<TransferView> {
        self.runtime.block_on(self.client.cancel_transfer(id))
    }

    pub fn remove_transfer(&self, id: TransferId) -> Answer<TransferView> {
        self.runtime.block_on(self.client.remove_transfer(id))
    }

    /// Publishes events, each a topic and its data, in one call.
    ///
    /// # Errors
    ///
    /// If data is no JSON, or the call fails.
    pub fn publish(&self, events: &[(&str, String)]) -> anyhow::Result<PublishedView> {
        let event = |(topic, data): &(&str, String)| {
            let data = serde_json::value::RawValue::from_string(data.clone())?;
            Ok(NewEvent { topic: (*topic).to_owned(), data, retain: false })
        };
        let events = events.iter().map(event).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(self.runtime.block_on(self.client.publish(&events, None))?)
    }

    pub fn topics(&self) -> Answer<TopicsView> {
        self.runtime.block_on(self.client.topics())
    }

    /// Waits, from change to change, until a transfer has ended.
    ///
    /// # Errors
    ///
    /// If it does not within `patience`, or the daemon cannot be asked.
    pub fn until_ended(&self, id: TransferId, patience: Duration) -> anyhow::Result<TransferView> {
        self.runtime.block_on(async {
            let ended = async {
                let mut lines = self.client.watch_transfer(id).await?;
                while let Some(view) = lines.next().await? {
                    if view.state.is_terminal() {
                        return Ok(view);
                    }
                }
                bail!("the watch ended before the transfer did")
            };
            tokio::time::timeout(patience, ended).await.context("the transfer goes on")?
        })
    }

    /// Waits, from change to change, until a task `is_so`.
    ///
    /// # Errors
    ///
    /// If it is not within 15 s, or the daemon cannot be asked.
    pub fn until(
        &self,
        id: TaskId,
        what: &str,
        is_so: impl Fn(&TaskView) -> bool,
    ) -> anyhow::Result<TaskView> {
        let deadline = std::time::Instant::now() + PATIENCE;
        let mut view = self.task(id)?;
        while !is_so(&view) {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                bail!("not within {PATIENCE:?}: {what}; it is {view:?}");
            }
            let query = WaitQuery {
                timeout_ms: u64::try_from(left.as_millis()).ok(),
                after_revision: Some(view.revision),
            };
            view = self.runtime.block_on(self.client.wait(id, query))?;
        }
        Ok(view)
    }

    /// Waits until a task is in `state` or has ended.
    ///
    /// # Errors
    ///
    /// If it ends otherwise, or not within 15 s.
    pub fn until_state(&self, id: TaskId, state: TaskState) -> anyhow::Result<TaskView> {
        let over = |view: &TaskView| view.state == state || view.state.is_terminal();
        let view = self.until(id, &format!("the task is {state}"), over)?;
        if view.state != state {
            bail!("the task should be {state}, and has ended: {view:?}");
        }
        Ok(view)
    }
}

/// A task for `to`.
#[must_use]
pub fn task_for(to: &PeerRef, description: &str) -> SubmitRequest {
    SubmitRequest::new(to.clone().into(), description.to_owned())
}

/// A task for `to` with these files and folders, which go on a transfer.
#[must_use]
pub fn with_files(to: &PeerRef, description: &str, paths: &[&Path]) -> SubmitRequest {
    let attach = paths.iter().copied().map(PathText::from).collect();
    SubmitRequest { attach, ..task_for(to, description) }
}

/// These paths for `to`.
#[must_use]
pub fn sending(to: &PeerRef, paths: &[&Path]) -> SendRequest {
    SendRequest {
        to: to.to_string(),
        paths: paths.iter().copied().map(PathText::from).collect(),
        id: None,
        label: None,
        task: None,
        exclude: Vec::new(),
        gitignore: false,
        expires_ms: None,
        limit: None,
        keep: Keep::InPlace,
    }
}

/// A result.
#[must_use]
pub fn results(data: &str) -> SendResultsRequest {
    SendResultsRequest { data: Some(data.to_owned()), ..SendResultsRequest::default() }
}

/// The error of a call that should have been refused.
///
/// # Errors
///
/// If it was not, or if there was no answer at all.
pub fn refusal<T: core::fmt::Debug>(answer: Answer<T>) -> anyhow::Result<ApiError> {
    match answer {
        Err(CallError::Refused(error)) => Ok(error),
        other @ (Ok(_) | Err(CallError::Unsent(_) | CallError::Lost(_))) => {
            bail!("not refused: {other:?}")
        }
    }
}
