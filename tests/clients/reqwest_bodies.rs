//! Bodies over reqwest, in each way: they stream, up and down, and end when their reader goes.

#![cfg(feature = "reqwest-middleware")]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};
use tower_credentials::{BoxError, CredentialsLayer};

use crate::reqwest_rig::*;
use crate::support::{Journal, keys};

/// A body of what comes in over a channel. It notes when it is dropped.
struct Channel {
    frames: mpsc::Receiver<&'static str>,
    dropped: Journal<&'static str>,
}

impl Body for Channel {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.frames.poll_recv(cx).map(|text| text.map(|text| Ok(Frame::data(Bytes::from(text)))))
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.dropped.push("dropped");
    }
}

/// A server that answers at once, with a body that a test sends by the channel.
async fn streaming() -> (Site, mpsc::Sender<&'static str>, Journal<&'static str>) {
    let (sender, frames) = mpsc::channel(1);
    let (frames, dropped) = (Arc::new(std::sync::Mutex::new(Some(frames))), Journal::new());
    let noted = dropped.clone();
    let site = Site::start(move |_| {
        let body =
            frames.lock().unwrap().take().map(|frames| Channel { frames, dropped: noted.clone() });
        std::future::ready(Response::new(body.map_or_else(|| text(""), body_of)))
    })
    .await;
    (site, sender, dropped)
}

#[tokio::test]
async fn each_chunk_of_a_response_reaches_the_caller_before_the_next_is_sent() {
    for way in 0..CLIENTS {
        for builder in [client(), client().http2_prior_knowledge()] {
            let (site, sender, _) = streaming().await;
            let pool = site.builder(keys(["a"]).await).open().await.unwrap();
            let client = &clients!(CredentialsLayer::new(pool), builder.build().unwrap())[way];

            let mut response = client.execute(site.post("hi")).await.unwrap();
            for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
                sender.send(event).await.unwrap();
                assert_eq!(response.chunk().await.unwrap().unwrap(), event);
            }
            drop(sender);
            assert_eq!(response.bytes().await.unwrap(), "");
        }
    }
}

#[tokio::test]
async fn dropping_the_response_ends_the_stream_of_the_upstream() {
    for way in 0..CLIENTS {
        for builder in [client(), client().http2_prior_knowledge()] {
            let (site, sender, dropped) = streaming().await;
            let pool = site.builder(keys(["a"]).await).open().await.unwrap();
            let client = &clients!(CredentialsLayer::new(pool), builder.build().unwrap())[way];

            let mut response = client.execute(site.post("hi")).await.unwrap();
            sender.send("first").await.unwrap();
            assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
            drop(response);

            dropped.reaches(1).await;
        }
    }
}

#[tokio::test]
async fn giving_a_request_up_gives_it_up_at_the_upstream() {
    for way in 0..CLIENTS {
        for builder in [client(), client().http2_prior_knowledge()] {
            let (arrived, given_up) = (Journal::new(), Journal::new());
            let (note, end) = (arrived.clone(), given_up.clone());
            let site = Site::start(move |_| {
                note.push("arrived");
                let (_, frames) = mpsc::channel(1);
                let guard = Channel { frames, dropped: end.clone() };
                async move {
                    std::future::pending::<()>().await;
                    Response::new(body_of(guard))
                }
            })
            .await;
            let pool = site.builder(keys(["a"]).await).open().await.unwrap();
            let client = clients!(CredentialsLayer::new(pool), builder.build().unwrap())[way].clone();
            let request = site.post("hi");
            let asking = tokio::spawn(async move { client.execute(request).await.map(drop) });
            arrived.reaches(1).await;
            assert!(given_up.all().is_empty());

            asking.abort();

            given_up.reaches(1).await;
        }
    }
}

const CHUNK: u64 = 256 * 1024;
const TOTAL: u64 = 100 * 1024 * 1024;
/// What may be under way: the system's buffers for a loopback connection, and what hyper reads ahead.
const BETWEEN: u64 = 32 * 1024 * 1024;

/// 100 MB, made as they are asked for.
struct Large {
    made: Arc<AtomicU64>,
}

impl Body for Large {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.made.load(Ordering::SeqCst) == TOTAL {
            return Poll::Ready(None);
        }
        self.made.fetch_add(CHUNK, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; CHUNK as usize])))))
    }
}

/// Reads a body to its end. Meanwhile no more of it may be in memory than the bound, wherever it is: that
/// is what was made and not yet read.
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
        let site = Site::start(move |_| {
            let body = Large { made: body.clone() };
            std::future::ready(Response::new(body_of(body)))
        })
        .await;
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
        let body = reqwest::Body::wrap(Large { made });

        assert_eq!(client.ask(site.post(body)).await, (200, TOTAL.to_string()));
    }
}

#[tokio::test]
async fn a_response_may_begin_while_its_request_still_streams() {
    for way in 0..CLIENTS {
        let (heard, told) = oneshot::channel();
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
        let upload = Channel { frames, dropped: Journal::new() };
        sender.send("first").await.unwrap();

        let mut response =
            client.execute(site.post(reqwest::Body::wrap(upload))).await.expect("an early response");
        assert_eq!(told.await.unwrap(), "first");
        for echoed in ["second", "third"] {
            sender.send(echoed).await.unwrap();
            assert_eq!(response.chunk().await.unwrap().unwrap(), echoed);
        }
        drop(sender);
        assert_eq!(response.bytes().await.unwrap(), "");
    }
}
