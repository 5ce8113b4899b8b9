//! A host and a port, as people write them.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer};

/// `HOST:PORT`: a name, an IPv4 address or an IPv6 address in brackets. The
/// host is looked up anew at every connect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// Text that is no host and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("HOST:PORT is wanted, an IPv6 address in brackets: [2001:db8::1]:9000")]
pub struct HostPortError;

impl HostPort {
    /// `host` without brackets.
    ///
    /// # Errors
    ///
    /// [`HostPortError`]
    pub fn new(host: &str, port: u16) -> Result<Self, HostPortError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_name = !host.is_empty() && host.len() <= 253 && host.bytes().all(allowed);
        if port == 0 || !(is_name || host.parse::<std::net::Ipv6Addr>().is_ok()) {
            return Err(HostPortError);
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// The same host at another port; none at port 0.
    #[must_use]
    pub fn at(&self, port: u16) -> Option<Self> {
        (port != 0).then(|| Self { host: self.host.clone(), port })
    }

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
        // Only brackets tell an IPv6 address from one with a port.
        if bracketed.is_some() != bracketed.unwrap_or(host).contains(':') {
            return Err(HostPortError);
        }
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(HostPortError);
        }
        Self::new(bracketed.unwrap_or(host), port.parse().map_err(|_| HostPortError)?)
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

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
}
