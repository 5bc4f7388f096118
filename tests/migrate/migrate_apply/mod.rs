//! Migrating accounts from other programs' files into a vault: once, and again, and after either side has changed.
#![cfg(all(feature = "migrate", feature = "file"))]

mod adding;
mod old_files;
mod same_account;
mod unopened_records;
mod updates;

use serde_json::json;
use tower_credentials::migrate::{Action, Found, MigrationReport, apply, plan};
use tower_credentials::registry::Registry;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{Vault, VaultExt};
use tower_credentials::{Credential, CredentialId, Kind, Metadata, OAuthTokens, Secret, Timestamp};

use crate::legacy::{Home, PLANTED};

fn registry() -> Registry {
    Registry::builder().build().unwrap()
}

/// Returns what was done with each entry, and under which pool and label.
fn story(report: &MigrationReport) -> Vec<(String, Action, String)> {
    let failures: Vec<_> = report.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{failures:?}");
    let step = |step: &tower_credentials::migrate::Step| {
        (step.entry.clone(), step.action, format!("{} {}", step.pool, step.label))
    };
    report.steps.iter().map(step).collect()
}

async fn run(vault: &impl Vault, found: &[Found]) -> MigrationReport {
    let planned = plan(vault, &registry(), found).await.unwrap();
    let applied = apply(vault, &registry(), found).await.unwrap();
    assert_eq!(story(&planned), story(&applied), "what was planned is what was done");
    applied
}

/// Returns what was done with the only entry, and why.
async fn one(vault: &impl Vault, found: Found) -> (Action, String) {
    let report = run(vault, &[found]).await;
    let [step] = &report.steps[..] else { panic!("{report:?}") };
    (step.action, step.reason.unwrap_or_default().to_owned())
}

async fn all(vault: &impl Vault) -> Vec<Metadata> {
    vault.list().await.unwrap().credentials
}

async fn only(vault: &impl Vault) -> Credential {
    let known = all(vault).await;
    assert_eq!(known.len(), 1, "{known:?}");
    with_id(vault, known[0].id).await
}

/// Reads the record with this id, of whatever pool.
async fn with_id(vault: &impl Vault, id: CredentialId) -> Credential {
    let known = all(vault).await.into_iter().find(|known| known.id == id).unwrap();
    vault.get(&known.pool, id).await.unwrap()
}

async fn tokens(vault: &impl Vault, id: CredentialId) -> OAuthTokens {
    match with_id(vault, id).await.secret {
        Secret::OAuth(tokens) | Secret::Mcp(tokens) => tokens,
        other => panic!("{other:?}"),
    }
}

/// Renews as a refresher does: new tokens, and all other values kept.
async fn renew(vault: &impl Vault, id: CredentialId, name: &str, end: u64) {
    let Metadata { kind, generation, pool, .. } = with_id(vault, id).await.metadata;
    let mut renewed = tokens(vault, id).await;
    renewed.access = format!("{name}-access").into();
    renewed.refresh = Some(format!("{name}-refresh").into());
    renewed.expires_at = Some(Timestamp::from_millis(end));
    let secret = match kind {
        Kind::Mcp => Secret::Mcp(renewed),
        _ => Secret::OAuth(renewed),
    };
    vault.replace_secret(&pool, id, generation, secret).await.unwrap();
}

fn api(provider: &str, key: &str) -> String {
    json!({provider: {"type": "api", "key": key}}).to_string()
}

const NOON: u64 = 1_767_225_600_000;
const HOUR: u64 = 3_600_000;

async fn file_vault(home: &Home) -> FileVault {
    FileVault::open(home.path().join("vault"), &VaultKey::generate()).await.unwrap()
}

/// Codex's file for this person.
fn codex(person: &str, refresh: &str) -> String {
    use base64::Engine;
    let payload = json!({"sub": person, "https://api.openai.com/auth": {"chatgpt_account_id": "w"}});
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(payload.to_string());
    let tokens = json!({
        "id_token": format!("e30.{payload}.{PLANTED}"),
        "access_token": format!("{PLANTED}-{refresh}-access"),
        "refresh_token": format!("{PLANTED}-{refresh}"),
        "account_id": "w",
    });
    json!({"OPENAI_API_KEY": null, "tokens": tokens}).to_string()
}
