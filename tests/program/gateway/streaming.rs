//! Bodies that stream through the gateway, both ways.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use tokio::sync::{mpsc, oneshot};

use super::process::{Gateway, home_of_x, open_to};
use crate::wire::{
    Guard, Wire, WireBody, channel, frames, full, length, long, piece, piecewise, soon, uploads, whole,
    wire_client,
};

fn post(gateway: &Gateway, body: WireBody) -> Request<WireBody> {
    Request::post(gateway.url("/x/v1/messages")).body(body).unwrap()
}

#[tokio::test]
async fn server_sent_events_arrive_as_they_are_made() {
    let (wire, mut made) = piecewise(&[("content-type", "text/event-stream")]).await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let client = wire_client(false);
    let asked = tokio::spawn(client.request(post(&gateway, full("hi"))));
    let events = soon("a request", made.recv()).await.unwrap();
    let event = |number| Bytes::from(format!("data: {number}\n\n"));
    // Whether it is an error decides where the response comes from.
    events.send(Frame::data(event(0))).await.unwrap();
    let response = soon("a response", asked).await.unwrap().unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    assert_eq!(piece(&mut body).await, event(0));
    for number in 1..3 {
        events.send(Frame::data(event(number))).await.unwrap();
        assert_eq!(piece(&mut body).await, event(number));
    }
    drop(events);
    assert_eq!(length(body).await, 0);
}

