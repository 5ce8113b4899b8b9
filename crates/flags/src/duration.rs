//! A length of time as people type it.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

/// `30` and `30s` are seconds; `250ms`, `5m`, `2h` and `1d` are the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// Text that is no length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a duration is a whole number with ms, s, m, h or d, such as 30s or 5m")]
pub struct HumanDurationError;

/// Milliseconds of each unit, the longest first.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl HumanDuration {
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// In whole milliseconds; never more than 2^64 - 1.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for HumanDuration {
    type Err = HumanDurationError;

    fn from_str(text: &str) -> Result<Self, HumanDurationError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or(HumanDurationError)?;
        let number: u64 = number.parse().map_err(|_| HumanDurationError)?;
        let unit = if unit.is_empty() { "s" } else { unit };
        let (_, millis) =
            UNITS.into_iter().find(|(word, _)| *word == unit).ok_or(HumanDurationError)?;
        let millis = number.checked_mul(millis).ok_or(HumanDurationError)?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

/// The shortest form that reads back as the same.
impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        match UNITS.into_iter().find(|(_, size)| millis.is_multiple_of(*size)) {
            Some((unit, size)) => write!(f, "{}{unit}", millis / size),
            None => write!(f, "{millis}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_printed() {
        let table = [
            ("0", 0, "0s"),
            ("30", 30_000, "30s"),
            ("30s", 30_000, "30s"),
            ("250ms", 250, "250ms"),
            ("5m", 300_000, "5m"),
            ("120m", 7_200_000, "2h"),
            ("2h", 7_200_000, "2h"),
            ("1d", 86_400_000, "1d"),
        ];
        for (text, millis, shown) in table {
            let duration: HumanDuration = text.parse().unwrap();
            assert_eq!(duration.as_millis(), millis, "{text}");
            assert_eq!(duration.to_string(), shown);
            assert_eq!(shown.parse(), Ok(duration));
        }
    }

    #[test]
    fn other_text_is_refused() {
        let wrong =
            ["", "s", "-1", "+1", "1.5s", "1 s", "1S", "1w", "1h30m", "é", "99999999999999999d"];
        for text in wrong {
            assert_eq!(text.parse::<HumanDuration>(), Err(HumanDurationError), "{text:?}");
        }
    }
}
