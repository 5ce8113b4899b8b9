//! Values of settings that are more than a number.

use core::fmt;
use core::str::FromStr;
use std::net::SocketAddr;

use pilot_identity::NodeId;
use pilot_proto::beacon::Services;
use pilot_proto::registry::{Beacon, MAX_HOST_BYTES};
use pilot_proto::text::Text;
use serde::{Deserialize, Deserializer};

/// A second address, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alternate(Option<SocketAddr>);

/// Neither an address nor `none`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is neither IP:PORT nor none")]
pub struct AlternateError {
    text: String,
}

impl Alternate {
    /// The address.
    #[must_use]
    pub const fn addr(self) -> Option<SocketAddr> {
        self.0
    }
}

impl FromStr for Alternate {
    type Err = AlternateError;

    fn from_str(text: &str) -> Result<Self, AlternateError> {
        match text {
            "none" => Ok(Self(None)),
            _ => match text.parse() {
                Ok(addr) => Ok(Self(Some(addr))),
                Err(_) => Err(AlternateError { text: text.to_owned() }),
            },
        }
    }
}

/// What a beacon does, as words with commas between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceList(Services);

/// A word that names no service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown service {word:?}; a list of stun, punch, relay is wanted, or none")]
pub struct ServiceListError {
    word: String,
}

impl ServiceList {
    /// The services.
    #[must_use]
    pub const fn services(self) -> Services {
        self.0
    }
}

impl FromStr for ServiceList {
    type Err = ServiceListError;

    fn from_str(text: &str) -> Result<Self, ServiceListError> {
        if text == "none" {
            return Ok(Self(Services::NONE));
        }
        let mut services = Services::NONE;
        for word in text.split(',') {
            services = services.with(match word.trim() {
                "stun" => Services::STUN,
                "punch" => Services::PUNCH,
                "relay" => Services::RELAY,
                other => return Err(ServiceListError { word: other.to_owned() }),
            });
        }
        Ok(Self(services))
    }
}

/// A beacon elsewhere, `HOST:PORT#KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FurtherBeacon(Beacon);

/// Text that names no beacon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FurtherBeaconError {
    /// Not of the form `HOST:PORT#KEY`.
    #[error("a beacon looks like beacon.example:9001#KEY")]
    Form,
    /// What follows the `#` is no public key.
    #[error("what follows the # is no public key")]
    Key,
}

impl FurtherBeacon {
    /// What nodes are told of it. What it does it says itself.
    #[must_use]
    pub fn told(&self) -> Beacon {
        self.0.clone()
    }
}

impl FromStr for FurtherBeacon {
    type Err = FurtherBeaconError;

    fn from_str(text: &str) -> Result<Self, FurtherBeaconError> {
        let (place, key) = text.split_once('#').ok_or(FurtherBeaconError::Form)?;
        let (host, port) = place.rsplit_once(':').ok_or(FurtherBeaconError::Form)?;
        let key: NodeId = key.parse().map_err(|_| FurtherBeaconError::Key)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(FurtherBeaconError::Form)?;
        // An IPv6 address has brackets here, and none where hosts are looked up.
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or(FurtherBeaconError::Form)?,
            None if host.contains(':') => return Err(FurtherBeaconError::Form),
            None => host,
        };
        let host = Text::<MAX_HOST_BYTES>::fitting(host.to_owned())
            .filter(|host| !host.as_str().is_empty())
            .ok_or(FurtherBeaconError::Form)?;
        Ok(Self(Beacon { host, port, key, services: Services::ALL }))
    }
}

macro_rules! read_as_text {
    ($($value:ty, $what:literal);*) => {$(
        impl<'de> Deserialize<'de> for $value {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Words;
                impl serde::de::Visitor<'_> for Words {
                    type Value = $value;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$value, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Words)
            }
        }
    )*};
}

read_as_text! {
    Alternate, "IP:PORT or none";
    ServiceList, "a list of stun, punch, relay, or none";
    FurtherBeacon, "HOST:PORT#KEY"
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "riehe5ajwcn6kkzxqhv7q6ozyjqpt6jf5hhqnuosj54tpq7owzlq";

    #[test]
    fn services_are_words() {
        let read = |text: &str| text.parse::<ServiceList>().map(ServiceList::services);

        assert_eq!(read("stun,punch,relay"), Ok(Services::ALL));
        assert_eq!(read("relay, stun"), Ok(Services::STUN.with(Services::RELAY)));
        assert_eq!(read("none"), Ok(Services::NONE));
        assert_eq!(read("stun,turn").unwrap_err().word, "turn");
        assert!(read("").is_err() && read("stun,none").is_err());
    }

    #[test]
    fn a_further_beacon_is_a_host_a_port_and_a_key() {
        let id = crate::settings::tests::key().id();
        let read = |place: &str| {
            let beacon = format!("{place}#{id}").parse::<FurtherBeacon>()?.told();
            assert_eq!(beacon.key, id);
            Ok((beacon.host.into_string(), beacon.port))
        };

        assert_eq!(read("b.example:9001"), Ok(("b.example".to_owned(), 9001)));
        assert_eq!(read("[2001:db8::1]:9001"), Ok(("2001:db8::1".to_owned(), 9001)));
        for place in ["b.example", ":9001", "b:0", "b:70000", "2001:db8::1:9001", "[::1:9001"] {
            assert_eq!(read(place), Err(FurtherBeaconError::Form), "{place}");
        }
        assert_eq!("b:9001".parse::<FurtherBeacon>(), Err(FurtherBeaconError::Form));
        assert_eq!("b:9001#x".parse::<FurtherBeacon>(), Err(FurtherBeaconError::Key));
        assert_eq!(format!("b:9001#{KEY}x").parse::<FurtherBeacon>(), Err(FurtherBeaconError::Key));
    }

    #[test]
    fn an_alternate_is_an_address_or_none() {
        assert_eq!("none".parse(), Ok(Alternate(None)));
        assert_eq!("127.0.0.2:9002".parse::<Alternate>().unwrap().addr().unwrap().port(), 9002);
        assert!("127.0.0.2".parse::<Alternate>().is_err());
    }
}
