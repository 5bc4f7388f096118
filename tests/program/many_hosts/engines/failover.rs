//! Another node takes over between two commands.

use http::StatusCode;

use super::{Place, SENTINEL_PASSWORD, hosts, let_in, store};
use crate::cli::until;
use crate::gateway::process::{Gateway, upstream};
use crate::many_hosts::labels;
use crate::server::Server;
use crate::server::sentinel::Sentinel;

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_a_gateway_go_on_with_the_replica_that_a_sentinel_has_chosen() {
    let Some(primary) = Server::start(&["--repl-diskless-sync-delay", "0"]) else { return };
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]).unwrap();
    for server in [&primary, &replica] {
        let_in(server);
    }
    let is_synced = || replica.tell::<String>(&["INFO"]).contains("master_link_status:up").then_some(());
    until("the replica has all", is_synced);
    let sentinel = Sentinel::with_password(&primary, SENTINEL_PASSWORD);
    until("the Sentinel knows the replica", || {
        let replicas = sentinel.ask(Some(SENTINEL_PASSWORD), &["REPLICAS", "main"]);
        replicas.filter(|replicas| !replicas.is_empty())
    });
    let place = Place::new(sentinel.url("main"));
    let upstream = upstream().await;
    let [one, other] = hosts(&place, &upstream);
    store(&one, "a");
    let gateway = Gateway::open(&one, &[]).await;
    assert_eq!(gateway.send(gateway.get("/x/v1", "-")).await.0, StatusCode::OK);
    primary.kill();
    let listed = until("the replica has taken over", || {
        let run = other.run(["list", "--json"]);
        if run.code == Some(0) {
            return Some(run);
        }
        run.code(5).says("the vault can't be reached: 127.0.0.1:").says("try: ");
        None
    });
    assert_eq!(labels(&listed), ["a"]);
    let line = other.run(["status"]).ok();
    assert!(line.stdout.contains(&format!(", primary 127.0.0.1:{}, ", replica.port())), "{line:#?}");
    // What another host does on the new primary reaches the gateway.
    other.run(["pause", "a"]).ok();
    gateway.becomes("/x/v1", "-", StatusCode::SERVICE_UNAVAILABLE).await;
    other.run(["resume", "a"]).ok();
    gateway.becomes("/x/v1", "-", StatusCode::OK).await;
    let run = gateway.stop().await;
    let count = |text: &str| run.stderr.matches(text).count();
    assert_eq!((count("engine is away"), count("engine is back")), (1, 1), "{run:#?}");
}
