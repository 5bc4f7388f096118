//! The responses that the gateway makes itself.

use http::{HeaderMap, Request, Response};
use serde_json::Value;
use tower_credentials::Secret;

use super::process::{Gateway, Home};
use crate::support::{Canned, Server, Upstream};
use crate::wire::{Wire, full, soon, whole, wire_client};

async fn ask(request: Request<crate::wire::WireBody>) -> (u16, HeaderMap, String) {
    let response = soon("a response", wire_client(false).request(request)).await.unwrap();
    let (head, body) = response.into_parts();
    let text = String::from_utf8(whole(body).await.0.to_vec()).unwrap();
    (head.status.as_u16(), head.headers, text)
}

async fn get(gateway: &Gateway, path: &str) -> (u16, HeaderMap, String) {
    ask(Request::get(gateway.url(path)).body(full("")).unwrap()).await
}

fn error_type(body: &str) -> String {
    let body: Value = serde_json::from_str(body).expect(body);
    assert_eq!(body["type"], "error");
    assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    body["error"]["type"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_upstream_that_refuses_connections_is_502_with_a_json_body() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let home = Home::with_keys(&["a"]).await;
    let gateway = home.gateway(&origin, &[]).await;
    let (status, headers, body) = get(&gateway, "/v1/models?secret=of-the-client").await;
    assert_eq!((status, &*error_type(&body)), (502, "upstream_unreachable"));
    assert_eq!(headers["content-type"], "application/json");
    assert!(body.contains(&origin) && body.contains("refused"), "{body}");
    let said = gateway.stop().await;
    assert!(said.contains("GET /v1/models: 502: "), "{said}");
    assert!(!said.contains("of-the-client"), "{said}");
}

#[tokio::test]
async fn an_upstream_that_closes_without_a_response_is_502() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    let home = Home::with_keys(&["a"]).await;
    let gateway = home.gateway(&origin, &[]).await;
    let (status, _, body) = get(&gateway, "/").await;
    assert_eq!((status, &*error_type(&body)), (502, "upstream_unreachable"));
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_in_time_is_504() {
    let wire = Wire::start(async |_| std::future::pending().await).await;
    let home = Home::with_keys(&["a"]).await;
    let gateway = home.gateway(&wire.origin(), &["--timeout", "1"]).await;
    let (status, _, body) = get(&gateway, "/").await;
    assert_eq!((status, &*error_type(&body)), (504, "upstream_timeout"));
    assert_eq!(wire.connections(), 1, "it was asked once");
}

#[tokio::test]
async fn the_upstream_is_asked_only_for_codings_in_which_an_error_can_be_read() {
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&["a"]).await;
    let gateway = home.gateway(&server.origin(), &[]).await;
    for (asked, expected) in [
        ("gzip, deflate, br, zstd", "gzip, deflate, br, zstd"),
        ("gzip;q=0.5, snappy, BR;q=0,identity", "gzip;q=0.5, BR;q=0, identity"),
        ("compress, dcb", "identity"),
        ("*", "identity"),
    ] {
        let request = Request::get(gateway.url("/")).header("accept-encoding", asked);
        assert_eq!(ask(request.body(full("")).unwrap()).await.0, 200);
        let seen = upstream.seen.all().pop().unwrap();
        assert_eq!(seen.headers["accept-encoding"], expected);
    }
    get(&gateway, "/").await;
    assert!(!upstream.seen.all().pop().unwrap().headers.contains_key("accept-encoding"));
}

#[tokio::test]
async fn if_every_account_is_limited_the_response_is_429_with_the_soonest_time() {
    for (limits, seconds, should_retry) in [([300, 40], 40, None), ([4000, 61], 61, Some("false"))] {
        let upstream = Upstream::new()
            .answers("a", [Canned::limited(limits[0]).body("from a")])
            .answers("b", [Canned::limited(limits[1]).body("from b")]);
        let server = Server::start(&upstream).await;
        let home = Home::with_keys(&["a", "b"]).await;
        let gateway = home.gateway(&server.origin(), &[]).await;
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
            // By now less than a minute may be left.
            if milliseconds > 60_000 || should_retry.is_none() {
                assert_eq!(text("x-should-retry").as_deref(), should_retry);
            }
            if sent == 0 {
                assert_eq!(error_type(&body), "rate_limit_error");
            }
        }
    }
}

#[tokio::test]
async fn without_an_account_the_response_is_503_and_a_start_says_so() {
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&[]).await;
    let gateway = home.gateway(&server.origin(), &["--provider", "anthropi"]).await;
    let (status, headers, body) = get(&gateway, "/").await;
    assert_eq!((status, &*error_type(&body)), (503, "no_account"));
    assert_eq!(headers["x-should-retry"], "false");
    assert!(upstream.seen.all().is_empty());
    let said = gateway.stop().await;
    assert!(said.contains("pool anthropi/default has no account yet"), "{said}");
    assert!(said.contains("the nearest is anthropic"), "{said}");
}

