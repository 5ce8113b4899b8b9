//! Views that follow each other, as lines of JSON.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;

/// The first view at once, and each next one as soon as it is there, until one
/// is the last or there is none.
pub(super) fn stream<V, S, F>(
    first: V,
    state: S,
    is_over: fn(&V) -> bool,
    next: impl Fn(S) -> F + Send + 'static,
) -> Response
where
    V: Serialize + 'static,
    S: Send + 'static,
    F: Future<Output = Option<(V, S)>> + Send + 'static,
{
    let begun = (!is_over(&first)).then_some(state);
    let changes = stream::unfold(begun, move |state| {
        let next = state.map(&next);
        async move {
            let (view, state) = next?.await?;
            Some((line(&view), (!is_over(&view)).then_some(state)))
        }
    });
    let first = line(&first);
    let lines = stream::once(async move { first }).chain(changes).map(Ok::<_, Infallible>);
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

fn line(view: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(view).unwrap_or_default();
    line.push(b'\n');
    Bytes::from(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_view_is_given_out_before_the_next_is_waited_for() {
        let next = |at: u32| async move {
            match at {
                3 => std::future::pending().await,
                _ => Some((at + 1, at + 1)),
            }
        };
        let mut lines = stream(1, 1, |view| *view == 9, next).into_body().into_data_stream();

        for wanted in ["1\n", "2\n", "3\n"] {
            assert_eq!(lines.next().await.unwrap().unwrap(), wanted);
        }
    }

    #[tokio::test]
    async fn the_last_view_ends_them() {
        let next = |at: u32| async move { Some((at + 1, at + 1)) };
        let lines = stream(1, 1, |view| *view == 3, next).into_body().into_data_stream();

        let all: Vec<Bytes> = lines.map(Result::unwrap).collect().await;

        assert_eq!(all, ["1\n", "2\n", "3\n"]);
        let one = stream(3, 3, |view| *view == 3, next).into_body().into_data_stream();
        assert_eq!(one.count().await, 1);
    }
}
