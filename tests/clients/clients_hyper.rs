//! The layers over hyper-util's client, HTTP/1.1 and HTTP/2, against a server on loopback.

#![cfg(all(feature = "file", feature = "hyper"))]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::sync::{mpsc, oneshot};
use tower::{Layer, Service, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{Vault, VaultExt};
use tower_credentials::{
    BoxError, Credential, CredentialsLayer, NextReady, Pool, ReplayLayer, Secret, is_connect_error,
};

use crate::children;
use crate::support::{self, Journal, accounts, key, keys, renewing};
use crate::wire::{
    self, Guard, Wire, WireBody, WireReply, channel, frames, full, length, long, piece, piecewise, soon,
    uploads, whole, wire_client,
};

const VERSIONS: [bool; 2] = [false, true];

fn client(http2: bool) -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

async fn pool(wire: &Wire, vault: impl Vault) -> Pool {
    let provider = GenericProvider::bearer("x").origin(&wire.origin()).unwrap();
    Pool::builder(provider, vault).open().await.unwrap()
}

fn post<B>(wire: &Wire, body: B) -> Request<B> {
    Request::post(format!("{}/v1/messages", wire.origin())).body(body).unwrap()
}

fn token(request: &Request<Incoming>) -> String {
    let value = request.headers()["authorization"].to_str().unwrap();
    value.strip_prefix("Bearer ").unwrap().to_owned()
}

/// A server whose response to each token has a status for it and the token as its body. Records the token and the body.
async fn responding(status: impl Fn(&str) -> u16 + Clone + Send + 'static) -> (Wire, Journal<String>) {
    let seen = Journal::new();
    let log = seen.clone();
    let wire = Wire::start(move |request: Request<Incoming>| {
        let (status, log) = (status.clone(), log.clone());
        async move {
            let token = token(&request);
            let body = whole(request.into_body()).await.0;
            log.push(format!("{token} {}", String::from_utf8_lossy(&body)));
            let mut response = Response::new(full(token.clone()));
            *response.status_mut() = status(&token).try_into().unwrap();
            if response.status() == 429 {
                response.headers_mut().insert("retry-after", HeaderValue::from_static("3000"));
            }
            response
        }
    })
    .await;
    (wire, seen)
}

/// `limited` is limited, `old-1` has expired, and all others are good.
fn usual(token: &str) -> u16 {
    match token {
        "limited" => 429,
        "old-1" => 401,
        _ => 200,
    }
}

async fn read<R>(response: Response<R>) -> (u16, Bytes)
where
    R: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let status = response.status().as_u16();
    (status, whole(response.into_body()).await.0)
}