#[tokio::test]
async fn web_pages_and_other_host_names_are_refused_unless_they_are_allowed() {
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&["a"]).await;
    let closed = home.gateway(&server.origin(), &["--admin"]).await;
    let open = home.gateway(&server.origin(), &["--allow-remote", "--admin"]).await;
    for (name, value, is_from_here) in [
        ("origin", "https://evil.test", false),
        ("origin", "null", false),
        ("origin", "http://localhost.evil.test", false),
        ("origin", "http://127.0.0.1:3000", true),
        ("origin", "http://localhost:3000", true),
        ("host", "evil.test", false),
        ("host", "evil.test:8080", false),
        ("host", "127.0.0.1.evil.test", false),
        ("host", "localhost", true),
        ("host", "[::1]:8080", true),
    ] {
        let request = |gateway: &Gateway, path: &str| {
            Request::post(gateway.url(path)).header(name, value).body(full("hi")).unwrap()
        };
        let expected = if is_from_here { 200 } else { 403 };
        assert_eq!(ask(request(&closed, "/v1")).await.0, expected, "{name}: {value}");
        assert_eq!(ask(request(&open, "/v1")).await.0, 200, "{name}: {value}");
        for gateway in [&closed, &open] {
            let (status, _, _) = ask(request(gateway, "/.gateway/reset/a")).await;
            assert_eq!(status, expected, "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn only_the_allowed_origins_may_use_the_gateway() {
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&["a"]).await;
    let allowed = "app://obsidian.md,vscode-webview://*,https://tools.example.com";
    let some = home.gateway(&server.origin(), &["--admin", "--allow-origin", allowed]).await;
    let null = home.gateway(&server.origin(), &["--allow-origin", "null"]).await;
    for (origin, is_allowed) in [
        ("app://obsidian.md", true),
        ("vscode-webview://0f3a9", true),
        ("https://tools.example.com", true),
        ("http://localhost:3000", true),
        ("null", false),
        ("app://obsidian.md.evil.test", false),
        ("http://tools.example.com", false),
        ("https://tools.example.com:8443", false),
        ("https://tools.example.com.evil.test", false),
        ("vscode-webviews://0f3a9", false),
        ("https://evil.test", false),
    ] {
        let request = |gateway: &Gateway, path: &str| {
            Request::post(gateway.url(path)).header("origin", origin).body(full("hi")).unwrap()
        };
        let expected = if is_allowed { 200 } else { 403 };
        assert_eq!(ask(request(&some, "/v1")).await.0, expected, "{origin}");
        let is_null = origin == "null" || origin.contains("localhost");
        assert_eq!(ask(request(&null, "/v1")).await.0, if is_null { 200 } else { 403 }, "{origin}");
        // That does not open the admin paths to them.
        let (status, _, _) = ask(request(&some, "/.gateway/reset/a")).await;
        assert_eq!(status, if origin.contains("localhost") { 200 } else { 403 }, "{origin}");
    }
    let rebound = Request::post(some.url("/v1")).header("origin", "app://obsidian.md");
    let rebound = rebound.header("host", "evil.test").body(full("hi")).unwrap();
    assert_eq!(ask(rebound).await.0, 403);
}

#[tokio::test]
async fn a_websocket_is_refused_with_426_before_an_account_is_used() {
    let upstream =
        Upstream::new().answers("a", [Canned::status(401)]).answers("b", [Canned::status(401)]);
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&["a", "b"]).await;
    let gateway = home.gateway(&server.origin(), &["--admin"]).await;
    for protocol in ["websocket", "WebSocket", "h2c, websocket", "spdy/3.1"] {
        let request = Request::get(gateway.url("/v1/responses")).header("connection", "Upgrade");
        let request = request.header("upgrade", protocol).header("sec-websocket-version", "13");
        let (status, headers, body) = ask(request.body(full("")).unwrap()).await;
        assert_eq!((status, &*error_type(&body)), (426, "upgrade_not_supported"), "{protocol}");
        assert_eq!(headers["upgrade"], "HTTP/1.1");
    }
    assert!(upstream.seen.all().is_empty());
    let counters: Value = serde_json::from_str(&get(&gateway, "/.gateway/counters").await.2).unwrap();
    assert_eq!(counters["requests"], 0);
    // An offer of another HTTP version is not a tunnel.
    let request = Request::get(gateway.url("/v1")).header("connection", "Upgrade, HTTP2-Settings");
    let request = request.header("upgrade", "h2c").header("http2-settings", "AAMAAABkAAQAAP__");
    assert_eq!(ask(request.body(full("")).unwrap()).await.0, 401);
}

