//! Programs that speak QUIC and are not ours: a TLS stack with every knob.

use std::net::SocketAddr;
use std::sync::Arc;

use pilot_identity::{NodeId, NodeKey};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey, public_key_to_spki};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureAlgorithm, SignatureScheme,
    SupportedCipherSuite,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, alg_id};

/// What a foreign program shows as its identity.
#[derive(Debug, Clone)]
pub(crate) enum Shows {
    /// Nothing.
    Nothing,
    /// The raw key of `of`, with signatures by `signer`.
    RawKey { of: NodeId, signer: Arc<NodeKey> },
    /// The same key as a certificate.
    Certificate { of: Arc<NodeKey> },
}

pub(crate) fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

/// Dials `addr` and says with whom the handshake ended.
pub(crate) async fn dial(
    addr: SocketAddr,
    shows: Shows,
    provider: CryptoProvider,
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous));
    let mut config = match shows {
        Shows::Nothing => builder.with_no_client_auth(),
        Shows::RawKey { .. } | Shows::Certificate { .. } => {
            builder.with_client_cert_resolver(Arc::new(Identity::of(shows)))
        }
    };
    config.alpn_protocols = vec![b"pilot-peer/1".to_vec()];
    let config = QuicClientConfig::with_initial(Arc::new(config), initial()).unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(config));
    endpoint.connect_with(config, addr, "node.invalid").unwrap().await
}

/// A server that takes any client.
pub(crate) fn server(shows: Shows) -> quinn::Endpoint {
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Credulous))
        .with_cert_resolver(Arc::new(Identity::of(shows)));
    config.alpn_protocols = vec![b"pilot-peer/1".to_vec()];
    let config = QuicServerConfig::with_initial(Arc::new(config), initial()).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(config));
    quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap()
}

fn initial() -> rustls::quic::Suite {
    let suite: SupportedCipherSuite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    suite.tls13().unwrap().quic_suite().unwrap()
}

#[derive(Debug)]
struct Identity {
    key: Arc<CertifiedKey>,
    raw: bool,
}

impl Identity {
    fn of(shows: Shows) -> Self {
        let (of, signer, raw) = match shows {
            Shows::Nothing => panic!("no identity"),
            Shows::RawKey { of, signer } => (of, signer, true),
            Shows::Certificate { of } => (of.id(), of, false),
        };
        let spki = public_key_to_spki(&alg_id::ED25519, of.as_bytes());
        let shown = CertificateDer::from(spki.to_vec());
        Self { key: Arc::new(CertifiedKey::new(vec![shown], Arc::new(Signs(signer)))), raw }
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key))
    }
    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }
    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key))
    }
    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }
}

#[derive(Debug, Clone)]
struct Signs(Arc<NodeKey>);

impl SigningKey for Signs {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Signs {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).to_vec())
    }
    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Believes everybody.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
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
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Credulous {
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
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
