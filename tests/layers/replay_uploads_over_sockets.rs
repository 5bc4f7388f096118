//! Uploads that stream over HTTP/1.1 and HTTP/2 and can be sent again.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Channel};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Notify;
use tower::ServiceExt;
use tower_credentials::provider::GenericProvider;
use tower_credentials::*;

use super::replay_body::script::{Watch, content, trailers};
use crate::support::*;
use crate::wire::{Wire, WireReply, full, length};

fn client<B>(version: Version) -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new())
        .http2_only(version == Version::HTTP_2)
        .http2_max_send_buf_size(256 * 1024)
        .build_http()
}

async fn pool_at<const N: usize>(origin: &str, labels: [&str; N]) -> Pool {
    let provider = GenericProvider::bearer("x").origin(origin).unwrap();
    Pool::builder(provider, keys(labels).await).open().await.unwrap()
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> WireReply {
    Response::builder().status(status).body(full(body)).unwrap()
}

fn is_from(request: &Request<Incoming>, account: &str) -> bool {
    request.headers()["authorization"] == format!("Bearer {account}")
}

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

#[tokio::test]
async fn after_a_429_in_the_middle_of_an_upload_the_next_account_gets_all_of_it() {
    for version in VERSIONS {
        let (half, whole) = (content(1, 300_000), content(2, 400_000));
        let (first, second) = (Bytes::from(half), Bytes::from(whole));
        let expected = [&first[..], &second[..]].concat();
        // The second half is not there until the next account has been asked.
        let (begun, received) = (Arc::new(Notify::new()), Journal::new());
        let (to_begin, to_note) = (begun.clone(), received.clone());
        let wire = Wire::start(move |request| {
            let (begun, received) = (to_begin.clone(), to_note.clone());
            async move {
                if is_from(&request, "a") {
                    let mut body = request.into_body();
                    assert!(!body.frame().await.unwrap().unwrap().into_data().unwrap().is_empty());
                    return reply(StatusCode::TOO_MANY_REQUESTS, "");
                }
                begun.notify_one();
                let whole = request.into_body().collect().await.unwrap();
                received.push((whole.trailers().cloned(), whole.to_bytes()));
                reply(StatusCode::OK, "")
            }
        })
        .await;
        let (mut sender, upload) = Channel::<Bytes, BoxError>::new(1);
        tokio::spawn(async move {
            sender.send_data(first).await.unwrap();
            begun.notified().await;
            sender.send_data(second).await.unwrap();
            sender.send_trailers(trailers()).await.unwrap();
        });
        let pool = pool_at(&wire.origin(), ["a", "b"]).await;
        let service = tower::ServiceBuilder::new()
            .layer(ReplayLayer::new())
            .layer(CredentialsLayer::new(pool))
            .service(client(version));
        // RFC 9110, section 6.6.2: in HTTP/1.1 trailers are sent only if they are announced.
        let request = Request::post(wire.origin()).header("trailer", "checksum").body(upload).unwrap();
        assert_eq!(service.oneshot(request).await.unwrap().status(), StatusCode::OK);
        let whole = received.all().pop().expect("it was received");
        assert_eq!(whole.0, Some(trailers()), "{version:?}");
        assert!(whole.1 == expected, "{version:?}");
    }
}

/// A body of pieces of 64 KiB, whose watch counts the bytes that are in memory.
struct Long {
    left: usize,
    is_known: bool,
    watch: Watch,
}

const PIECE: usize = 64 * 1024;
const LONG: usize = 1600;

impl Body for Long {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(self.watch.bytes(vec![7; PIECE])))))
    }

    fn size_hint(&self) -> SizeHint {
        let left = (self.left * PIECE) as u64;
        if self.is_known { SizeHint::with_exact(left) } else { SizeHint::new() }
    }
}

#[tokio::test]
async fn an_upload_of_100_megabytes_takes_no_more_memory_than_the_bound() {
    for version in VERSIONS {
        let wire = Wire::start(|request: Request<Incoming>| async move {
            let length = length(request.into_body()).await;
            reply(StatusCode::TOO_MANY_REQUESTS, length.to_string())
        })
        .await;
        // A body that is known to be long is not recorded. The client's own buffers take some memory, too.
        for (is_known, bound) in [(true, 0), (false, 2 * 1024 * 1024)] {
            let pool = pool_at(&wire.origin(), ["a", "b"]).await;
            let service = tower::ServiceBuilder::new()
                .layer(ReplayLayer::new())
                .layer(CredentialsLayer::new(pool))
                .service(client(version));
            let watch = Watch::default();
            let upload = Long { left: LONG, is_known, watch: watch.clone() };
            let request = Request::post(wire.origin()).body(upload).unwrap();
            let response = service.oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS, "it was sent once");
            let length = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(length, (LONG * PIECE).to_string());
            let peak = watch.peak.load(Ordering::SeqCst);
            assert!((bound..bound + 1024 * 1024).contains(&peak), "{version:?}: {peak}");
        }
    }
}
