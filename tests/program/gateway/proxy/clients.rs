//! A client's bounds hold in its tunnels.

use tokio::io::AsyncReadExt;

use super::{API, OTHER, Tunnels, World, get, listen, send};
use crate::gateway::process::{Gateway, client};
use crate::wire::{full, soon};

async fn tunnels(world: &World, bounds: &[&str]) -> Tunnels {
    let token = client(&world.home, &[&["bounded"], bounds].concat());
    let gateway = Gateway::start(&world.home, &["--proxy", "--proxy-others", "tunnel"]).await;
    Tunnels::of(gateway, token, &world.authority())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_counts_and_so_does_a_tunnel_to_another_host() {
    let world = World::new(&["good-1"]).await;
    let silent = listen(|mut stream| async move {
        let _ = stream.read(&mut [0; 8]).await;
    })
    .await;
    let bounded = tunnels(&world, &["--max-in-flight", "1"]).await;
    let mut sender = bounded.http1().await;
    let mut ask = async || {
        let request = get("/a").body(full("")).unwrap();
        send(&mut sender, request).await.0
    };
    // An open tunnel to the provider does not count as a request.
    let _other = bounded.tls("h2").await;
    assert_eq!(ask().await, 200);
    let stream = bounded.open(&silent.to_string()).await;
    assert_eq!(ask().await, 429);
    let (head, _) = bounded.connect(&silent.to_string()).await;
    assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("retry-after: 1\r\n"), "{head}");
    drop(stream);
    soon("a place", async { while ask().await == 429 {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_only_the_accounts_that_it_may_use() {
    let world = World::new(&["good-1"]).await;
    world.settings("[providers.y]\ntype = \"generic\"\norigins = [\"https://y.test\"]\n");
    world.home.add("y", "good-2", "good-2-key").await;
    let bounded = tunnels(&world, &["--provider", "y", "--per-minute", "2"]).await;
    let mut sender = bounded.http1().await;
    let request = get("/a").body(full("")).unwrap();
    let (status, said) = send(&mut sender, request).await;
    assert_eq!(status, 403, "{said}");
    assert!(said.contains("may not use the accounts of x"), "{said}");
    for expected in ["200", "200", "429"] {
        let (head, _) = bounded.connect(&format!("{OTHER}:443")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {expected} ")), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_removed_gets_nothing_more_in_the_tunnels_that_it_has() {
    let world = World::new(&["good-1"]).await;
    let bounded = tunnels(&world, &[]).await;
    let mut sender = bounded.http1().await;
    let mut ask = async || {
        let request = get("/a").body(full("")).unwrap();
        send(&mut sender, request).await
    };
    assert_eq!(ask().await.0, 200);
    world.home.run(["client", "remove", "bounded"]).ok();
    let (status, said) = soon("the change", async {
        loop {
            match ask().await {
                (200, _) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                other => return other,
            }
        }
    })
    .await;
    assert_eq!(status, 401, "{said}");
    assert!(said.contains("was removed"), "{said}");
    let (head, _) = bounded.connect(&format!("{API}:443")).await;
    assert!(head.starts_with("HTTP/1.1 407 "), "{head}");
}
