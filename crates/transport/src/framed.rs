//! Messages on a stream: the frames of `pilot_proto::frame` over QUIC.

use std::sync::Arc;
use std::time::Duration;

use pilot_proto::frame::{self, FrameError, PREFIX};
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, VarInt, WriteError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::connection::CloseReason;

/// Frames up to this size are read without asking the budget.
const FREE_FRAME: usize = 64 * 1024;

/// Granularity of the budget.
const UNIT: usize = 1024;

/// How long the bytes of a frame may stay away once its share is taken.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes a second that the sender of a frame must reach on average, beside
/// [`PATIENCE`]: 16 MiB take some 17 minutes at most.
const SLOWEST: usize = 16 * 1024;

/// Both halves of one bidirectional stream.
#[derive(Debug)]
pub struct Framed {
    /// The sending half.
    pub send: SendStream,
    /// The receiving half.
    pub recv: RecvStream,
}

/// Why an exchange on a stream broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramedError {
    /// The connection under the stream is gone.
    #[error("the connection is gone")]
    Connection(#[from] CloseReason),
    /// The peer reset or stopped the stream.
    #[error("the peer ended the stream: {}", pilot_proto::close::meaning(*.code))]
    Stopped {
        /// With this code of [`pilot_proto::close`].
        code: u32,
    },
    /// The peer closed the stream where a frame was due, or inside one.
    #[error("the stream ended before the message did")]
    Ended,
    /// A frame is too long or does not decode.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The rest of a large frame did not come in time.
    #[error("the rest of a message did not come")]
    Stalled,
    /// This side has closed the stream already.
    #[error("the stream is closed")]
    Closed,
}

/// How many bytes of large frames may be in memory at once, over all peers.
///
/// A frame over 64 KiB waits for its share; QUIC's flow control holds its
/// sender meanwhile. Who has a share must send: a frame that stays away for
/// 30 s, or comes at less than 16 KiB a second, is given up.
#[derive(Debug, Clone)]
pub struct Budget {
    pool: Pool,
    /// That of which this is a part.
    whole: Option<Pool>,
}

#[derive(Debug, Clone)]
struct Pool {
    units: Arc<Semaphore>,
    total: usize,
}

/// A share of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub struct Share(#[expect(dead_code, reason = "held for its drop")] Vec<OwnedSemaphorePermit>);

impl Budget {
    /// A budget of `bytes`. One frame larger than the whole budget takes all of it.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { pool: Pool::new(bytes), whole: None }
    }

    /// A part of this budget, of `bytes`: its shares are shares of this one
    /// too, so that whoever only has the part leaves the rest to others.
    #[must_use]
    pub fn part(&self, bytes: usize) -> Self {
        Self { pool: Pool::new(bytes), whole: Some(self.pool.clone()) }
    }

    async fn share(&self, len: usize) -> Share {
        let mut permits = Vec::new();
        if len > FREE_FRAME {
            // The part first: who waits for it holds nothing of the whole.
            for pool in [Some(&self.pool), self.whole.as_ref()].into_iter().flatten() {
                permits.extend(pool.take(len).await);
            }
        }
        Share(permits)
    }
}

impl Pool {
    fn new(bytes: usize) -> Self {
        let total = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(total)), total }
    }

    async fn take(&self, len: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(len.div_ceil(UNIT).min(self.total)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        Arc::clone(&self.units).acquire_many_owned(units).await.ok()
    }
}

