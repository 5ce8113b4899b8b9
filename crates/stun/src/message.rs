//! What all messages have in common: header, attributes, fingerprint.

use crate::attribute::{FINGERPRINT, is_integrity};

/// Bytes of a message without attributes.
pub const HEADER: usize = 20;

/// Bytes of the longest message that is made: what passes everywhere
/// unfragmented (RFC 8489 §6.1 wants less than the path's MTU).
pub const MAX_MESSAGE: usize = 1280;

/// Bytes of the longest message that is read: clients that try whether
/// fragments pass send more than an Ethernet frame holds (RFC 5780 §3.5).
pub const MAX_READ: usize = 2048;

/// Bytes of an attribute before its value.
pub(crate) const ATTRIBUTE_HEADER: usize = 4;

/// RFC 8489 §5.
pub(crate) const COOKIE: u32 = 0x2112_a442;

/// RFC 8489 §14.7.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

const FINGERPRINT_BYTES: usize = ATTRIBUTE_HEADER + 4;

/// Names a request, and its response after it: 96 bits drawn at random, which
/// is all that tells a response from a forged one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// Bytes that are no STUN message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedError {
    /// The first bits, the cookie or the length are not those of a message.
    #[error("the bytes are no STUN message")]
    NotStun,
    /// Longer than [`MAX_READ`].
    #[error("a STUN message of {0} bytes is too long")]
    TooLong(usize),
    /// An attribute reaches beyond the end, or follows the fingerprint.
    #[error("the attributes of the STUN message do not fit into it")]
    Attributes,
    /// The fingerprint is of other bytes.
    #[error("the fingerprint does not match the STUN message")]
    Fingerprint,
}

/// Class and method in one (RFC 8489 §5), of the method Binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Success,
    Error,
    /// An indication, or another method.
    Other,
}

impl Kind {
    const fn of(bits: u16) -> Self {
        match bits {
            0x0001 => Self::Request,
            0x0101 => Self::Success,
            0x0111 => Self::Error,
            _ => Self::Other,
        }
    }

    const fn bits(self) -> u16 {
        match self {
            Self::Request => 0x0001,
            Self::Success => 0x0101,
            Self::Error => 0x0111,
            // RFC 8489 §5: an indication of Binding. Never made here.
            Self::Other => 0x0011,
        }
    }
}

/// Whether `datagram` begins as a STUN message does (RFC 8489 §5).
#[must_use]
pub fn looks_like_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER
        && datagram.first().is_some_and(|first| first & 0xc0 == 0)
        && datagram.get(4..8) == Some(COOKIE.to_be_bytes().as_slice())
}

/// A message whose frame holds; what its attributes say is not checked yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) kind: Kind,
    pub(crate) transaction: TransactionId,
    pub(crate) has_fingerprint: bool,
    attributes: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, MalformedError> {
        if bytes.len() > MAX_READ {
            return Err(MalformedError::TooLong(bytes.len()));
        }
        let (kind, length, transaction, attributes) = header(bytes)?;
        if attributes.len() != length || length % 4 != 0 {
            return Err(MalformedError::NotStun);
        }
        let message = Self { kind, transaction, has_fingerprint: false, attributes };
        let mut all = message.attributes();
        while let Some((kind, value)) = all.next() {
            if kind == FINGERPRINT {
                let covered = bytes.len().saturating_sub(FINGERPRINT_BYTES);
                let expected = bytes.get(..covered).map(fingerprint);
                return match expected {
                    _ if !all.rest.is_empty() || value.len() != 4 => {
                        Err(MalformedError::Attributes)
                    }
                    Some(expected) if value == expected => {
                        Ok(Self { has_fingerprint: true, ..message })
                    }
                    Some(_) | None => Err(MalformedError::Fingerprint),
                };
            }
        }
        if all.rest.is_empty() { Ok(message) } else { Err(MalformedError::Attributes) }
    }

    /// Type and value of each attribute that counts: what follows an integrity
    /// check is ignored (RFC 8489 §14.5).
    pub(crate) fn counting(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        self.attributes().take_while(|(kind, _)| !is_integrity(*kind))
    }

    /// All attributes, up to the first that does not fit.
    const fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.attributes }
    }
}

fn header(bytes: &[u8]) -> Result<(Kind, usize, TransactionId, &[u8]), MalformedError> {
    let ([a, b, c, d], rest) = bytes.split_first_chunk().ok_or(MalformedError::NotStun)?;
    let rest = rest.strip_prefix(&COOKIE.to_be_bytes()).ok_or(MalformedError::NotStun)?;
    let (transaction, attributes) = rest.split_first_chunk().ok_or(MalformedError::NotStun)?;
    if a & 0xc0 != 0 {
        return Err(MalformedError::NotStun);
    }
    let (kind, length) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
    Ok((Kind::of(kind), usize::from(length), TransactionId(*transaction), attributes))
}

/// Over everything before the fingerprint, whose length is counted already.
fn fingerprint(before: &[u8]) -> [u8; 4] {
    (crc32fast::hash(before) ^ FINGERPRINT_XOR).to_be_bytes()
}

#[derive(Debug, Clone)]
struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([a, b, c, d], rest) = self.rest.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([*c, *d]));
        let (value, _) = rest.split_at_checked(len)?;
        self.rest = rest.get(len.next_multiple_of(4)..)?;
        Some((u16::from_be_bytes([*a, *b]), value))
    }
}

/// A message in the making.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(kind: Kind, transaction: TransactionId) -> Self {
        let mut bytes = Vec::with_capacity(96);
        bytes.extend_from_slice(&kind.bits().to_be_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&COOKIE.to_be_bytes());
        bytes.extend_from_slice(&transaction.0);
        Self(bytes)
    }

    /// Appends an attribute; one that would make the message longer than
    /// [`MAX_MESSAGE`] is left out.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let padded = value.len().next_multiple_of(4);
        let Ok(len) = u16::try_from(value.len()) else { return };
        if self.0.len() + ATTRIBUTE_HEADER + padded + FINGERPRINT_BYTES > MAX_MESSAGE {
            return;
        }
        self.0.extend_from_slice(&kind.to_be_bytes());
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len() + padded - value.len(), 0);
    }

    pub(crate) fn finish(mut self, with_fingerprint: bool) -> Vec<u8> {
        if with_fingerprint {
            self.set_length(FINGERPRINT_BYTES);
            let value = fingerprint(&self.0);
            self.0.extend_from_slice(&FINGERPRINT.to_be_bytes());
            self.0.extend_from_slice(&4_u16.to_be_bytes());
            self.0.extend_from_slice(&value);
        } else {
            self.set_length(0);
        }
        self.0
    }

    fn set_length(&mut self, to_come: usize) {
        let length = (self.0.len() + to_come).saturating_sub(HEADER);
        // No message is longer than MAX_MESSAGE.
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        if let Some(place) = self.0.get_mut(2..4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
}
