//! What the gateway speaks to its upstreams over TLS: HTTP/2 if they offer it, and what a request and a response are then.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Frame;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::Layer;
use tower_credentials::connect::EarlyResponseLayer;

use super::process::{Gateway, add_settings};
use super::secure::{BOTH, HTTP1, Secure, asked, home_that_trusts, proxy, say};
use crate::wire::certified::Certified;
use crate::wire::{WireBody, frames, full, length, long, soon, whole, wire_client};

fn post(gateway: &Gateway, body: WireBody) -> Request<WireBody> {
    Request::post(gateway.url("/x/v1/messages")).body(body).unwrap()
}

/// Sends a request whose response may come before its end: the gateway reads no further then, and hyper's client alone would
/// tell of the broken connection in place of the response. Returns the status and the body.
async fn uploaded(request: Request<WireBody>) -> (u16, Bytes) {
    let client = Client::builder(TokioExecutor::new());
    let client = client.build(EarlyResponseLayer::new().layer(HttpConnector::new()));
    let response = soon("a response", client.request(request)).await.unwrap();
    (response.status().as_u16(), whole(response.into_body()).await.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_spoken_where_it_is_offered_on_one_connection() {
    let upstream = Secure::start(BOTH, 100, say).await;
    let home = upstream.home(&["a"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    for _ in 0..3 {
        let said = format!("HTTP/2.0 127.0.0.1:{} Bearer a-key", upstream.port);
        assert_eq!(asked(&gateway, "/x/v1/models").await, (200, said));
    }
    assert_eq!(upstream.connections(), 1);
    gateway.stop_without_a_word().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_without_http2_is_spoken_to_by_http1() {
    let upstream = Secure::start(HTTP1, 100, say).await;
    let home = upstream.home(&["a"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    let said = format!("HTTP/1.1 127.0.0.1:{} Bearer a-key", upstream.port);
    let asking = (0..20).map(|_| asked(&gateway, "/x/v1/models"));
    for answer in futures_util::future::join_all(asking).await {
        assert_eq!(answer, (200, said.clone()));
    }
    let before = upstream.connections();
    assert_eq!(asked(&gateway, "/x/v1/models").await, (200, said));
    assert_eq!(upstream.connections(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_and_a_flag_choose_http1() {
    let upstream = Secure::start(BOTH, 100, say).await;
    let home = upstream.home(&["a"]).await;
    let route = |path: &str, version: &str| {
        format!(
            "[[serve.route]]\npath = \"{path}\"\nprovider = \"x\"\nupstream_http_version = \"{version}\"\n"
        )
    };
    add_settings(&home, &route("/old", "1.1"));
    let version = async |gateway: &Gateway, path: &str| {
        let (status, said) = asked(gateway, path).await;
        assert_eq!(status, 200, "{said}");
        said.split(' ').next().unwrap().to_owned()
    };
    let gateway = Gateway::open(&home, &[]).await;
    assert_eq!(version(&gateway, "/x/v1").await, "HTTP/2.0");
    assert_eq!(version(&gateway, "/old/v1").await, "HTTP/1.1");
    let flagged = Gateway::open(&home, &["--upstream-http-version", "1.1"]).await;
    assert_eq!(version(&flagged, "/x/v1").await, "HTTP/1.1");

    let before = std::fs::read_to_string(home.settings_file()).unwrap();
    let table = "[serve]\nupstream_http_version = \"1.1\"\n";
    home.settings(&before.replace("[[serve.route]]", &format!("{table}[[serve.route]]")));
    add_settings(&home, &route("/new", "auto"));
    gateway.signal("HUP").await;
    let mut gateway = gateway;
    gateway.says("The settings were read again").await;
    assert_eq!(version(&gateway, "/x/v1").await, "HTTP/1.1");
    assert_eq!(version(&gateway, "/old/v1").await, "HTTP/1.1");
    assert_eq!(version(&gateway, "/new/v1").await, "HTTP/2.0");
    let flagged = Gateway::open(&home, &["--upstream-http-version", "auto"]).await;
    assert_eq!(version(&flagged, "/old/v1").await, "HTTP/2.0");
    // `exec` follows the table, too.
    let curl = "curl -sS -H \"authorization: Bearer $X_API_KEY\" $X_BASE_URL/v1";
    home.run_showing(["exec", "--", "sh", "-c", curl], "").ok().prints("HTTP/1.1 ");
    home.run_showing(["exec", "--upstream-http-version", "auto", "--", "sh", "-c", curl], "")
        .ok()
        .prints("HTTP/2.0 ");

    home.settings(&before.replace("\"1.1\"", "\"3\""));
    let run = home.run(["serve", "--open", "--listen", "127.0.0.1:0"]).code(2);
    assert!(run.stderr.contains("line 7") && run.stderr.contains("`auto` or `1.1`"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_goes_through_the_proxy_of_the_environment() {
    let upstream = Secure::start(BOTH, 100, say).await;
    let (port, mut told) = proxy().await;
    let mut home = upstream.home(&["a"]).await;
    home.set("HTTPS_PROXY", format!("http://127.0.0.1:{port}"));
    let gateway = Gateway::open(&home, &[]).await;
    let (status, said) = asked(&gateway, "/x/v1/models").await;
    assert!(status == 200 && said.starts_with("HTTP/2.0 "), "{status} {said}");
    let asked_for = format!("CONNECT 127.0.0.1:{} HTTP/1.1", upstream.port);
    assert_eq!(soon("a tunnel", told.recv()).await.unwrap(), asked_for);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_to_an_upload_is_read_and_acted_on() {
    const LENGTH: usize = 16 * 64 * 1024;
    let upstream = Secure::start(BOTH, 100, |request: Request<Incoming>| async move {
        let key = request.headers()["authorization"].to_str()?.to_owned();
        let early = Response::builder().status(if key.contains("limited") { 429 } else { 413 });
        if key.contains("limited") || request.uri().path() == "/v1/large" {
            return Ok(early.header("retry-after", "3600").body(full("early"))?);
        }
        assert_eq!(length(request.into_body()).await, LENGTH);
        Ok(Response::new(full(key)))
    })
    .await;
    let home = upstream.home(&["limited", "good"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    let (status, _, said) = gateway.ask(post(&gateway, long(LENGTH))).await;
    assert_eq!((status, &*said), (200, "Bearer good-key"));
    // Longer than what is kept of it.
    let request = Request::post(gateway.url("/x/v1/large")).body(long(64 * LENGTH)).unwrap();
    assert_eq!(uploaded(request).await, (413, "early".into()));
    // The connection goes on.
    assert_eq!(gateway.ask(post(&gateway, long(LENGTH))).await.0, 200);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_is_read_even_if_the_connection_breaks_after_it() {
    let certified = Certified::new();
    let acceptor = certified.acceptor(BOTH);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let home = home_that_trusts(&certified, listener.local_addr().unwrap().port(), &["a"]).await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection =
                h2::server::handshake(acceptor.accept(stream).await.unwrap()).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            let early = Response::builder().status(413).body(()).unwrap();
            respond.send_response(early, true).unwrap();
            drop((request, respond));
            connection.graceful_shutdown();
            // What is left of the upload is never read, so the system resets the connection.
            let _ = std::future::poll_fn(|cx| connection.poll_closed(cx)).await;
        }
    });
    let gateway = Gateway::open(&home, &[]).await;
    for _ in 0..20 {
        let (status, said) = uploaded(post(&gateway, long(64 * 64 * 1024))).await;
        assert_eq!(status, 413, "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_go_both_ways_and_what_is_for_one_connection_only_does_not() {
    let trailers = |value: &'static str| {
        HeaderMap::from_iter([(
            http::HeaderName::from_static("x-checksum"),
            HeaderValue::from_static(value),
        )])
    };
    let upstream = Secure::start(BOTH, 100, move |request: Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        assert_eq!(head.version, Version::HTTP_2);
        assert_eq!(head.headers["te"], "trailers");
        for name in ["connection", "keep-alive", "transfer-encoding", "upgrade", "x-hop", "host"] {
            assert!(!head.headers.contains_key(name), "{name}");
        }
        let (data, up) = whole(body).await;
        let seen = format!("{data:?} {:?}", up.get("x-checksum"));
        Ok(Response::new(frames([Frame::data(seen.into()), Frame::trailers(trailers("down"))])))
    })
    .await;
    let home = upstream.home(&["a"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    let mut request =
        post(&gateway, frames([Frame::data("up".into()), Frame::trailers(trailers("up"))]));
    for (name, value) in [
        ("te", "trailers"),
        ("trailer", "x-checksum"),
        ("connection", "keep-alive, te, x-hop"),
        ("keep-alive", "timeout=5"),
        ("x-hop", "1"),
    ] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let response = soon("a response", wire_client(false).request(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    let (seen, down) = whole(response.into_body()).await;
    assert_eq!(seen, r#"b"up" Some("up")"#);
    // A client of HTTP/1.1 gets only those that were announced.
    assert!(down.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_has_a_connection_of_its_own_by_http1() {
    let upstream = Secure::start(BOTH, 100, |mut request: Request<Incoming>| async move {
        if !request.headers().contains_key("upgrade") {
            return say(request).await;
        }
        assert_eq!(request.version(), Version::HTTP_11);
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
            tokio::io::copy(&mut read, &mut write).await
        });
        let switched = Response::builder().status(101).header("connection", "upgrade");
        Ok(switched.header("upgrade", "websocket").body(full(""))?)
    })
    .await;
    let home = upstream.home(&["a"]).await;
    let gateway = Gateway::open(&home, &[]).await;
    assert_eq!(asked(&gateway, "/x/v1/models").await.0, 200);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let handshake = "GET /x/v1/realtime HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the head", stream.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream.write_all(b"hello").await.unwrap();
    let mut said = [0; 5];
    soon("an echo", stream.read_exact(&mut said)).await.unwrap();
    assert_eq!(&said, b"hello");
    assert_eq!(upstream.connections(), 2);
}
