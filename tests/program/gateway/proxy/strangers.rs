//! Who gets a tunnel: a client with its token, and nobody else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{API, OTHER, World};
use crate::gateway::process::{Gateway, client};
use crate::wire::soon;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_clients_token_there_is_no_tunnel() {
    let world = World::new(&["good-1"]).await;
    let admin = client(&world.home, &["boss", "--admin"]);
    let tunnels = world.start(&[]).await;
    let token = tunnels.token.clone();
    let basic = |text: String| format!("proxy-authorization: Basic {}\r\n", STANDARD.encode(text));
    let right = basic(format!("credentials:{token}"));
    let wrong = [
        String::new(),
        basic("credentials:".to_owned()),
        basic("credentials:sk-credentials-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()),
        basic("credentials:sk-credentials-placeholder".to_owned()),
        basic("credentials:good-1-key".to_owned()),
        basic(format!("credentials:{token}x")),
        basic(format!("credentials:x{token}")),
        basic(token.clone()),
        "proxy-authorization: Basic !\r\n".to_owned(),
        "proxy-authorization: Basic\r\n".to_owned(),
        format!("proxy-authorization: Bearer {token}\r\n"),
        // A token for requests to the gateway itself.
        format!("authorization: Bearer {token}\r\n"),
        format!("{right}{}", basic("credentials:other".to_owned())),
    ];
    for target in [format!("{API}:443"), format!("{OTHER}:443")] {
        for headers in &wrong {
            let (head, _) = tunnels.ask(&target, headers).await;
            assert!(head.starts_with("HTTP/1.1 407 "), "{headers}: {head}");
            assert!(head.contains("proxy-authenticate: Basic realm=\"credentials\"\r\n"), "{head}");
            assert!(head.contains("connection: close\r\n"), "{head}");
        }
        let (head, _) = tunnels.ask(&target, &basic(format!("credentials:{admin}"))).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    }
    assert_eq!(world.net.asked(), [""; 0]);
    // The name of the user is of no interest, nor the case of the scheme.
    for right in
        [basic(format!(":{token}")), basic(format!("credentials:{token}")).replace("Basic", "bAsIc")]
    {
        let (head, _) = tunnels.ask(&format!("{API}:443"), &right).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_gets_no_tunnel() {
    let world = World::new(&["good-1"]).await;
    let tunnels = world.start(&[]).await;
    let token = tunnels.basic();
    for header in ["origin: https://evil.example", "origin: null", "sec-fetch-site: cross-site"] {
        let headers = format!("proxy-authorization: {token}\r\n{header}\r\n");
        let (head, _) = tunnels.ask(&format!("{API}:443"), &headers).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{header}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_that_can_be_read_in_two_ways_is_refused() {
    let world = World::new(&["good-1"]).await;
    let tunnels = world.start(&["--proxy-others", "tunnel"]).await;
    let token = tunnels.basic();
    let authorization = format!("proxy-authorization: {token}\r\n");
    let smuggled = format!("CONNECT {OTHER}:443 HTTP/1.1\r\nhost: {OTHER}\r\n{authorization}\r\n");
    for (target, headers) in [
        (format!("{API}:443"), format!("host: {OTHER}:443\r\n")),
        (format!("{API}:443"), format!("host: {API}:444\r\n")),
        (format!("{API}:443"), format!("host: {API}\r\nhost: {API}\r\n")),
        (format!("{API}:443"), format!("host: {API}\r\ncontent-length: 5\r\n")),
        (format!("{API}:443"), format!("host: {API}\r\ntransfer-encoding: chunked\r\n")),
        (API.to_owned(), format!("host: {API}\r\n")),
        (format!("{API}:0"), format!("host: {API}\r\n")),
        (format!("{API}:99999"), format!("host: {API}\r\n")),
        (format!("{API}:"), format!("host: {API}\r\n")),
        (format!("https://{API}:443"), format!("host: {API}\r\n")),
        (format!("me@{API}:443"), format!("host: {API}\r\n")),
        (format!("/{API}:443"), format!("host: {API}\r\n")),
        ("*".to_owned(), format!("host: {API}\r\n")),
    ] {
        let request = format!("CONNECT {target} HTTP/1.1\r\n{headers}{authorization}\r\n{smuggled}");
        let said = tunnels.gateway.raw(request).await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{target} {headers}: {said}");
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{target} {headers}: {said}");
    }
    assert_eq!(world.net.asked(), [""; 0]);
    // Old clients speak HTTP/1.0, without a host.
    let said = format!("CONNECT {OTHER}:443 HTTP/1.0\r\n{authorization}\r\nhello");
    let said = tunnels.gateway.raw(said).await;
    assert!(said.starts_with("HTTP/1.0 200 "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tunnels_are_taken_and_only_if_it_is_a_proxy() {
    let world = World::new(&["good-1"]).await;
    let tunnels = world.start(&[]).await;
    // What a tool sends that has the gateway as its HTTP_PROXY.
    let token = tunnels.basic();
    for host in [API, OTHER] {
        let said = tunnels
            .gateway
            .raw(format!(
                "GET http://{host}/a HTTP/1.1\r\nhost: {host}\r\nproxy-authorization: {token}\r\n\r\n"
            ))
            .await;
        assert!(said.starts_with("HTTP/1.1 403 ") && said.contains("CONNECT"), "{said}");
        assert!(said.contains("this gateway is not a proxy for plain HTTP"), "{said}");
    }
    let token = client(&world.home, &["other"]);
    let gateway = Gateway::start(&world.home, &[]).await;
    let token = STANDARD.encode(format!("credentials:{token}"));
    let target = format!("{API}:443");
    let said = format!(
        "CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nproxy-authorization: Basic {token}\r\n\r\n"
    );
    let said = gateway.raw(said).await;
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("--proxy"), "{said}");
    assert!(said.contains("this gateway is not a proxy:"), "{said}");
    assert_eq!(world.net.asked(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_without_tokens_is_refused() {
    let world = World::new(&["good-1"]).await;
    world.home.run(["serve", "--open", "--proxy"]).code(2).says("--open").says("--proxy");
    world.settings("[serve]\nproxy = true\n");
    world.home.run(["serve", "--open"]).code(2).says("proxy = true").says("client add");
    world.settings("proxy_others = \"all\"\n");
    world.home.run(["serve"]).code(2).says("line 6").says("`tunnel`, `public`, `refuse`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_go_on_ends_the_tunnel() {
    let world = World::new(&["good-1"]).await;
    let tunnels = world.start(&[]).await;
    for bytes in [&[22, 3, 1][..], b"GET / HTTP/1.1\r\n\r\n", b""] {
        let mut stream = tunnels.open(&format!("{API}:443")).await;
        stream.write_all(bytes).await.unwrap();
        if bytes.is_empty() {
            stream.shutdown().await.unwrap();
        }
        // At most an alert comes before it.
        soon("its end", stream.read_to_end(&mut Vec::new())).await.unwrap_or(0);
    }
    assert_eq!(world.net.asked(), [""; 0]);
}
