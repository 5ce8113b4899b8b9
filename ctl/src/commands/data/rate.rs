//! How much of the line a transfer takes at most.

use core::str::FromStr;

use pilot_flags::{HumanBytes, HumanBytesError};
use pilot_local_api::transfers::LEAST_LIMIT;

/// Bytes a second: `500k`, `10M` and `1G` are thousands, `2Mi` is 1024 times 1024 twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate(pub(super) u64);

/// Text that is no rate a transfer can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RateError {
    #[error("a rate is so many bytes a second: {0}")]
    NoRate(#[from] HumanBytesError),
    #[error("{0} bytes a second are less than the least, {LEAST_LIMIT}")]
    TooSlow(u64),
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let HumanBytes(rate) = text.parse()?;
        if rate < LEAST_LIMIT { Err(RateError::TooSlow(rate)) } else { Ok(Self(rate)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_decimal_and_binary_units() {
        let table = [
            ("1000", 1000),
            ("500k", 500_000),
            ("10M", 10_000_000),
            ("1.5M", 1_500_000),
            ("1G", 1_000_000_000),
            ("1Ki", 1024),
            ("2MiB", 2 << 20),
            ("1Gi", 1 << 30),
        ];
        for (text, rate) in table {
            assert_eq!(text.parse(), Ok(Rate(rate)), "{text}");
        }
        assert_eq!("999".parse::<Rate>(), Err(RateError::TooSlow(999)));
        let wrong = "10M/s".parse::<Rate>().unwrap_err().to_string();
        assert_eq!(
            wrong,
            "a rate is so many bytes a second: an amount of bytes is written like 500k, 10M or 2Gi"
        );
    }
}
