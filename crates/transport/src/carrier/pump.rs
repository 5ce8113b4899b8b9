//! Datagrams in a stream: `{u16 length, big endian, datagram}`.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Bytes of the longest datagram of a carrier. A longer one, or one of
/// nothing, ends the carrier.
pub const MAX_FRAME: usize = 2048;

/// Bytes of a length.
const PREFIX: usize = 2;

/// Silence after which a carrier counts as dead. Who is bound over it says
/// something every 25 s at most.
const IDLE: Duration = Duration::from_secs(60);

/// How long one write may take. Who takes nothing for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(15);

/// Room made for each read: a TLS record.
const READ: usize = 16 * 1024;

/// Bytes written at once, if as many wait.
const WRITE: usize = 32 * 1024;

/// The work of a carrier, to be awaited by whoever opened it. It is over when
/// the carrier is; dropped, it ends the carrier.
pub type Pump = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Moves datagrams both ways until either side ends, falls silent or breaks
/// the rules.
///
/// Not cancel safe: dropped, a datagram under way is lost, and the stream with it.
///
/// # Errors
///
/// Why it ended; [`io::ErrorKind::InvalidData`] for a length that is none.
pub async fn pump<S>(
    stream: S,
    outgoing: mpsc::Receiver<Bytes>,
    incoming: impl FnMut(Bytes),
    stop: &CancellationToken,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite,
{
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        ended = read(reader, incoming) => ended,
        ended = write(writer, outgoing) => ended,
        () = stop.cancelled() => Ok(()),
    }
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    mut incoming: impl FnMut(Bytes),
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        while let Some(datagram) = next(&mut buffer)? {
            incoming(datagram);
        }
        buffer.reserve(READ);
        if timeout(IDLE, reader.read_buf(&mut buffer)).await?? == 0 {
            return Ok(());
        }
    }
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    while let Some(datagram) = outgoing.recv().await {
        // Made anew each time: an idle carrier holds nothing.
        let mut batch = BytesMut::with_capacity(PREFIX + datagram.len());
        put(&mut batch, &datagram);
        while batch.len() < WRITE {
            let Ok(datagram) = outgoing.try_recv() else { break };
            put(&mut batch, &datagram);
        }
        let written = async {
            writer.write_all(&batch).await?;
            writer.flush().await
        };
        timeout(WRITE_PATIENCE, written).await??;
    }
    Ok(())
}

fn put(batch: &mut BytesMut, datagram: &[u8]) {
    match u16::try_from(datagram.len()) {
        Ok(len) if (1..=MAX_FRAME).contains(&datagram.len()) => {
            batch.put_u16(len);
            batch.put_slice(datagram);
        }
        Ok(_) | Err(_) => tracing::debug!(len = datagram.len(), "too long for a carrier"),
    }
}

/// The next whole datagram. What is incomplete stays for the next read.
fn next(buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
    let Some(prefix) = buffer.first_chunk::<PREFIX>() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes(*prefix));
    if !(1..=MAX_FRAME).contains(&len) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if buffer.len() < PREFIX + len {
        return Ok(None);
    }
    buffer.advance(PREFIX);
    Ok(Some(buffer.split_to(len).freeze()))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn all(buffer: &mut BytesMut) -> (Vec<Bytes>, io::Result<()>) {
        let mut datagrams = Vec::new();
        loop {
            match next(buffer) {
                Ok(Some(datagram)) => datagrams.push(datagram),
                Ok(None) => return (datagrams, Ok(())),
                Err(error) => return (datagrams, Err(error)),
            }
        }
    }

    #[test]
    fn a_length_is_two_bytes_big_endian() {
        let mut batch = BytesMut::new();
        put(&mut batch, b"abc");
        put(&mut batch, &[7; 300]);

        assert_eq!(&batch[..5], b"\x00\x03abc");
        assert_eq!(&batch[5..8], b"\x01\x2c\x07");
    }

    #[test]
    fn nothing_and_too_much_are_no_frames() {
        for bytes in [&[0, 0][..], &[0x08, 0x01], &[0xff, 0xff]] {
            let (datagrams, ended) = all(&mut BytesMut::from(bytes));
            assert_eq!(datagrams.len(), 0);
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        let mut batch = BytesMut::new();
        put(&mut batch, &[]);
        put(&mut batch, &[0; MAX_FRAME + 1]);
        assert!(batch.is_empty(), "they are not written either");
        put(&mut batch, &[0; MAX_FRAME]);
        assert_eq!(all(&mut batch).0.len(), 1);
    }

    proptest! {
        #[test]
        fn datagrams_come_out_as_they_went_in_however_they_are_cut(
            datagrams in vec(vec(any::<u8>(), 1..=MAX_FRAME), 0..8),
            cut in 1_usize..3000,
        ) {
            let mut stream = BytesMut::new();
            datagrams.iter().for_each(|datagram| put(&mut stream, datagram));

            let (mut buffer, mut out) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(cut) {
                buffer.extend_from_slice(piece);
                let (some, ended) = all(&mut buffer);
                prop_assert!(ended.is_ok());
                out.extend(some);
            }

            prop_assert_eq!(out, datagrams);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..5000)) {
            let (datagrams, _) = all(&mut BytesMut::from(&bytes[..]));

            let taken: usize = datagrams.iter().map(|datagram| datagram.len() + PREFIX).sum();
            prop_assert!(taken <= bytes.len());
        }
    }
}
