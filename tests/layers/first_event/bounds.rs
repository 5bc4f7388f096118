//! How long, and how much of a stream, is waited for.

use std::time::Duration;

use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;
use tower::{ServiceExt, service_fn};
use tower_credentials::service::PeekedBody;
use tower_credentials::*;

use super::*;
use crate::wire::{WireBody, channel, frames, piece};

type Looked = Response<PeekedBody<WireBody>>;

/// Sends a request through the layer to a service that streams this body.
async fn request(body: WireBody, bound: Option<(usize, Duration)>) -> impl Future<Output = Looked> {
    let pool = builder(keys(["a"]).await).open().await.unwrap();
    let mut layer = FirstEventLayer::new(pool);
    if let Some((bytes, time)) = bound {
        layer = layer.bound(bytes, time);
    }
    let body = std::sync::Mutex::new(Some(body));
    let service = layer.layer(service_fn(move |_: Asked| {
        let mut response = Response::new(body.lock().unwrap().take().unwrap());
        let kind = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert("content-type", kind);
        async move { Ok::<_, BoxError>(response) }
    }));
    async { service.oneshot(post()).await.unwrap() }
}

async fn send(pieces: &Sender<Frame<Bytes>>, text: impl Into<Bytes>) {
    pieces.send(Frame::data(text.into())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_tells_nothing_in_time_is_handed_on() {
    let one = Duration::from_millis(100);
    for (bound, time) in [(None, seconds(5)), (Some((1024, one)), one)] {
        let (pieces, body) = channel();
        send(&pieces, SILENCE).await;
        let begun = Instant::now();
        let response = request(body, bound).await.await;
        assert_eq!((response.status().as_u16(), begun.elapsed()), (200, time));
        // The error is the caller's now.
        let mut body = response.into_body();
        assert_eq!(piece(&mut body).await, SILENCE);
        send(&pieces, failing(LIMIT)).await;
        assert_eq!(piece(&mut body).await, failing(LIMIT));
        drop(pieces);
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn content_is_not_held_back() {
    let (pieces, body) = channel();
    let begun = Instant::now();
    let asked = tokio::spawn(request(body, None).await);
    send(&pieces, SILENCE).await;
    tokio::time::sleep(seconds(1)).await;
    send(&pieces, CONTENT).await;
    let response = asked.await.unwrap();
    assert_eq!((response.status().as_u16(), begun.elapsed()), (200, seconds(1)));
    let mut body = response.into_body();
    assert_eq!((piece(&mut body).await, piece(&mut body).await), (SILENCE.into(), CONTENT.into()));
}

#[tokio::test(start_paused = true)]
async fn events_that_say_nothing_do_not_prolong_the_time() {
    let (pieces, body) = channel();
    let begun = Instant::now();
    let asked = tokio::spawn(request(body, None).await);
    let pings = tokio::spawn(async move {
        while pieces.send(Frame::data(Bytes::from_static(b": ping\n\n"))).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    });
    assert_eq!(asked.await.unwrap().status(), 200);
    assert_eq!(begun.elapsed(), seconds(5));
    pings.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_more_bytes_are_looked_at_than_the_bound() {
    let stream = failing(LIMIT);
    let length = stream.len();
    for (bytes, status) in [(length, 429), (length - 1, 200), (1, 200), (0, 200)] {
        for cut in [0, 1, length / 2, length - 1] {
            let pieces = [&stream[..cut], &stream[cut..]];
            let pieces = pieces.map(|piece| Frame::data(Bytes::from(piece.to_owned())));
            let response = request(frames(pieces), Some((bytes, seconds(1)))).await.await;
            assert_eq!(response.status(), status, "{bytes} bytes, cut at {cut}");
            if status == 200 {
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), stream);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_stream_that_tells_nothing_is_handed_on() {
    for endless in [": comment\n", "data: a line that never ends ", ""] {
        let frames = frames(std::iter::repeat(Bytes::from_static(endless.as_bytes())).map(Frame::data));
        let mut response = request(frames, None).await.await;
        assert_eq!(response.status(), 200);
        for _ in 0..20_000 {
            assert_eq!(piece(response.body_mut()).await, endless);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_on_the_way_drops_the_stream() {
    let (pieces, body) = channel();
    send(&pieces, SILENCE).await;
    let asked = tokio::spawn(request(body, None).await);
    // The second piece has room once the first one was read.
    send(&pieces, ": still nothing\n").await;
    settle().await;
    assert!(!pieces.is_closed() && !asked.is_finished());
    asked.abort();
    let _ = asked.await;
    assert!(pieces.is_closed());
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_handed_on_with_its_error() {
    let (mut sender, body) = http_body_util::Channel::<Bytes, BoxError>::new(1);
    sender.send_data(SILENCE.into()).await.unwrap();
    sender.abort("broken off".into());
    let body: WireBody = body.boxed_unsync();
    let response = request(body, None).await.await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    assert_eq!(piece(&mut body).await, SILENCE);
    assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "broken off");
}
