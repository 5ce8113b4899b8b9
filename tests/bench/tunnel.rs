//! Tunnels beside bare quinn: an echo, and a cold connect.
//!
//! Both ends of everything share one thread, as the programs are of one
//! thread each; what is compared alternates in small lots, so that the noise
//! of the machine meets both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use pilot_tests::Programs;
use pilot_transport::{
    Alpn, Connection, Endpoint, Expect, KeyExchange, Priority, RecvStream, SendStream, Settings,
};
use rustls::crypto::{SupportedKxGroup, aws_lc_rs::kx_group};

use crate::bare::{Bare, BareEcho};
use crate::line::Line;
use crate::load::{self, block_on};
use crate::pair::Pair;
use crate::samples::Samples;

/// What is echoed: a small message.
const MESSAGE: [u8; 64] = [7; 64];

const LOTS: usize = 40;
const LOT: usize = 100;
const CONNECTS: usize = 500;

/// Two streams' ends.
type Stream = (SendStream, RecvStream);

/// p50 of one echo: on a stream that is open, on one opened for it, and as a
/// daemon's own `ping` sees it.
pub(crate) fn echo(_: &Programs) -> anyhow::Result<Vec<Line>> {
    let mut lines = block_on(async {
        let ours = Two::bind(KeyExchange::Hybrid)?;
        let bare = Bare::bind(kx_group::X25519MLKEM768)?;
        let (our_client, our_server) = ours.connected().await?;
        let (bare_client, bare_server) = bare.connected().await?;

        let mut kept = (Samples::default(), Samples::default());
        let mut our_pair = opened(our_client.open_bi(Priority::Message).await?, async {
            Ok(our_server.accept_bi().await?)
        })
        .await?;
        let mut bare_pair =
            opened(bare_client.open_bi().await?, async { Ok(bare_server.accept_bi().await?) })
                .await?;
        for lot in 0..LOTS {
            for (pair, samples) in [(&mut our_pair, &mut kept.0), (&mut bare_pair, &mut kept.1)] {
                for _ in 0..LOT {
                    let started = Instant::now();
                    round(pair).await?;
                    // The first lot warms up.
                    if lot > 0 {
                        samples.since(started);
                    }
                }
            }
        }
        let mut fresh = (Samples::default(), Samples::default());
        for lot in 0..LOTS {
            for _ in 0..LOT {
                let started = Instant::now();
                let opening = our_client.open_bi(Priority::Message);
                let stream = async { Ok(opening.await?) };
                echo_once(stream, async { Ok(our_server.accept_bi().await?) }).await?;
                if lot > 0 {
                    fresh.0.since(started);
                }
            }
            for _ in 0..LOT {
                let started = Instant::now();
                let stream = async { Ok(bare_client.open_bi().await?) };
                echo_once(stream, async { Ok(bare_server.accept_bi().await?) }).await?;
                if lot > 0 {
                    fresh.1.since(started);
                }
            }
        }
        Ok(vec![
            Line::micros("echo_open_stream", &kept.0)
                .at_most(100.0)
                .baseline("bare quinn, one thread", kept.1.median() * 1e3),
            Line::micros("echo_new_stream", &fresh.0)
                .at_most(100.0)
                .baseline("bare quinn, one thread", fresh.1.median() * 1e3),
        ])
    })?;
    lines.push(block_on(between_daemons())?);
    Ok(lines)
}

/// As two real daemons see it: a stream for each echo, two processes.
async fn between_daemons() -> anyhow::Result<Line> {
    let pair = Pair::start().await?;
    let (mut samples, mut beside) = (Samples::default(), Samples::default());
    let server = BareEcho::start(kx_group::X25519MLKEM768)?;
    let (_endpoint, bare) = server.connect().await?;
    for lot in 0..2 * 10 {
        for _ in 0..LOT {
            let pinged = pair.manager.ping(&pair.worker_address, load::PATIENCE).await?;
            let started = Instant::now();
            let (mut send, mut recv) = bare.open_bi().await?;
            send.write_all(&MESSAGE).await?;
            send.finish()?;
            recv.read_to_end(MESSAGE.len()).await?;
            // The first lot opens the tunnel and warms up.
            if lot > 0 {
                beside.since(started);
                samples.push(Duration::from_micros(pinged.rtt_us));
            }
        }
    }
    Ok(Line::micros("echo_two_daemons", &samples)
        .at_most(100.0)
        .baseline("bare quinn, two threads", beside.median() * 1e3))
}

