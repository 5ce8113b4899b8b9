//! Where the rendezvous is, and which key it must have.

use core::fmt;
use core::str::FromStr;

use pilot_identity::{Fingerprint, FingerprintError};
use serde::{Deserialize, Deserializer};

/// `HOST:PORT`: a name, an IPv4 address or an IPv6 address in brackets. The
/// host is looked up anew at every connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// Text that is no host and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("HOST:PORT is wanted, an IPv6 address in brackets: [2001:db8::1]:9000")]
pub struct HostPortError;

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

impl HostPort {
    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let (host, port) = text.rsplit_once(':').ok_or(HostPortError)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let host = match bracketed {
            Some(host) if host.parse::<std::net::Ipv6Addr>().is_ok() => host,
            None if !host.is_empty() && host.len() <= 253 && host.bytes().all(allowed) => host,
            Some(_) | None => return Err(HostPortError),
        };
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if digits && port != 0 => Ok(Self { host: host.to_owned(), port }),
            Ok(_) | Err(_) => Err(HostPortError),
        }
    }
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

macro_rules! deserialized_from_text {
    ($($type:ident),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use serde::de::Error as _;
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

deserialized_from_text!(HostPort, RegistryAddr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_printed_as_they_are_read() {
        for text in ["pilot.example:9000", "10.0.0.1:1", "[2001:db8::1]:65535", "host_1:9000"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        let v6: HostPort = "[::1]:9000".parse().unwrap();
        assert_eq!((v6.host(), v6.port()), ("::1", 9000));
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("{}:1", "h".repeat(254));
        for text in [
            "",
            ":",
            "host",
            "host:",
            ":9000",
            "host:0",
            "host:65536",
            "host:+1",
            "host:9000 ",
            "::1:9000",
            "[::1]",
            "[::1:9000",
            "[host]:9000",
            "a b:1",
            "http://host:9000",
            &long,
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(HostPortError), "{text:?}");
        }
    }

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
