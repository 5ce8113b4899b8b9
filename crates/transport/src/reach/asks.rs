//! STUN questions under way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pilot_paths::{AskId, Change, Heard, LocalId, StunAsk, StunHeard};
use pilot_stun::{AnswerFrom, Outcome, Request, Response, TransactionId};

use crate::socket::Socket;

/// Questions without an answer that are remembered; further ones are not asked.
const MAX_ASKS: usize = 256;

/// How long an answer is taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whose question it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    Discovery,
    Lifetime,
    /// The address of a fresh socket.
    Fresh(LocalId),
}

#[derive(Debug)]
struct Ask {
    asker: Asker,
    id: AskId,
    until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Asks(BTreeMap<[u8; 12], Ask>);

impl Asks {
    pub(super) fn send(&mut self, socket: &Socket, asker: Asker, ask: &StunAsk, now: Instant) {
        if self.0.len() >= MAX_ASKS {
            self.0.retain(|_, ask| ask.until > now);
        }
        let mut transaction = [0; 12];
        if self.0.len() >= MAX_ASKS || getrandom::fill(&mut transaction).is_err() {
            return;
        }
        let answer_from = match ask.change {
            Change::Same => AnswerFrom::Same,
            Change::Port => AnswerFrom::OtherPort,
            Change::AddressAndPort => AnswerFrom::Other,
        };
        let mut request = Request::new(TransactionId(transaction));
        request.answer_from = answer_from;
        request.response_port = ask.response_port;
        self.0.insert(transaction, Ask { asker, id: ask.id, until: now + PATIENCE });
        if let Err(error) = socket.send_datagram(ask.local, ask.server, &request.encode()) {
            tracing::trace!(%error, server = %ask.server, "no question sent");
        }
    }

    /// Asks where a fresh socket is seen.
    pub(super) fn send_fresh(
        &mut self,
        socket: &Socket,
        local: LocalId,
        server: SocketAddr,
        now: Instant,
    ) {
        let ask =
            StunAsk { id: AskId(0), local, server, change: Change::Same, response_port: None };
        self.send(socket, Asker::Fresh(local), &ask, now);
    }

    /// The question that `bytes` answer, which is then over.
    pub(super) fn heard(
        &mut self,
        local: LocalId,
        bytes: &[u8],
        now: Instant,
    ) -> Option<(Asker, StunHeard)> {
        let (TransactionId(transaction), what) = read(bytes)?;
        let ask = match what {
            // An own question that came back by hairpin may still be answered.
            Heard::OwnRequest => self.0.get(&transaction).map(|ask| (ask.asker, ask.id, ask.until)),
            Heard::Answer { .. } => {
                self.0.remove(&transaction).map(|ask| (ask.asker, ask.id, ask.until))
            }
        };
        let (asker, id, until) = ask?;
        (until > now).then_some((asker, StunHeard { id, local, what }))
    }
}

fn read(bytes: &[u8]) -> Option<(TransactionId, Heard)> {
    if let Ok(request) = Request::decode(bytes) {
        return Some((request.transaction, Heard::OwnRequest));
    }
    let response = Response::decode(bytes).ok()?;
    match response.outcome {
        Outcome::Mapped(mapped) => {
            let heard = Heard::Answer { mapped: mapped.address, other: mapped.other };
            Some((response.transaction, heard))
        }
        Outcome::BadRequest | Outcome::UnknownAttributes(_) | Outcome::Error(_) => None,
    }
}
