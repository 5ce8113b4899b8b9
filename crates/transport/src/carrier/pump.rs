//! Moves datagrams between a queue and a stream, each behind its length.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Largest datagram of a carrier, in bytes; a longer one ends the carrier.
/// UDP's largest here, as far as it is not relayed in larger networks.
pub const MAX_FRAME: usize = 2048;

/// Silence after which a carrier counts as dead. Whatever is bound over it
/// says something every 25 s.
const IDLE: Duration = Duration::from_secs(60);

/// How long one write may take. A peer that takes nothing for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(15);

/// Bytes written at once, if as many wait.
const WRITE_BATCH: usize = 64 * 1024;

/// The work of a carrier, to be awaited by whoever opened it. It is over when
/// the carrier is; dropped, it ends the carrier.
pub type Pump = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Moves datagrams until either side ends, falls silent or breaks the rules.
///
/// Not cancel safe: a datagram under way may be lost, with the stream.
///
/// # Errors
///
/// Why it ended; [`io::ErrorKind::InvalidData`] for a frame that is too long.
pub async fn pump<S>(
    stream: S,
    mut outgoing: mpsc::Receiver<Bytes>,
    mut incoming: impl FnMut(Bytes),
    stop: &CancellationToken,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let read = async {
        let mut buffer = BytesMut::with_capacity(WRITE_BATCH);
        loop {
            while let Some(datagram) = next_frame(&mut buffer)? {
                incoming(datagram);
            }
            match timeout(IDLE, reader.read_buf(&mut buffer)).await {
                Ok(Ok(0)) => return Ok(()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    };
    let write = async {
        let mut batch = BytesMut::with_capacity(WRITE_BATCH);
        while let Some(datagram) = outgoing.recv().await {
            put_frame(&mut batch, &datagram);
            while batch.len() < WRITE_BATCH {
                let Ok(datagram) = outgoing.try_recv() else { break };
                put_frame(&mut batch, &datagram);
            }
            let written = async {
                writer.write_all(&batch).await?;
                writer.flush().await
            };
            timeout(WRITE_PATIENCE, written).await??;
            batch.clear();
        }
        Ok(())
    };
    tokio::select! {
        ended = read => ended,
        ended = write => ended,
        () = stop.cancelled() => Ok(()),
    }
}

fn put_frame(batch: &mut BytesMut, datagram: &[u8]) {
    let Ok(len) = u16::try_from(datagram.len()) else { return };
    if datagram.len() <= MAX_FRAME && !datagram.is_empty() {
        batch.put_u16(len);
        batch.put_slice(datagram);
    }
}

/// The next whole frame; the buffer grows by no more than one.
fn next_frame(buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
    let Some(&[high, low]) = buffer.first_chunk() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len == 0 || len > MAX_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if buffer.len() < 2 + len {
        buffer.reserve(2 + len - buffer.len());
        return Ok(None);
    }
    buffer.advance(2);
    Ok(Some(buffer.split_to(len).freeze()))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            datagrams in vec(vec(any::<u8>(), 1..MAX_FRAME), 0..8),
            cut in 1usize..3000,
        ) {
            let mut stream = BytesMut::new();
            for datagram in &datagrams {
                put_frame(&mut stream, datagram);
            }

            let (mut buffer, mut out) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(datagram) = next_frame(&mut buffer).unwrap() {
                    out.push(datagram.to_vec());
                }
            }

            prop_assert_eq!(out, datagrams);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn garbage_is_refused_or_waits_for_more(bytes in vec(any::<u8>(), 0..5000)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            let mut taken = 0;

            while let Ok(Some(datagram)) = next_frame(&mut buffer) {
                prop_assert!(!datagram.is_empty() && datagram.len() <= MAX_FRAME);
                taken += datagram.len() + 2;
            }

            prop_assert!(taken <= bytes.len());
        }
    }

    #[tokio::test]
    async fn both_directions_move_until_one_side_ends() {
        let (left, right) = tokio::io::duplex(1000);
        let (to_left, from_test) = mpsc::channel(300);
        let (seen, mut arrived) = mpsc::channel(300);
        let stop = CancellationToken::new();
        let sent: Vec<Bytes> = (1..=200usize).map(|len| vec![7; len].into()).collect();
        for datagram in &sent {
            to_left.send(datagram.clone()).await.unwrap();
        }
        let (_keep, silent) = mpsc::channel(1);

        let ended = {
            let left = pump(left, from_test, |_| {}, &stop);
            let right = pump(right, silent, |datagram| drop(seen.try_send(datagram)), &stop);
            drop(to_left);
            tokio::join!(left, right)
        };

        assert!(ended.0.is_ok() && ended.1.is_ok());
        for datagram in sent {
            assert_eq!(arrived.recv().await, Some(datagram));
        }
    }
}
