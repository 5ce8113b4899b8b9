//! The attributes that are known here, and how their values are written.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::message::{COOKIE, TransactionId};

// RFC 8489 §18.3.
pub(crate) const MAPPED_ADDRESS: u16 = 0x0001;
pub(crate) const ERROR_CODE: u16 = 0x0009;
pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(crate) const SOFTWARE: u16 = 0x8022;
pub(crate) const FINGERPRINT: u16 = 0x8028;
// RFC 5780 §7.
/// The type of CHANGE-REQUEST, which a server without other addresses does not know.
pub const CHANGE_REQUEST: u16 = 0x0003;
pub(crate) const PADDING: u16 = 0x0026;
pub(crate) const RESPONSE_PORT: u16 = 0x0027;
pub(crate) const RESPONSE_ORIGIN: u16 = 0x802b;
pub(crate) const OTHER_ADDRESS: u16 = 0x802c;

/// Of RFC 8489, and of no use to whoever asks for no credentials: USERNAME,
/// MESSAGE-INTEGRITY, REALM, NONCE, the SHA-256 form, PASSWORD-ALGORITHM, USERHASH.
const CREDENTIALS: [u16; 7] = [0x0006, 0x0008, 0x0014, 0x0015, 0x001c, 0x001d, 0x001e];

/// After one of these nothing counts but FINGERPRINT (RFC 8489 §14.5).
const INTEGRITY: [u16; 2] = [0x0008, 0x001c];

/// Whether a message with this attribute cannot be understood here.
pub(crate) fn is_unknown(kind: u16) -> bool {
    const KNOWN: [u16; 7] = [
        MAPPED_ADDRESS,
        ERROR_CODE,
        UNKNOWN_ATTRIBUTES,
        XOR_MAPPED_ADDRESS,
        CHANGE_REQUEST,
        PADDING,
        RESPONSE_PORT,
    ];
    kind < 0x8000 && !KNOWN.contains(&kind) && !CREDENTIALS.contains(&kind)
}

/// Whether this attribute ends those that count.
pub(crate) fn is_integrity(kind: u16) -> bool {
    INTEGRITY.contains(&kind)
}

/// The types of attributes that a server does not know and would have to; the
/// first eight, which are enough to tell a client what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnknownAttributes {
    kinds: [u16; Self::MAX],
    len: usize,
}

impl UnknownAttributes {
    /// How many are kept.
    pub const MAX: usize = 8;

    /// The first [`UnknownAttributes::MAX`] different ones of `kinds`.
    pub fn new(kinds: impl IntoIterator<Item = u16>) -> Self {
        let mut list = Self::default();
        for kind in kinds {
            if !list.as_slice().contains(&kind)
                && let Some(place) = list.kinds.get_mut(list.len)
            {
                *place = kind;
                list.len += 1;
            }
        }
        list
    }

    /// Their types.
    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        self.kinds.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn value(&self) -> Vec<u8> {
        self.as_slice().iter().flat_map(|kind| kind.to_be_bytes()).collect()
    }

    pub(crate) fn read(value: &[u8]) -> Self {
        Self::new(value.as_chunks().0.iter().map(|kind| u16::from_be_bytes(*kind)))
    }
}

/// The value of MAPPED-ADDRESS and of those like it.
pub(crate) fn address(addr: SocketAddr) -> Vec<u8> {
    let mut value = vec![0, if addr.is_ipv4() { 1 } else { 2 }];
    value.extend_from_slice(&addr.port().to_be_bytes());
    match addr.ip() {
        IpAddr::V4(ip) => value.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => value.extend_from_slice(&ip.octets()),
    }
    value
}

pub(crate) fn read_address(value: &[u8]) -> Option<SocketAddr> {
    let ([_, family, high, low], ip) = value.split_first_chunk()?;
    let ip: IpAddr = match family {
        1 => <[u8; 4]>::try_from(ip).ok()?.into(),
        2 => <[u8; 16]>::try_from(ip).ok()?.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([*high, *low])))
}

/// `addr` as XOR-MAPPED-ADDRESS shows it, and back again (RFC 8489 §14.2).
pub(crate) fn xor(addr: SocketAddr, transaction: TransactionId) -> SocketAddr {
    let [high, low, ..] = COOKIE.to_be_bytes();
    let ip = match addr.ip() {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() ^ COOKIE).into(),
        IpAddr::V6(ip) => {
            let mut mask = [0; 16];
            let all = COOKIE.to_be_bytes().into_iter().chain(transaction.0);
            mask.iter_mut().zip(all).for_each(|(place, byte)| *place = byte);
            Ipv6Addr::from_bits(ip.to_bits() ^ u128::from_be_bytes(mask)).into()
        }
    };
    SocketAddr::new(ip, addr.port() ^ u16::from_be_bytes([high, low]))
}
