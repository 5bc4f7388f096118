//! An account whose record does not open is not added again, unless nothing of the record can be read.

use std::fs;

use tower_credentials::migrate::{Action, Found, MigrateError, Source, apply, plan, remove_old};
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::seal::SealLayer;
use tower_credentials::vault::{MemoryVault, Vault, VaultError, VaultExt};
use tower_credentials::{Credential, CredentialId, PoolKey, Secret};
use tower_layer::Layer;

use super::{HOUR, NOON, all, api, codex, file_vault, one, only, registry, run};
use crate::legacy::{Home, claude, is_clean};

/// Checks that the only entry is not added, because of this record.
async fn is_shut(vault: &impl Vault, found: &Found, record: CredentialId) {
    let before = all(vault).await;
    let found = std::slice::from_ref(found);
    for report in
        [plan(vault, &registry(), found).await.unwrap(), apply(vault, &registry(), found).await.unwrap()]
    {
        let [failure] = &report.failures[..] else { panic!("{report:?}") };
        assert!(report.steps.is_empty(), "{report:?}");
        let said = failure.to_string();
        assert!(said.contains(&record.to_string()) && said.contains("does not open"), "{said}");
        assert!(said.contains("remove the record, then migrate again"), "{said}");
        is_clean(&format!("{said} {failure:?}"));
    }
    assert_eq!(all(vault).await, before);
    let refused = remove_old(vault, &registry(), &found[0]).await.unwrap_err();
    assert!(matches!(refused, MigrateError::NotStored { .. } | MigrateError::Vault(_)), "{refused}");
    assert!(found[0].path.exists());
}

#[tokio::test]
async fn an_account_or_key_whose_record_is_under_another_key_is_not_added_again() {
    let home = Home::new();
    for (source, text, changed, pool) in [
        (Source::Claude, claude("a", NOON), claude("b", NOON + HOUR), PoolKey::new("anthropic")),
        (Source::Codex, codex("alice", "1"), codex("alice", "2"), PoolKey::new("openai")),
        (Source::Opencode, api("a", "1"), api("a", "2"), PoolKey::new("a")),
    ] {
        let backend = MemoryVault::new();
        let lost = SealLayer::new(&VaultKey::generate()).layer(backend.clone());
        let vault = SealLayer::new(&VaultKey::generate()).layer(backend);
        run(&lost, &[home.found(source, &text)]).await;
        let id = only_listed(&lost).await;
        for text in [&text, &changed] {
            is_shut(&vault, &home.found(source, text), id).await;
        }
        // Also if others of the pool open.
        let other = Credential::new(pool.clone(), "other", Secret::api_key("k"));
        vault.put(other).await.unwrap();
        for text in [&text, &changed] {
            is_shut(&vault, &home.found(source, text), id).await;
        }
        vault.remove(&pool, id).await.unwrap();
        assert_eq!(one(&vault, home.found(source, &changed)).await.0, Action::Add);
    }
}

async fn only_listed(vault: &impl Vault) -> CredentialId {
    let known = all(vault).await;
    assert_eq!(known.len(), 1, "{known:?}");
    known[0].id
}

#[tokio::test]
async fn an_account_other_than_that_of_the_record_that_does_not_open_is_added() {
    let home = Home::new();
    let backend = MemoryVault::new();
    let lost = SealLayer::new(&VaultKey::generate()).layer(backend.clone());
    let vault = SealLayer::new(&VaultKey::generate()).layer(backend);
    run(&lost, &[home.found(Source::Codex, codex("alice", "1"))]).await;
    let bob = [home.found(Source::Codex, codex("bob", "2"))];
    // With a key that opens nothing, nothing is sealed.
    for report in
        [plan(&vault, &registry(), &bob).await.unwrap(), apply(&vault, &registry(), &bob).await.unwrap()]
    {
        let [failure] = &report.failures[..] else { panic!("{report:?}") };
        assert!(matches!(failure.error, VaultError::Key(_)), "{failure}");
    }
    let refused = remove_old(&vault, &registry(), &bob[0]).await.unwrap_err();
    assert!(matches!(refused, MigrateError::Vault(VaultError::Key(_))), "{refused}");
    let other = Credential::new(PoolKey::new("openai"), "other", Secret::api_key("k"));
    vault.put(other).await.unwrap();
    assert_eq!(run(&vault, &bob).await.steps[0].action, Action::Add);
    remove_old(&vault, &registry(), &bob[0]).await.unwrap();
}

#[tokio::test]
async fn an_account_whose_record_was_edited_on_the_disk_is_not_added_again() {
    let home = Home::new();
    let vault = file_vault(&home).await;
    let found = home.found(Source::Claude, claude("a", NOON));
    run(&vault, std::slice::from_ref(&found)).await;
    let id = only(&vault).await.metadata.id;
    let path = home.path().join(format!("vault/records/{id}.json"));
    let record = fs::read_to_string(&path).unwrap();
    let edited = record.replace("\"migrated_generation\"", "\"migrated_generatiom\"");
    assert_ne!(edited, record);
    fs::write(&path, edited).unwrap();
    is_shut(&vault, &found, id).await;
}

#[tokio::test]
async fn an_account_whose_record_is_damaged_is_added_again() {
    let home = Home::new();
    let vault = file_vault(&home).await;
    let found = home.found(Source::Claude, claude("a", NOON));
    run(&vault, std::slice::from_ref(&found)).await;
    let id = only(&vault).await.metadata.id;
    fs::write(home.path().join(format!("vault/records/{id}.json")), "{").unwrap();
    let report = apply(&vault, &registry(), std::slice::from_ref(&found)).await.unwrap();
    assert_eq!(report.steps[0].action, Action::Add);
    let pool = vault.load_pool(PoolKey::new("anthropic")).await.unwrap();
    assert_eq!((pool.credentials.len(), pool.damaged.len()), (1, 1));
    remove_old(&vault, &registry(), &found).await.unwrap();
}
