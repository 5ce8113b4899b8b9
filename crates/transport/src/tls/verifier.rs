//! Whether the other side holds the key it shows.
//!
//! A client may insist on one key; a server takes any, for whoever drives it
//! decides whom it trusts. Signatures are checked strictly
//! ([`NodeId::verifies`]).

use std::sync::OnceLock;

use pilot_identity::NodeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::key::node_of_spki;

/// Checks the server of one dial.
#[derive(Debug, Default)]
pub(crate) struct ServerVerifier {
    expected: Option<NodeId>,
    proved: OnceLock<NodeId>,
}

impl ServerVerifier {
    pub(crate) fn expecting(expected: Option<NodeId>) -> Self {
        Self { expected, proved: OnceLock::new() }
    }

    /// The key that the server proved to hold, expected or not.
    pub(crate) fn proved(&self) -> Option<NodeId> {
        self.proved.get().copied()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        shown_key(shown, others).map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    /// Compares the key only once it is proved, so that the one reported for
    /// a wrong one is true. rustls never accepts a server without this step.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let node = proved_key(message, shown, signature)?;
        let proved = *self.proved.get_or_init(|| node);
        if proved != node || self.expected.is_some_and(|expected| expected != node) {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Checks clients.
#[derive(Debug)]
pub(super) struct ClientVerifier;

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        shown_key(shown, others).map(|_| ClientCertVerified::assertion())
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
        proved_key(message, shown, signature).map(|_| HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn shown_key(shown: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<NodeId, Error> {
    match node_of_spki(shown) {
        Some(node) if others.is_empty() => Ok(node),
        Some(_) | None => Err(CertificateError::BadEncoding.into()),
    }
}

fn proved_key(
    message: &[u8],
    shown: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<NodeId, Error> {
    let node = shown_key(shown, &[])?;
    let valid = signature.scheme == SignatureScheme::ED25519
        && <&[u8; 64]>::try_from(signature.signature())
            .is_ok_and(|signature| node.verifies(message, signature));
    if valid { Ok(node) } else { Err(CertificateError::BadSignature.into()) }
}
