//! Streams that fail before any content, over HTTP/1.1 and HTTP/2.

use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;
use tower::{ServiceBuilder, ServiceExt};
use tower_credentials::provider::Anthropic;
use tower_credentials::*;

use super::*;
use crate::wire::{Pieces, Wire, WireReply, channel, piece, soon, whole};

/// A server that streams what the test sends, with the token of each request.
async fn server() -> (Wire, mpsc::UnboundedReceiver<(String, Pieces)>) {
    let (made, streams) = mpsc::unbounded_channel();
    let wire = Wire::start(move |request: Request<Incoming>| {
        let made = made.clone();
        async move {
            let token = request.headers()["authorization"].to_str().unwrap().to_owned();
            whole(request.into_body()).await;
            let (pieces, body) = channel();
            made.send((token, pieces)).unwrap();
            let reply: WireReply = Response::new(body);
            let (mut head, body) = reply.into_parts();
            head.headers.insert("content-type", "text/event-stream".parse().unwrap());
            Response::from_parts(head, body)
        }
    })
    .await;
    (wire, streams)
}

#[tokio::test]
async fn the_caller_sees_the_stream_of_the_next_account_alone_byte_for_byte() {
    for http2 in [false, true] {
        let (wire, mut streams) = server().await;
        let provider = Anthropic::new().named("x").origin(&wire.origin()).unwrap();
        let cooldowns = exact().limited_statuses(|status| status == 529);
        let vault = accounts(["a", "b"]).await;
        let pool = Pool::builder(provider, vault).cooldowns(cooldowns).open().await.unwrap();
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http::<Full<Bytes>>();
        let service = ServiceBuilder::new()
            .layer(CredentialsLayer::new(pool.clone()))
            .layer(ErrorBodyLayer::new(pool.clone()))
            .layer(FirstEventLayer::new(pool.clone()))
            .service(client);
        let request = Request::post(format!("{}/v1/messages", wire.origin()));
        let request = request.body(Full::from("a question")).unwrap();
        let asked = tokio::spawn(service.oneshot(request));

        let (token, failing) = soon("the first request", streams.recv()).await.unwrap();
        assert_eq!(token, "Bearer a-1");
        for part in [SILENCE, "event: err", "or\n", "data: ", OVERLOAD, "\n\n"] {
            failing.send(Frame::data(part.into())).await.unwrap();
        }
        let (token, good) = soon("the second request", streams.recv()).await.unwrap();
        assert_eq!(token, "Bearer b-1");
        soon("the end of the first stream", failing.closed()).await;

        let (begin, end) = CONTENT.split_at(30);
        good.send(Frame::data([SILENCE, begin].concat().into())).await.unwrap();
        good.send(Frame::data(end.into())).await.unwrap();
        let response = soon("the response", asked).await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        let mut seen = Vec::new();
        while seen.len() < super::good().len() {
            seen.extend_from_slice(&piece(&mut body).await);
        }
        assert_eq!(seen, super::good().as_bytes());
        // What comes later is there as soon as it is sent.
        let late = event("error", LIMIT);
        good.send(Frame::data(late.clone().into())).await.unwrap();
        assert_eq!(piece(&mut body).await, late);
        drop(good);
        assert_eq!(soon("the end", whole(body)).await.0, "");
        assert!(cools(&pool, "a") > seconds(20));
        assert_eq!(cools(&pool, "b"), seconds(0));
    }
}
