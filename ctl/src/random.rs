//! Random bytes, and the ids and claims that are made of them here.

use std::time::{SystemTime, UNIX_EPOCH};

use pilot_local_api::proto::identity::Timestamp;
use pilot_local_api::{ApiError, ErrorCode};

pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], ApiError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        ApiError::new(ErrorCode::Internal, format!("the system has no randomness: {error}"))
    })?;
    Ok(bytes)
}

/// The id of what is handed over now, such as `fresh_id(TaskId::new)`: the
/// same request may then be sent again.
pub(crate) fn fresh_id<T>(make: impl FnOnce(Timestamp, [u8; 10]) -> T) -> Result<T, ApiError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Ok(make(Timestamp::from_millis(millis), bytes()?))
}

#[cfg(test)]
mod tests {
    use pilot_local_api::proto::TransferId;

    use super::*;

    #[test]
    fn ids_are_of_now_and_no_two_are_the_same() {
        let early = TransferId::new(Timestamp::from_millis(1_700_000_000_000), [0xff; 10]);

        let (one, other) = (fresh_id(TransferId::new), fresh_id(TransferId::new));

        assert_ne!(one, other);
        assert!(one.unwrap() > early && other.unwrap() > early);
    }
}
