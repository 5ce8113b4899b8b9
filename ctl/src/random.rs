//! Random bytes, for the ids and claims that are made here.

use pilot_local_api::{ApiError, ErrorCode};

pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], ApiError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        ApiError::new(ErrorCode::Internal, format!("the system has no randomness: {error}"))
    })?;
    Ok(bytes)
}
