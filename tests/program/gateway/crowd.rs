//! Many clients at once, some of which misbehave: the others are served.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::{Gateway, home_of_x, open_to};
use crate::wire::{Wire, frames, full, soon};

/// An upstream with a path whose response has no end.
async fn upstream() -> Wire {
    Wire::start(async |request: Request<hyper::body::Incoming>| {
        if request.uri().path() == "/endless" {
            let piece = Bytes::from_static(&[b'x'; 64 * 1024]);
            return Response::new(frames(std::iter::repeat_with(move || Frame::data(piece.clone()))));
        }
        Response::new(full("hi"))
    })
    .await
}

const REQUEST: &[u8] = b"GET /x/endless HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_clients_of_which_two_misbehave_the_other_six_are_served() {
    let wire = upstream().await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let _silent = TcpStream::connect(gateway.address).await.unwrap();
    let mut reads_nothing = TcpStream::connect(gateway.address).await.unwrap();
    reads_nothing.write_all(REQUEST).await.unwrap();
    // Its response has begun, and fills all buffers on the way from here on.
    reads_nothing.read_exact(&mut [0; 8]).await.unwrap();
    let one = async |number| {
        for _ in 0..50 {
            let request = Request::post(gateway.url("/x/v1")).body(full(vec![b'x'; 1000])).unwrap();
            let (status, _, body) = gateway.ask(request).await;
            assert_eq!((status, &*body), (200, "hi"), "client {number}");
        }
    };
    let six = async { tokio::join!(one(0), one(1), one(2), one(3), one(4), one(5)) };
    soon("the six", six).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_room_for_a_connection_takes_it_once_another_has_ended() {
    let wire = upstream().await;
    let (_home, gateway) = open_to(&wire.origin(), &["--max-connections", "2"]).await;
    let one = TcpStream::connect(gateway.address).await.unwrap();
    let _two = TcpStream::connect(gateway.address).await.unwrap();
    let third = gateway.raw("GET /x/v1 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    tokio::pin!(third);
    // It waits, which shows only in that nothing comes.
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut third).await.is_err());
    drop(one);
    let said = soon("a response", third).await;
    assert!(said.ends_with("hi"), "{said}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn without_file_descriptors_it_says_so_and_goes_on_once_there_are_some() {
    let wire = upstream().await;
    let home = home_of_x(&wire.origin(), &["a"]).await;
    let mut limited = home.script("sh", "ulimit -n 40; exec \"$0\" \"$@\"");
    limited.args(["serve", "--open", "--listen", "127.0.0.1:0"]);
    let mut gateway = Gateway::of(limited).await;
    let ask = async |gateway: &Gateway| {
        gateway.raw("GET /x/v1 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await
    };
    assert!(ask(&gateway).await.ends_with("hi"));
    for _ in 0..2 {
        let mut crowd = Vec::new();
        for _ in 0..60 {
            crowd.push(TcpStream::connect(gateway.address).await.unwrap());
        }
        let line = gateway.says("no connection can be taken beside the ").await;
        assert!(line.contains("ulimit -n") && line.contains("--max-connections"), "{line}");
        drop(crowd);
        gateway.says("Connections are taken again").await;
        assert!(ask(&gateway).await.ends_with("hi"));
        gateway.forget();
    }
    // It has lost nothing else.
    gateway.stop().await;
}
