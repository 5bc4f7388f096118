//! A backup: the file can be opened for ever, but only as it was written.
#![cfg(feature = "backup")]

use std::time::Duration;

use tower_credentials::standing::{Change, Cooldown, Outcome, Quota, QuotaName, Reason};
use tower_credentials::vault::backup::{Backup, BackupError, Lock, RestoredAs, SealedBy};
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Clock, Credential, PoolKey, Secret, SecretString};

const KEY: &str = "RjwmjIt0yxKdnaJtvst8dwsZjieJyGqGH8izqfrpUk8=";
const BY_KEY: &[u8] = include_bytes!("../fixtures/backup-v1/key.backup");
const BY_PASSPHRASE: &[u8] = include_bytes!("../fixtures/backup-v1/passphrase.backup");

fn key() -> VaultKey {
    VaultKey::from_base64(KEY).unwrap()
}

fn labels(backup: &Backup) -> Vec<String> {
    backup.accounts().map(|account| format!("{}/{}", account.pool.provider(), account.label)).collect()
}

#[tokio::test]
async fn files_of_version_1_open_for_ever() {
    let passphrase = SecretString::from("correct horse battery");
    assert_eq!(Backup::sealed_by(BY_PASSPHRASE).unwrap(), SealedBy::Passphrase);
    assert_eq!(Backup::sealed_by(BY_KEY).unwrap(), SealedBy::Key(key().id()));
    for backup in [
        Backup::open(BY_KEY, &Lock::Key(&key())).unwrap(),
        Backup::open(BY_PASSPHRASE, &Lock::Passphrase(&passphrase)).unwrap(),
    ] {
        assert_eq!(labels(&backup), ["openai/spare", "openai/work"]);
        let vault = MemoryVault::new();
        let restored = backup.restore(&vault).await.unwrap();
        assert!(restored.iter().all(|restored| restored.what == RestoredAs::Added));
        let pool = vault.load_pool(PoolKey::new("openai")).await.unwrap();
        let keys: Vec<_> =
            pool.credentials.iter().map(|stored| stored.secret.token().expose()).collect();
        assert_eq!(keys, ["sk-backup-2", "sk-backup-1"]);
        let paused = |index: usize| {
            let id = pool.credentials[index].metadata.id;
            pool.standings.credentials.get(&id).is_some_and(|standing| standing.paused)
        };
        assert_eq!((paused(0), paused(1)), (false, true));
        assert_eq!(
            pool.standings.order,
            pool.credentials.iter().map(|stored| stored.metadata.id).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_file_with_any_byte_changed_or_cut_short_does_not_open_as_another() {
    let (key, text) = (key(), BY_KEY.to_vec());
    let whole = labels(&Backup::open(&text, &Lock::Key(&key)).unwrap());
    for place in 0..text.len() {
        let mut changed = text.clone();
        changed[place] ^= 1;
        if let Ok(backup) = Backup::open(&changed, &Lock::Key(&key)) {
            // Changes that parsers of JSON and base64 ignore.
            assert_eq!(labels(&backup), whole, "byte {place}");
        }
        assert!(
            place + 1 == text.len() || Backup::open(&text[..place], &Lock::Key(&key)).is_err(),
            "{place}"
        );
    }
}

#[tokio::test]
async fn another_lock_is_distinguished_from_a_change() {
    let vault = MemoryVault::new();
    vault.put(Credential::new(PoolKey::new("example"), "work", Secret::api_key("sk-1"))).await.unwrap();
    let backup = Backup::of(&vault).await.unwrap();
    assert!(!format!("{backup:?}").contains("sk-1"));
    let (one, other) = (VaultKey::generate(), VaultKey::generate());
    let file = backup.seal(&Lock::Key(&one)).unwrap();
    assert!(!String::from_utf8(file.clone()).unwrap().contains("example"));
    let passphrase = SecretString::from("correct horse battery");
    for lock in [Lock::Key(&other), Lock::Passphrase(&passphrase)] {
        let error = Backup::open(&file, &lock).unwrap_err();
        assert!(matches!(error, BackupError::OtherLock(SealedBy::Key(id)) if id == one.id()), "{error}");
    }
    // Each file has its own nonce.
    assert_ne!(backup.seal(&Lock::Key(&one)).unwrap(), file);
}

#[tokio::test]
async fn restored_into_the_same_vault_nothing_changes() {
    let vault = MemoryVault::new();
    for label in ["a", "b"] {
        vault
            .put(Credential::new(PoolKey::new("example"), label, Secret::api_key(format!("sk-{label}"))))
            .await
            .unwrap();
    }
    let backup = Backup::of(&vault).await.unwrap();
    let before = vault.list().await.unwrap().credentials;
    let restored = backup.restore(&vault).await.unwrap();
    assert!(restored.iter().all(|restored| restored.what == RestoredAs::Unchanged));
    assert_eq!(vault.list().await.unwrap().credentials, before);
    // A secret that was replaced since then stays.
    let first = &before[0];
    vault
        .replace_secret(&first.pool, first.id, first.generation, Secret::api_key("sk-new"))
        .await
        .unwrap();
    vault.remove(&before[1].pool, before[1].id).await.unwrap();
    let what: Vec<_> =
        backup.restore(&vault).await.unwrap().iter().map(|restored| restored.what).collect();
    assert_eq!(what, [RestoredAs::Kept, RestoredAs::Added]);
    assert_eq!(vault.get(&first.pool, first.id).await.unwrap().secret.token().expose(), "sk-new");
}

#[tokio::test]
async fn what_a_person_has_set_comes_back_and_what_a_limit_has_done_does_not() {
    let (vault, pool) = (MemoryVault::new(), PoolKey::new("example"));
    let mut ids = Vec::new();
    for label in ["a", "b", "c"] {
        let secret = Secret::api_key(format!("sk-{label}"));
        ids.push(vault.put(Credential::new(pool.clone(), label, secret)).await.unwrap().id);
    }
    let set_at = Clock::system().now();
    let until = set_at.after(Duration::from_secs(60));
    let (reason, generation, scope, cause) = (Reason::Limited, None, None, None);
    let cooldown = Cooldown { until, set_at, reason, scope, generation, cause };
    let quota = || Some(Quota::Shared(QuotaName::new("acme").unwrap()));
    let changes = [
        (0, Change::CooledDown { cooldown, failure: true, to_back: true }),
        (1, Change::Tier { tier: Some(0) }),
        (1, Change::Paused),
        (2, Change::Tier { tier: Some(7) }),
        (2, Change::Quota { quota: quota() }),
    ];
    let outcomes = changes.map(|(index, change)| Outcome { id: ids[index], change });
    vault.record(pool.clone(), outcomes.to_vec()).await.unwrap();
    let key = VaultKey::generate();
    let file = Backup::of(&vault).await.unwrap().seal(&Lock::Key(&key)).unwrap();
    let other = MemoryVault::new();
    Backup::open(&file, &Lock::Key(&key)).unwrap().restore(&other).await.unwrap();
    let restored = other.load_pool(pool).await.unwrap().standings;
    assert_eq!(restored.order, ids);
    let set: Vec<_> = ids
        .iter()
        .map(|id| {
            let standing = restored.credentials.get(id).cloned().unwrap_or_default();
            (standing.tier, standing.paused, standing.quota, standing.cooldowns.len())
        })
        .collect();
    assert_eq!(set, [(None, false, None, 0), (Some(0), true, None, 0), (Some(7), false, quota(), 0)]);
}
