//! Any order of the four layers, and of any subset of them, has the same effect: the same attempts, the same responses,
//! the same pool and the same saved state. The model says which.
//!
//! Each generated script runs through all 64 arrangements, twice: with each layer directly over the next, and with a
//! boxed service between them, so that the context travels in the request's extensions. `ORDERS_SEED` and
//! `ORDERS_SCRIPTS` set the seed and the number of scripts; the seed is printed.

mod arrangements;
mod counted;
mod model;
mod numbers;
mod script;
mod world;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt};
use tower_credentials::{BoxError, CredentialsLayer};

use crate::thorough::is_thorough;

use arrangements::{ARRANGEMENTS, boxed, direct, layers};
use script::Script;
use world::{Body, Client, World};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seed of this run, printed so that a failure can be repeated.
fn seed() -> u64 {
    let random = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("ORDERS_SEED").unwrap_or_else(random);
    println!("ORDERS_SEED={seed}");
    seed
}

fn scripts(count: u64) -> impl Iterator<Item = (u64, Arc<Script>)> {
    let seed = seed();
    (0..count).map(move |number| (number, Arc::new(Script::generate(seed.wrapping_add(number)))))
}

#[test]
fn every_order_of_every_subset_does_what_the_model_says() {
    assert_eq!(ARRANGEMENTS.len(), 64);
    let usually = if is_thorough() { 1000 } else { 100 };
    let scripts: Vec<_> = scripts(setting("ORDERS_SCRIPTS").unwrap_or(usually)).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|threads| {
        for part in scripts.chunks(scripts.len().div_ceil(cores)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            threads.spawn(move || runtime.block_on(compare_all(part)));
        }
    });
}

async fn compare_all(scripts: &[(u64, Arc<Script>)]) {
    let url = "https://x.test";
    for (number, script) in scripts {
        for arrangement in ARRANGEMENTS {
            let layers = layers(arrangement);
            let expected = model::run(script, layers);
            type Build = fn(&str, &World, Client) -> Client;
            for (how, build) in [("direct", direct as Build), ("boxed", boxed as Build)] {
                let world = World::new(script, url).await;
                let client = build(arrangement, &world, world.in_memory());
                let result = world.run(client, layers).await;
                assert_eq!(result, expected, "{arrangement} {how}, script {number}: {script:#?}");
            }
        }
        let world = World::new(script, url).await;
        let rotate = world.rotate();
        let layer =
            CredentialsLayer::new(world.pool.clone()).refresher(world.refresher()).rotate(|_| rotate);
        let client = BoxCloneService::new(layer.layer(world.in_memory()));
        let result = world.run(client, layers("ARFP")).await;
        let expected = model::run(script, layers("ARFP"));
        assert_eq!(result, expected, "all in one, script {number}: {script:#?}");
    }
}

/// A server on loopback that responds as the current world says.
async fn serve(world: Arc<Mutex<Option<World>>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let world = world.clone();
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                let world = world.lock().unwrap().clone().unwrap();
                async move {
                    let (parts, body) = request.into_parts();
                    let question = body.collect().await.unwrap().to_bytes();
                    assert_eq!(question, "question", "each attempt has the whole body");
                    Ok::<_, Infallible>(world.respond(&parts.headers))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

#[tokio::test]
async fn every_order_of_every_subset_does_the_same_over_sockets() {
    let current = Arc::new(Mutex::new(None));
    let url = serve(current.clone()).await;
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http::<Body>();
    for (number, script) in scripts(20) {
        for arrangement in ARRANGEMENTS {
            let layers = layers(arrangement);
            let expected = model::run(&script, layers);
            let world = World::new(&script, &url).await;
            *current.lock().unwrap() = Some(world.clone());
            let wire = client.clone().map_err(BoxError::from).and_then(collected);
            let stack = direct(arrangement, &world, BoxCloneService::new(wire));
            let result = world.run(stack, layers).await;
            assert_eq!(result, expected, "{arrangement}, script {number}: {script:#?}");
        }
    }
}

/// Reads a response's body, so that responses in memory and over sockets have one type.
async fn collected(
    response: Response<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, BoxError> {
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(parts, Full::new(body.collect().await?.to_bytes())))
}
