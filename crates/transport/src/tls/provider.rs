//! The one cipher suite and the key exchanges.

use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::quic::Suite;

use crate::settings::KeyExchange;

pub(super) fn provider(kx: KeyExchange) -> CryptoProvider {
    let kx_groups: Vec<&'static dyn SupportedKxGroup> = match kx {
        KeyExchange::Hybrid => vec![kx_group::X25519MLKEM768, kx_group::X25519],
        KeyExchange::ClassicalFirst => vec![kx_group::X25519, kx_group::X25519MLKEM768],
        KeyExchange::ClassicalOnly => vec![kx_group::X25519],
    };
    CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups,
        ..aws_lc_rs::default_provider()
    }
}

/// RFC 9001 §5.2 fixes AES-128-GCM for Initial packets, whose keys are public.
pub(super) fn initial_suite() -> Option<Suite> {
    cipher_suite::TLS13_AES_128_GCM_SHA256.tls13()?.quic_suite()
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup::{X25519, X25519MLKEM768};
    use rustls::{CipherSuite, NamedGroup};

    use super::*;

    #[test]
    fn nothing_is_offered_but_what_was_chosen() {
        let table: [(KeyExchange, &[NamedGroup]); 3] = [
            (KeyExchange::Hybrid, &[X25519MLKEM768, X25519]),
            (KeyExchange::ClassicalFirst, &[X25519, X25519MLKEM768]),
            (KeyExchange::ClassicalOnly, &[X25519]),
        ];
        for (kx, expected) in table {
            let provider = provider(kx);
            let groups: Vec<_> = provider.kx_groups.iter().map(|group| group.name()).collect();
            let suites: Vec<_> = provider.cipher_suites.iter().map(|suite| suite.suite()).collect();

            assert_eq!(groups, expected);
            assert_eq!(suites, [CipherSuite::TLS13_AES_256_GCM_SHA384]);
        }
    }
}
