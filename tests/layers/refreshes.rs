//! A refused token is renewed once, and the request sent again.

use tower_credentials::standing::Reason;
use tower_credentials::vault::VaultExt;
use tower_credentials::*;

use super::rig::rig;
use crate::support::*;

#[tokio::test]
async fn a_refresh_updates_the_secret_of_its_own_account_only() {
    let vault = accounts(["a", "b", "c"]).await;
    let upstream = Upstream::new()
        .answers("a-1", [Canned::limited(30)])
        .answers("b-1", [Canned::status(401)])
        .answers("b-2", [Canned::ok()]);
    let rig = rig(vault.clone(), upstream).await;
    assert_eq!(rig.ask().await.0, 200);
    let stored = vault.load_pool(key()).await.unwrap().credentials;
    let token = |label: &str| {
        let record = stored.iter().find(|record| &*record.metadata.label == label).unwrap();
        (record.secret.token().expose().to_owned(), record.metadata.generation.get())
    };
    assert_eq!(token("a"), ("a-1".into(), 1));
    assert_eq!(token("b"), ("b-2".into(), 2));
    assert_eq!(token("c"), ("c-1".into(), 1));
}

async fn is_refreshed_once_and_answers(status: u16) {
    let vault = accounts(["a", "b"]).await;
    let upstream = Upstream::new().answers("a-1", [Canned::status(status)]);
    let rig = rig(vault.clone(), upstream).await;
    assert_eq!(rig.ask().await, (200, "a-2".into()));
    assert_eq!(rig.upstream.tokens(), ["a-1", "a-2"]);
    assert_eq!(rig.upstream.seen.all()[1].body, "a question");
    assert_eq!(rig.refreshes.all(), ["a"]);
    let id = id_of(&rig.pool, "a");
    assert_eq!(vault.get(&key(), id).await.unwrap().secret.token().expose(), "a-2", "it is saved");
    assert_eq!(rig.pool.counters().refreshes, 1);
    assert_eq!(order(&rig.pool), ["a", "b"]);
}

#[tokio::test]
async fn a_401_forces_one_refresh_and_the_same_credential_answers() {
    is_refreshed_once_and_answers(401).await;
}

#[tokio::test]
async fn a_403_forces_one_refresh_and_the_same_credential_answers() {
    is_refreshed_once_and_answers(403).await;
}

#[tokio::test]
async fn after_a_refresh_that_does_not_help_the_next_answers_and_the_failed_one_cools_for_5_minutes() {
    let upstream =
        Upstream::new().answers("a-1", [Canned::status(401)]).answers("a-2", [Canned::status(401)]);
    let rig = rig(accounts(["a", "b"]).await, upstream).await;
    assert_eq!(rig.ask().await, (200, "b-1".into()));
    assert_eq!(rig.upstream.tokens(), ["a-1", "a-2", "b-1"]);
    assert_eq!(rig.refreshes.all(), ["a"]);
    assert_eq!(cools(&rig.pool, "a"), seconds(300));
    assert_eq!(status_of(&rig.pool, "a").standing.cooldowns[0].reason, Reason::Refused);
    assert_eq!(order(&rig.pool), ["b", "a"]);
}

#[tokio::test]
async fn after_a_refresh_that_fails_the_next_answers_and_the_failed_one_cools_for_5_minutes() {
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let rig = rig(accounts(["a", "b"]).await, upstream).await;
    let broken = Refresher::new(|_| async { Err::<Secret, BoxError>("no network".into()) });
    let service = stack(four(&rig.pool, &broken), client());
    assert_eq!(ask(&service, rig.server.post()).await, (200, "b-1".into()));
    assert_eq!(cools(&rig.pool, "a"), seconds(300));
    assert_eq!(status_of(&rig.pool, "a").standing.health, standing::Health::Good, "it may pass");
}
