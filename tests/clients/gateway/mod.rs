//! The example `axum_gateway`, as a process, between a client and an upstream on loopback. The gateway to use is the
//! program's, and its tests are in `tests/program/gateway`.

#![cfg(all(feature = "hyper", feature = "setup", feature = "tls", unix))]

mod process;

use http::Request;
use http_body::Frame;

use crate::support::{Canned, Server, Upstream};
use crate::wire::{frames, full, piece, piecewise, soon, whole, wire_client};
use process::Home;

#[tokio::test]
async fn a_request_goes_on_with_the_next_account_and_a_web_page_gets_nothing() {
    let upstream = Upstream::new().answers("a", [Canned::limited(3000)]);
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&server.origin(), &["a", "b"]).await;
    let gateway = home.gateway().await;
    let client = wire_client(false);
    let url = format!("http://{}/v1/messages", gateway.address);
    for (name, value) in
        [("origin", "https://evil.test"), ("origin", "null"), ("host", "evil.test"), ("host", "")]
    {
        let request = Request::get(&url).header(name, value).body(full("")).unwrap();
        let response = soon("a response", client.request(request)).await.unwrap();
        assert_eq!(response.status(), 403, "{name}: {value}");
    }
    assert_eq!(upstream.tokens(), Vec::<String>::new());
    let body = frames(["ques", "tion"].map(|piece| Frame::data(piece.into())));
    let request = Request::post(&url).header("authorization", "Bearer own").header("x-api-key", "own");
    let request = request.header("connection", "keep-alive").body(body).unwrap();
    let response = soon("a response", client.request(request)).await.unwrap();
    assert_eq!(whole(response.into_body()).await.0, "b");
    assert_eq!(upstream.tokens(), ["a", "b"]);
    for seen in upstream.seen.all() {
        assert_eq!((seen.body, seen.uri.path()), ("question".into(), "/v1/messages"));
        assert!(!seen.headers.contains_key("x-api-key") && !seen.headers.contains_key("connection"));
    }
}

#[tokio::test]
async fn ctrl_c_ends_it_once_the_response_under_way_has_ended() {
    let (wire, mut made) = piecewise(&[]).await;
    let home = Home::with_keys(&wire.origin(), &["a"]).await;
    let gateway = home.gateway().await;
    let request = Request::get(format!("http://{}/", gateway.address)).body(full("")).unwrap();
    let mut response = soon("a response", wire_client(false).request(request)).await.unwrap();
    let pieces = made.recv().await.unwrap();
    pieces.send(Frame::data("first".into())).await.unwrap();
    assert_eq!(piece(response.body_mut()).await, "first");
    gateway.interrupt().await;
    pieces.send(Frame::data("second".into())).await.unwrap();
    assert_eq!(piece(response.body_mut()).await, "second");
    drop(pieces);
    assert_eq!(whole(response.into_body()).await.0, "");
    assert_eq!(gateway.ended().await, (true, String::new()));
}

#[tokio::test]
async fn what_is_wrong_at_the_start_is_said() {
    let home = Home::with_keys("http://127.0.0.1:9", &["a"]).await;
    for (arguments, says) in [
        (&[][..], "usage: axum_gateway PROVIDER PORT"),
        (&["x", "many"], "no port"),
        (&["anthropi", "0"], "anthropic"),
    ] {
        let output = soon("its end", home.command(arguments).output()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(says), "{arguments:?}: {said}");
    }
}
