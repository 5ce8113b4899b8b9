//! Those who cannot prove a key, or want weaker cryptography, stay outside.

use pilot_transport::{AcceptError, Alpn, ConnectError, Connection, Expect, KeyExchange, Settings};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};

use crate::foreign::{self, Shows, provider};
use crate::nodes::{id, in_time, key, node, node_with, settings};

/// A foreign client dials a node; what came of it, on both sides. The
/// client's word does not count: it is done before the server has judged.
async fn visit(
    server: &pilot_transport::Endpoint,
    shows: Shows,
    provider: CryptoProvider,
) -> (Result<Connection, AcceptError>, quinn::ConnectionError) {
    let client = async {
        match foreign::dial(server.local_addr(), shows, provider).await {
            Ok(connection) => connection.closed().await,
            Err(error) => error,
        }
    };
    let serve = async {
        let outcome = server.accept().await.unwrap().accept().await;
        if let Ok(connection) = &outcome {
            connection.close(0, "welcome");
        }
        outcome
    };
    let (end, outcome) = in_time(async { tokio::join!(client, serve) }).await;
    (outcome, end)
}

fn honest(seed: u8) -> Shows {
    Shows::RawKey { of: id(seed), signer: key(seed) }
}

#[tokio::test]
async fn a_foreign_client_with_its_own_raw_key_is_let_in() {
    let (outcome, end) = visit(&node(2), honest(1), provider()).await;

    assert_eq!(outcome.unwrap().peer(), id(1));
    assert!(matches!(end, quinn::ConnectionError::ApplicationClosed(_)), "{end:?}");
}

#[tokio::test]
async fn clients_that_prove_no_key_are_refused() {
    let impostors = [
        Shows::Nothing,
        Shows::Certificate { of: key(1) },
        Shows::RawKey { of: id(1), signer: key(3) },
    ];
    for shows in impostors {
        let (outcome, end) = visit(&node(2), shows.clone(), provider()).await;

        assert!(matches!(outcome, Err(AcceptError::Handshake(_))), "{shows:?}: {outcome:?}");
        assert!(!matches!(end, quinn::ConnectionError::ApplicationClosed(_)), "{shows:?}: {end:?}");
    }
}

#[tokio::test]
async fn only_one_cipher_suite_is_spoken() {
    for suite in
        [cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS13_CHACHA20_POLY1305_SHA256]
    {
        let weaker = CryptoProvider { cipher_suites: vec![suite], ..provider() };
        let (outcome, _) = visit(&node(2), honest(1), weaker).await;
        assert!(outcome.is_err(), "{suite:?}");
    }

    let ours = vec![cipher_suite::TLS13_AES_256_GCM_SHA384];
    let (outcome, _) =
        visit(&node(2), honest(1), CryptoProvider { cipher_suites: ours, ..provider() }).await;
    assert!(outcome.is_ok());
}

#[tokio::test]
async fn the_hybrid_key_exchange_is_spoken_unless_switched_off() {
    let hybrid = || CryptoProvider { kx_groups: vec![kx_group::X25519MLKEM768], ..provider() };
    let other = CryptoProvider { kx_groups: vec![kx_group::SECP256R1], ..provider() };
    let classical =
        Settings { key_exchange: KeyExchange::ClassicalOnly, ..settings(&[Alpn::Peer]) };

    assert!(visit(&node(2), honest(1), hybrid()).await.0.is_ok());
    assert!(visit(&node(2), honest(1), other).await.0.is_err());
    assert!(visit(&node_with(2, classical), honest(1), hybrid()).await.0.is_err());
}

#[tokio::test]
async fn servers_that_prove_no_key_are_refused() {
    let client = node(1);
    let impostors = [
        Shows::Certificate { of: key(2) },
        Shows::RawKey { of: id(2), signer: key(3) },
        // The control: this one does.
        honest(2),
    ];
    for shows in impostors {
        let server = foreign::server(shows.clone());
        let addr = server.local_addr().unwrap();
        let serve = async {
            let connection = server.accept().await.unwrap().await;
            if let Ok(connection) = connection {
                connection.closed().await;
            }
        };

        let outcome = in_time(async {
            tokio::select! {
                outcome = client.connect(Expect::Key(id(2)), addr, Alpn::Peer) => outcome,
                () = async { serve.await; std::future::pending().await } => unreachable!(),
            }
        })
        .await;

        match shows {
            Shows::RawKey { of, ref signer } if of == signer.id() => {
                assert_eq!(outcome.unwrap().peer(), id(2));
            }
            Shows::RawKey { .. } | Shows::Certificate { .. } | Shows::Nothing => {
                assert!(
                    matches!(outcome, Err(ConnectError::Handshake(_))),
                    "{shows:?}: {outcome:?}"
                );
            }
        }
    }
}