#[tokio::test]
async fn a_limit_that_comes_as_the_first_event_of_a_stream_goes_on_with_the_next_account() {
    let (wire, mut made) = piecewise(&[("content-type", "text/event-stream")]).await;
    let home = home_of_x(&wire.origin(), &["a", "b"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    let asked = tokio::spawn(wire_client(false).request(post(&gateway, full("hi"))));
    let limited = soon("a request", made.recv()).await.unwrap();
    for part in ["event: ping\ndata: {}\n\n", "data: {\"error\":{\"code\":429}}\n\n"] {
        limited.send(Frame::data(part.into())).await.unwrap();
    }
    let good = soon("another request", made.recv()).await.unwrap();
    soon("the end of the first stream", limited.closed()).await;
    good.send(Frame::data("data: good\n\n".into())).await.unwrap();
    let response = soon("a response", asked).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    drop(good);
    assert_eq!(whole(response.into_body()).await.0, "data: good\n\n");
}

#[tokio::test]
async fn an_overload_that_comes_as_the_first_event_goes_on_with_the_next_account_and_parks_none() {
    let overload =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n";
    let failed = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\"}}}\n\n";
    let (wire, mut made) = piecewise(&[("content-type", "text/event-stream")]).await;
    let home = home_of_x(&wire.origin(), &["a", "b"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    for event in [overload, failed] {
        let asked = tokio::spawn(wire_client(false).request(post(&gateway, full("hi"))));
        let busy = soon("a request", made.recv()).await.unwrap();
        busy.send(Frame::data("event: ping\ndata: {}\n\n".into())).await.unwrap();
        busy.send(Frame::data(event.into())).await.unwrap();
        let good = soon("another request", made.recv()).await.unwrap();
        good.send(Frame::data("data: good\n\n".into())).await.unwrap();
        let response = soon("a response", asked).await.unwrap().unwrap();
        drop(good);
        assert_eq!(whole(response.into_body()).await.0, "data: good\n\n");
    }
    // All are busy: an error that an SDK repeats, in place of one in a good response.
    let asked = tokio::spawn(wire_client(false).request(post(&gateway, full("hi"))));
    for _ in 0..2 {
        let busy = soon("a request", made.recv()).await.unwrap();
        busy.send(Frame::data(overload.into())).await.unwrap();
    }
    let response = soon("a response", asked).await.unwrap().unwrap();
    assert_eq!(response.status(), 529);
    let said = whole(response.into_body()).await.0;
    assert_eq!(said, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}");
    assert_eq!(gateway.send(Request::get(gateway.url("/readyz"))).await.0, 200);
}

#[tokio::test]
async fn an_upload_arrives_as_it_is_made() {
    let (wire, mut arrived) = uploads().await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let client = wire_client(false);
    let (pieces, body) = channel();
    let response = tokio::spawn(client.request(post(&gateway, body)));
    pieces.send(Frame::data("first".into())).await.unwrap();
    let (mut body, done) = soon("a request", arrived.recv()).await.unwrap();
    assert_eq!(piece(&mut body).await, "first");
    pieces.send(Frame::data("second".into())).await.unwrap();
    assert_eq!(piece(&mut body).await, "second");
    drop(pieces);
    assert_eq!(length(body).await, 0);
    done.send(()).unwrap();
    assert_eq!(whole(response.await.unwrap().unwrap().into_body()).await.0, "thanks");
}

fn trailers(value: &'static str) -> HeaderMap {
    [(http::HeaderName::from_static("x-checksum"), HeaderValue::from_static(value))]
        .into_iter()
        .collect()
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let wire = Wire::start(async move |request: Request<hyper::body::Incoming>| {
        assert_eq!(request.headers()["te"], "trailers");
        let (data, trailers_up) = whole(request.into_body()).await;
        let seen = format!("{data:?} {:?}", trailers_up.get("x-checksum"));
        let body = frames([Frame::data(seen.into()), Frame::trailers(trailers("down"))]);
        Response::builder().header("trailer", "x-checksum").body(body).unwrap()
    })
    .await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let client = wire_client(false);
    let mut request =
        post(&gateway, frames([Frame::data("up".into()), Frame::trailers(trailers("up"))]));
    // HTTP/1.1 has only announced trailers.
    request.headers_mut().insert("trailer", HeaderValue::from_static("x-checksum"));
    request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    let response = soon("a response", client.request(request)).await.unwrap();
    let (seen, down) = whole(response.into_body()).await;
    assert_eq!(seen, r#"b"up" Some("up")"#);
    assert_eq!(down, trailers("down"));
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_hundred_megabytes_go_up_and_down_in_little_memory() {
    const LENGTH: usize = 1600 * 64 * 1024;
    let wire = Wire::start(async |request: Request<hyper::body::Incoming>| {
        assert_eq!(length(request.into_body()).await, LENGTH);
        Response::new(long(LENGTH))
    })
    .await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let client = wire_client(false);
    let before = crate::wire::peak_memory(gateway.id());
    let response = client.request(post(&gateway, long(LENGTH))).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(length(response.into_body()).await, LENGTH);
    let grown = crate::wire::peak_memory(gateway.id()) - before;
    assert!(grown < 24 * 1024, "{grown} KiB more for {LENGTH} bytes each way");
}

#[tokio::test]
async fn an_upstream_that_nobody_reads_is_not_read_ahead() {
    let (wire, mut made) = piecewise(&[]).await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let client = wire_client(false);
    let response = client.request(post(&gateway, full("hi"))).await.unwrap();
    let pieces = made.recv().await.unwrap();
    // Until the buffers on the way are full, which shows only in that it does not go on. Then the client
    // reads, and it goes on.
    let mut sent = 0_usize;
    let piece = Bytes::from_static(&[b'x'; 64 * 1024]);
    while sent < 1600 {
        let wait = std::time::Duration::from_millis(500);
        match tokio::time::timeout(wait, pieces.send(Frame::data(piece.clone()))).await {
            Ok(result) => result.unwrap(),
            Err(_) => break,
        }
        sent += 1;
    }
    assert!(sent < 1600, "all of it was taken");
    drop(pieces);
    assert_eq!(length(response.into_body()).await, sent * piece.len());
}

#[tokio::test]
async fn a_client_that_leaves_during_a_response_ends_the_upstreams_body() {
    let (wire, mut made) = piecewise(&[]).await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let client = wire_client(false);
    let mut response = client.request(post(&gateway, full("hi"))).await.unwrap();
    let pieces = made.recv().await.unwrap();
    pieces.send(Frame::data("first".into())).await.unwrap();
    assert_eq!(piece(response.body_mut()).await, "first");
    drop(response);
    soon("the end of the upstream's body", pieces.closed()).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_response_ends_the_upstreams_work() {
    let (requests, mut begun) = mpsc::unbounded_channel();
    let wire = Wire::start(move |request| {
        let requests = requests.clone();
        async move {
            whole(request.into_body()).await;
            let (sender, dropped) = oneshot::channel();
            let _held = Guard(Some(sender));
            requests.send(dropped).unwrap();
            std::future::pending().await
        }
    })
    .await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let client = wire_client(false);
    let asking = tokio::spawn(client.request(post(&gateway, full("hi"))));
    let dropped = soon("a request", begun.recv()).await.unwrap();
    asking.abort();
    soon("the end of the upstream's work", dropped).await.unwrap();
}

#[tokio::test]
async fn a_response_that_breaks_off_breaks_off_for_the_client() {
    // More than is sent.
    let (wire, mut made) = piecewise(&[("content-length", "100")]).await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let client = wire_client(false);
    let mut response = client.request(post(&gateway, full("hi"))).await.unwrap();
    let pieces = made.recv().await.unwrap();
    pieces.send(Frame::data("first".into())).await.unwrap();
    assert_eq!(piece(response.body_mut()).await, "first");
    drop(pieces);
    let rest = http_body_util::BodyExt::collect(response.into_body());
    assert!(soon("the end", rest).await.is_err(), "half a response passed as a whole");
}