#[tokio::test]
async fn a_guessed_time_is_not_a_retry_after_and_a_flag_sets_the_bound_for_retries() {
    for (flags, should_retry) in [(&["--no-retry-beyond", "20"][..], Some("false")), (&[][..], None)] {
        let upstream = Upstream::new().answers("a", [Canned::status(429).body("slow down")]);
        let server = Server::start(&upstream).await;
        let home = Home::with_keys(&["a"]).await;
        let gateway = home.gateway(&server.origin(), flags).await;
        for says in ["slow down", "every account is limited"] {
            let (status, headers, body) = get(&gateway, "/v1").await;
            assert!(status == 429 && body.contains(says), "{body}");
            assert!(!headers.contains_key("retry-after") && !headers.contains_key("retry-after-ms"));
            let header = headers.get("x-should-retry").map(|value| value.to_str().unwrap());
            assert_eq!(header, should_retry);
        }
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_its_upload_is_not_an_upstream_error() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (begun, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let wire = Wire::start(move |request| {
        begun.send(()).unwrap();
        async move {
            let _ = http_body_util::BodyExt::collect(request.into_body()).await;
            Response::new(full(""))
        }
    })
    .await;
    let home = Home::with_keys(&["a"]).await;
    let gateway = home.gateway(&wire.origin(), &[]).await;
    let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /v1 HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n\r\nbegun";
    stream.write_all(head.as_bytes()).await.unwrap();
    soon("a request", requests.recv()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut response = String::new();
    soon("a response", stream.read_to_string(&mut response)).await.unwrap();
    assert!(response.is_empty() || response.contains("incomplete_request"), "{response}");
    let said = gateway.stop().await;
    assert!(!said.contains("no response from"), "{said}");
}

#[tokio::test]
async fn connect_is_refused_and_opens_no_tunnel() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&["a"]).await;
    let gateway = home.gateway(&server.origin(), &[]).await;
    let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let request = "CONNECT 127.0.0.1:443 HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    soon("a response", stream.read_to_string(&mut response)).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert!(upstream.seen.all().is_empty());
}

#[tokio::test]
async fn the_admin_paths_show_the_accounts_and_reset_them() {
    let upstream = Upstream::new().answers("planted-a", [Canned::limited(3000), Canned::ok().body("a")]);
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&[]).await;
    let vault = home.open().await;
    for (label, key) in [("a", "planted-a"), ("b", "planted-b")] {
        home.put(&vault, label, Secret::api_key(key)).await;
    }
    let gateway = home.gateway(&server.origin(), &["--admin"]).await;
    assert_eq!(get(&gateway, "/v1").await.2, "planted-b");
    let read = async |path: &str| {
        let (status, headers, body) = get(&gateway, path).await;
        assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "application/json"));
        assert!(!body.contains("planted"), "{body}");
        serde_json::from_str::<Value>(&body).unwrap()
    };
    let pool = read("/.gateway/pool").await;
    assert_eq!(pool["pool"], "x/default");
    let labels: Vec<_> =
        pool["accounts"].as_array().unwrap().iter().map(|account| &account["label"]).collect();
    assert_eq!(labels, ["b", "a"], "in order");
    assert_eq!(pool["accounts"][0]["ready_in_ms"], 0);
    assert_eq!(pool["accounts"][1]["standing"]["cooldowns"][0]["reason"], "limited");
    assert!(pool["accounts"][1]["ready_in_ms"].as_u64().unwrap() > 2_000_000);
    let counters = read("/.gateway/counters").await;
    assert_eq!(counters["requests"], 1);
    assert_eq!((&counters["attempts"], &counters["rotations"]), (&2.into(), &1.into()));

    let reset = |name: &str| {
        ask(Request::post(gateway.url(&format!("/.gateway/reset/{name}"))).body(full("")).unwrap())
    };
    assert_eq!(reset("a").await.0, 200);
    assert_eq!(read("/.gateway/pool").await["accounts"][1]["ready_in_ms"], 0);
    let (status, _, body) = reset("nobody").await;
    assert_eq!((status, &*error_type(&body)), (404, "not_found"));
    assert_eq!(get(&gateway, "/.gateway/nothing").await.0, 404);
    assert_eq!(get(&gateway, "/.gateway/reset/a").await.0, 405);
    assert_eq!(upstream.seen.all().len(), 2, "none of these is the upstream's");
}

#[tokio::test]
async fn without_admin_its_paths_go_to_the_upstream() {
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let home = Home::with_keys(&["a"]).await;
    let gateway = home.gateway(&server.origin(), &[]).await;
    assert_eq!(get(&gateway, "/.gateway/pool").await.2, "a");
    assert_eq!(upstream.seen.all()[0].uri, "/.gateway/pool");
}
