//! "Where do you see me?"

use crate::attribute::{CHANGE_REQUEST, PADDING, RESPONSE_PORT, UnknownAttributes, is_unknown};
use crate::message::{Kind, MalformedError, Message, TransactionId, Writer};
use crate::response::{Outcome, Response};

/// Bits of CHANGE-REQUEST (RFC 5780 §7.2).
const CHANGE_ADDRESS: u32 = 4;
const CHANGE_PORT: u32 = 2;

/// From which of its addresses the server is asked to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum AnswerFrom {
    /// Where it was asked.
    #[default]
    Same,
    /// The same IP address and its other port.
    OtherPort,
    /// Its other IP address and the same port.
    OtherAddress,
    /// Its other IP address and the other port.
    Other,
}

/// A Binding request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Of this request and its response.
    pub transaction: TransactionId,
    /// From where the answer shall come (CHANGE-REQUEST).
    pub answer_from: AnswerFrom,
    /// To which port of the asking address it shall go instead of the one
    /// that asked (RESPONSE-PORT); never 0.
    pub response_port: Option<u16>,
    /// Bytes that make the request longer, and shall make the response so (PADDING).
    pub padding: Option<u16>,
    /// Whether request and response end with a checksum.
    pub has_fingerprint: bool,
}

/// Why bytes are no Binding request that can be answered as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No message at all; not answered.
    #[error(transparent)]
    Malformed(#[from] MalformedError),
    /// Another message; not answered.
    #[error("the STUN message is no Binding request")]
    OtherMessage,
    /// What it says makes no sense; answered with 400.
    #[error("the Binding request contradicts itself")]
    Bad {
        /// The request.
        transaction: TransactionId,
    },
    /// It must be understood and is not; answered with 420.
    #[error("the Binding request holds attributes that are unknown here")]
    Unknown {
        /// The request.
        transaction: TransactionId,
        /// Which.
        attributes: UnknownAttributes,
    },
}

impl RequestError {
    /// What the sender is told.
    #[must_use]
    pub const fn response(&self) -> Option<Response> {
        let (transaction, outcome) = match *self {
            Self::Malformed(_) | Self::OtherMessage => return None,
            Self::Bad { transaction } => (transaction, Outcome::BadRequest),
            Self::Unknown { transaction, attributes } => {
                (transaction, Outcome::UnknownAttributes(attributes))
            }
        };
        Some(Response { transaction, outcome, has_fingerprint: false })
    }
}

impl Request {
    /// The plain question.
    #[must_use]
    pub const fn new(transaction: TransactionId) -> Self {
        Self {
            transaction,
            answer_from: AnswerFrom::Same,
            response_port: None,
            padding: None,
            has_fingerprint: false,
        }
    }

    /// Its bytes, at most [`MAX_MESSAGE`](crate::MAX_MESSAGE): padding that
    /// does not fit is left out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(Kind::Request, self.transaction);
        let bits = match self.answer_from {
            AnswerFrom::Same => 0,
            AnswerFrom::OtherPort => CHANGE_PORT,
            AnswerFrom::OtherAddress => CHANGE_ADDRESS,
            AnswerFrom::Other => CHANGE_ADDRESS | CHANGE_PORT,
        };
        if bits != 0 {
            writer.attribute(CHANGE_REQUEST, &bits.to_be_bytes());
        }
        if let Some(port) = self.response_port {
            let [high, low] = port.to_be_bytes();
            writer.attribute(RESPONSE_PORT, &[high, low, 0, 0]);
        }
        if let Some(bytes) = self.padding {
            writer.attribute(PADDING, &vec![0; usize::from(bytes)]);
        }
        writer.finish(self.has_fingerprint)
    }

    /// Reads a request as a server does.
    ///
    /// Of an attribute that is there twice the first counts (RFC 8489 §14).
    ///
    /// # Errors
    ///
    /// [`RequestError`], which may have a response.
    pub fn decode(bytes: &[u8]) -> Result<Self, RequestError> {
        let message = Message::decode(bytes)?;
        if message.kind != Kind::Request {
            return Err(RequestError::OtherMessage);
        }
        let transaction = message.transaction;
        let unknown = UnknownAttributes::new(
            message.counting().map(|(kind, _)| kind).filter(|kind| is_unknown(*kind)),
        );
        if !unknown.as_slice().is_empty() {
            return Err(RequestError::Unknown { transaction, attributes: unknown });
        }
        let bad = RequestError::Bad { transaction };
        let mut request =
            Self { has_fingerprint: message.has_fingerprint, ..Self::new(transaction) };
        let mut change = None;
        for (kind, value) in message.counting() {
            match kind {
                CHANGE_REQUEST if change.is_none() => {
                    let bits = u32::from_be_bytes(value.try_into().map_err(|_| bad)?);
                    change = Some(bits);
                }
                RESPONSE_PORT if request.response_port.is_none() => {
                    request.response_port = Some(read_port(value).ok_or(bad)?);
                }
                PADDING if request.padding.is_none() => {
                    request.padding = Some(u16::try_from(value.len()).map_err(|_| bad)?);
                }
                _ => {}
            }
        }
        request.answer_from = answer_from(change.unwrap_or(0));
        // RFC 5780 §6.1: the two together would send much to somebody else.
        if request.padding.is_some() && request.response_port.is_some() {
            return Err(bad);
        }
        Ok(request)
    }
}

const fn answer_from(bits: u32) -> AnswerFrom {
    match (bits & CHANGE_ADDRESS != 0, bits & CHANGE_PORT != 0) {
        (false, false) => AnswerFrom::Same,
        (false, true) => AnswerFrom::OtherPort,
        (true, false) => AnswerFrom::OtherAddress,
        (true, true) => AnswerFrom::Other,
    }
}

/// RFC 5780 §7.5: a port and two bytes of padding. Some send the port alone.
fn read_port(value: &[u8]) -> Option<u16> {
    match value {
        [high, low] | [high, low, _, _] => {
            Some(u16::from_be_bytes([*high, *low])).filter(|port| *port != 0)
        }
        _ => None,
    }
}
