//! A client of a beacon that is made of the wire format alone.
//!
//! It binds like any node and then says nothing, or sends whatever it is told:
//! thousands of them are a crowd, and one of them is a flood.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use anyhow::bail;
use pilot_identity::{NodeKey, PairKey};
use pilot_proto::beacon::{self, Bind, CONTEXT, FromBeacon, RelayId, Told};
use quinn::udp::{Transmit, UdpSocketState};

use crate::beacon::Beacon;
use crate::load;

/// How long an answer may take before the question is asked again.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often that is.
const TRIES: usize = 10;

/// Larger than any answer.
const BUFFER: usize = 2048;

pub(crate) struct Client {
    socket: UdpSocket,
    key: NodeKey,
    beacon: SocketAddr,
}

impl Client {
    /// With the key of this number, bound at `beacon`, on a socket of its own.
    pub(crate) fn bound(number: usize, beacon: SocketAddr) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let client = Self { socket, key: load::key(number), beacon };
        let pair = PairKey::new(&client.key, &Beacon::id(), CONTEXT)?;
        let id = client.key.id();
        let cookie = client.ask(&beacon::hello(&id), |packet| match packet {
            FromBeacon::Challenge { cookie, .. } => Some(cookie),
            FromBeacon::Told(_) | FromBeacon::Unknown => None,
        })?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let bind = Bind { seq: u64::try_from(since.as_micros())?, ticket: None };
        let packet = beacon::bind(&id, &cookie, &pair, [0; 12], &bind);
        client.ask(&packet, |packet| match packet {
            FromBeacon::Told(sealed) => match sealed.open(&pair) {
                Ok(Told::Bound { .. }) => Some(()),
                Ok(Told::Alive { .. } | Told::Absent { .. } | Told::Refused { .. }) | Err(_) => {
                    None
                }
            },
            FromBeacon::Challenge { .. } | FromBeacon::Unknown => None,
        })?;
        Ok(client)
    }

    pub(crate) fn relay_id(&self) -> RelayId {
        RelayId::of(&self.key.id())
    }

    /// Sends batches of 64 KiB to `to` as fast as the kernel takes them, for
    /// as long as `goes_on` says; how many bytes.
    pub(crate) fn flood(
        &self,
        to: RelayId,
        mut goes_on: impl FnMut() -> bool,
    ) -> anyhow::Result<u64> {
        /// Bytes of a datagram, and how many of them the kernel takes at once.
        const DATAGRAM: usize = 1452;
        const BATCH: usize = 45;
        let state = UdpSocketState::new((&self.socket).into())?;
        let datagram = [&beacon::relay_header(to)[..], &[0x40; DATAGRAM - 16]].concat();
        let batch = datagram.repeat(BATCH);
        let transmit = Transmit {
            destination: self.beacon,
            ecn: None,
            contents: &batch,
            segment_size: Some(DATAGRAM),
            src_ip: None,
        };
        let mut sent = 0;
        while goes_on() {
            // What it does not take is a flood that did not happen.
            if state.try_send((&self.socket).into(), &transmit).is_ok() {
                sent += u64::try_from(batch.len())?;
            }
        }
        Ok(sent)
    }

    /// Sends a packet until the beacon gives the answer that is waited for.
    fn ask<T>(
        &self,
        packet: &[u8],
        answer: impl Fn(FromBeacon<'_>) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut buffer = [0; BUFFER];
        for _ in 0..TRIES {
            self.socket.send_to(packet, self.beacon)?;
            let Ok((len, _)) = self.socket.recv_from(&mut buffer) else { continue };
            let heard = FromBeacon::decode(buffer.get(..len).unwrap_or_default())?;
            if let Some(answer) = answer(heard) {
                return Ok(answer);
            }
        }
        bail!("the beacon does not answer")
    }
}
