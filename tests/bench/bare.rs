//! quinn with nothing of ours around it: the baseline of the tunnels.
//!
//! The same cipher suite, the same kind of keys on both sides, quinn's own
//! socket and defaults.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig,
};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{
    CryptoProvider, SupportedKxGroup, aws_lc_rs, verify_tls13_signature_with_raw_key,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, public_key_to_spki};
use rustls::version::TLS13;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime, alg_id,
};

use crate::load;

/// Any port of loopback.
const ANY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// Bytes of each buffer of a socket for bulk: as many as ours ask for.
const BUFFER: usize = 4 * 1024 * 1024;

/// Bytes that may be sent ahead on a stream and on a connection, as with ours.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// An Ed25519 private key in PKCS #8 (RFC 8410 §7) up to its 32 bytes.
const PKCS8_ED25519: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// A server and a client, each with an endpoint of its own on loopback.
pub(crate) struct Bare {
    client: Endpoint,
    server: Endpoint,
    config: ClientConfig,
    addr: SocketAddr,
}

impl Bare {
    /// Both in the current runtime, with `group` as the one key exchange.
    pub(crate) fn bind(group: &'static dyn SupportedKxGroup) -> anyhow::Result<Self> {
        let server = Endpoint::server(server_config(group)?, ANY)?;
        let addr = server.local_addr()?;
        Ok(Self { client: Endpoint::client(ANY)?, server, config: client_config(group)?, addr })
    }

    /// A new connection, as its client and its server see it.
    pub(crate) async fn connected(&self) -> anyhow::Result<(Connection, Connection)> {
        tokio::try_join!(self.dialled(self.addr), self.accepted())
    }

    /// A connection of the client to whoever is at `addr`.
    pub(crate) async fn dialled(&self, addr: SocketAddr) -> anyhow::Result<Connection> {
        Ok(self.client.connect_with(self.config.clone(), addr, "node")?.await?)
    }

    /// The next connection to the server.
    pub(crate) async fn accepted(&self) -> anyhow::Result<Connection> {
        let incoming = self.server.accept().await.context("the endpoint is closed")?;
        Ok(incoming.accept()?.await?)
    }

    /// Where the server is.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A server that echoes, on a thread and a runtime of its own; it ends with
/// the process.
pub(crate) struct BareEcho {
    addr: SocketAddr,
    group: &'static dyn SupportedKxGroup,
}

impl BareEcho {
    pub(crate) fn start(group: &'static dyn SupportedKxGroup) -> anyhow::Result<Self> {
        let (bound, addr) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            load::block_on::<()>(async {
                let server = Endpoint::server(server_config(group)?, ANY)?;
                bound.send(server.local_addr()?)?;
                let connection = server.accept().await.context("closed")?.accept()?.await?;
                loop {
                    let (mut send, mut recv) = connection.accept_bi().await?;
                    let bytes = recv.read_to_end(1024).await?;
                    send.write_all(&bytes).await?;
                    send.finish()?;
                }
            })
        });
        Ok(Self { addr: addr.recv().context("no bare server")?, group })
    }

    /// A connection from the current runtime; it lives as long as the endpoint.
    pub(crate) async fn connect(&self) -> anyhow::Result<(Endpoint, Connection)> {
        let client = Endpoint::client(ANY)?;
        let connecting = client.connect_with(client_config(self.group)?, self.addr, "node")?;
        Ok((client, connecting.await?))
    }
}

/// A server for bulk: quinn's own socket, with buffers and windows as large as
/// ours. What it sends is then bounded by the processor, as ours is, and not by
/// a window of 1.25 MB.
pub(crate) fn bulk_server() -> anyhow::Result<Endpoint> {
    let mut config = server_config(kx_group::X25519MLKEM768)?;
    config.transport_config(bulk_transport());
    endpoint(Some(config))
}

/// A connection to such a server; it lives as long as the endpoint.
pub(crate) async fn bulk_connection(addr: SocketAddr) -> anyhow::Result<(Endpoint, Connection)> {
    let mut config = client_config(kx_group::X25519MLKEM768)?;
    config.transport_config(bulk_transport());
    let client = endpoint(None)?;
    let connecting = client.connect_with(config, addr, "node")?;
    Ok((client, connecting.await?))
}

fn bulk_transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(Duration::from_secs(4)))
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(CONNECTION_WINDOW.into());
    Arc::new(transport)
}

fn endpoint(server: Option<ServerConfig>) -> anyhow::Result<Endpoint> {
    let socket = UdpSocket::bind(ANY)?;
    set_socket_recv_buffer_size(&socket, BUFFER)?;
    set_socket_send_buffer_size(&socket, BUFFER)?;
    let config = EndpointConfig::default();
    Ok(Endpoint::new(config, server, socket, Arc::new(TokioRuntime))?)
}

fn provider(group: &'static dyn SupportedKxGroup) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        // The second is for QUIC's first packets.
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![group],
        ..aws_lc_rs::default_provider()
    })
}

fn identity(number: usize) -> anyhow::Result<Arc<CertifiedKey>> {
    let key = load::key(number);
    let pkcs8 = [&PKCS8_ED25519[..], &key.seed()[..]].concat();
    let signer = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8))?;
    let spki = public_key_to_spki(&alg_id::ED25519, key.id().as_bytes());
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki.to_vec())], signer)))
}

fn server_config(group: &'static dyn SupportedKxGroup) -> anyhow::Result<ServerConfig> {
    let mut tls = rustls::ServerConfig::builder_with_provider(provider(group))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(AnyKey))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(identity(1)?)));
    tls.send_tls13_tickets = 0;
    Ok(ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?)))
}

fn client_config(group: &'static dyn SupportedKxGroup) -> anyhow::Result<ClientConfig> {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider(group))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyKey))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(identity(2)?)));
    tls.resumption = rustls::client::Resumption::disabled();
    Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

/// Takes whoever proves to hold the key that is shown.
#[derive(Debug)]
struct AnyKey;

impl AnyKey {
    fn proved(
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(shown.as_ref());
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &spki, signature, &algorithms)
    }
}

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::proved(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::proved(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
