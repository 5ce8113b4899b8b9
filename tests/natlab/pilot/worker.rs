//! A worker that serves one node until it is dropped.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use pilot_local_api::tasks::{
    AcceptRequest, AcceptedTask, Attachment, ContentFile, SendResultsRequest,
};
use pilot_local_api::transfers::PathText;
use pilot_local_api::{Base64, CallError, Client};
use pilot_proto::{FileName, TaskId};
use pilot_tests::Node;
use pilot_tests::api::results;
use tokio::sync::oneshot;

/// Accepts each task and answers it with [`answer`], and each file that came
/// with it with one of the same name, reversed.
#[derive(Debug)]
pub(crate) struct Worker {
    accepted: Arc<Mutex<Vec<(TaskId, u32)>>>,
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a worker makes of a text: one as long.
pub(crate) fn answer(description: &str) -> String {
    description.chars().rev().collect()
}

/// What a worker makes of a file.
pub(crate) fn reversed(content: &[u8]) -> Vec<u8> {
    content.iter().rev().copied().collect()
}

impl Worker {
    pub(crate) fn start(node: &Node) -> anyhow::Result<Self> {
        let client = Client::new(node.home().join("pilot.sock"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let accepted = Arc::<Mutex<Vec<_>>>::default();
        let (over, stop) = oneshot::channel();
        let list = Arc::clone(&accepted);
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = serve(&client, &list) => {}
                    _ = stop => {}
                }
            });
        };
        let thread = thread::Builder::new().name("worker".to_owned()).spawn(work)?;
        Ok(Self { accepted, over: Some(over), thread: Some(thread) })
    }

    /// Every task it was given, with the number of the attempt.
    pub(crate) fn accepted(&self) -> Vec<(TaskId, u32)> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Ends with the first fault, which shows at the submitter: it gets no result.
async fn serve(client: &Client, accepted: &Mutex<Vec<(TaskId, u32)>>) -> Result<(), CallError> {
    let request = AcceptRequest { timeout_ms: 30_000, ..AcceptRequest::default() };
    loop {
        let Some(task) = client.accept(&request).await? else { continue };
        let AcceptedTask { id, description, attempt, attachments, .. } = task;
        accepted.lock().unwrap_or_else(PoisonError::into_inner).push((id, attempt));
        let mut files = Vec::new();
        for Attachment { name, .. } in attachments {
            // Nothing on a transfer is in these tasks.
            let PathText::Text(name) = name else { continue };
            let Ok(name) = name.parse::<FileName>() else { continue };
            let content = client.attachment(id, name.as_str()).await?;
            let content_base64 = Base64(reversed(&content).into());
            files.push(ContentFile { name, content_base64 });
        }
        let result = SendResultsRequest { files, ..results(&answer(&description)) };
        client.send_results(id, &result).await?;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            // It has no result; a panic has been printed.
            drop(thread.join());
        }
    }
}
