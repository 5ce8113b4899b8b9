//! An HTTP proxy that knows one method: `CONNECT`.

use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::lab::{Lab, Site};

/// How much of a request is read before it is refused.
const MAX_REQUEST: usize = 8 * 1024;

/// What a proxy lets through.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    /// The only port that may be connected to, if not every one.
    pub(crate) port: Option<u16>,
    /// The value of `Proxy-Authorization` that is wanted, if any is.
    pub(crate) authorization: Option<&'static str>,
}

/// A running proxy. Dropping it closes its connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddrV4,
    served: Arc<Mutex<Vec<String>>>,
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts it in `site`, at `port` of all its addresses.
    pub(crate) fn start(lab: &Lab, site: Site, port: u16, rules: Rules) -> anyhow::Result<Self> {
        let SocketAddr::V4(address) = SocketAddr::from((lab.address(site)?, port)) else {
            anyhow::bail!("only of IPv4")
        };
        let served = Arc::<Mutex<Vec<String>>>::default();
        let (over, stop) = oneshot::channel();
        let list = Arc::clone(&served);
        let thread = lab.enter(site, || {
            let listener = TcpListener::bind(address).context("cannot listen")?;
            listener.set_nonblocking(true)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            // It is born inside, and so are the connections it makes.
            let work = move || runtime.block_on(serve(listener, rules, list, stop));
            Ok(thread::Builder::new().name("proxy".to_owned()).spawn(work)?)
        })?;
        Ok(Self { address, served, over: Some(over), thread: Some(thread) })
    }

    /// Where clients find it.
    pub(crate) const fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// `HOST:PORT` of everything it has connected somebody to.
    pub(crate) fn served(&self) -> Vec<String> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been printed.
            drop(thread.join());
        }
    }
}

async fn serve(
    listener: TcpListener,
    rules: Rules,
    served: Arc<Mutex<Vec<String>>>,
    mut stop: oneshot::Receiver<()>,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stop => return,
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                connections.spawn(connect(client, rules, Arc::clone(&served)));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// Serves one client; that it goes away is no fault.
async fn connect(
    mut client: TcpStream,
    rules: Rules,
    served: Arc<Mutex<Vec<String>>>,
) -> anyhow::Result<()> {
    let request = request(&mut client).await?;
    let target = match allowed(&request, rules) {
        Ok(target) => target,
        Err(refusal) => {
            client.write_all(format!("HTTP/1.1 {refusal}\r\n\r\n").as_bytes()).await?;
            return Ok(());
        }
    };
    let Ok(mut server) = TcpStream::connect(&target).await else {
        client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await?;
        return Ok(());
    };
    served.lock().unwrap_or_else(PoisonError::into_inner).push(target);
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The request with its header, up to the empty line.
async fn request(client: &mut TcpStream) -> anyhow::Result<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        ensure!(text.len() < MAX_REQUEST, "too long");
        // What follows belongs to the server: not a byte too many is read.
        text.push(client.read_u8().await?);
    }
    Ok(String::from_utf8(text)?)
}

/// The target, or why not.
fn allowed(request: &str, rules: Rules) -> Result<String, &'static str> {
    let mut lines = request.lines();
    let target = lines
        .next()
        .and_then(|line| line.strip_prefix("CONNECT "))
        .and_then(|line| line.strip_suffix(" HTTP/1.1"))
        .ok_or("405 Method Not Allowed")?;
    if let Some(wanted) = rules.authorization {
        let mut values = lines
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"));
        if !values.any(|(_, value)| value.trim() == wanted) {
            return Err(
                "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"lab\"",
            );
        }
    }
    match rules.port {
        Some(port) if !target.ends_with(&format!(":{port}")) => Err("403 Forbidden"),
        Some(_) | None => Ok(target.to_owned()),
    }
}