impl Framed {
    /// Sends one message.
    ///
    /// Not cancel safe: dropped half-way, the stream is unusable.
    ///
    /// # Errors
    ///
    /// [`FramedError`], also when the message is over `limit`.
    pub async fn send<T: Serialize>(
        &mut self,
        message: &T,
        limit: usize,
    ) -> Result<(), FramedError> {
        send_frame(&mut self.send, message, limit).await
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    ///
    /// [`FramedError::Closed`] if it was said before.
    pub fn finish(&mut self) -> Result<(), FramedError> {
        self.send.finish().map_err(|_| FramedError::Closed)
    }

    /// Receives one message that must be there.
    ///
    /// Not cancel safe: dropped half-way, the stream is unusable.
    ///
    /// # Errors
    ///
    /// [`FramedError`]; [`FramedError::Ended`] if the peer sends no more.
    pub async fn expect<T: DeserializeOwned>(&mut self, limit: usize) -> Result<T, FramedError> {
        self.next(limit).await?.ok_or(FramedError::Ended)
    }

    /// Receives the next message, or `None` when the peer has sent its last.
    ///
    /// Not cancel safe: dropped half-way, the stream is unusable.
    ///
    /// # Errors
    ///
    /// [`FramedError`]
    pub async fn next<T: DeserializeOwned>(
        &mut self,
        limit: usize,
    ) -> Result<Option<T>, FramedError> {
        next_frame(&mut self.recv, limit).await
    }

    /// Ends the stream in both directions with a code of [`pilot_proto::close`].
    pub fn refuse(&mut self, code: u32) {
        // Both fail only when the half is closed already.
        drop(self.send.reset(VarInt::from_u32(code)));
        drop(self.recv.stop(VarInt::from_u32(code)));
    }
}

/// [`Framed::send`] on one half, for use beside the other.
///
/// Not cancel safe: dropped half-way, the stream is unusable.
///
/// # Errors
///
/// [`FramedError`], also when the message is over `limit`.
pub async fn send_frame<T: Serialize>(
    send: &mut SendStream,
    message: &T,
    limit: usize,
) -> Result<(), FramedError> {
    let frame = frame::encode(message, limit)?;
    send.write_all(&frame).await?;
    Ok(())
}

/// [`Framed::next`] on one half, for use beside the other.
///
/// Not cancel safe: dropped half-way, the stream is unusable.
///
/// # Errors
///
/// [`FramedError`]
pub async fn next_frame<T: DeserializeOwned>(
    recv: &mut RecvStream,
    limit: usize,
) -> Result<Option<T>, FramedError> {
    let Some(len) = announced(recv, limit).await? else { return Ok(None) };
    let body = body(recv, len, Duration::MAX).await?;
    Ok(Some(frame::decode(&body)?))
}

/// Like [`next_frame`], taking the frame's share of `budget` before its
/// bytes; the share is returned with the message.
///
/// Not cancel safe: dropped half-way, the stream is unusable.
///
/// # Errors
///
/// [`FramedError`]
pub async fn next_frame_within<T: DeserializeOwned>(
    recv: &mut RecvStream,
    limit: usize,
    budget: &Budget,
) -> Result<Option<(T, Share)>, FramedError> {
    let Some(len) = announced(recv, limit).await? else { return Ok(None) };
    let share = budget.share(len).await;
    let average = Duration::from_secs(u64::try_from(len / SLOWEST).unwrap_or(u64::MAX));
    let body = match timeout(PATIENCE.saturating_add(average), body(recv, len, PATIENCE)).await {
        Ok(body) => body?,
        Err(_elapsed) => return Err(FramedError::Stalled),
    };
    Ok(Some((frame::decode(&body)?, share)))
}

async fn announced(recv: &mut RecvStream, limit: usize) -> Result<Option<usize>, FramedError> {
    let mut prefix = [0; PREFIX];
    match recv.read_exact(&mut prefix).await {
        Ok(()) => Ok(Some(frame::announced_len(prefix, limit)?)),
        Err(ReadExactError::FinishedEarly(0)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads `len` bytes, growing with what arrives: an announced length alone
/// costs no memory. Gives up after `patience` without any.
async fn body(
    recv: &mut RecvStream,
    len: usize,
    patience: Duration,
) -> Result<Vec<u8>, FramedError> {
    let mut body = Vec::with_capacity(len.min(FREE_FRAME));
    while body.len() < len {
        match timeout(patience, recv.read_chunk(len - body.len(), true)).await {
            Ok(chunk) => match chunk? {
                Some(chunk) => body.extend_from_slice(&chunk.bytes),
                None => return Err(FramedError::Ended),
            },
            Err(_elapsed) => return Err(FramedError::Stalled),
        }
    }
    Ok(body)
}

fn stopped(code: VarInt) -> FramedError {
    FramedError::Stopped { code: u32::try_from(code.into_inner()).unwrap_or(u32::MAX) }
}

impl From<WriteError> for FramedError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => stopped(code),
            WriteError::ConnectionLost(error) => Self::Connection(error.into()),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Closed,
        }
    }
}

impl From<ReadError> for FramedError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => stopped(code),
            ReadError::ConnectionLost(error) => Self::Connection(error.into()),
            ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => Self::Closed,
        }
    }
}

impl From<ReadExactError> for FramedError {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::Ended,
            ReadExactError::ReadError(error) => error.into(),
        }
    }
}
