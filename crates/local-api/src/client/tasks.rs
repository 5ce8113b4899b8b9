//! Calls about tasks.

use core::time::Duration;

use bytes::Bytes;
use hyper::Method;
use pilot_proto::TaskId;

use super::{COPYING, CallError, Client, DEFAULT_WAIT_MS, Lines, lines, read};
use crate::routes::{self, with_query};
use crate::tasks::{
    AcceptRequest, AcceptedTask, CancelRequest, DeclineRequest, ExplainView, FailRequest,
    ListQuery, LogPiece, ProgressAnswer, ProgressRequest, ReleaseRequest, ResultView,
    SendResultsRequest, SubmitRequest, TaskView, WaitQuery,
};

/// Each method is one route of [`routes`]; the errors are the daemon's.
#[expect(
    clippy::missing_errors_doc,
    reason = "every method fails as CallError says, and no other way"
)]
impl Client {
    /// `POST tasks`. With an id in the request it may be sent again.
    pub async fn submit(&self, request: &SubmitRequest) -> Result<TaskView, CallError> {
        let copying = if request.attach.is_empty() { Duration::ZERO } else { COPYING };
        self.call(Method::POST, routes::TASKS, Some(request), copying).await
    }

    /// `POST tasks/batch`: all of them or none. With ids in the requests it may
    /// be sent again.
    pub async fn submit_all(&self, requests: &[SubmitRequest]) -> Result<Vec<TaskView>, CallError> {
        self.call(Method::POST, routes::TASKS_BATCH, Some(&requests), COPYING).await
    }

    /// `GET tasks`.
    pub async fn tasks(&self, query: &ListQuery) -> Result<Vec<TaskView>, CallError> {
        let pairs = [
            ("role", query.role.map(|role| role.word().to_owned())),
            ("state", query.state.map(|state| state.word().to_owned())),
            ("group", query.group.clone()),
            ("dead", query.dead.then(|| "true".to_owned())),
            ("limit", query.limit.map(|limit| limit.to_string())),
        ];
        self.get(&with_query(routes::TASKS, &pairs)).await
    }

    /// `GET tasks/{id}`.
    pub async fn task(&self, id: TaskId) -> Result<TaskView, CallError> {
        self.get(&routes::task(routes::TASK, id)).await
    }

    /// `GET tasks/{id}/wait`.
    pub async fn wait(&self, id: TaskId, query: WaitQuery) -> Result<TaskView, CallError> {
        let pairs = [
            ("timeout_ms", query.timeout_ms.map(|millis| millis.to_string())),
            ("after_revision", query.after_revision.map(|revision| revision.to_string())),
        ];
        let path = with_query(&routes::task(routes::TASK_WAIT, id), &pairs);
        let asked = Duration::from_millis(query.timeout_ms.unwrap_or(DEFAULT_WAIT_MS));
        self.call(Method::GET, &path, None::<&()>, asked).await
    }

    /// `GET tasks/{id}/watch`: opens the stream; it has no time limit.
    pub async fn watch(&self, id: TaskId) -> Result<Lines<TaskView>, CallError> {
        lines::open(&self.socket, &routes::task(routes::TASK_WATCH, id)).await
    }

    /// `GET tasks/{id}/result`.
    pub async fn result(&self, id: TaskId) -> Result<ResultView, CallError> {
        self.result_of(id, None).await
    }

    /// `GET tasks/{id}/result` of one attempt; of the newest if none is named.
    pub async fn result_of(
        &self,
        id: TaskId,
        attempt: Option<u32>,
    ) -> Result<ResultView, CallError> {
        let pairs = [("attempt", attempt.map(|attempt| attempt.to_string()))];
        self.get(&with_query(&routes::task(routes::TASK_RESULT, id), &pairs)).await
    }

