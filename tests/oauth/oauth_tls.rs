//! The HTTPS client that comes with the crate.

#![cfg(feature = "tls")]

use tower_credentials::oauth::{FlowKind, OAuthClient, OAuthError, OAuthHttp};

use crate::authorization_server::{AuthorizationServer, Rules, Vendor, get, page};

#[tokio::test]
async fn plain_http_goes_to_this_machine_and_tls_to_all_others() {
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let http = OAuthHttp::with_tls().unwrap();
    let client = OAuthClient::new("openai", server.config(), http.clone());
    let account = server.sign_in(&client, FlowKind::Loopback).await.unwrap();
    assert_eq!(account.label.as_deref(), Some("alice@example.com"));

    // The same server, without a certificate.
    let mut config = server.config();
    config.token_url = config.token_url.map(|url| url.replace("http://", "https://"));
    let client = OAuthClient::new("openai", config, http);
    let mut sign_in = client.sign_in(FlowKind::Loopback).await.unwrap();
    sign_in.paste(&get(&page(&sign_in)).await.location()).unwrap();
    let error = sign_in.finish().await.unwrap_err();
    assert!(matches!(error, OAuthError::Unreachable { .. }), "{error}");
    assert_eq!(server.token_requests().len(), 1, "nothing was sent in clear");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certified = rcgen::generate_simple_self_signed(names).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let handshake = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.map(drop)
    });

    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let mut config = server.config();
    config.token_url = Some(format!("https://127.0.0.1:{port}/token"));
    let client = OAuthClient::new("openai", config, OAuthHttp::with_tls().unwrap());
    let mut sign_in = client.sign_in(FlowKind::Loopback).await.unwrap();
    sign_in.paste(&get(&page(&sign_in)).await.location()).unwrap();
    let error = sign_in.finish().await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(handshake.await.unwrap().is_err(), "the client has broken it off");
}
