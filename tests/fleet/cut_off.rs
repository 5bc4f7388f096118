//! A host whose line to the engine is bad, while others' is good: it goes on from memory, presents no token that works once,
//! and stores once what it has learned.

use std::time::Duration;

use tower_credentials::standing::{Health, Reason, Standing};
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::{RedisBackend, RedisBackendBuilder};
use tower_credentials::vault::{Vault, VaultExt};

use crate::authorization_server::{AuthorizationServer, Kind, Rules, Vendor};
use crate::children::eventually;
use crate::host::{Bounds, Host, key, sign_in};
use crate::hosts::once_it_is_back;
use crate::proxy::{Line, Proxy};
use crate::server::{Server, sealed};

const REQUESTS: usize = 20;
/// Longer than a command may take, and short enough for the response to come while the host is cut off.
const LATE: Duration = Duration::from_millis(400);

/// Returns the standing of alice's account, as the engine has it.
async fn alice(vault: &impl Vault) -> Standing {
    let pool = vault.load_pool(key()).await.unwrap();
    let alice = pool.credentials.iter().find(|record| &*record.metadata.label == "alice").unwrap();
    pool.standings.credentials.get(&alice.metadata.id).cloned().unwrap_or_default()
}

/// Cuts a host off, lets it meet a limit and an expired token, and mends its line.
async fn cut_off(line: Line) {
    let Some(engine) = Server::start(&[]) else { return };
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let (proxy, vault_key) = (Proxy::start(engine.port()).await, VaultKey::generate());
    let open = |builder: RedisBackendBuilder| {
        sealed(builder.lease_lifetime(Bounds::SHORT.lease).build().unwrap(), &vault_key)
    };
    let vault = || open(engine.builder());
    for person in ["alice", "bob"] {
        sign_in(&server, &vault(), person).await;
    }
    let host = Host::open(open(RedisBackend::builder(proxy.url())), server.url()).await;
    let other = Host::open(vault(), server.url()).await;
    assert_eq!([host.ask(1).await, other.ask(1).await], ["200", "200"]);

    // So the engine knows the script, and one command is enough to store an outcome.
    host.pool.save().await.unwrap();

    proxy.set(line);
    assert_eq!(host.ask(REQUESTS).await, "200", "{line:?}: from memory");
    host.meet_limit();
    assert_eq!(host.ask(1).await, "200", "{line:?}: with the second account");
    assert_eq!(host.ask(REQUESTS).await, "200", "{line:?}: from memory");
    if line == Line::LosesResponses {
        // The engine has the limit, and the host does not know.
        let has_it = async || (alice(&vault()).await.failures == 1).then_some(());
        eventually("the engine gets the limit", has_it).await;
    }
    server.advance(server.rules().access_lifetime + Duration::from_secs(1));
    assert_eq!(host.ask(REQUESTS).await, "401", "{line:?}: the vendor's own word");
    assert_eq!(server.asked(Kind::Refresh), 0, "{line:?}: a host that is cut off presents nothing");

    proxy.set(Line::Works);
    once_it_is_back(async || host.pool.save().await).await.unwrap();
    other.pool.sync().await.unwrap();
    let standing = alice(&vault()).await;
    assert_eq!(standing.failures, 1, "{line:?}: {standing:?}");
    assert_eq!(standing.cooldowns.len(), 1);
    assert_eq!(standing.cooldown(None).unwrap().reason, Reason::Limited);
    assert_eq!(other.pool.status().iter().filter(|one| one.standing.failures == 1).count(), 1);

    // Both go on with bob: one renews his token.
    assert_eq!(other.ask(REQUESTS).await, "200");
    let goes_on = async || (host.ask(REQUESTS).await == "200").then_some(());
    eventually("the host goes on", goes_on).await;
    assert_eq!((server.asked(Kind::Refresh), server.reuses()), (1, 0), "{line:?}");
    let health = other.pool.status().into_iter().map(|one| one.standing.health);
    assert!(health.into_iter().all(|health| health == Health::Good));
}

#[tokio::test]
async fn a_host_whose_connections_break_goes_on_from_memory_and_stores_once_what_it_has_learned() {
    cut_off(Line::Breaks).await;
}

#[tokio::test]
async fn a_host_whose_engine_does_not_answer_goes_on_from_memory_and_stores_once_what_it_has_learned() {
    cut_off(Line::HoldsBack).await;
}

#[tokio::test]
async fn a_host_that_gets_no_response_goes_on_from_memory_and_stores_once_what_it_has_learned() {
    cut_off(Line::LosesResponses).await;
}

#[tokio::test]
async fn a_host_whose_connections_are_half_closed_goes_on_from_memory_and_stores_once_what_it_has_learned()
 {
    cut_off(Line::HalfCloses).await;
}

#[tokio::test]
async fn a_host_whose_responses_are_late_goes_on_from_memory_and_stores_once_what_it_has_learned() {
    cut_off(Line::Delays(LATE)).await;
}
