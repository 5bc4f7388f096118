//! Connections without a request, whose buffers are given back after a moment. That shows only in the gateway's memory, so
//! these tests wait for longer than that.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::process::{Gateway, open_to, upstream};
use crate::wire::{Wire, full, soon};

const REQUEST: &str = "POST /x/v1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}";

async fn pause() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

async fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(gateway.address).await.unwrap()
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Reads a response whose body is "hi".
async fn response(stream: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nhi") {
        let length = soon("a response", stream.read_buf(&mut read)).await.unwrap();
        assert!(length > 0, "the end after {}", String::from_utf8_lossy(&read));
    }
    assert!(read.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&read));
}

async fn greeting() -> Wire {
    Wire::start(async |_| http::Response::new(full("hi"))).await
}

#[tokio::test]
async fn a_connection_that_was_idle_serves_other_requests_however_they_come() {
    let wire = greeting().await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let mut stream = connect(&gateway).await;
    for _ in 0..2 {
        send(&mut stream, REQUEST).await;
        response(&mut stream).await;
        pause().await;
    }
    for piece in [&REQUEST[..1], &REQUEST[1..30], &REQUEST[30..]] {
        send(&mut stream, piece).await;
        pause().await;
    }
    response(&mut stream).await;
}

#[tokio::test]
async fn half_a_head_that_came_with_the_request_before_is_kept_while_nothing_follows() {
    let wire = greeting().await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let mut stream = connect(&gateway).await;
    let (half, rest) = REQUEST.split_at(30);
    send(&mut stream, &format!("{REQUEST}{half}")).await;
    response(&mut stream).await;
    pause().await;
    send(&mut stream, rest).await;
    response(&mut stream).await;
}

#[tokio::test]
async fn a_body_that_goes_on_after_its_response_has_ended_arrives_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"first") {
            stream.read_buf(&mut read).await.unwrap();
        }
        send(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
        while !read.ends_with(b"last") {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0);
        }
    });
    let (_home, gateway) = open_to(&origin, &[]).await;
    let mut stream = connect(&gateway).await;
    send(&mut stream, "POST /x/v1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nfirst").await;
    response(&mut stream).await;
    pause().await;
    send(&mut stream, "last").await;
    soon("the rest", upstream).await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_closed_when_the_gateway_ends() {
    let wire = upstream().await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let mut stream = connect(&gateway).await;
    send(&mut stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut read = Vec::new();
    while !read.ends_with(b"ok\n") {
        soon("a response", stream.read_buf(&mut read)).await.unwrap();
    }
    pause().await;
    gateway.stop_without_a_word().await;
    assert_eq!(soon("the end", stream.read(&mut [0])).await.unwrap(), 0);
}
