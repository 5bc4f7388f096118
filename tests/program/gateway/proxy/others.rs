//! Tunnels to hosts that are no provider's.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{API, OTHER, World, listen};
use crate::gateway::process::ENDING;
use crate::wire::soon;

/// A server that says back what it is told, in capitals, once it has been told all; then it ends.
async fn after_all() -> SocketAddr {
    listen(|mut stream| async move {
        let mut told = String::new();
        stream.read_to_string(&mut told).await.unwrap();
        stream.write_all(told.to_uppercase().as_bytes()).await.unwrap();
    })
    .await
}

/// A server that says each byte back, and ends when its client does.
async fn echo() -> SocketAddr {
    listen(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

async fn says(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut said = vec![0; text.len()];
    soon("an answer", stream.read_exact(&mut said)).await.unwrap();
    String::from_utf8(said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_side_sends_comes_as_it_is_and_so_does_its_end() {
    let server = after_all().await;
    let world = World::of(server, server, &["good-1"]).await;
    let mut tunnels = world.start(&["--proxy-others", "tunnel"]).await;
    let mut stream = tunnels.open(&server.to_string()).await;
    let text = "host: as it is, \r\n\r\n".repeat(50_000);
    stream.write_all(text.as_bytes()).await.unwrap();
    // The server speaks only after this end, and the client still hears it.
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    soon("the answer", stream.read_to_string(&mut said)).await.unwrap();
    assert!(said == text.to_uppercase());
    let line = tunnels.gateway.access().await;
    assert!(line.contains(&format!(" laptop CONNECT {server} 200 account=- ")), "{line}");
    assert!(line.ends_with(&format!(" bytes={} received={}", text.len(), text.len())), "{line}");
    // The first bytes may come with the request.
    let token = tunnels.basic();
    let mut stream = TcpStream::connect(tunnels.gateway.address).await.unwrap();
    let request = format!(
        "CONNECT {server} HTTP/1.1\r\nhost: {server}\r\nproxy-authorization: {token}\r\n\r\nearly"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    said.clear();
    soon("the answer", stream.read_to_string(&mut said)).await.unwrap();
    assert!(said.ends_with("\r\n\r\nEARLY"), "{said}");
    assert!(!said.contains("content-length") && !said.contains("transfer-encoding"), "{said}");
    tunnels.gateway.stop_without_a_word().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_leads_through_the_proxy_of_the_environment() {
    let server = echo().await;
    let world = World::of(server, server, &["good-1"]).await;
    let tunnels = world.start(&["--proxy-others", "tunnel"]).await;
    assert_eq!(says(&mut tunnels.open(&format!("{OTHER}:80")).await, "hello").await, "hello");
    assert_eq!(world.net.asked(), [format!("{OTHER}:80")]);
    let (head, _) = tunnels.connect("unknown.test:443").await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!(world.net.asked()[1..], ["unknown.test:443"]);
    // This machine's own addresses are not asked of it.
    assert_eq!(says(&mut tunnels.open(&server.to_string()).await, "hello").await, "hello");
    assert_eq!(world.net.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_leads_to_nothing_of_its_own_network() {
    let server = echo().await;
    let world = World::of(server, server, &["good-1"]).await;
    let tunnels = world.start(&[]).await;
    for target in [
        "127.0.0.1:443",
        "127.9.9.9:443",
        "localhost:443",
        "LOCALHOST.:443",
        "a.localhost:443",
        "[::1]:443",
        "[::ffff:127.0.0.1]:443",
        "0.0.0.0:443",
        "[::]:443",
        "169.254.169.254:443",
        "[fd00:ec2::254]:443",
        "10.0.0.1:443",
        "192.168.1.1:443",
        "[fe80::1]:443",
        &format!("{OTHER}:80"),
        &format!("{OTHER}:25"),
        &server.to_string(),
        &tunnels.gateway.address.to_string(),
    ] {
        let (head, _) = tunnels.connect(target).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{target}: {head}");
    }
    assert_eq!(world.net.asked(), [""; 0]);
    tunnels.open(&format!("{OTHER}:443")).await;
    assert_eq!(world.net.asked(), [format!("{OTHER}:443")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_to_this_machine_is_no_way_into_it() {
    let server = echo().await;
    let mut world = World::of(server, server, &["good-1"]).await;
    // Without a proxy of the environment it is looked up here. Numbers are read without a server of names.
    world.home.set("HTTPS_PROXY", "");
    let tunnels = world.start(&[]).await;
    for target in ["127.1:443", "2130706433:443", "0x7f000001:443", "017700000001:443"] {
        let (head, _) = tunnels.connect(target).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{target}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_hosts_are_refused_if_the_settings_say_so() {
    let server = echo().await;
    let world = World::of(server, server, &["good-1"]).await;
    world.settings("[serve]\nproxy = true\nproxy_others = \"refuse\"\n");
    let mut tunnels = world.start(&[]).await;
    for target in [&format!("{OTHER}:443"), &server.to_string()] {
        let (head, _) = tunnels.connect(target).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{target}: {head}");
        assert!(tunnels.gateway.access().await.contains(&format!(" CONNECT {target} 403 ")));
    }
    assert_eq!(world.net.asked(), [""; 0]);
    tunnels.open(&format!("{API}:443")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_in_which_nothing_passes_is_closed() {
    let server = echo().await;
    let world = World::of(server, server, &["good-1"]).await;
    let mut tunnels = world.start(&["--proxy-others", "tunnel", "--proxy-idle", "1"]).await;
    let mut stream = tunnels.open(&server.to_string()).await;
    // What passes keeps it open.
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(says(&mut stream, "hello").await, "hello");
    }
    assert_eq!(soon("the end", stream.read(&mut [0; 8])).await.unwrap_or(0), 0);
    let line = tunnels.gateway.access().await;
    assert!(line.ends_with(" bytes=30 received=30 broken off"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_in_which_nothing_passes_does_not_hold_up_the_end() {
    let server = echo().await;
    let world = World::of(server, server, &["good-1"]).await;
    let tunnels = world.start(&["--proxy-others", "tunnel"]).await;
    let mut stream = tunnels.open(&server.to_string()).await;
    assert_eq!(says(&mut stream, "hello").await, "hello");
    // It has neither TLS nor a request.
    let _inside = tunnels.tls("http/1.1").await;
    // What else comes in the first one is waited for, for a moment.
    assert_eq!(tunnels.gateway.stop().await.stderr, ENDING);
    assert_eq!(soon("the end", stream.read(&mut [0; 8])).await.unwrap_or(0), 0);
}
