//! The TLS identity of a node: its Ed25519 key as a raw public key (RFC 7250).
//!
//! TLS 1.3 with `TLS13_AES_256_GCM_SHA384` alone. No names, no certificates,
//! no tickets and no early data: each connection proves both keys anew. The
//! provider is passed to every configuration; none is installed for the process.

mod key;
mod provider;
mod verifier;

use core::fmt;
use std::sync::Arc;

use pilot_identity::NodeKey;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::quic::Suite;
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};

use crate::alpn::Alpn;
use crate::carrier::CARRIER_ALPN;
use crate::settings::KeyExchange;
use key::RawKeyResolver;
pub(crate) use key::node_of_spki;
use verifier::ClientVerifier;
pub(crate) use verifier::ServerVerifier;

/// Why no TLS configuration could be made; a fault of the build.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The cryptography has no cipher suite for QUIC's first packets.
    #[error("the cryptographic provider lacks QUIC's initial cipher suite")]
    InitialSuite,
    /// rustls refuses the configuration.
    #[error("the TLS configuration is refused")]
    Config(#[from] rustls::Error),
}

impl From<NoInitialCipherSuite> for TlsError {
    fn from(_: NoInitialCipherSuite) -> Self {
        Self::InitialSuite
    }
}

/// What all dials and accepts of one endpoint have in common.
pub(crate) struct Tls {
    client: ClientConfig,
    server: ServerConfig,
    initial: Suite,
}

impl Tls {
    pub(crate) fn new(key: Arc<NodeKey>, kx: KeyExchange) -> Result<Self, TlsError> {
        let provider = Arc::new(provider::provider(kx));
        let identity = Arc::new(RawKeyResolver::new(key));

        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ServerVerifier::default()))
            .with_client_cert_resolver(Arc::<RawKeyResolver>::clone(&identity));
        client.enable_sni = false;
        client.enable_early_data = false;
        client.resumption = Resumption::disabled();

        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(ClientVerifier))
            .with_cert_resolver(identity);
        server.max_early_data_size = 0;
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});

        let initial = provider::initial_suite().ok_or(TlsError::InitialSuite)?;
        Ok(Self { client, server, initial })
    }

    /// For one dial: `verifier` decides whom it may reach, and remembers whom it did.
    pub(crate) fn client(
        &self,
        alpn: Alpn,
        verifier: Arc<ServerVerifier>,
    ) -> Result<QuicClientConfig, TlsError> {
        let mut config = self.client.clone();
        config.alpn_protocols = vec![alpn.to_wire()];
        config.dangerous().set_certificate_verifier(verifier);
        Ok(QuicClientConfig::with_initial(Arc::new(config), self.initial)?)
    }

    pub(crate) fn server(&self, accept: &[Alpn]) -> Result<QuicServerConfig, TlsError> {
        let mut config = self.server.clone();
        config.alpn_protocols = accept.iter().map(|alpn| alpn.to_wire()).collect();
        Ok(QuicServerConfig::with_initial(Arc::new(config), self.initial)?)
    }
}

impl Tls {
    /// For one carrier that is dialled; this node shows no key of its own.
    pub(crate) fn carrier_client(&self, verifier: Arc<ServerVerifier>) -> Arc<ClientConfig> {
        let mut config = self.client.clone();
        config.client_auth_cert_resolver = Arc::new(NoKey);
        config.alpn_protocols = vec![CARRIER_ALPN.to_vec()];
        config.dangerous().set_certificate_verifier(verifier);
        Arc::new(config)
    }
}

/// For the carriers that others open to the holder of `key`: who they are is
/// proved within, by QUIC or to a beacon, so they are asked for no key here.
///
/// # Errors
///
/// [`TlsError`], a fault of the build.
pub fn carrier_server(key: Arc<NodeKey>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(provider::provider(KeyExchange::Hybrid));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(RawKeyResolver::new(key)));
    config.alpn_protocols = vec![CARRIER_ALPN.to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// Shows no key.
#[derive(Debug)]
struct NoKey;

impl ResolvesClientCert for NoKey {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
