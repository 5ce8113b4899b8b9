//! Where the rendezvous is, and which key it must have.

use core::fmt;
use core::str::FromStr;

use pilot_identity::{Fingerprint, FingerprintError};
use pilot_transport::{HostPort, HostPortError};
use serde::{Deserialize, Deserializer};

/// `HOST:PORT`, or `HOST:PORT#FINGERPRINT` to accept one key alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryAddr {
    /// Where it is.
    pub at: HostPort,
    /// The fingerprint of its key; without it the first key seen is pinned.
    pub fingerprint: Option<Fingerprint>,
}

/// Text that is no address of a rendezvous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegistryAddrError {
    /// The part before the `#`.
    #[error(transparent)]
    At(#[from] HostPortError),
    /// The part after it.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
}

impl fmt::Display for RegistryAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fingerprint {
            Some(fingerprint) => write!(f, "{}#{fingerprint}", self.at),
            None => self.at.fmt(f),
        }
    }
}

impl FromStr for RegistryAddr {
    type Err = RegistryAddrError;

    fn from_str(text: &str) -> Result<Self, RegistryAddrError> {
        let (at, fingerprint) = match text.split_once('#') {
            Some((at, fingerprint)) => (at, Some(fingerprint.parse()?)),
            None => (text, None),
        };
        Ok(Self { at: at.parse()?, fingerprint })
    }
}

impl<'de> Deserialize<'de> for RegistryAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_may_follow() {
        let print = "k3fa-2d2x-aaaa-bbbb-cccc-dddd-eeee-ffff";
        let text = format!("pilot.example:9000#{print}");

        let addr: RegistryAddr = text.parse().unwrap();

        assert_eq!(addr.fingerprint, print.parse().ok());
        assert_eq!(addr.to_string(), text);
        assert_eq!("h:1".parse::<RegistryAddr>().unwrap().fingerprint, None);
        let wrong = "h:1#abc".parse::<RegistryAddr>();
        assert_eq!(wrong, Err(RegistryAddrError::Fingerprint(FingerprintError)));
        assert_eq!(
            "h#abc".parse::<RegistryAddr>().map_err(|error| error.to_string()).err(),
            Some(FingerprintError.to_string())
        );
    }
}