#[tokio::test]
async fn a_limited_request_is_sent_again_over_the_same_connection() {
    for http2 in VERSIONS {
        let (wire, seen) = responding(usual).await;
        let pool = pool(&wire, keys(["limited", "good"]).await).await;
        let client = CredentialsLayer::new(pool).layer(client(http2));
        let response = client.oneshot(post(&wire, Full::from("hi"))).await.unwrap();
        assert_eq!(read(response).await, (200, "good".into()));
        assert_eq!(seen.all(), ["limited hi", "good hi"]);
        assert_eq!(wire.connections(), 1, "http2: {http2}");
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_new_one_is_in_the_vault() {
    for http2 in VERSIONS {
        let (wire, seen) = responding(usual).await;
        let directory = tempfile::tempdir().unwrap();
        let (path, vault_key) = (directory.path().join("vault"), VaultKey::generate());
        let vault = FileVault::open(&path, &vault_key).await.unwrap();
        for account in [support::account("old"), support::account("next")] {
            vault.put(account).await.unwrap();
        }
        let calls = Journal::new();
        let pool = pool(&wire, vault.clone()).await;
        let layer = CredentialsLayer::new(pool).refresher(renewing(&calls));
        let response = layer.layer(client(http2)).oneshot(post(&wire, Full::from("hi"))).await.unwrap();
        assert_eq!(read(response).await, (200, "old-2".into()));
        assert_eq!(
            (seen.all(), calls.all()),
            (vec!["old-1 hi".into(), "old-2 hi".into()], vec!["old".into()])
        );
        drop(vault);
        let stored = FileVault::open(&path, &vault_key).await.unwrap().load_pool(key()).await.unwrap();
        assert_eq!(stored.credentials[0].secret.token().expose(), "old-2");
    }
}

#[tokio::test]
async fn cooldowns_are_in_the_vault_when_the_response_arrives() {
    for http2 in VERSIONS {
        let (wire, seen) = responding(usual).await;
        let directory = tempfile::tempdir().unwrap();
        let (path, vault_key) = (directory.path().join("vault"), VaultKey::generate());
        let vault = FileVault::open(&path, &vault_key).await.unwrap();
        for label in ["limited", "good"] {
            vault.put(Credential::new(key(), label, Secret::api_key(label))).await.unwrap();
        }
        let first = CredentialsLayer::new(pool(&wire, vault).await).layer(client(http2));
        first.oneshot(post(&wire, Full::from("one"))).await.unwrap();
        let again = pool(&wire, FileVault::open(&path, &vault_key).await.unwrap()).await;
        let second = CredentialsLayer::new(again).layer(client(http2));
        second.oneshot(post(&wire, Full::from("two"))).await.unwrap();
        assert_eq!(seen.all(), ["limited one", "good one", "good two"]);
    }
}

#[tokio::test]
async fn a_streaming_body_is_sent_again_only_with_a_replay_layer() {
    for http2 in VERSIONS {
        for replays in [false, true] {
            let (wire, seen) = responding(usual).await;
            let layer = CredentialsLayer::new(pool(&wire, keys(["limited", "good"]).await).await);
            let body = frames(["a ", "question"].map(|piece| Frame::data(piece.into())));
            let response = if replays {
                let inner = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
                let layers = (ReplayLayer::new(), layer.clone());
                layers.layer(inner).oneshot(post(&wire, body)).await.unwrap()
            } else {
                layer.layer(wire_client(http2)).oneshot(post(&wire, body)).await.unwrap()
            };
            let next_ready = response.extensions().get::<NextReady>().is_some();
            let response = read(response).await;
            if replays {
                assert_eq!(response, (200, "good".into()));
                assert_eq!(seen.all(), ["limited a question", "good a question"]);
            } else {
                assert_eq!((response, next_ready), ((429, "limited".into()), true));
                assert_eq!(seen.all(), ["limited a question"]);
            }
            let request = post(&wire, full("more"));
            let response = layer.layer(wire_client(http2)).oneshot(request).await.unwrap();
            assert_eq!(read(response).await, (200, "good".into()));
        }
    }
}

#[tokio::test]
async fn pieces_of_a_response_arrive_as_they_are_made_and_dropping_it_ends_the_servers_body() {
    for http2 in VERSIONS {
        let (wire, mut made) = piecewise(&[]).await;
        let pool = pool(&wire, keys(["a"]).await).await;
        let client = CredentialsLayer::new(pool).layer(client(http2));
        let mut response = client.oneshot(post(&wire, Full::from("hi"))).await.unwrap();
        let pieces = made.recv().await.unwrap();
        for text in ["one", "two", "three"] {
            pieces.send(Frame::data(text.into())).await.unwrap();
            assert_eq!(piece(response.body_mut()).await, text);
        }
        drop(response);
        soon("the end of the server's body", pieces.closed()).await;
    }
}

#[tokio::test]
async fn pieces_of_an_upload_arrive_as_they_are_made() {
    for http2 in VERSIONS {
        let (wire, mut arrived) = uploads().await;
        let layer = CredentialsLayer::new(pool(&wire, keys(["a", "b"]).await).await);
        let inner = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let client = (ReplayLayer::new(), layer).layer(inner);
        let (pieces, body) = channel();
        let asking = tokio::spawn(client.oneshot(post(&wire, body)));
        pieces.send(Frame::data("first".into())).await.unwrap();
        let (mut body, done) = soon("a request", arrived.recv()).await.unwrap();
        assert_eq!(piece(&mut body).await, "first");
        pieces.send(Frame::data("second".into())).await.unwrap();
        assert_eq!(piece(&mut body).await, "second");
        drop(pieces);
        assert_eq!(length(body).await, 0);
        done.send(()).unwrap();
        assert_eq!(read(asking.await.unwrap().unwrap()).await, (200, "thanks".into()));
    }
}

#[tokio::test]
async fn dropping_a_request_ends_the_servers_work() {
    for http2 in VERSIONS {
        let (requests, mut begun) = mpsc::unbounded_channel();
        let wire = Wire::start(move |request: Request<Incoming>| {
            let requests = requests.clone();
            async move {
                whole(request.into_body()).await;
                let (sender, dropped) = oneshot::channel();
                let _held = Guard(Some(sender));
                requests.send(dropped).unwrap();
                std::future::pending::<WireReply>().await
            }
        })
        .await;
        let pool = pool(&wire, keys(["a"]).await).await;
        let client = CredentialsLayer::new(pool.clone()).layer(client(http2));
        let asking = tokio::spawn(client.oneshot(post(&wire, Full::from("hi"))));
        let dropped = soon("a request", begun.recv()).await.unwrap();
        asking.abort();
        soon("the end of the server's work", dropped).await.unwrap();
        assert_eq!(pool.status()[0].standing, Default::default(), "nobody is blamed");
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_hundred_megabytes_go_up_and_down_in_little_memory() {
    if !children::is_alone(module_path!(), "a_hundred_megabytes_go_up_and_down_in_little_memory") {
        return;
    }
    const LENGTH: usize = 1600 * 64 * 1024;
    for http2 in VERSIONS {
        let wire = Wire::start(async |request: Request<Incoming>| {
            assert_eq!(length(request.into_body()).await, LENGTH);
            Response::new(long(LENGTH))
        })
        .await;
        let layer = CredentialsLayer::new(pool(&wire, keys(["a", "b"]).await).await);
        let inner = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let client = (ReplayLayer::new(), layer).layer(inner);
        let before = wire::peak_memory(std::process::id());
        let response = client.oneshot(post(&wire, long(LENGTH))).await.unwrap();
        assert_eq!(length(response.into_body()).await, LENGTH);
        let grown = wire::peak_memory(std::process::id()) - before;
        assert!(grown < 48 * 1024, "http2 {http2}: {grown} KiB more for {LENGTH} bytes each way");
    }
}

#[tokio::test]
async fn trailers_go_both_ways_and_with_each_attempt() {
    fn trailers(value: &'static str) -> HeaderMap {
        [(http::HeaderName::from_static("x-checksum"), HeaderValue::from_static(value))]
            .into_iter()
            .collect()
    }
    for http2 in VERSIONS {
        let seen: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let log = seen.clone();
        let wire = Wire::start(move |request: Request<Incoming>| {
            let log = log.clone();
            async move {
                let is_limited = token(&request) == "limited";
                let trailers_up = whole(request.into_body()).await.1;
                log.lock().unwrap().push(trailers_up);
                let body = frames([Frame::data("down".into()), Frame::trailers(trailers("down"))]);
                let status = if is_limited { 429 } else { 200 };
                Response::builder().status(status).header("trailer", "x-checksum").body(body).unwrap()
            }
        })
        .await;
        let layer = CredentialsLayer::new(pool(&wire, keys(["limited", "good"]).await).await);
        let inner = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let client = (ReplayLayer::new(), layer).layer(inner);
        let body: WireBody = frames([Frame::data("up".into()), Frame::trailers(trailers("up"))]);
        let mut request = post(&wire, body);
        request.headers_mut().insert("trailer", HeaderValue::from_static("x-checksum"));
        request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        let response = client.oneshot(request).await.unwrap();
        assert_eq!(whole(response.into_body()).await, ("down".into(), trailers("down")));
        assert_eq!(*seen.lock().unwrap(), [trailers("up"), trailers("up")], "http2: {http2}");
    }
}

#[tokio::test]
async fn a_connect_error_is_retried_once_and_then_returned() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for http2 in VERSIONS {
        let wire = Wire { address, connections: Arc::default() };
        let pool = pool(&wire, accounts(["a", "b"]).await).await;
        let attempts = Arc::new(AtomicUsize::new(0));
        let count = attempts.clone();
        let mut inner = client(http2);
        let counted = tower::service_fn(move |request| {
            count.fetch_add(1, Ordering::SeqCst);
            inner.call(request)
        });
        let client = CredentialsLayer::new(pool.clone()).layer(counted);
        let error: BoxError = client.oneshot(post(&wire, Full::from("hi"))).await.unwrap_err();
        assert!(is_connect_error(&error), "{error:?}");
        assert!(error.is::<hyper_util::client::legacy::Error>(), "the client's own");
        assert_eq!(attempts.load(Ordering::SeqCst), 2);
        assert_eq!(pool.status()[0].standing, Default::default(), "nobody is blamed");
    }
}
