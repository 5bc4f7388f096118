//! What one host changes, the others see at once, and nothing is lost if the engine is started again.

use std::time::Duration;

use tokio::time::timeout;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;
use tower_credentials::vault::{Revision, Vault, VaultError, VaultExt, Watch};
use tower_credentials::{CredentialId, Generation, Secret};

use crate::children::eventually;
use crate::server::{Server, sealed};
use crate::vault_contract::{cooled, order, pool, put_all, token, until};

/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(20);

/// Hosts with the same key.
pub(crate) async fn hosts<const N: usize>(server: &Server) -> [Seal<RedisBackend>; N] {
    let key = VaultKey::generate();
    let mut hosts = Vec::new();
    for _ in 0..N {
        hosts.push(sealed(server.builder().open().await.unwrap(), &key));
    }
    hosts.try_into().unwrap()
}

/// Waits for notices until this is so.
pub(crate) async fn notices_until(watch: &mut Watch, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            assert!(watch.changed().await, "the watch has ended");
        }
    };
    timeout(SOON, waiting).await.expect("no notice came");
}

/// Tries again while the engine is away.
pub(crate) async fn once_it_is_back<T>(
    request: impl AsyncFn() -> Result<T, VaultError>,
) -> Result<T, VaultError> {
    let trying = async || match request().await {
        Err(VaultError::Unreachable(_)) => None,
        result => Some(result),
    };
    timeout(SOON, eventually("the engine is back", trying)).await.expect("the engine does not come back")
}

async fn is_cooled(vault: &impl Vault, since: Revision, id: CredentialId) -> bool {
    let changes = vault.changes(pool(), since).await.unwrap();
    let changes = changes.expect("they are known");
    changes.standings.iter().any(|(of, standing)| *of == id && !standing.cooldowns.is_empty())
}

#[tokio::test]
async fn a_cooldown_of_one_host_is_told_to_another_that_watches() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [a, _] = put_all(&one, ["a", "b"]).await;
    let loaded = other.load_pool(pool()).await.unwrap();
    let mut watch = other.watch(pool()).await.unwrap().unwrap();
    one.record(pool(), vec![cooled(a, 5_000, 1, true)]).await.unwrap();
    notices_until(&mut watch, async || is_cooled(&other, loaded.revision, a).await).await;
}

#[tokio::test]
async fn a_watch_that_begins_before_the_pool_is_loaded_tells_of_changes_too() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let mut watch = other.watch(pool()).await.unwrap().unwrap();
    let [a] = put_all(&one, ["a"]).await;
    notices_until(&mut watch, async || order(&other).await == ["a"]).await;
    one.record(pool(), vec![cooled(a, 5_000, 1, true)]).await.unwrap();
    notices_until(&mut watch, async || until(&other, a).await == Some(5_000)).await;
}

#[tokio::test]
async fn an_engine_that_is_killed_and_started_again_has_lost_nothing_and_watches_go_on() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other] = hosts(&server).await;
    let [a, b] = put_all(&one, ["a", "b"]).await;
    one.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    one.record(pool(), vec![cooled(b, 5_000, 1, false)]).await.unwrap();
    let loaded = other.load_pool(pool()).await.unwrap();
    let mut watch = other.watch(pool()).await.unwrap().unwrap();

    server.kill();
    server.start_again();
    let again = once_it_is_back(async || other.load_pool(pool()).await).await.unwrap();
    assert_eq!(again.revision, loaded.revision);
    assert_eq!(again.standings, loaded.standings);
    assert_eq!(token(&other, a).await, "new");
    let record = async || one.record(pool(), vec![cooled(a, 6_000, 1, false)]).await;
    once_it_is_back(record).await.unwrap();
    notices_until(&mut watch, async || is_cooled(&other, loaded.revision, a).await).await;
}

#[tokio::test]
async fn a_long_log_is_trimmed_and_every_host_still_sees_the_same() {
    let Some(server) = Server::start(&[]) else { return };
    let [one, other, third] = hosts(&server).await;
    let [a, b] = put_all(&one, ["a", "b"]).await;
    let known = third.load_pool(pool()).await.unwrap().revision;
    other.load_pool(pool()).await.unwrap();
    let log = "tower-credentials:{example/default}:log";
    let length = || server.tell::<u64>(&["XLEN", log]);
    let mut number = 0;
    // Whoever reads on stores the snapshot, in a task of its own.
    let trimmed = async {
        loop {
            number += 1;
            one.record(pool(), vec![cooled(a, number, number, number % 2 == 0)]).await.unwrap();
            other.changes(pool(), known).await.unwrap();
            if length() < number {
                break;
            }
        }
    };
    timeout(SOON * 3, trimmed).await.expect("the log is never trimmed");
    // It has missed what was trimmed, and loads.
    assert!(third.changes(pool(), known).await.unwrap().is_none());
    let [loaded, same] = [third.load_pool(pool()).await.unwrap(), one.load_pool(pool()).await.unwrap()];
    assert_eq!(loaded.standings, same.standings);
    assert_eq!(loaded.standings.credentials[&a].failures, u32::try_from(number).unwrap());
    one.record(pool(), vec![cooled(b, 7_000, 1, false)]).await.unwrap();
    assert!(is_cooled(&third, loaded.revision, b).await);
}

#[tokio::test]
async fn a_secret_that_was_replaced_leaves_the_log_when_it_is_quiet() {
    let Some(server) = Server::start(&[]) else { return };
    let [vault] = hosts(&server).await;
    let [a] = put_all(&vault, ["a"]).await;
    vault.replace_secret(&pool(), a, Generation::FIRST, Secret::api_key("new")).await.unwrap();
    vault.load_pool(pool()).await.unwrap();
    let _watch = vault.watch(pool()).await.unwrap().unwrap();
    let log = "tower-credentials:{example/default}:log";
    let is_trimmed = async || (server.tell::<u64>(&["XLEN", log]) <= 1).then_some(());
    let trimmed = eventually("the first secret has left the log", is_trimmed);
    timeout(SOON, trimmed).await.expect("the first secret stays in the log");
    assert_eq!(token(&vault, a).await, "new");
}