/// p50 of a connect with both keys proved, until both sides have it.
pub(crate) fn connect(_: &Programs) -> anyhow::Result<Vec<Line>> {
    let hybrid = ("connect_hybrid", KeyExchange::Hybrid, kx_group::X25519MLKEM768);
    let classical = ("connect_x25519", KeyExchange::ClassicalOnly, kx_group::X25519);
    let mut lines = Vec::new();
    for (name, ours, bare) in [hybrid, classical] {
        lines.push(block_on(connects(name, ours, bare))?);
    }
    Ok(lines)
}

async fn connects(
    name: &str,
    exchange: KeyExchange,
    group: &'static dyn SupportedKxGroup,
) -> anyhow::Result<Line> {
    let ours = Two::bind(exchange)?;
    let bare = Bare::bind(group)?;
    let (mut our_samples, mut bare_samples) = (Samples::default(), Samples::default());
    for number in 0..CONNECTS {
        let started = Instant::now();
        let connected = ours.connected().await?;
        if number > CONNECTS / 10 {
            our_samples.since(started);
        }
        connected.0.close(0, "");
        let started = Instant::now();
        let connected = bare.connected().await?;
        if number > CONNECTS / 10 {
            bare_samples.since(started);
        }
        connected.0.close(0_u32.into(), b"");
    }
    Ok(Line::millis(name, &our_samples)
        .at_most(1.0)
        .baseline("bare quinn, one thread", bare_samples.median()))
}

/// Two endpoints in one runtime.
struct Two {
    client: Endpoint,
    server: Endpoint,
}

impl Two {
    fn bind(key_exchange: KeyExchange) -> anyhow::Result<Self> {
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let bind = |number, accept| {
            let settings = Settings { key_exchange, ..Settings::new(any, accept) };
            Endpoint::bind(Arc::new(load::key(number)), settings)
        };
        Ok(Self { client: bind(1, vec![])?, server: bind(2, vec![Alpn::Peer])? })
    }

    async fn connected(&self) -> anyhow::Result<(Connection, Connection)> {
        let expect = Expect::Key(self.server.id());
        let dial = async {
            let addr = self.server.local_addr();
            Ok::<_, anyhow::Error>(self.client.connect(expect, addr, Alpn::Peer).await?)
        };
        let accept = async {
            let incoming = self.server.accept().await.context("the endpoint is closed")?;
            Ok(incoming.accept().await?)
        };
        tokio::try_join!(dial, accept)
    }
}

/// A stream that both sides have: its first message there and back is done.
async fn opened(
    client: Stream,
    accept: impl Future<Output = anyhow::Result<Stream>>,
) -> anyhow::Result<(Stream, Stream)> {
    let (mut send, recv) = client;
    send.write_all(&MESSAGE).await?;
    let (server_send, mut server_recv) = accept.await?;
    let mut buffer = MESSAGE;
    server_recv.read_exact(&mut buffer).await?;
    Ok(((send, recv), (server_send, server_recv)))
}

async fn round(pair: &mut (Stream, Stream)) -> anyhow::Result<()> {
    let (client, server) = pair;
    let there = async {
        client.0.write_all(&MESSAGE).await?;
        let mut buffer = MESSAGE;
        client.1.read_exact(&mut buffer).await?;
        Ok::<_, anyhow::Error>(())
    };
    let back = async {
        let mut buffer = MESSAGE;
        server.1.read_exact(&mut buffer).await?;
        server.0.write_all(&buffer).await?;
        Ok(())
    };
    tokio::try_join!(there, back).map(drop)
}

async fn echo_once(
    open: impl Future<Output = anyhow::Result<Stream>>,
    accept: impl Future<Output = anyhow::Result<Stream>>,
) -> anyhow::Result<()> {
    let there = async {
        let (mut send, mut recv) = open.await?;
        send.write_all(&MESSAGE).await?;
        send.finish()?;
        recv.read_to_end(MESSAGE.len()).await?;
        Ok::<_, anyhow::Error>(())
    };
    let back = async {
        let (mut send, mut recv) = accept.await?;
        let bytes = recv.read_to_end(MESSAGE.len()).await?;
        send.write_all(&bytes).await?;
        Ok(send.finish()?)
    };
    tokio::try_join!(there, back).map(drop)
}
