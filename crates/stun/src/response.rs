//! "There."

use core::net::SocketAddr;

use crate::attribute::{
    ERROR_CODE, MAPPED_ADDRESS, OTHER_ADDRESS, PADDING, RESPONSE_ORIGIN, SOFTWARE,
    UNKNOWN_ATTRIBUTES, UnknownAttributes, XOR_MAPPED_ADDRESS, address, is_unknown, read_address,
    xor,
};
use crate::message::{Kind, MalformedError, Message, TransactionId, Writer};

/// What a server of ours calls itself.
const OURS: &[u8] = b"pilot";

/// A response to a Binding request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// Of the request.
    pub transaction: TransactionId,
    /// The answer.
    pub outcome: Outcome,
    /// Whether it ends with a checksum, as the request did.
    pub has_fingerprint: bool,
}

/// What a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Where it sees the client.
    Mapped(Mapped),
    /// 400: the request contradicts itself.
    BadRequest,
    /// 420: the server would have to know these.
    UnknownAttributes(UnknownAttributes),
    /// Another error, 300 to 699.
    Error(u16),
}

/// Where a server sees a client, and who the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// The client's address as the server sees it.
    pub address: SocketAddr,
    /// The same in plain bytes (MAPPED-ADDRESS), which a NAT may have changed
    /// on the way. RFC 5780 wants both.
    pub plain: Option<SocketAddr>,
    /// From where the response was sent, as the server sees it (RESPONSE-ORIGIN).
    pub origin: Option<SocketAddr>,
    /// The server's other address and other port (OTHER-ADDRESS); none if it
    /// has not both.
    pub other: Option<SocketAddr>,
    /// Bytes that make the response longer (PADDING); 0 for none.
    pub padding: u16,
}

impl Mapped {
    /// Nothing but the client's address.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, plain: None, origin: None, other: None, padding: 0 }
    }
}

/// Why bytes are no response to a Binding request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// No message at all.
    #[error(transparent)]
    Malformed(#[from] MalformedError),
    /// Another message.
    #[error("the STUN message is no response to a Binding request")]
    OtherMessage,
    /// A success without a readable address, an error without a code, or
    /// something that must be understood and is not (RFC 8489 §6.3.3).
    #[error("the response of the STUN server makes no sense")]
    Bad,
}

impl Response {
    /// Its bytes, at most [`MAX_MESSAGE`](crate::MAX_MESSAGE): padding that
    /// does not fit is left out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = match &self.outcome {
            Outcome::Mapped(mapped) => self.success(mapped),
            Outcome::BadRequest => self.error(400, "Bad Request"),
            Outcome::UnknownAttributes(attributes) => {
                let mut writer = self.error(420, "Unknown Attribute");
                writer.attribute(UNKNOWN_ATTRIBUTES, &attributes.value());
                writer
            }
            Outcome::Error(code) => self.error(*code, ""),
        };
        writer.attribute(SOFTWARE, OURS);
        writer.finish(self.has_fingerprint)
    }

    fn success(&self, mapped: &Mapped) -> Writer {
        let mut writer = Writer::new(Kind::Success, self.transaction);
        writer.attribute(XOR_MAPPED_ADDRESS, &address(xor(mapped.address, self.transaction)));
        if let Some(plain) = mapped.plain {
            writer.attribute(MAPPED_ADDRESS, &address(plain));
        }
        if let Some(origin) = mapped.origin {
            writer.attribute(RESPONSE_ORIGIN, &address(origin));
        }
        if let Some(other) = mapped.other {
            writer.attribute(OTHER_ADDRESS, &address(other));
        }
        if mapped.padding > 0 {
            writer.attribute(PADDING, &vec![0; usize::from(mapped.padding)]);
        }
        writer
    }

    /// RFC 8489 §14.8: the hundreds apart from the rest.
    fn error(&self, code: u16, reason: &str) -> Writer {
        let mut writer = Writer::new(Kind::Error, self.transaction);
        let [_, class] = (code / 100).to_be_bytes();
        let [_, number] = (code % 100).to_be_bytes();
        writer.attribute(ERROR_CODE, &[&[0, 0, class, number], reason.as_bytes()].concat());
        writer
    }

    /// Reads a response as a client does. That its transaction is one of the
    /// client's own is for the client to check.
    ///
    /// # Errors
    ///
    /// [`ResponseError`]
    pub fn decode(bytes: &[u8]) -> Result<Self, ResponseError> {
        let message = Message::decode(bytes)?;
        let outcome = match message.kind {
            Kind::Success => Outcome::Mapped(read_mapped(&message).ok_or(ResponseError::Bad)?),
            Kind::Error => read_error(&message).ok_or(ResponseError::Bad)?,
            Kind::Request | Kind::Other => return Err(ResponseError::OtherMessage),
        };
        Ok(Self {
            transaction: message.transaction,
            outcome,
            has_fingerprint: message.has_fingerprint,
        })
    }
}

/// The value of the first attribute of a type.
fn first<'a>(message: &Message<'a>, wanted: u16) -> Option<&'a [u8]> {
    message.counting().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn read_mapped(message: &Message<'_>) -> Option<Mapped> {
    if message.counting().any(|(kind, _)| is_unknown(kind)) {
        return None;
    }
    let xored = first(message, XOR_MAPPED_ADDRESS).and_then(read_address);
    let plain = first(message, MAPPED_ADDRESS).and_then(read_address);
    // Old servers send the plain one alone.
    let address = xored.map(|xored| xor(xored, message.transaction)).or(plain)?;
    let padding = first(message, PADDING).map_or(0, <[u8]>::len);
    Some(Mapped {
        address,
        plain,
        origin: first(message, RESPONSE_ORIGIN).and_then(read_address),
        other: first(message, OTHER_ADDRESS).and_then(read_address),
        padding: u16::try_from(padding).ok()?,
    })
}

fn read_error(message: &Message<'_>) -> Option<Outcome> {
    let [_, _, class, number, ..] = first(message, ERROR_CODE)? else { return None };
    let (class, number) = (u16::from(class & 7), u16::from(*number));
    if !(3..=6).contains(&class) || number > 99 {
        return None;
    }
    Some(match class * 100 + number {
        400 => Outcome::BadRequest,
        420 => {
            let unknown = first(message, UNKNOWN_ATTRIBUTES).unwrap_or_default();
            Outcome::UnknownAttributes(UnknownAttributes::read(unknown))
        }
        other => Outcome::Error(other),
    })
}
