//! An HTTP/2 server accepts a limited number of requests at once on a connection. How clients get beyond it.

#![cfg(feature = "hyper")]

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::limit::ConcurrencyLimit;
use tower::load::Constant;
use tower::{ServiceBuilder, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::{CredentialsLayer, Pool};

use crate::support::keys;
use crate::wire::{Wire, full, soon};

type Body = Full<Bytes>;

/// A server that responds to no request until this many requests are there at once.
async fn all_at_once(requests: usize, streams: u32) -> Wire {
    let barrier = Arc::new(Barrier::new(requests));
    Wire::start_with(streams, move |_| {
        let barrier = barrier.clone();
        async move {
            barrier.wait().await;
            http::Response::new(full("a response"))
        }
    })
    .await
}

async fn pool(server: &Wire) -> Pool {
    let provider = GenericProvider::bearer("x").origin(&server.origin()).unwrap();
    Pool::builder(provider, keys(["a"]).await).open().await.unwrap()
}

#[tokio::test]
async fn each_of_several_clients_has_its_own_connection() {
    const STREAMS: u32 = 4;
    const CLIENTS: usize = 3;
    let requests = STREAMS as usize * CLIENTS;
    let server = all_at_once(requests, STREAMS).await;
    // Each client has its own connection. One with as many requests as its server accepts is not ready, so the next
    // client gets the request.
    let clients = (0..CLIENTS)
        .map(|_| Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Body>())
        .map(|client| Constant::new(ConcurrencyLimit::new(client, STREAMS as usize), 0));
    let client = ServiceBuilder::new()
        .layer(CredentialsLayer::new(pool(&server).await))
        .buffer(requests)
        .service(Balance::<_, Request<Body>>::new(ServiceList::new(clients)));
    let mut responses = JoinSet::new();
    for _ in 0..requests {
        let request = Request::get(server.origin()).body(Body::default()).unwrap();
        responses.spawn(client.clone().oneshot(request));
    }
    for response in soon("all are under way at once", responses.join_all()).await {
        assert_eq!(response.unwrap().status(), 200);
    }
    assert_eq!(server.connections(), CLIENTS);
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn the_crates_own_client_has_a_connection_for_each_request_in_flight() {
    use tower_credentials::https::HttpsClient;
    const REQUESTS: usize = 120;
    let server = all_at_once(REQUESTS, 1).await;
    let client = CredentialsLayer::new(pool(&server).await);
    let client = tower::Layer::layer(&client, HttpsClient::<Body>::new().unwrap());
    let mut responses = JoinSet::new();
    for _ in 0..REQUESTS {
        let request = Request::get(server.origin()).body(Body::default()).unwrap();
        responses.spawn(client.clone().oneshot(request));
    }
    for response in soon("all are under way at once", responses.join_all()).await {
        assert_eq!(response.unwrap().status(), 200);
    }
    assert_eq!(server.connections(), REQUESTS);
}
