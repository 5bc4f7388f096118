//! The gateway's end: which requests it waits for, and for how long.

use bytes::Bytes;
use http::Request;
use http_body::Frame;

use super::process::{ENDING, Gateway, home_of_x, open_to};
use crate::cli::Home;
use crate::wire::{Pieces, full, length, piece, piecewise, soon, wire_client};

/// A gateway with a response under way: the sender of its body, and the body.
async fn streaming(drain: &str) -> (Home, Gateway, Pieces, hyper::body::Incoming) {
    let (wire, mut made) = piecewise(&[]).await;
    let (home, gateway) = open_to(&wire.origin(), &["--drain", drain]).await;
    let request = Request::get(gateway.url("/x/")).body(full("")).unwrap();
    let mut response = gateway.response(request).await;
    let pieces = made.recv().await.unwrap();
    pieces.send(Frame::data("first".into())).await.unwrap();
    assert_eq!(piece(response.body_mut()).await, "first");
    (home, gateway, pieces, response.into_body())
}

/// Waits until the gateway accepts no more connections.
async fn closed(gateway: &Gateway) {
    let closed = async {
        while tokio::net::TcpStream::connect(gateway.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of its listening", closed).await;
}

/// Sends a signal, and waits until the gateway waits for the requests under way.
async fn begin_to_end(gateway: &mut Gateway, signal: &str) {
    gateway.signal(signal).await;
    closed(gateway).await;
    gateway.says(ENDING.trim_end()).await;
}

#[tokio::test]
async fn after_a_signal_responses_under_way_finish_and_no_new_ones_begin() {
    for signal in ["TERM", "INT"] {
        let (_home, mut gateway, pieces, mut body) = streaming("600").await;
        begin_to_end(&mut gateway, signal).await;
        pieces.send(Frame::data("second".into())).await.unwrap();
        assert_eq!(piece(&mut body).await, "second");
        drop(pieces);
        assert_eq!(length(body).await, 0);
        assert_eq!(gateway.ended().await.ok().stderr, ENDING);
    }
}

#[tokio::test]
async fn an_upload_under_way_finishes_too() {
    let (wire, mut arrived) = crate::wire::uploads().await;
    let (_home, mut gateway) = open_to(&wire.origin(), &["--drain", "600"]).await;
    let (pieces, body) = crate::wire::channel();
    let request = Request::post(gateway.url("/x/")).body(body).unwrap();
    let response = tokio::spawn(wire_client(false).request(request));
    pieces.send(Frame::data("first".into())).await.unwrap();
    let (mut upload, done) = soon("a request", arrived.recv()).await.unwrap();
    assert_eq!(piece(&mut upload).await, "first");
    begin_to_end(&mut gateway, "TERM").await;
    pieces.send(Frame::data(Bytes::from_static(b"second"))).await.unwrap();
    assert_eq!(piece(&mut upload).await, "second");
    drop(pieces);
    assert_eq!(length(upload).await, 0);
    done.send(()).unwrap();
    assert_eq!(soon("a response", response).await.unwrap().unwrap().status(), 200);
    assert_eq!(gateway.ended().await.ok().stderr, ENDING);
}

#[tokio::test]
async fn a_response_that_is_read_slowly_arrives_whole() {
    const LENGTH: usize = 256 * 64 * 1024;
    let wire = crate::wire::Wire::start(async |_| http::Response::new(crate::wire::long(LENGTH))).await;
    let (_home, gateway) = open_to(&wire.origin(), &["--drain", "600"]).await;
    let request = Request::get(gateway.url("/x/")).body(full("")).unwrap();
    let mut body = gateway.response(request).await.into_body();
    // What is left is on the way by now, in the system's buffers and in the gateway's.
    let mut read = 0;
    while read < LENGTH - 1024 * 1024 {
        read += piece(&mut body).await.len();
    }
    gateway.signal("TERM").await;
    closed(&gateway).await;
    assert_eq!(read + length(body).await, LENGTH);
    // For the gateway it has ended once the system has all of it.
    let said = gateway.ended().await.ok().stderr;
    assert!(["", ENDING].contains(&&*said), "{said}");
}

#[tokio::test]
async fn a_response_without_an_end_is_broken_off_after_a_bound() {
    let (_home, gateway, pieces, body) = streaming("1").await;
    gateway.signal("TERM").await;
    gateway.ended().await.ok().says("broken off");
    soon("the end of the upstream's body", pieces.closed()).await;
    assert!(http_body_util::BodyExt::collect(body).await.is_err());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for second in ["TERM", "INT"] {
        let (_home, gateway, _pieces, _body) = streaming("600").await;
        gateway.signal("TERM").await;
        closed(&gateway).await;
        gateway.signal(second).await;
        gateway.ended().await.ok().says("broken off");
    }
}

#[tokio::test]
async fn with_nothing_under_way_it_ends_at_once_whatever_connections_are_open() {
    let wire = crate::wire::Wire::start(async |_| http::Response::new(full("hi"))).await;
    let (_home, gateway) = open_to(&wire.origin(), &["--drain", "600"]).await;
    let request = Request::get(gateway.url("/x/")).body(full("")).unwrap();
    let client = wire_client(false);
    let response = client.request(request).await.unwrap();
    assert_eq!(crate::wire::whole(response.into_body()).await.0, "hi");
    // One that has sent nothing, and one that has sent half of a head.
    let _silent = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let mut half = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut half, b"GET /x/ HT").await.unwrap();
    gateway.stop_without_a_word().await;
}

#[tokio::test]
async fn a_signal_ends_a_start_that_waits() {
    let home = home_of_x("http://127.0.0.1:9", &["a"]).await;
    let told = home.path().join("told");
    let script = home.path().join("key");
    std::fs::write(&script, format!(": > '{}'; exec sleep 60", told.display())).unwrap();
    let key = format!("sh {}", script.display());
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["exec", "--", "true"]] {
        let mut command = home.command(["--key-command", &key]);
        command.args(arguments).stdin(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        crate::cli::until("the key's command", || told.exists().then_some(()));
        std::fs::remove_file(&told).unwrap();
        let id = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let code = crate::cli::until("its end", || child.try_wait().unwrap()).code();
        assert_eq!(code, Some(143), "{arguments:?}");
    }
}
