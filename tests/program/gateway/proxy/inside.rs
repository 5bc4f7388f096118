//! Requests within a tunnel to the provider's host.

use http::{Request, StatusCode};

use super::{API, OTHER, World, get, read, send};
use crate::gateway::process::add_settings;
use crate::wire::{full, soon};

#[tokio::test(flavor = "multi_thread")]
async fn requests_get_an_account_and_the_next_one_if_that_is_limited() {
    let world = World::new(&["limited-1", "good-2"]).await;
    let mut tunnels = world.start(&[]).await;
    let mut sender = tunnels.http1().await;
    // What the tool has as its key is dropped, wherever it sends it.
    for (path, name, value) in [
        ("/v1/models?limit=2", "authorization", "Bearer sk-credentials-placeholder"),
        ("/v1/models?limit=2&api_key=sk-own", "x-api-key", "sk-own"),
        ("/v1/models?key=sk-own&limit=2", "x-goog-api-key", "sk-own"),
    ] {
        let request = get(path).header(name, value).body(full("")).unwrap();
        assert_eq!(
            send(&mut sender, request).await,
            (200, "GET /v1/models?limit=2 Bearer good-2-key\n".to_owned())
        );
    }
    let line = tunnels.gateway.access().await;
    assert!(line.contains(&format!(" laptop GET https://{API}/v1/models 200 account=")), "{line}");
    assert!(line.contains(" attempts=2 "), "{line}");
    // Nothing is the gateway's own there.
    for path in ["/healthz", "/readyz", "/metrics", "/.gateway/accounts", "/x/v1"] {
        let request = get(path).body(full("")).unwrap();
        assert_eq!(send(&mut sender, request).await.1, format!("GET {path} Bearer good-2-key\n"));
    }
    // Many at once by HTTP/2.
    let sender = tunnels.http2().await;
    let sending = (0..50).map(|at| {
        let mut sender = sender.clone();
        tokio::spawn(async move {
            let request = Request::put(format!("https://{API}/v1/{at}")).body(full("hello")).unwrap();
            let response = soon("a response", sender.send_request(request)).await.unwrap();
            assert_eq!(read(response).await, (200, format!("PUT /v1/{at} Bearer good-2-key\n")));
        })
    });
    for sent in sending.collect::<Vec<_>>() {
        sent.await.unwrap();
    }
    tunnels.gateway.stop_without_a_word().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_another_host_than_the_tunnels_is_misdirected() {
    let world = World::new(&["good-1"]).await;
    let tunnels = world.start(&[]).await;
    let cases = [
        (format!("GET /a HTTP/1.1\r\nhost: {OTHER}\r\n\r\n"), "421"),
        (format!("GET /a HTTP/1.1\r\nhost: {API}:444\r\n\r\n"), "421"),
        (format!("GET /a HTTP/1.1\r\nhost: {API}.evil.test\r\n\r\n"), "421"),
        (format!("GET /a HTTP/1.1\r\nhost: me@{API}\r\n\r\n"), "421"),
        (format!("GET /a HTTP/1.1\r\nhost: {}\r\n\r\n", tunnels.gateway.address), "421"),
        (format!("GET https://{OTHER}/a HTTP/1.1\r\nhost: {API}\r\n\r\n"), "421"),
        (format!("GET http://{API}/a HTTP/1.1\r\nhost: {API}\r\n\r\n"), "421"),
        ("GET /a HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (format!("GET /a HTTP/1.1\r\nhost: {API}\r\nhost: {API}\r\n\r\n"), "400"),
        (format!("CONNECT {API}:443 HTTP/1.1\r\nhost: {API}:443\r\n\r\n"), "400"),
        (format!("TRACE /a HTTP/1.1\r\nhost: {API}\r\n\r\n"), "405"),
        (format!("GET /a/../b HTTP/1.1\r\nhost: {API}\r\n\r\n"), "400"),
        (format!("GET /a HTTP/1.1\r\nhost: {API}\r\norigin: https://evil.test\r\n\r\n"), "403"),
        (format!("GET /a HTTP/1.1\r\nhost: {API}\r\norigin: http://{API}\r\n\r\n"), "403"),
        (format!("GET /a HTTP/1.1\r\nhost: {API}\r\nsec-fetch-site: cross-site\r\n\r\n"), "403"),
        (format!("POST /a HTTP/1.1\r\nhost: {API}\r\ncontent-length: 5, 6\r\n\r\nhello!"), "400"),
        (
            format!("POST /a HTTP/1.1\r\nhost: {API}\r\ntransfer-encoding: x, chunked\r\n\r\n0\r\n\r\n"),
            "501",
        ),
    ];
    for (request, status) in cases {
        let smuggled = format!("GET /smuggled HTTP/1.1\r\nhost: {API}\r\n\r\n");
        let said = tunnels.raw(&format!("{request}{smuggled}")).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {said}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{request}: {said}");
    }
    assert_eq!(world.net.asked(), [""; 0]);
    for host in [format!("{API}:443"), API.to_uppercase(), format!("{API}.")] {
        let close = "connection: close\r\n";
        let said = tunnels.raw(&format!("GET /a HTTP/1.1\r\nhost: {host}\r\n{close}\r\n")).await;
        assert!(said.contains("GET /a Bearer good-1-key"), "{host}: {said}");
    }
    let own = format!("origin: https://{API}\r\nsec-fetch-site: same-origin\r\nconnection: close\r\n");
    let said = tunnels.raw(&format!("GET /a HTTP/1.1\r\nhost: {API}\r\n{own}\r\n")).await;
    assert!(said.contains("GET /a Bearer good-1-key"), "{said}");

    let mut sender = tunnels.http2().await;
    for (uri, host, status) in [
        (format!("https://{OTHER}/a"), None, 421),
        (format!("https://{API}/a"), Some(OTHER), 421),
        (format!("https://{API}/a"), Some(API), 200),
        (format!("https://{API}:443/a"), None, 200),
    ] {
        let mut request = Request::get(&uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let request = request.body(full("")).unwrap();
        let response = soon("a response", sender.send_request(request)).await.unwrap();
        assert_eq!(read(response).await.0, status, "{uri} {host:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_a_route_hold_for_the_paths_of_its_upstream() {
    let world = World::new(&["good-1"]).await;
    world.home.add("y", "good-2", "good-2-key").await;
    let table = format!(
        "[[serve.route]]\npath = \"/team\"\nprovider = \"x\"\nupstream = \"https://{API}/v1\"\nmethods = [\"GET\"]\n\
         paths = [\"/models*\"]\n[[serve.route]]\npath = \"/mini\"\nprovider = \"x\"\nnamespace = \"mini\"\n\
         model = \"*-mini\"\n[[serve.route]]\npath = \"/elsewhere\"\nprovider = \"x\"\nhost = \"elsewhere.test\"\n\
         methods = [\"GET\"]\n"
    );
    add_settings(&world.home, &table);
    world
        .home
        .add_to(
            tower_credentials::PoolKey::with_namespace("x", "mini"),
            "mini",
            tower_credentials::Secret::api_key("mini-key"),
        )
        .await;
    let tunnels = world.start(&["x"]).await;
    let mut sender = tunnels.http1().await;
    let mut ask = async |method: &str, path: &str, body: &'static str| {
        let request = Request::builder().method(method).uri(path).header("host", API);
        let request = request.header("content-type", "application/json").body(full(body)).unwrap();
        send(&mut sender, request).await
    };
    assert_eq!(ask("GET", "/v1/models/a", "").await.1, "GET /v1/models/a Bearer good-1-key\n");
    for (method, path) in [("POST", "/v1/models"), ("GET", "/v1/files")] {
        let (status, said) = ask(method, path, "").await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{said}");
        assert!(said.contains("the route /team does not allow"), "{said}");
    }
    // Other paths are the provider's own route's.
    assert_eq!(ask("POST", "/v2/files", "").await.1, "POST /v2/files Bearer good-1-key\n");
    let mini = "{\"model\": \"gpt-mini\"}";
    assert_eq!(ask("POST", "/v2/chat", mini).await.1, "POST /v2/chat Bearer mini-key\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_for_the_tunnels_host_is_for_all_of_its_paths() {
    let world = World::new(&["good-1"]).await;
    add_settings(
        &world.home,
        &format!(
            "[[serve.route]]\npath = \"/only\"\nprovider = \"x\"\nhost = \"{API}\"\npaths = [\"/v1/chat\"]\n"
        ),
    );
    let tunnels = world.start(&[]).await;
    let mut sender = tunnels.http1().await;
    for (path, status) in [
        ("/v1/chat", 200),
        ("/v1/chat?a=b", 200),
        ("/v1/files", 403),
        ("/v1/ch%61t", 403),
        ("//v1/chat", 403),
        ("/only/v1/chat", 403),
        ("/x/v1/files", 403),
    ] {
        let request = get(path).body(full("")).unwrap();
        assert_eq!(send(&mut sender, request).await.0, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_origins_of_the_provider_are_served_each_as_itself() {
    let world = World::new(&["good-1"]).await;
    // The second one is on loopback, and nothing listens there.
    world.home.settings(&format!(
        "[providers.x]\ntype = \"generic\"\norigins = [\"https://{API}\", \"https://localhost:1\", \"https://[::1]:1\"]\n"
    ));
    let tunnels = world.start(&[]).await;
    for (target, name) in [("localhost:1", "localhost"), ("[::1]:1", "::1")] {
        let stream = tunnels.open(target).await;
        let name = rustls::pki_types::ServerName::try_from(name).unwrap();
        let stream = tunnels.connector("http/1.1").connect(name, stream).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/a").header("host", target).body(full("")).unwrap();
        let (status, said) = send(&mut sender, request).await;
        assert_eq!(status, 502, "{said}");
        assert!(said.contains(&format!("no response from https://{target}")), "{said}");
    }
}
