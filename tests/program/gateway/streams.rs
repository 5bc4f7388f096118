//! The HTTP/2 connections to an upstream: how many there are, and what becomes of requests if one is lost or ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinSet;

use super::process::{Gateway, home_of_x};
use super::secure::{BOTH, Network, Secure, asked, get, say};
use crate::wire::{Pieces, channel, length, long, piece, soon, whole};

/// An upstream that takes so many requests at once on a connection, and whose responses stream what a test sends.
async fn piecewise(streams: u32) -> (Secure, mpsc::UnboundedReceiver<Pieces>) {
    let (bodies, made) = mpsc::unbounded_channel();
    let upstream = Secure::start(BOTH, streams, move |request: Request<Incoming>| {
        let bodies = bodies.clone();
        async move {
            whole(request.into_body()).await;
            let (pieces, body) = channel();
            bodies.send(pieces)?;
            Ok(Response::new(body))
        }
    })
    .await;
    (upstream, made)
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_streams_are_under_way_at_once_on_further_connections() {
    const REQUESTS: usize = 250;
    // None gets a response before all are there.
    let all = Arc::new(Barrier::new(REQUESTS));
    let upstream = Secure::start(BOTH, 100, move |request| {
        let all = all.clone();
        async move {
            all.wait().await;
            say(request).await
        }
    })
    .await;
    let home = upstream.home(&["a"]).await;
    let gateway = Arc::new(Gateway::open(&home, &[]).await);
    let mut asking = JoinSet::new();
    for _ in 0..REQUESTS {
        let gateway = gateway.clone();
        asking.spawn(async move { asked(&gateway, "/x/v1/models").await });
    }
    for (status, said) in soon("all responses", asking.join_all()).await {
        assert!(status == 200 && said.starts_with("HTTP/2.0"), "{status} {said}");
    }
    assert_eq!(upstream.connections(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_has_its_stream_until_its_body_has_ended_or_its_client_has_gone() {
    let (upstream, mut made) = piecewise(1).await;
    let home = upstream.home(&["a"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let response = gateway.response(get(&gateway, "/x/v1/models")).await;
        open.push((response.into_body(), soon("a request", made.recv()).await.unwrap()));
    }
    assert_eq!(upstream.connections(), 3);
    // One ends, and one is dropped: their streams are free again.
    let (body, pieces) = open.pop().unwrap();
    drop(pieces);
    assert_eq!(length(body).await, 0);
    let (body, pieces) = open.pop().unwrap();
    drop(body);
    soon("its end", pieces.closed()).await;
    for _ in 0..2 {
        let response = gateway.response(get(&gateway, "/x/v1/models")).await;
        open.push((response.into_body(), soon("a request", made.recv()).await.unwrap()));
    }
    assert_eq!(upstream.connections(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_nobody_reads_hold_up_no_other_on_their_connection() {
    let upstream = Secure::start(BOTH, 100, |request: Request<Incoming>| async move {
        match request.uri().path() {
            "/v1/large" => Ok(Response::new(long(1600 * 64 * 1024))),
            _ => say(request).await,
        }
    })
    .await;
    let home = upstream.home(&["a"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    let mut unread = Vec::new();
    for _ in 0..30 {
        let mut response = gateway.response(get(&gateway, "/x/v1/large")).await;
        piece(response.body_mut()).await;
        unread.push(response);
    }
    assert_eq!(asked(&gateway, "/x/v1/models").await.0, 200);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_requests_that_wait_for_a_connection_are_told_why_there_is_none() {
    let upstream = Secure::start(BOTH, 100, say).await;
    // Nobody vouches for its certificate.
    let home = home_of_x(&format!("https://127.0.0.1:{}", upstream.port), &["a"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    let asking = (0..20).map(|_| asked(&gateway, "/x/v1/models"));
    for (status, said) in futures_util::future::join_all(asking).await {
        assert_eq!(status, 502, "{said}");
        assert!(said.contains("could not connect: invalid peer certificate"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_in_silence_is_found_out_and_replaced() {
    let upstream = Secure::start(BOTH, 100, say).await;
    let mut network = Network::to(upstream.port).await;
    let home = upstream.home_at(network.port, &["a"]).await;
    let gateway = Gateway::open(&home, &["--upstream-ping", "1"]).await;
    assert_eq!(asked(&gateway, "/x/v1/models").await.0, 200);
    // While it is idle.
    network.cut();
    soon("the end of the connection", network.given_up()).await;
    assert_eq!(asked(&gateway, "/x/v1/models").await.0, 200);
    assert_eq!(upstream.connections(), 2);
    // With a request that nobody answers: whether it was served is not known.
    network.cut();
    let (status, said) = asked(&gateway, "/x/v1/models").await;
    assert_eq!(status, 502, "{said}");
    assert!(said.contains("keep-alive timed out"), "{said}");
    assert_eq!(asked(&gateway, "/x/v1/models").await.0, 200);
    assert_eq!(upstream.connections(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_takes_no_more_requests_ends_with_those_under_way() {
    let (upstream, mut made) = piecewise(100).await;
    let home = upstream.home(&["a"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    let mut old = gateway.response(get(&gateway, "/x/v1/models")).await.into_body();
    let pieces = soon("a request", made.recv()).await.unwrap();
    pieces.send(Frame::data("first".into())).await.unwrap();
    assert_eq!(piece(&mut old).await, "first");
    upstream.end_connections();
    // Nothing tells when the gateway knows.
    let (mut new, other) = loop {
        let new = gateway.response(get(&gateway, "/x/v1/models")).await.into_body();
        let other = soon("another request", made.recv()).await.unwrap();
        if upstream.connections() == 2 {
            break (new, other);
        }
    };
    for (pieces, body) in [(pieces, &mut old), (other, &mut new)] {
        pieces.send(Frame::data("second".into())).await.unwrap();
        assert_eq!(piece(body).await, "second");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_refused_is_sent_again_and_one_that_is_broken_off_is_not() {
    let reasons = [h2::Reason::REFUSED_STREAM, h2::Reason::INTERNAL_ERROR];
    let reasons = Arc::new(Mutex::new(VecDeque::from(reasons)));
    let left = reasons.clone();
    let upstream = Secure::start(BOTH, 100, move |request| {
        let reason = reasons.lock().unwrap().pop_front();
        async move {
            match reason {
                Some(reason) => Err(h2::Error::from(reason).into()),
                None => say(request).await,
            }
        }
    })
    .await;
    let home = upstream.home(&["a"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    let (status, said) = asked(&gateway, "/x/v1/models").await;
    // Sent again, it meets the second reason.
    assert_eq!(status, 502, "{said}");
    assert!(said.contains("unspecific protocol error") || said.contains("internal error"), "{said}");
    assert!(left.lock().unwrap().is_empty());
    left.lock().unwrap().push_back(h2::Reason::REFUSED_STREAM);
    assert_eq!(asked(&gateway, "/x/v1/models").await.0, 200);
    assert_eq!(upstream.connections(), 1);
}
