//! The node key where TLS wants a certificate.

use core::fmt;
use std::sync::Arc;

use pilot_identity::{NodeId, NodeKey};
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey, public_key_to_spki};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, alg_id};

/// The key whose `SubjectPublicKeyInfo` (RFC 8410 §4) is `spki`, if it is an
/// Ed25519 key in the one encoding there is.
pub(crate) fn node_of_spki(spki: &[u8]) -> Option<NodeId> {
    let node = NodeId::from_bytes(*spki.last_chunk::<32>()?).ok()?;
    (spki_of(&node).as_ref() == spki).then_some(node)
}

fn spki_of(node: &NodeId) -> SubjectPublicKeyInfoDer<'static> {
    public_key_to_spki(&alg_id::ED25519, node.as_bytes())
}

/// Shows the node's own key to whoever asks, as a raw public key only.
#[derive(Debug)]
pub(super) struct RawKeyResolver(Arc<CertifiedKey>);

impl RawKeyResolver {
    pub(super) fn new(key: Arc<NodeKey>) -> Self {
        let spki = CertificateDer::from(spki_of(&key.id()).to_vec());
        Self(Arc::new(CertifiedKey::new(vec![spki], Arc::new(TlsKey(key)))))
    }
}

impl ResolvesServerCert for RawKeyResolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

impl ResolvesClientCert for RawKeyResolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Clone)]
struct TlsKey(Arc<NodeKey>);

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(self.clone()) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(spki_of(&self.0.id()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsKey").field(&self.0.id()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn a_key_has_one_encoding() {
        let node = NodeKey::from_seed(&Zeroizing::new([1; 32])).id();
        let spki = spki_of(&node);

        assert_eq!(spki.len(), 44);
        assert_eq!(node_of_spki(&spki), Some(node));
        assert_eq!(node_of_spki(&spki[1..]), None);
        assert_eq!(node_of_spki(node.as_bytes()), None);
        assert_eq!(node_of_spki(&[&[0], spki.as_ref()].concat()), None);
        for at in 0..12 {
            let mut changed = spki.to_vec();
            changed[at] ^= 1;
            assert_eq!(node_of_spki(&changed), None, "byte {at}");
        }
    }

    #[test]
    fn a_weak_point_is_no_key() {
        let mut spki = spki_of(&NodeKey::from_seed(&Zeroizing::new([1; 32])).id()).to_vec();
        spki[12..].fill(0);

        assert_eq!(node_of_spki(&spki), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_key_or_not(bytes in vec(any::<u8>(), 0..100)) {
            if let Some(node) = node_of_spki(&bytes) {
                prop_assert_eq!(spki_of(&node).to_vec(), bytes);
            }
        }
    }
}