    /// `POST tasks/accept`; nothing if no task came in time.
    pub async fn accept(&self, request: &AcceptRequest) -> Result<Option<AcceptedTask>, CallError> {
        let asked = Duration::from_millis(request.timeout_ms);
        match self.answer(Method::POST, routes::TASK_ACCEPT, Some(request), asked).await? {
            None => Ok(None),
            Some(body) => read(&body).map(Some),
        }
    }

    /// `POST tasks/{id}/results`.
    pub async fn send_results(
        &self,
        id: TaskId,
        request: &SendResultsRequest,
    ) -> Result<TaskView, CallError> {
        let copying = if request.attach.is_empty() { Duration::ZERO } else { COPYING };
        let path = self.claimed(routes::TASK_RESULTS, id);
        self.call(Method::POST, &path, Some(request), copying).await
    }

    /// `POST tasks/{id}/progress`.
    pub async fn progress(
        &self,
        id: TaskId,
        request: &ProgressRequest,
    ) -> Result<ProgressAnswer, CallError> {
        self.post(&self.claimed(routes::TASK_PROGRESS, id), request).await
    }

    /// `POST tasks/{id}/decline`.
    pub async fn decline(
        &self,
        id: TaskId,
        request: &DeclineRequest,
    ) -> Result<TaskView, CallError> {
        self.post(&routes::task(routes::TASK_DECLINE, id), request).await
    }

    /// `POST tasks/{id}/fail`.
    pub async fn fail(&self, id: TaskId, request: &FailRequest) -> Result<TaskView, CallError> {
        self.post(&self.claimed(routes::TASK_FAIL, id), request).await
    }

    /// `POST tasks/{id}/cancel`.
    pub async fn cancel(&self, id: TaskId, request: &CancelRequest) -> Result<TaskView, CallError> {
        self.post(&routes::task(routes::TASK_CANCEL, id), request).await
    }

    /// `GET tasks/{id}/attachments/{name}`.
    pub async fn attachment(&self, id: TaskId, name: &str) -> Result<Bytes, CallError> {
        let path = routes::task_attachment(id, name);
        let body = self.answer(Method::GET, &path, None::<&()>, Duration::ZERO).await?;
        Ok(body.unwrap_or_default())
    }

    /// `POST tasks/{id}/retry`.
    pub async fn retry(&self, id: TaskId) -> Result<TaskView, CallError> {
        self.post(&routes::task(routes::TASK_RETRY, id), &()).await
    }

    /// `GET tasks/{id}/explain`.
    pub async fn explain(&self, id: TaskId) -> Result<ExplainView, CallError> {
        self.get(&routes::task(routes::TASK_EXPLAIN, id)).await
    }

    /// `POST tasks/{id}/release`.
    pub async fn release(
        &self,
        id: TaskId,
        request: &ReleaseRequest,
    ) -> Result<TaskView, CallError> {
        self.post(&self.claimed(routes::TASK_RELEASE, id), request).await
    }

    /// `POST tasks/{id}/logs`: what the command of an accepted task wrote.
    pub async fn write_log(&self, id: TaskId, bytes: Bytes) -> Result<(), CallError> {
        let path = self.claimed(routes::TASK_LOGS, id);
        self.answer_to(Method::POST, &path, bytes, Duration::ZERO).await.map(drop)
    }

    /// `GET tasks/{id}/logs`: opens the stream, which has no time limit. Of the
    /// newest attempt if none is named.
    pub async fn logs(
        &self,
        id: TaskId,
        follow: bool,
        attempt: Option<u32>,
    ) -> Result<Lines<LogPiece>, CallError> {
        let pairs = [
            ("follow", follow.then(|| "true".to_owned())),
            ("attempt", attempt.map(|attempt| attempt.to_string())),
        ];
        let path = with_query(&routes::task(routes::TASK_LOGS, id), &pairs);
        lines::open(&self.socket, &path).await
    }

    /// The path of what a worker says of a task.
    fn claimed(&self, pattern: &str, id: TaskId) -> String {
        let claim = self.claim.as_deref().map(str::to_owned);
        with_query(&routes::task(pattern, id), &[("claim", claim)])
    }
}
