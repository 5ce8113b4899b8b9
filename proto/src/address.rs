//! The address of a node: a lease on a number for a key.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `N:NNNN.HHHH.LLLL`: the network in decimal, the same in hexadecimal, and a
/// 32-bit node number in two hexadecimal groups. Node numbers start at 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    network: u16,
    node: u32,
}

/// Text that is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not of the form `N:NNNN.HHHH.LLLL`.
    #[error("an address looks like 1:0001.0000.0002")]
    Form,
    /// The decimal and the hexadecimal network differ.
    #[error("the two network numbers of an address must be the same")]
    Network,
}

impl Address {
    /// The address of node number `node` of `network`.
    #[must_use]
    pub const fn new(network: u16, node: u32) -> Self {
        Self { network, node }
    }

    /// The network it belongs to.
    #[must_use]
    pub const fn network(self) -> u16 {
        self.network
    }

    /// Its number within the network.
    #[must_use]
    pub const fn node(self) -> u32 {
        self.node
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, node } = self;
        write!(f, "{network}:{network:04x}.{:04x}.{:04x}", node >> 16, node & 0xffff)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (decimal, groups) = text.split_once(':').ok_or(AddressError::Form)?;
        let mut groups = groups.split('.').map(group);
        let (Some(again), Some(high), Some(low), None) =
            (groups.next(), groups.next(), groups.next(), groups.next())
        else {
            return Err(AddressError::Form);
        };
        if decimal.is_empty() || !decimal.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AddressError::Form);
        }
        let network: u16 = decimal.parse().map_err(|_| AddressError::Form)?;
        if network != again? {
            return Err(AddressError::Network);
        }
        Ok(Self { network, node: u32::from(high?) << 16 | u32::from(low?) })
    }
}

fn group(text: &str) -> Result<u16, AddressError> {
    if text.len() != 4 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(AddressError::Form);
    }
    u16::from_str_radix(text, 16).map_err(|_| AddressError::Form)
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.network, self.node).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            let (network, node) = Deserialize::deserialize(deserializer)?;
            Ok(Self { network, node })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_printed_as_in_the_documents() {
        assert_eq!(Address::new(1, 2).to_string(), "1:0001.0000.0002");
        assert_eq!(Address::new(700, 0x0001_abcd).to_string(), "700:02bc.0001.abcd");
    }

    #[test]
    fn is_read_back() {
        for address in [Address::new(0, 0), Address::new(1, 2), Address::new(65_535, u32::MAX)] {
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        assert_eq!("1:0001.0000.ABCD".parse(), Ok(Address::new(1, 0xabcd)));
    }

    #[test]
    fn anything_else_is_refused() {
        let wrong = [
            "",
            "1",
            "1:",
            "1:0001",
            "1:0001.0000",
            "1:0001.0000.0002.",
            "1:0001.0000.002",
            "1:0001.0000.0002 ",
            "+1:0001.0000.0002",
            "1:0001.0000.+002",
            "1:0001.0000.00g2",
            "65536:0000.0000.0001",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Form), "{text:?}");
        }
        assert_eq!("2:0001.0000.0002".parse::<Address>(), Err(AddressError::Network));
    }
}
