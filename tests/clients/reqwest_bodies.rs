//! Bodies over reqwest, as a service and as a middleware: they stream, up and down, and end when their reader goes.

#![cfg(feature = "reqwest-middleware")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};
use tower_credentials::CredentialsLayer;

use crate::reqwest_rig::*;
use crate::support::keys;
use crate::wire::{Channel, Frames, Guard, channel, soon};

/// A server that responds at once, with a body that a test sends over the channel.
async fn streaming() -> (Site, mpsc::Sender<Frame<Bytes>>) {
    let (sender, body) = channel();
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let site = Site::start(move |_| {
        let body = body.lock().unwrap().take();
        std::future::ready(Response::new(body.unwrap_or_else(|| text(""))))
    })
    .await;
    (site, sender)
}

#[tokio::test]
async fn chunks_of_a_response_reach_the_caller_as_they_are_sent() {
    for way in 0..CLIENTS {
        for builder in [client(), client().http2_prior_knowledge()] {
            let (site, sender) = streaming().await;
            let pool = site.builder(keys(["a"]).await).open().await.unwrap();
            let client = &clients!(CredentialsLayer::new(pool), builder.build().unwrap())[way];

            let mut response = client.execute(site.post("hi")).await.unwrap();
            for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
                sender.send(Frame::data(event.into())).await.unwrap();
                assert_eq!(response.chunk().await.unwrap().unwrap(), event);
            }
            drop(sender);
            assert_eq!(response.bytes().await.unwrap(), "");
        }
    }
}

#[tokio::test]
async fn dropping_the_response_ends_the_upstreams_stream() {
    for way in 0..CLIENTS {
        for builder in [client(), client().http2_prior_knowledge()] {
            let (site, sender) = streaming().await;
            let pool = site.builder(keys(["a"]).await).open().await.unwrap();
            let client = &clients!(CredentialsLayer::new(pool), builder.build().unwrap())[way];

            let mut response = client.execute(site.post("hi")).await.unwrap();
            sender.send(Frame::data("first".into())).await.unwrap();
            assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
            drop(response);

            soon("the end of the stream", sender.closed()).await;
        }
    }
}

#[tokio::test]
async fn giving_up_a_request_also_ends_it_at_the_upstream() {
    for way in 0..CLIENTS {
        for builder in [client(), client().http2_prior_knowledge()] {
            let (note, mut arrived) = mpsc::unbounded_channel();
            let site = Site::start(move |_| {
                let (dropped, given_up) = oneshot::channel();
                note.send(given_up).unwrap();
                async move {
                    let _guard = Guard(Some(dropped));
                    std::future::pending().await
                }
            })
            .await;
            let pool = site.builder(keys(["a"]).await).open().await.unwrap();
            let client = clients!(CredentialsLayer::new(pool), builder.build().unwrap())[way].clone();
            let request = site.post("hi");
            let asking = tokio::spawn(async move { client.execute(request).await.map(drop) });
            let mut given_up = soon("a request", arrived.recv()).await.unwrap();
            assert!(given_up.try_recv().is_err());

            asking.abort();

            soon("the end of the server's work", given_up).await.unwrap();
        }
    }
}

const CHUNK: u64 = 256 * 1024;
const TOTAL: u64 = 100 * 1024 * 1024;
/// What may be in flight: the system's buffers for a loopback connection, and what hyper reads ahead.
const BETWEEN: u64 = 32 * 1024 * 1024;

/// A body of 100 MiB, made as they are asked for.
fn large(made: Arc<AtomicU64>) -> Frames<impl Iterator<Item = Frame<Bytes>> + Send + Sync + Unpin> {
    Frames((0..TOTAL / CHUNK).map(move |_| {
        made.fetch_add(CHUNK, Ordering::SeqCst);
        Frame::data(Bytes::from(vec![b'x'; CHUNK as usize]))
    }))
}

/// Reads a body to its end. Meanwhile no more of it may be in memory than the bound: what was made and not yet read,
/// wherever it is.
async fn read_all(body: impl Body<Data = Bytes, Error: std::fmt::Debug>, made: &AtomicU64) -> u64 {
    let mut body = std::pin::pin!(body);
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().unwrap().len() as u64;
        let between = made.load(Ordering::SeqCst) - read;
        assert!(between < BETWEEN, "{between} bytes are held after {read}");
    }
    read
}

#[tokio::test]
async fn a_hundred_megabytes_come_down_in_bounded_memory() {
    for way in 0..CLIENTS {
        let made = Arc::new(AtomicU64::new(0));
        let body = made.clone();
        let site =
            Site::start(move |_| std::future::ready(Response::new(body_of(large(body.clone()))))).await;
        let pool = site.builder(keys(["a"]).await).open().await.unwrap();
        let client = &clients!(CredentialsLayer::new(pool), client().build().unwrap())[way];

        let response = client.execute(site.post("hi")).await.unwrap();

        assert!(made.load(Ordering::SeqCst) < BETWEEN, "nothing is read before it is asked for");
        assert_eq!(read_all(reqwest::Body::from(response), &made).await, TOTAL);
    }
}

#[tokio::test]
async fn a_hundred_megabytes_go_up_in_bounded_memory() {
    for way in 0..CLIENTS {
        let made = Arc::new(AtomicU64::new(0));
        let counted = made.clone();
        let site = Site::start(move |request: Request<Incoming>| {
            let made = counted.clone();
            async move { Response::new(text(read_all(request.into_body(), &made).await.to_string())) }
        })
        .await;
        let pool = site.builder(keys(["a", "b"]).await).open().await.unwrap();
        let client = &clients!(CredentialsLayer::new(pool), client().build().unwrap())[way];
        let body = reqwest::Body::wrap(large(made));

        assert_eq!(client.ask(site.post(body)).await, (200, TOTAL.to_string()));
    }
}

#[tokio::test]
async fn a_response_may_begin_while_its_request_still_streams() {
    for way in 0..CLIENTS {
        let (heard, received) = oneshot::channel();
        let heard = Arc::new(std::sync::Mutex::new(Some(heard)));
        let site = Site::start(move |request: Request<Incoming>| {
            let heard = heard.lock().unwrap().take().unwrap();
            let mut body = request.into_body();
            async move {
                let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
                heard.send(first).unwrap();
                Response::new(body_of(body))
            }
        })
        .await;
        let pool = site.builder(keys(["a"]).await).open().await.unwrap();
        let reqwest = client().http2_prior_knowledge().build().unwrap();
        let client = &clients!(CredentialsLayer::new(pool), reqwest)[way];
        let (sender, frames) = mpsc::channel(1);
        sender.send(Frame::data("first".into())).await.unwrap();

        let mut response = client
            .execute(site.post(reqwest::Body::wrap(Channel(frames))))
            .await
            .expect("an early response");
        assert_eq!(received.await.unwrap(), "first");
        for echoed in ["second", "third"] {
            sender.send(Frame::data(echoed.into())).await.unwrap();
            assert_eq!(response.chunk().await.unwrap().unwrap(), echoed);
        }
        drop(sender);
        assert_eq!(response.bytes().await.unwrap(), "");
    }
}
