//! Requests that two servers in a row could read in two ways (RFC 9112, section 11.2): no second request gets through, and
//! what can't be read in one way only is refused.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use hyper::body::Incoming;

use super::process::open_to;
use crate::wire::{Wire, full};

type Log = Arc<Mutex<Vec<String>>>;

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

/// An upstream. Also the requests that have begun to arrive, and those that have arrived whole: method, path and body.
async fn upstream() -> (Wire, Log, Log) {
    let (begun, whole) = (Log::default(), Log::default());
    let (heads, all) = (begun.clone(), whole.clone());
    let wire = Wire::start(move |request: Request<Incoming>| {
        let (heads, all) = (heads.clone(), all.clone());
        async move {
            let (head, body) = request.into_parts();
            let line = format!("{} {}", head.method, head.uri);
            heads.lock().unwrap().push(line.clone());
            if let Ok(body) = http_body_util::BodyExt::collect(body).await {
                all.lock()
                    .unwrap()
                    .push(format!("{line} {}", String::from_utf8_lossy(&body.to_bytes())));
            }
            Response::new(full("hi"))
        }
    })
    .await;
    (wire, begun, whole)
}

const SMUGGLED: &str = "GET /x/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let (wire, begun, _) = upstream().await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let host = "host: localhost\r\n";
    let post = |headers: &str, body: &str| format!("POST /x/a HTTP/1.1\r\n{host}{headers}\r\n{body}");
    for (what, request) in [
        ("two lengths", post("content-length: 5\r\ncontent-length: 6\r\n", "hello!")),
        ("a list of lengths", post("content-length: 5, 6\r\n", "hello!")),
        ("a plus", post("content-length: +5\r\n", "hello")),
        ("a minus", post("content-length: -5\r\n", "hello")),
        ("hexadecimal", post("content-length: 0x5\r\n", "hello")),
        ("no number", post("content-length: \r\n", "hello")),
        ("too large", post("content-length: 99999999999999999999999\r\n", "hello")),
        ("another coding last", post("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n")),
        ("an unknown coding", post("transfer-encoding: xchunked\r\n", "0\r\n\r\n")),
        ("a coding before", post("transfer-encoding: gzip, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")),
        ("an unknown coding before", post("transfer-encoding: x, chunked\r\n", "0\r\n\r\n")),
        (
            "chunked twice",
            post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        ("chunked twice in one", post("transfer-encoding: chunked, chunked\r\n", "0\r\n\r\n")),
        ("a blank before the colon", post("transfer-encoding : chunked\r\n", "0\r\n\r\n")),
        ("a folded line", post("transfer-encoding:\r\n chunked\r\n", "0\r\n\r\n")),
        ("a line that begins with a blank", post(" transfer-encoding: chunked\r\n", "0\r\n\r\n")),
        ("a NUL in a name", post("content-length\0: 5\r\n", "hello")),
        ("a NUL in a value", post("x-a: a\0b\r\n", "")),
        ("a bare CR in a value", post("x-a: a\rx-b: b\r\n", "")),
        (
            "chunks in HTTP/1.0",
            format!("POST /x/a HTTP/1.0\r\n{host}transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        ("two hosts", post("host: localhost\r\ncontent-length: 0\r\n", "")),
        ("another host", post("host: evil.example\r\ncontent-length: 0\r\n", "")),
        ("no host", "GET /x/a HTTP/1.1\r\n\r\n".to_owned()),
        ("another host in the target", format!("GET http://evil.example/x/a HTTP/1.1\r\n{host}\r\n")),
        ("a blank in the path", format!("GET /x/a b HTTP/1.1\r\n{host}\r\n")),
        ("another version", format!("GET /x/a HTTP/1.2\r\n{host}\r\n")),
    ] {
        // Whoever reads on finds another request.
        let said = gateway.raw(format!("{request}{SMUGGLED}")).await;
        let status = said.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).unwrap_or("none");
        assert!(["400", "403", "501", "none"].contains(&status), "{what}: {said}");
        assert_eq!(take(&begun), Vec::<String>::new(), "{what}");
    }
    gateway.stop_without_a_word().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_can_be_read_in_two_ways_end_the_request() {
    let (wire, begun, whole) = upstream().await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    for chunks in [
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\rX\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r\n0\r\nx-a\r\n\r\n",
    ] {
        let head = "POST /x/a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
        let said = gateway.raw(format!("{head}{chunks}{SMUGGLED}")).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{chunks:?}: {said}");
        assert_eq!(take(&whole), Vec::<String>::new(), "{chunks:?}");
        assert!(take(&begun).iter().all(|line| line == "POST /a"), "{chunks:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_does_not_count_and_the_connection_ends() {
    let (wire, _, whole) = upstream().await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    for headers in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "transfer-encoding: Chunked\r\ncontent-length: 40000\r\n",
    ] {
        let request =
            format!("POST /x/a HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n5\r\nhello\r\n0\r\n\r\n");
        let said = gateway.raw(format!("{request}{SMUGGLED}")).await;
        assert_eq!(take(&whole), ["POST /a hello"], "{headers:?}: {said}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{headers:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_a_body_stays_one() {
    let (wire, _, whole) = upstream().await;
    let (_home, gateway) = open_to(&wire.origin(), &[]).await;
    let close = "host: localhost\r\nconnection: close, content-length, transfer-encoding\r\n";
    for method in ["GET", "POST", "DELETE", "HEAD", "OPTIONS"] {
        for (framing, body) in [
            (format!("content-length: {}\r\n", SMUGGLED.len()), SMUGGLED.to_owned()),
            (
                "transfer-encoding: chunked\r\n".to_owned(),
                format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len()),
            ),
        ] {
            let said =
                gateway.raw(format!("{method} /x/a HTTP/1.1\r\n{close}{framing}\r\n{body}")).await;
            assert!(said.starts_with("HTTP/1.1 200 "), "{method} {framing}: {said}");
            assert_eq!(take(&whole), [format!("{method} /a {SMUGGLED}")], "{framing}");
        }
    }
}
