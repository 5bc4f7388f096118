//! The responses that the gateway makes itself, and those that it gets in odd ways.

use std::convert::Infallible;

use http::{HeaderMap, Request, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::process::{Gateway, home_of_x, open_to};
use crate::support::{Canned, Server, Upstream};
use crate::wire::{Wire, full, soon};

async fn get(gateway: &Gateway, path: &str) -> (u16, HeaderMap, String) {
    gateway.ask(Request::get(gateway.url(&format!("/x{path}"))).body(full("")).unwrap()).await
}

fn error_type(body: &str) -> String {
    let body: Value = serde_json::from_str(body).expect(body);
    assert_eq!(body["type"], "error");
    assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    body["error"]["type"].as_str().unwrap().to_owned()
}

/// An upstream that does this with each connection. Returns its origin.
async fn raw_upstream<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
        unreachable!() as Infallible
    });
    origin
}

async fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[tokio::test]
async fn an_upstream_that_refuses_connections_is_502_with_a_json_body() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (_home, gateway) = open_to(&origin, &[]).await;
    let (status, headers, body) = get(&gateway, "/v1/models?secret=of-the-client").await;
    assert_eq!((status, &*error_type(&body)), (502, "upstream_unreachable"));
    assert_eq!(headers["content-type"], "application/json");
    assert!(body.contains(&origin) && body.contains("refused"), "{body}");
    let run = gateway.stop().await.says("GET /x/v1/models: 502: ");
    assert!(!run.stderr.contains("of-the-client") && !run.stdout.contains("of-the-client"), "{run:?}");
}

#[tokio::test]
async fn an_upstream_that_closes_without_a_response_is_502() {
    let origin = raw_upstream(async |_| Ok(())).await;
    let (_home, gateway) = open_to(&origin, &[]).await;
    let (status, _, body) = get(&gateway, "/").await;
    assert_eq!((status, &*error_type(&body)), (502, "upstream_unreachable"));
}

