//! A request names the host that it goes to, whatever the caller's `host` header says.

#![cfg(all(feature = "hyper", feature = "reqwest-middleware"))]

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{Layer, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::{CredentialsLayer, Pool};

use crate::reqwest_rig::{CLIENTS, clients};
use crate::support::{Journal, keys};
use crate::wire::{Wire, full};

const FOREIGN: [&str; 3] = ["evil.test", "127.0.0.1:1", "127.0.0.1"];

/// A server that records the hosts that each request names: the URI's (`:authority` in HTTP/2), and the headers'.
async fn recording() -> (Wire, Journal<(Option<String>, Vec<String>)>) {
    let seen = Journal::new();
    let log = seen.clone();
    let wire = Wire::start(move |request: Request<Incoming>| {
        let hosts = request.headers().get_all(header::HOST).iter();
        let hosts = hosts.map(|host| host.to_str().unwrap().to_owned()).collect();
        log.push((request.uri().authority().map(ToString::to_string), hosts));
        async { Response::new(full("")) }
    })
    .await;
    (wire, seen)
}

async fn pool(wire: &Wire) -> Pool {
    let provider = GenericProvider::bearer("x").origin(&wire.origin()).unwrap();
    Pool::builder(provider, keys(["a"]).await).open().await.unwrap()
}

#[tokio::test]
async fn over_hyper_the_host_is_that_of_the_uri() {
    for http2 in [false, true] {
        for foreign in FOREIGN {
            let (wire, seen) = recording().await;
            let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
            let client = CredentialsLayer::new(pool(&wire).await).layer(client);
            let request = Request::get(wire.origin()).header(header::HOST, foreign);
            client.oneshot(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
            let here = wire.address.to_string();
            assert_eq!(seen.all(), [(http2.then(|| here.clone()), vec![here])]);
        }
    }
}

#[tokio::test]
async fn over_reqwest_the_host_is_that_of_the_url() {
    for http2 in [false, true] {
        for way in 0..CLIENTS {
            let (wire, seen) = recording().await;
            let mut client = reqwest::Client::builder();
            if http2 {
                client = client.http2_prior_knowledge();
            }
            let layers = CredentialsLayer::new(pool(&wire).await);
            let client = &clients!(layers, client.build().unwrap())[way];
            let mut request =
                reqwest::Request::new(reqwest::Method::GET, wire.origin().parse().unwrap());
            request.headers_mut().insert(header::HOST, HeaderValue::from_static("evil.test"));
            client.execute(request).await.unwrap();
            let here = wire.address.to_string();
            assert_eq!(seen.all(), [(http2.then(|| here.clone()), vec![here])]);
        }
    }
}
