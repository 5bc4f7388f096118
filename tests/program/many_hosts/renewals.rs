//! Renewals that have stored nothing are told wherever the program tells them of a vault in a directory.

use std::time::Duration;

use tower_credentials::vault::key::{Keys, VaultKey};
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::Seal;
use tower_credentials::vault::{FailedRefresh, VaultExt};
use tower_credentials::{Credential, Metadata, OAuthTokens, PoolKey};

use super::Scene;

const CUT_OFF: &str = "openai/work: a renewal of its token was cut off, and the new one may be lost";

/// The vault of the scene, as another program opens it, with a sign-in.
async fn sign_in(scene: &Scene) -> (Seal<RedisBackend>, Metadata) {
    scene.home.settings("[providers.openai.oauth]\nclient_id = \"mine\"\n");
    let key = VaultKey::load_or_create(scene.home.key_file()).await.unwrap();
    let backend = RedisBackend::builder(scene.url())
        .command_timeout(Duration::from_secs(10))
        .open()
        .await
        .unwrap();
    let vault = backend.sealed(&Keys::new(key)).await.unwrap();
    let tokens = OAuthTokens::new("at-secret-1").refresh("rt-secret-1");
    ["at-secret-1", "rt-secret-1"].iter().for_each(|secret| scene.home.secret(secret));
    let account = Credential::new(PoolKey::new("openai"), "work", tokens);
    let account = vault.put(account).await.unwrap();
    (vault, account)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_cut_off_or_has_failed_is_told_once_nobody_is_at_it() {
    let Some(scene) = Scene::start() else { return };
    let (vault, account) = sign_in(&scene).await;
    let lease = vault.lease_refresh(&account.pool, account.id).await.unwrap();
    vault.begin_refresh(&account.pool, account.id, account.generation).await.unwrap();
    let run = scene.run("list").ok();
    assert!(!run.stderr.contains("cut off"), "it may go on: {run:#?}");

    // As the death of its host does it.
    let lease_key = format!("tower-credentials:{{openai/default}}:lease:{}", account.id);
    scene.server.tell::<()>(&["DEL", &lease_key]);
    scene.run("list").ok().says(CUT_OFF);
    assert_eq!(scene.run("list --json").ok().json()[0]["renewal_cut_off"], true);
    scene.run("show openai/work").ok().prints("was cut off");
    scene.run("status").ok().prints("was cut off");
    let run = scene.run("vault check").ok();
    run.prints("a refresh of work began at").prints("the next refresh presents the token once more");

    let failed = FailedRefresh { wait: Duration::ZERO, in_a_row: 1, reason: "busy".to_owned() };
    let of = (&account.pool, account.id, account.generation);
    vault.refresh_failed(of.0, of.1, of.2, failed).await.unwrap();
    drop(lease);
    let run = scene.run("list").ok().says("openai/work: its renewal failed: busy");
    assert!(!run.stderr.contains("cut off"), "{run:#?}");
    assert_eq!(scene.run("list --json").ok().json()[0]["renewal_failed"], "busy");
    scene.run("status").ok().prints("openai/work: its renewal failed: busy");
    scene.run("vault check").ok().prints("the last refresh of work failed: busy");
}