#[tokio::test]
async fn a_head_of_a_megabyte_from_the_upstream_is_502_and_the_gateway_goes_on() {
    let origin = raw_upstream(async |mut stream| {
        let is_long = read_head(&mut stream).await?.starts_with("GET /long ");
        let long = if is_long { "a".repeat(1024 * 1024) } else { String::new() };
        let response = format!("HTTP/1.1 200 OK\r\nx-long: {long}\r\ncontent-length: 2\r\n\r\nhi");
        stream.write_all(response.as_bytes()).await
    })
    .await;
    let (_home, gateway) = open_to(&origin, &[]).await;
    for _ in 0..2 {
        let (status, _, body) = get(&gateway, "/long").await;
        assert_eq!((status, &*error_type(&body)), (502, "upstream_unreachable"));
        assert!(body.len() < 1000, "{body}");
        assert_eq!(get(&gateway, "/short").await.2, "hi");
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_in_time_is_504() {
    let wire = Wire::start(async |_| std::future::pending().await).await;
    let (_home, gateway) = open_to(&wire.origin(), &["--timeout", "1"]).await;
    let (status, _, body) = get(&gateway, "/").await;
    assert_eq!((status, &*error_type(&body)), (504, "upstream_timeout"));
    assert_eq!(wire.connections(), 1, "it was asked once");
}

#[tokio::test]
async fn the_upstream_is_asked_only_for_codings_in_which_an_error_can_be_read() {
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let (_home, gateway) = open_to(&server.origin(), &[]).await;
    for (asked, expected) in [
        ("gzip, deflate, br, zstd", "gzip, deflate, br, zstd"),
        ("gzip;q=0.5, snappy, BR;q=0,identity", "gzip;q=0.5, BR;q=0, identity"),
        ("compress, dcb", "identity"),
        ("*", "identity"),
    ] {
        let request = Request::get(gateway.url("/x/")).header("accept-encoding", asked);
        assert_eq!(gateway.ask(request.body(full("")).unwrap()).await.0, 200);
        let seen = upstream.seen.all().pop().unwrap();
        assert_eq!(seen.headers["accept-encoding"], expected);
    }
    get(&gateway, "/").await;
    assert!(!upstream.seen.all().pop().unwrap().headers.contains_key("accept-encoding"));
}

#[tokio::test]
async fn if_every_account_is_limited_the_response_is_429_with_the_soonest_time() {
    for (limits, seconds, should_retry) in [([300, 8], 8, None), ([4000, 61], 61, Some("false"))] {
        let upstream = Upstream::new()
            .answers("a-key", [Canned::limited(limits[0]).body("from a")])
            .answers("b-key", [Canned::limited(limits[1]).body("from b")]);
        let server = Server::start(&upstream).await;
        let home = home_of_x(&server.origin(), &["a", "b"]).await;
        let gateway = Gateway::open(&home, &[]).await;
        for (sent, says) in [(2, "from b"), (0, "every account is limited")] {
            let before = upstream.seen.all().len();
            let (status, headers, body) = get(&gateway, "/v1/messages").await;
            assert_eq!(status, 429);
            assert_eq!(upstream.seen.all().len() - before, sent, "upstream requests");
            assert!(body.contains(says), "{body}");
            let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            let after: u64 = text("retry-after").unwrap().parse().unwrap();
            let milliseconds: u64 = text("retry-after-ms").unwrap().parse().unwrap();
            // A stated wait of a minute or more is spread by up to a hundredth.
            let most = if seconds < 60 { seconds * 1000 } else { seconds * 1010 };
            assert!(milliseconds <= most, "{headers:?}");
            assert_eq!(after, milliseconds.div_ceil(1000));
            assert!(milliseconds + 60_000 > seconds * 1000, "{headers:?}");
            // By now less than the bound may be left.
            if milliseconds > 10_000 || should_retry.is_none() {
                assert_eq!(text("x-should-retry").as_deref(), should_retry);
            }
            if sent == 0 {
                assert_eq!(error_type(&body), "rate_limit_error");
            }
        }
    }
}

#[tokio::test]
async fn a_guessed_time_is_not_a_retry_after_and_a_flag_sets_the_bound_for_retries() {
    for (flags, should_retry) in [
        (&["--no-retry-beyond", "60"][..], None),
        (&["--no-retry-beyond", "20"], Some("false")),
        (&[], Some("false")),
    ] {
        let upstream = Upstream::new().answers("a-key", [Canned::status(429).body("slow down")]);
        let server = Server::start(&upstream).await;
        let (_home, gateway) = open_to(&server.origin(), flags).await;
        for says in ["slow down", "every account is limited"] {
            let (status, headers, body) = get(&gateway, "/v1").await;
            assert!(status == 429 && body.contains(says), "{body}");
            assert!(!headers.contains_key("retry-after") && !headers.contains_key("retry-after-ms"));
            let header = headers.get("x-should-retry").map(|value| value.to_str().unwrap());
            assert_eq!(header, should_retry, "{flags:?}");
        }
    }
}

#[tokio::test]
async fn another_protocol_than_websocket_is_refused_with_426_before_an_account_is_used() {
    let refused = || [Canned::status(401)];
    let upstream = Upstream::new().answers("a-key", refused()).answers("b-key", refused());
    let server = Server::start(&upstream).await;
    let home = home_of_x(&server.origin(), &["a", "b"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    for protocol in ["spdy/3.1", "h2c, spdy/3.1", "websocketx"] {
        let request = Request::get(gateway.url("/x/v1/responses")).header("connection", "Upgrade");
        let request = request.header("upgrade", protocol).header("sec-websocket-version", "13");
        let (status, headers, body) = gateway.ask(request.body(full("")).unwrap()).await;
        assert_eq!((status, &*error_type(&body)), (426, "upgrade_not_supported"), "{protocol}");
        assert_eq!(headers["upgrade"], "HTTP/1.1");
    }
    assert!(upstream.seen.all().is_empty());
    // An offer of another HTTP version is not a tunnel.
    let request = Request::get(gateway.url("/x/v1")).header("connection", "Upgrade, HTTP2-Settings");
    let request = request.header("upgrade", "h2c").header("http2-settings", "AAMAAABkAAQAAP__");
    assert_eq!(gateway.ask(request.body(full("")).unwrap()).await.0, 401);
}

#[tokio::test]
async fn connect_is_refused_and_opens_no_tunnel() {
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let (_home, gateway) = open_to(&server.origin(), &[]).await;
    for target in ["127.0.0.1:443", "api.openai.com:443", &*server.address.to_string()] {
        let request =
            format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nconnection: close\r\n\r\n");
        let response = gateway.raw(request).await;
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
        assert!(response.contains("base URL"), "{response}");
    }
    assert!(upstream.seen.all().is_empty());
}

#[tokio::test]
async fn a_client_that_breaks_off_its_upload_is_not_an_upstream_error() {
    for kind in ["text/plain", "application/json"] {
        let (begun, mut requests) = tokio::sync::mpsc::unbounded_channel();
        let wire = Wire::start(move |request| {
            begun.send(()).unwrap();
            async move {
                let _ = http_body_util::BodyExt::collect(request.into_body()).await;
                Response::new(full(""))
            }
        })
        .await;
        let (_home, gateway) = open_to(&wire.origin(), &[]).await;
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!(
            "POST /x/v1 HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\ncontent-length: 1000\r\n\r\nbegun"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        if kind == "text/plain" {
            soon("a request", requests.recv()).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        let mut response = String::new();
        soon("a response", stream.read_to_string(&mut response)).await.unwrap();
        assert!(response.is_empty() || response.contains("incomplete_request"), "{kind}: {response}");
        // A body that names a model is read before the upstream is asked.
        assert_eq!(wire.connections(), usize::from(kind == "text/plain"));
        gateway.stop_without_a_word().await;
    }
}

/// Answers with a 429 before it has read the body, and closes the connection, which is a reset. The account `b` takes all.
async fn refuses_early() -> String {
    raw_upstream(async |mut stream| {
        const REFUSED: &[u8] =
            b"HTTP/1.1 429 Busy\r\nretry-after: 3000\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbusy";
        if read_head(&mut stream).await?.contains("a-key") {
            return stream.write_all(REFUSED).await;
        }
        let read = tokio::io::copy(&mut (&mut stream).take(LENGTH as u64), &mut tokio::io::sink()).await?;
        assert_eq!(read, LENGTH as u64);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await
    })
    .await
}

const LENGTH: usize = 1_500_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_refused_early_goes_on_with_the_next_account() {
    for _ in 0..10 {
        let origin = refuses_early().await;
        let home = home_of_x(&origin, &["a", "b"]).await;
        let gateway = Gateway::open(&home, &[]).await;
        let request = Request::post(gateway.url("/x/v1")).body(full(vec![b'x'; LENGTH])).unwrap();
        let (status, _, body) = gateway.ask(request).await;
        assert_eq!((status, &*body), (200, "ok"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_cannot_be_sent_again_gets_its_early_response_and_is_read_no_further() {
    let origin = refuses_early().await;
    let (_home, gateway) = open_to(&origin, &[]).await;
    let (mut read, mut write) = TcpStream::connect(gateway.address).await.unwrap().into_split();
    let endless = tokio::spawn(async move {
        let head = "POST /x/v1 HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
        let mut sent = 0;
        let _ = async {
            write.write_all(head.as_bytes()).await?;
            loop {
                write.write_all(&chunk).await?;
                sent += chunk.len();
            }
            #[allow(unreachable_code)]
            Ok::<(), std::io::Error>(())
        }
        .await;
        sent
    });
    let mut said = Vec::new();
    let _ = soon("the response", read.read_to_end(&mut said)).await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.1 429 ") && said.ends_with("busy"), "{said}");
    // Only as much as the buffers on the way hold.
    let sent = soon("the end of the upload", endless).await.unwrap();
    assert!(sent < 64 * 1024 * 1024, "{sent}");
}
