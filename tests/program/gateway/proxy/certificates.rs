//! The authority of `credentials serve --proxy`.

use std::os::unix::fs::PermissionsExt;

use http::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{API, OTHER, Tunnels, World, get, send};
use crate::gateway::process::{Gateway, client};
use crate::gateway::tls::Files;
use crate::wire::certified::Certified;
use crate::wire::{full, soon};

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_stays_the_same_and_its_key_is_its_owners_alone() {
    let world = World::new(&["good-1"]).await;
    let kept = world.authority().with_file_name("vault.proxy.json");
    let token = client(&world.home, &["laptop"]);
    let mut gateway = Gateway::start(&world.home, &["--proxy"]).await;
    gateway.says(&format!("Proxy for {API}, with the authority ")).await;
    let address = gateway.address;
    gateway.says(&format!("  HTTPS_PROXY=http://credentials:TOKEN@{address}")).await;
    let first = std::fs::read_to_string(world.authority()).unwrap();
    assert!(first.starts_with("-----BEGIN CERTIFICATE-----") && !first.contains("PRIVATE"), "{first}");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    gateway.stop().await;

    let tunnels =
        Tunnels::of(Gateway::start(&world.home, &["--proxy"]).await, token, &world.authority());
    assert_eq!(std::fs::read_to_string(world.authority()).unwrap(), first);
    tunnels.tls("h2").await;
    tunnels.gateway.stop().await;

    // What is lost of it is written again, and another provider needs another one.
    std::fs::remove_file(world.authority()).unwrap();
    Gateway::start(&world.home, &["--proxy"]).await.stop().await;
    assert_eq!(std::fs::read_to_string(world.authority()).unwrap(), first);
    world.settings("[providers.y]\ntype = \"generic\"\norigins = [\"https://y.test\"]\n");
    world.home.add("y", "good-2", "good-2-key").await;
    let mut gateway = Gateway::start(&world.home, &["--proxy"]).await;
    gateway.says("has another authority").await;
    gateway.stop().await;
    let second = std::fs::read_to_string(world.authority()).unwrap();
    assert_ne!(second, first);
    // It can vouch for both, so a gateway of one of them keeps it.
    Gateway::start(&world.home, &["--proxy", "x"]).await.stop().await;
    assert_eq!(std::fs::read_to_string(world.authority()).unwrap(), second);

    std::fs::set_permissions(&kept, PermissionsExt::from_mode(0o644)).unwrap();
    let run = world.home.run(["serve", "--proxy", "--listen", "127.0.0.1:0"]).code(2);
    run.says("others than its owner may read").says("chmod 600");
    std::fs::set_permissions(&kept, PermissionsExt::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(&kept).unwrap();
    for (damaged, because) in [
        (String::new(), "its fields can't be read"),
        (text.replace("\"version\":1", "\"version\":2"), "another version of this program"),
        (text.replace("\"key\":\"", "\"key\":\"planted"), "a key in it can't be read"),
    ] {
        std::fs::write(&kept, damaged).unwrap();
        let run = world.home.run(["serve", "--proxy", "--listen", "127.0.0.1:0"]).code(5);
        assert!(!run.stderr.contains("planted"), "{run:?}");
        run.says("vault.proxy.json is damaged").says(because).says("move it away");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_becomes_a_providers_later_is_not_passed_by() {
    let world = World::new(&["good-1"]).await;
    let mut tunnels = world.start(&[]).await;
    let target = format!("{OTHER}:443");
    tunnels.open(&target).await;
    let vendors = std::fs::read_to_string(world.home.path().join("vendor.pem")).unwrap();
    let others = std::fs::read_to_string(world.home.path().join("other.pem")).unwrap();
    std::fs::write(world.home.path().join("vendor.pem"), vendors + &others).unwrap();
    let first = std::fs::read_to_string(world.authority()).unwrap();
    world.home.settings(&format!(
        "[providers.x]\ntype = \"generic\"\norigins = [\"https://{API}\", \"https://{OTHER}\"]\n"
    ));
    tunnels.gateway.signal("HUP").await;
    let said = tunnels.gateway.says("has another authority").await;
    assert!(said.contains(OTHER) && !said.contains(API), "{said}");
    assert!(said.ends_with("vault.proxy.pem again"), "{said}");
    tunnels.gateway.says("The settings were read again").await;
    // Those who trust the first authority go on, and untouched the client's token would go to the new host.
    tunnels.tls("h2").await;
    let connecting = async |tunnels: &Tunnels| {
        let stream = tunnels.open(&target).await;
        let name = ServerName::try_from(OTHER).unwrap();
        soon("the handshake", tunnels.connector("http/1.1").connect(name, stream)).await
    };
    connecting(&tunnels).await.unwrap_err();

    // Both are in the file, also for the next start.
    let second = std::fs::read_to_string(world.authority()).unwrap();
    assert!(second.starts_with(&first) && second.len() > first.len());
    let Tunnels { gateway, token, .. } = tunnels;
    gateway.stop().await;
    let tunnels =
        Tunnels::of(Gateway::start(&world.home, &["--proxy"]).await, token, &world.authority());
    tunnels.tls("h2").await;
    let stream = TokioIo::new(connecting(&tunnels).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/a").header("host", OTHER).body(full("")).unwrap();
    assert_eq!(send(&mut sender, request).await, (200, "GET /a Bearer good-1-key\n".to_owned()));
    assert_eq!(std::fs::read_to_string(world.authority()).unwrap(), second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_shows_the_certificate_of_its_host_and_no_other() {
    let world = World::new(&["good-1"]).await;
    let tunnels = world.start(&[]).await;
    let stream = tunnels.open(&format!("{API}:443")).await;
    let name = ServerName::try_from(OTHER).unwrap();
    let connecting = tunnels.connector("h2").connect(name, stream);
    soon("the handshake", connecting).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_with_a_certificate_of_its_own_is_asked_by_tls() {
    let world = World::new(&["good-1"]).await;
    let (certified, files) = (Certified::new(), Files::of(world.home.path()));
    certified.write(&files);
    let mut tunnels = world.start(&files.arguments()).await;
    let address = tunnels.gateway.address;
    tunnels.gateway.says(&format!("  HTTPS_PROXY=https://credentials:TOKEN@{address}")).await;
    let mut stream = certified.connect(address).await.unwrap();
    let token = tunnels.basic();
    let request =
        format!("CONNECT {API}:443 HTTP/1.1\r\nhost: {API}\r\nproxy-authorization: {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the head", stream.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "));
    let name = ServerName::try_from(API).unwrap();
    let stream = tunnels.connector("http/1.1").connect(name, stream).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = get("/a").body(full("")).unwrap();
    assert_eq!(send(&mut sender, request).await, (200, "GET /a Bearer good-1-key\n".to_owned()));

    // By HTTP/2 there would be another kind of tunnel.
    let request = Request::builder().method(Method::CONNECT).uri(format!("https://{address}"));
    let request = request.header("proxy-authorization", token).body(full("")).unwrap();
    let response = soon("a response", certified.client().request(request)).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
}
