//! An old file is removed only if the vault has everything in it.

use std::fs;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Waker};

use tower_credentials::migrate::{Action, Found, MigrateError, Source, remove_old};
use tower_credentials::vault::{MemoryVault, VaultExt};

use super::{HOUR, NOON, all, file_vault, one, only, registry, renew, run};
use crate::legacy::{Home, claude, fixture, is_clean, json};

#[tokio::test]
async fn an_old_file_is_removed_once_the_vault_has_all_of_it() {
    let home = Home::new();
    let vault = file_vault(&home).await;
    for source in [Source::Opencode, Source::Claude, Source::Gemini, Source::Qwen, Source::Codex] {
        let mut file = json(source);
        if source == Source::Opencode {
            // The account that Codex has as well.
            file.as_object_mut().unwrap().remove("openai");
        }
        let found = home.found(source, file.to_string());
        let refused = remove_old(&vault, &registry(), &found).await.unwrap_err();
        assert!(matches!(refused, MigrateError::NotStored { .. }), "{source}: {refused}");
        assert!(found.path.exists());
        run(&vault, std::slice::from_ref(&found)).await;
        remove_old(&vault, &registry(), &found).await.unwrap();
        assert!(!found.path.exists());
        let again = remove_old(&vault, &registry(), &found).await.unwrap_err();
        assert!(matches!(again, MigrateError::Changed(_)), "{source}: {again}");
    }
}

#[test]
fn the_runtimes_thread_does_not_wait_for_the_disk() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(1).build().unwrap();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        let home = Home::new();
        let vault = MemoryVault::new();
        let found = home.found(Source::Claude, claude("a", NOON));
        run(&vault, std::slice::from_ref(&found)).await;
        // The only thread for blocking work is busy.
        let busy = tokio::task::spawn_blocking(move || ended.recv().is_err());
        let registry = registry();
        let mut removal = pin!(remove_old(&vault, &registry, &found));
        for _ in 0..20 {
            let polled = removal.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending(), "{polled:?}");
            tokio::task::yield_now().await;
        }
        assert!(found.path.exists());
        drop(end);
        assert!(busy.await.unwrap());
        removal.await.unwrap();
        assert!(!found.path.exists());
    });
}

#[tokio::test]
async fn an_old_file_whose_tokens_were_renewed_since_may_be_removed() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let found = home.found(Source::Claude, claude("a", NOON));
    run(&vault, std::slice::from_ref(&found)).await;
    renew(&vault, only(&vault).await.metadata.id, "ours", NOON + HOUR).await;
    remove_old(&vault, &registry(), &found).await.unwrap();
    assert!(!found.path.exists());
}

#[tokio::test]
async fn an_old_file_that_has_more_than_the_vault_stays() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let stays = async |found: &Found, what: fn(&MigrateError) -> bool| {
        let error = remove_old(&vault, &registry(), found).await.unwrap_err();
        assert!(what(&error), "{error}");
        assert!(error.to_string().contains("is not removed: "), "{error}");
        is_clean(&format!("{error} {error:?}"));
        assert!(found.path.exists());
    };
    // Something was skipped.
    let found = home.found(Source::OpencodeMcp, fixture(Source::OpencodeMcp));
    run(&vault, std::slice::from_ref(&found)).await;
    stays(&found, |error| matches!(error, MigrateError::Skipped { count: 1, .. })).await;

    // It was written to since.
    let found = home.found(Source::Claude, claude("a", NOON));
    run(&vault, std::slice::from_ref(&found)).await;
    home.write(Source::Claude, claude("b", NOON));
    stays(&found, |error| matches!(error, MigrateError::Changed(_))).await;

    // The vault has kept its own token.
    let found = home.found(Source::Claude, claude("old", NOON - HOUR));
    assert_eq!(one(&vault, found.clone()).await.0, Action::Keep);
    stays(&found, |error| matches!(error, MigrateError::NotStored { .. })).await;

    // A person has removed the record.
    let found = home.found(Source::Claude, claude("new", NOON + HOUR));
    run(&vault, std::slice::from_ref(&found)).await;
    for record in all(&vault).await {
        vault.remove(&record.pool, record.id).await.unwrap();
    }
    stays(&found, |error| matches!(error, MigrateError::NotStored { .. })).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_is_removed_along_with_its_target() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let path = home.write(Source::Claude, claude("a", NOON));
    let link = home.path().join("link.json");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let found = tower_credentials::migrate::read(Source::Claude, &link).unwrap();
    run(&vault, std::slice::from_ref(&found)).await;
    remove_old(&vault, &registry(), &found).await.unwrap();
    let is_gone = |path: &Path| fs::symlink_metadata(path).is_err();
    assert!(is_gone(&link) && is_gone(&path));
}
