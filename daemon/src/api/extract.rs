//! Requests as types; what does not fit is an error of the API's own form.

use std::str::FromStr;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use pilot_local_api::{ErrorCode, MAX_REQUEST_BODY};
use pilot_proto::{MessageId, PeerRef, TaskId, TransferId};
use serde::de::DeserializeOwned;

use super::failure::Failure;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

/// A query string.
pub(crate) struct Params<T>(pub(crate) T);

/// The `{peer}` of a path.
pub(crate) struct Peer(pub(crate) PeerRef);

/// The `{id}` of a path.
pub(crate) struct Task(pub(crate) TaskId);

/// The `{id}` of a message's path.
pub(crate) struct Message(pub(crate) MessageId);

/// The `{id}` of a transfer's path.
pub(crate) struct TransferOf(pub(crate) TransferId);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(json_failure(&rejection)),
        }
    }
}

fn json_failure(rejection: &JsonRejection) -> Failure {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Failure::new(
            ErrorCode::TooLarge,
            format!("the request is over the limit of {MAX_REQUEST_BODY} bytes"),
        )
        .detail("limit", MAX_REQUEST_BODY);
    }
    Failure::invalid(rejection.body_text())
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        Query::from_request_parts(parts, state)
            .await
            .map(|Query(params)| Self(params))
            .map_err(|rejection: QueryRejection| Failure::invalid(rejection.body_text()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        parsed(parts, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Task {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        parsed(parts, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TransferOf {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        parsed(parts, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Message {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        parsed(parts, state).await.map(Self)
    }
}

/// The first variable segment of the path, as what it stands for.
async fn parsed<S, T>(parts: &mut Parts, state: &S) -> Result<T, Failure>
where
    S: Send + Sync,
    T: FromStr<Err: std::fmt::Display>,
{
    let text = segment(parts, state).await?;
    text.parse().map_err(|error| Failure::invalid(format!("{text:?}: {error}")))
}

/// The first variable segment of the path.
async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Failure> {
    let path = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
    path.ok()
        .and_then(|Path(segments)| segments.into_iter().next())
        .map(|(_, text)| text)
        .ok_or_else(|| Failure::invalid("the path is not UTF-8"))
}
