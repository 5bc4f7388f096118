//! What was found in other programs' files, brought into a vault: once, and again, and after either side has
//! changed.
#![cfg(all(feature = "migrate", feature = "file"))]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Waker};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower_credentials::migrate::{
    Action, Found, MigrateError, MigrationReport, Source, apply, plan, remove_old,
};
use tower_credentials::registry::Registry;
use tower_credentials::settings::ProviderSettings;
use tower_credentials::standing::{Change, Health, Outcome};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::seal::SealLayer;
use tower_credentials::vault::{MemoryVault, Vault, VaultError, VaultExt};
use tower_credentials::{
    Credential, CredentialId, Kind, Metadata, OAuthTokens, PoolKey, Secret, Timestamp,
};
use tower_layer::Layer;

use crate::legacy::{self, Home, PLANTED, claude, fixture, is_clean, json};

fn registry() -> Registry {
    Registry::builder().build().unwrap()
}

/// What became of each entry, and as what.
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

/// What became of the one entry, and why.
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
    vault.get(known[0].id).await.unwrap()
}

async fn tokens(vault: &impl Vault, id: CredentialId) -> OAuthTokens {
    match vault.get(id).await.unwrap().secret {
        Secret::OAuth(tokens) | Secret::Mcp(tokens) => tokens,
        other => panic!("{other:?}"),
    }
}

/// As a refresher does: new tokens, with whatever else the old ones came with.
async fn renew(vault: &impl Vault, id: CredentialId, name: &str, end: u64) {
    let credential = vault.get(id).await.unwrap();
    let mut renewed = tokens(vault, id).await;
    renewed.access = format!("{name}-access").into();
    renewed.refresh = Some(format!("{name}-refresh").into());
    renewed.expires_at = Some(Timestamp::from_millis(end));
    let secret = match credential.metadata.kind {
        Kind::Mcp => Secret::Mcp(renewed),
        _ => Secret::OAuth(renewed),
    };
    vault.replace_secret(id, credential.metadata.generation, secret).await.unwrap();
}

fn api(provider: &str, key: &str) -> String {
    json!({provider: {"type": "api", "key": key}}).to_string()
}

const NOON: u64 = 1_767_225_600_000;
const HOUR: u64 = 3_600_000;

async fn file_vault(home: &Home) -> FileVault {
    FileVault::open(home.path().join("vault"), &VaultKey::generate()).await.unwrap()
}

#[tokio::test]
async fn every_programs_accounts_are_added_once_and_unchanged_ones_never_again() {
    let home = Home::new();
    let vault = file_vault(&home).await;
    let found = home.all();
    let first = run(&vault, &found).await;
    let mut added: Vec<_> = story(&first).into_iter().filter(|step| step.1 == Action::Add).collect();
    added.sort();
    let mut expected = [
        ("anthropic", "anthropic/default opencode"),
        ("openai", "openai/default opencode"),
        ("github-copilot", "github-copilot/default opencode"),
        ("github-copilot-enterprise", "github-copilot/default opencode-2"),
        ("google", "google/default default"),
        ("cloudflare-ai-gateway", "cloudflare-ai-gateway/default default"),
        ("https://models.company.example", "https://models.company.example/default default"),
        ("sentry", "mcp:sentry/default sentry"),
        ("keyed", "mcp:keyed/default keyed"),
        ("OPENAI_API_KEY", "openai/default default"),
        ("claudeAiOauth", "anthropic/default claude"),
        ("mcpOAuth.plugin:docs|800cb29a3ac61727", "mcp:plugin:docs/default plugin:docs"),
        ("gemini", "google/default gemini"),
        ("qwen", "qwen/default qwen"),
    ]
    .map(|(entry, record)| (entry.to_owned(), Action::Add, record.to_owned()));
    expected.sort();
    assert_eq!(added, expected);
    // opencode and Codex have the same account at OpenAI.
    let kept: Vec<_> = first.steps.iter().filter(|step| step.action != Action::Add).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].entry.as_str(), kept[0].action), ("tokens", Action::Keep));

    let before = all(&vault).await;
    assert_eq!(before.len(), 14);
    for _ in 0..2 {
        let again = run(&vault, &home.all()).await;
        let odd = again.steps.iter().filter(|step| step.action != Action::Unchanged);
        assert_eq!(odd.map(|step| &*step.entry).collect::<Vec<_>>(), ["tokens"]);
        assert_eq!(all(&vault).await, before);
    }
}

#[tokio::test]
async fn a_plan_changes_nothing() {
    let home = Home::new();
    let vault = file_vault(&home).await;
    let planned = plan(&vault, &registry(), &home.all()).await.unwrap();
    assert_eq!(planned.steps.len(), 15);
    assert!(planned.steps.iter().all(|step| step.id.is_none() == (step.action == Action::Add)));
    assert_eq!(all(&vault).await, []);
}

#[tokio::test]
async fn a_record_names_its_origin_and_reveals_nothing_about_its_secret() {
    let home = Home::new();
    let vault = file_vault(&home).await;
    let found = home.all();
    let report = run(&vault, &found).await;
    let record = all(&vault).await.into_iter().find(|record| &*record.label == "plugin:docs").unwrap();
    let place = fs::canonicalize(home.place(Source::Claude)).unwrap().display().to_string();
    for (name, value) in [
        ("migrated_from", "claude"),
        ("migrated_path", &place),
        ("migrated_entry", "mcpOAuth.plugin:docs|800cb29a3ac61727"),
        ("migrated_generation", "1"),
        ("scope", "read"),
    ] {
        assert_eq!(record.attributes[name], value);
    }
    is_clean(&format!("{report:?} {found:?}"));

    // At rest there is nothing to compare a guess with, either.
    let secrets: Vec<_> =
        Source::ALL.iter().flat_map(|source| legacy::secrets(&json(*source))).collect();
    assert!(secrets.len() > 30);
    let digests: Vec<String> = secrets
        .iter()
        .map(|secret| Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    let mut files = 0;
    for entry in fs::read_dir(home.path().join("vault/records")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        is_clean(&text);
        assert!(digests.iter().all(|digest| !text.contains(&digest[..16])), "{text}");
        files += 1;
    }
    assert_eq!(files, 14);
}

#[tokio::test]
async fn a_renewed_renamed_and_moved_record_still_belongs_to_its_entry() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let found = home.found(Source::Claude, claude("a", NOON));
    run(&vault, std::slice::from_ref(&found)).await;
    let id = only(&vault).await.metadata.id;
    let other = Credential::new(PoolKey::new("anthropic"), "other", Secret::api_key("k"));
    vault.put(other).await.unwrap();
    vault.relabel(id, "mine").await.unwrap();
    vault.move_to(id, 1).await.unwrap();
    // Also one whose end the vendor puts earlier than before.
    for (name, end) in [("second", NOON + HOUR), ("third", NOON - HOUR)] {
        renew(&vault, id, name, end).await;
        assert_eq!(one(&vault, found.clone()).await, (Action::Unchanged, String::new()));
        assert_eq!(tokens(&vault, id).await.access.expose(), format!("{name}-access"));
    }
    let labels: Vec<_> = all(&vault).await.into_iter().map(|record| record.label.to_string()).collect();
    assert_eq!(labels, ["other", "mine"]);

    let changed = home.found(Source::Claude, claude("b", NOON + 2 * HOUR));
    assert_eq!(one(&vault, changed).await.0, Action::Update);
    // The other program renews as well, and taking its tokens needs no reason.
    let changed = home.found(Source::Claude, claude("c", NOON + 3 * HOUR));
    assert_eq!(one(&vault, changed).await, (Action::Update, String::new()));
    let record = vault.get(id).await.unwrap().metadata;
    assert_eq!(&*record.label, "mine");
    let labels: Vec<_> = all(&vault).await.into_iter().map(|record| record.label.to_string()).collect();
    assert_eq!(labels, ["other", "mine"]);
}

#[tokio::test]
async fn a_changed_entry_updates_its_own_record_and_no_other() {
    let home = Home::new();
    let vault = file_vault(&home).await;
    run(&vault, &home.all()).await;
    let before = all(&vault).await;

    let mut file = json(Source::Opencode);
    file["anthropic"]["access"] = json!("pLaNtEd-newer");
    file["anthropic"]["expires"] = json!(NOON + HOUR);
    file["github-copilot-enterprise"]["enterpriseUrl"] = json!("https://other.ghe.com/");
    file["cloudflare-ai-gateway"]["metadata"] = json!({"gatewayId": "gateway-2"});
    let mut found = home.all();
    found[0] = home.found(Source::Opencode, file.to_string());
    let report = run(&vault, &found).await;
    let updated = report.steps.iter().filter(|step| step.action == Action::Update);
    let updated: Vec<_> = updated.map(|step| (&*step.entry, step.id.unwrap())).collect();
    let names: Vec<_> = updated.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["anthropic", "cloudflare-ai-gateway", "github-copilot-enterprise"]);

    for (old, new) in before.iter().zip(all(&vault).await) {
        let is_updated = updated.iter().any(|(_, id)| *id == old.id);
        assert_eq!((old.id, &old.label), (new.id, &new.label));
        assert_eq!(*old != new, is_updated, "{}", old.label);
        if is_updated {
            assert_eq!(new.generation, old.generation.next());
            assert_eq!(new.attributes["migrated_generation"], "2");
        }
    }
    let of = |name: &str| updated.iter().find(|(entry, _)| *entry == name).unwrap().1;
    assert_eq!(tokens(&vault, of("anthropic")).await.access.expose(), "pLaNtEd-newer");
    let enterprise = vault.get(of("github-copilot-enterprise")).await.unwrap();
    assert_eq!(enterprise.metadata.attributes["enterprise_host"], "other.ghe.com");
    let endpoint = tokens(&vault, of("github-copilot-enterprise")).await.extra["endpoint"].clone();
    assert_eq!(endpoint.expose(), "https://copilot-api.other.ghe.com");
    // What the entry no longer has is gone from the record.
    let cloudflare = vault.get(of("cloudflare-ai-gateway")).await.unwrap().metadata.attributes;
    assert_eq!(cloudflare["metadata.gatewayId"], "gateway-2");
    assert!(!cloudflare.contains_key("metadata.accountId"), "{cloudflare:?}");
}

#[tokio::test]
async fn a_second_file_is_migrated_even_if_the_first_has_changed_or_is_damaged() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let first = home.found(Source::Opencode, api("a", "1"));
    run(&vault, &[first]).await;
    let changed = home.found(Source::Opencode, r#"{"a": {"type": "api", "key": "2"}, "b": 17}"#);
    assert_eq!(changed.skipped.len(), 1);
    let second = home.found(Source::OpencodeMcp, fixture(Source::OpencodeMcp));
    let report = run(&vault, &[changed, second]).await;
    let actions: Vec<_> = report.steps.iter().map(|step| (&*step.entry, step.action)).collect();
    let expected = [("a", Action::Update), ("sentry", Action::Add), ("keyed", Action::Add)];
    assert_eq!(actions, expected);
}

#[tokio::test]
async fn a_newer_token_is_never_replaced_by_an_older_one() {
    // The file's end, the vault's after it has renewed, and what becomes of it.
    for (file, renewed, action) in [
        (NOON + 2 * HOUR, NOON + HOUR, Action::Update),
        (NOON + HOUR, NOON + 2 * HOUR, Action::Keep),
        (NOON + HOUR, NOON + HOUR, Action::Keep),
    ] {
        let home = Home::new();
        let vault = MemoryVault::new();
        run(&vault, &[home.found(Source::Claude, claude("a", NOON))]).await;
        let id = only(&vault).await.metadata.id;
        renew(&vault, id, "ours", renewed).await;
        let (did, reason) = one(&vault, home.found(Source::Claude, claude("b", file))).await;
        assert_eq!(did, action, "{reason}");
        assert!(!reason.is_empty());
        let expected = if action == Action::Update { "pLaNtEd-b-access" } else { "ours-access" };
        assert_eq!(tokens(&vault, id).await.access.expose(), expected);
    }
}

#[tokio::test]
async fn a_file_from_a_backup_does_not_bring_an_older_token_back() {
    let home = Home::new();
    let vault = MemoryVault::new();
    run(&vault, &[home.found(Source::Claude, claude("new", NOON))]).await;
    let (action, reason) = one(&vault, home.found(Source::Claude, claude("old", NOON - HOUR))).await;
    assert_eq!(action, Action::Keep);
    assert!(reason.contains("ends earlier"), "{reason}");
    // The same if the vault has renewed without a new refresh token.
    let record = only(&vault).await.metadata;
    let mut renewed = tokens(&vault, record.id).await;
    renewed.access = "renewed".into();
    renewed.expires_at = Some(Timestamp::from_millis(NOON + HOUR));
    vault.replace_secret(record.id, record.generation, renewed).await.unwrap();
    let (action, _) = one(&vault, home.found(Source::Claude, claude("old", NOON - HOUR))).await;
    assert_eq!(action, Action::Keep);
}

#[tokio::test]
async fn without_an_expiry_a_renewed_token_stays_and_an_untouched_one_does_not() {
    let home = Home::new();
    let vault = MemoryVault::new();
    run(&vault, &[home.found(Source::Claude, claude("a", 0))]).await;
    assert_eq!(one(&vault, home.found(Source::Claude, claude("b", 0))).await.0, Action::Update);
    let id = only(&vault).await.metadata.id;
    renew(&vault, id, "ours", NOON).await;
    let (action, reason) = one(&vault, home.found(Source::Claude, claude("c", 0))).await;
    assert_eq!(action, Action::Keep);
    assert!(reason.contains("is unclear"), "{reason}");
}

#[tokio::test]
async fn a_new_sign_in_of_the_other_program_is_taken_even_if_the_vaults_token_expires_later() {
    let copilot = |token: &str| {
        json!({"github-copilot": {"type": "oauth", "refresh": token, "access": "", "expires": 0}})
            .to_string()
    };
    let home = Home::new();
    let vault = MemoryVault::new();
    let found = home.found(Source::Opencode, copilot("pLaNtEd-first"));
    run(&vault, std::slice::from_ref(&found)).await;
    let record = only(&vault).await.metadata;
    // GitHub's token is exchanged for a short-lived one, and stays.
    let mut exchanged = tokens(&vault, record.id).await;
    exchanged.access = "short-lived".into();
    exchanged.expires_at = Some(Timestamp::from_millis(NOON));
    vault.replace_secret(record.id, record.generation, exchanged).await.unwrap();
    assert_eq!(one(&vault, found).await.0, Action::Unchanged);
    let (action, reason) = one(&vault, home.found(Source::Opencode, copilot("pLaNtEd-second"))).await;
    assert_eq!(action, Action::Update);
    assert!(reason.contains("signed in again"), "{reason}");
    let tokens = tokens(&vault, record.id).await;
    assert_eq!(tokens.refresh.unwrap().expose(), "pLaNtEd-second");
    assert_eq!(tokens.access.expose(), "");
}

#[tokio::test]
async fn a_record_that_needs_a_sign_in_takes_whatever_is_new_in_the_file() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let found = home.found(Source::Claude, claude("a", 0));
    run(&vault, std::slice::from_ref(&found)).await;
    let Metadata { id, pool, .. } = only(&vault).await.metadata;
    renew(&vault, id, "ours", NOON).await;
    let generation = vault.get(id).await.unwrap().metadata.generation;
    let health = Health::NeedsSignIn { reason: "it is spent".to_owned(), generation, cause: None };
    vault.record(pool, vec![Outcome { id, change: Change::Health(health) }]).await.unwrap();
    assert_eq!(one(&vault, found).await.0, Action::Unchanged);
    let (action, reason) = one(&vault, home.found(Source::Claude, claude("b", 0))).await;
    assert_eq!(action, Action::Update);
    assert!(reason.contains("needs a new sign-in"), "{reason}");
    assert_eq!(tokens(&vault, id).await.access.expose(), "pLaNtEd-b-access");
}

#[tokio::test]
async fn a_verdict_on_an_older_token_does_not_let_the_files_older_one_replace_the_newer() {
    let home = Home::new();
    check(&home, MemoryVault::new()).await;
    check(&home, file_vault(&home).await).await;

    async fn check(home: &Home, vault: impl Vault) {
        run(&vault, &[home.found(Source::Claude, claude("a", NOON))]).await;
        let Metadata { id, pool, generation, .. } = only(&vault).await.metadata;
        let health = Health::NeedsSignIn { reason: "it is spent".to_owned(), generation, cause: None };
        vault.record(pool, vec![Outcome { id, change: Change::Health(health) }]).await.unwrap();
        // A person has signed in to it again since.
        renew(&vault, id, "ours", NOON + 2 * HOUR).await;
        let (action, reason) = one(&vault, home.found(Source::Claude, claude("b", NOON + HOUR))).await;
        assert_eq!(action, Action::Keep, "{reason}");
        assert_eq!(tokens(&vault, id).await.access.expose(), "ours-access");
    }
}

#[tokio::test]
async fn two_files_with_one_dead_account_do_not_replace_each_other_forever() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let opencode = json!({"openai": json(Source::Opencode)["openai"]}).to_string();
    let mut codex = json(Source::Codex);
    codex["OPENAI_API_KEY"] = Value::Null;
    let files = [home.found(Source::Opencode, opencode), home.found(Source::Codex, codex.to_string())];
    run(&vault, &files).await;
    let Metadata { id, pool, generation, .. } = only(&vault).await.metadata;
    let health = Health::NeedsSignIn { reason: "it is spent".to_owned(), generation, cause: None };
    vault.record(pool, vec![Outcome { id, change: Change::Health(health) }]).await.unwrap();
    for _ in 0..2 {
        let actions: Vec<_> = run(&vault, &files).await.steps.iter().map(|step| step.action).collect();
        assert_eq!(actions, [Action::Unchanged, Action::Keep]);
        assert_eq!(only(&vault).await.metadata.generation, generation);
    }
}

#[tokio::test]
async fn a_refresher_that_keeps_nothing_beside_the_tokens_loses_none_to_the_file() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let found = home.found(Source::Claude, claude("a", NOON + 10 * HOUR));
    run(&vault, std::slice::from_ref(&found)).await;
    let record = only(&vault).await.metadata;
    let bare = OAuthTokens::new("ours").refresh("r").expires_at(Timestamp::from_millis(NOON + HOUR));
    vault.replace_secret(record.id, record.generation, bare).await.unwrap();
    // The file's end is later, but it is the one that was renewed.
    assert_eq!(one(&vault, found).await.0, Action::Keep);
    assert_eq!(tokens(&vault, record.id).await.access.expose(), "ours");
}

#[tokio::test]
async fn a_removed_record_comes_back() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let found = home.found(Source::Claude, claude("a", NOON));
    run(&vault, std::slice::from_ref(&found)).await;
    vault.remove(only(&vault).await.metadata.id).await.unwrap();
    assert_eq!(one(&vault, found).await.0, Action::Add);
    only(&vault).await;
}

#[tokio::test]
async fn one_account_in_two_programs_files_is_one_record() {
    for codex_first in [true, false] {
        let home = Home::new();
        let vault = MemoryVault::new();
        let mut codex = json(Source::Codex);
        codex["OPENAI_API_KEY"] = Value::Null;
        let mut opencode = json(Source::Opencode);
        opencode["openai"]["expires"] = json!(NOON + HOUR);
        let opencode = json!({"openai": opencode["openai"]});
        let codex = home.found(Source::Codex, codex.to_string());
        let opencode = home.found(Source::Opencode, opencode.to_string());
        let mut files = [codex, opencode];
        if !codex_first {
            files.reverse();
        }
        let report = run(&vault, &files).await;
        let second = if codex_first { Action::Update } else { Action::Keep };
        let actions: Vec<_> = report.steps.iter().map(|step| step.action).collect();
        assert_eq!(actions, [Action::Add, second]);
        // Whichever comes first, the token that ends later is there, and stays.
        let record = only(&vault).await;
        assert_eq!(record.secret.refresh_token().unwrap().expose(), "pLaNtEd-openai-refresh");
        assert_eq!(record.metadata.attributes["account"], "workspace-1/auth0|alice");
        for _ in 0..2 {
            let mut actions: Vec<_> =
                run(&vault, &files).await.steps.iter().map(|step| step.action).collect();
            actions.sort_by_key(|action| action.as_str());
            assert_eq!(actions, [Action::Keep, Action::Unchanged]);
            assert_eq!(only(&vault).await.metadata, record.metadata);
        }
    }
}

#[tokio::test]
async fn a_signed_in_account_is_updated_if_the_files_token_expires_later() {
    for (end, action) in [(NOON - HOUR, Action::Update), (NOON + HOUR, Action::Keep)] {
        let home = Home::new();
        let vault = MemoryVault::new();
        let signed_in = OAuthTokens::new("a").refresh("r").expires_at(Timestamp::from_millis(end));
        let signed_in = Credential::new(PoolKey::new("openai"), "work", signed_in)
            .attribute("account", "workspace-1/auth0|alice")
            .attribute("project", "mine");
        let id = vault.put(signed_in).await.unwrap().id;
        let mut codex = json(Source::Codex);
        codex["OPENAI_API_KEY"] = Value::Null;
        assert_eq!(one(&vault, home.found(Source::Codex, codex.to_string())).await.0, action);
        let record = only(&vault).await;
        assert_eq!((record.metadata.id, &*record.metadata.label), (id, "work"));
        assert_eq!(record.metadata.attributes["project"], "mine");
        assert_eq!(record.secret.token().expose() == "a", action == Action::Keep);
    }
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

#[tokio::test]
async fn another_account_in_the_same_place_is_another_record() {
    let home = Home::new();
    let vault = MemoryVault::new();
    run(&vault, &[home.found(Source::Codex, codex("alice", "1"))]).await;
    let alice = only(&vault).await.metadata.id;
    let (action, reason) = one(&vault, home.found(Source::Codex, codex("bob", "2"))).await;
    assert_eq!(action, Action::Add);
    assert!(reason.contains("another account"), "{reason}");
    assert_eq!(tokens(&vault, alice).await.refresh.unwrap().expose(), "pLaNtEd-1");

    // Back again, with new tokens: her own record.
    let report = run(&vault, &[home.found(Source::Codex, codex("alice", "3"))]).await;
    assert_eq!((report.steps[0].action, report.steps[0].id), (Action::Update, Some(alice)));
    let labels: Vec<_> = all(&vault).await.into_iter().map(|record| record.label.to_string()).collect();
    assert_eq!(labels, ["codex", "codex-2"]);
}

#[tokio::test]
async fn a_refresh_token_never_stays_beside_an_access_token_of_a_possibly_different_account() {
    let home = Home::new();
    let of = |name: &str, end: u64, source| match source {
        Source::Claude => json!({"claudeAiOauth": {"accessToken": name, "expiresAt": end}}),
        _ => json!({"anthropic": {"type": "oauth", "access": name, "refresh": "", "expires": end}}),
    };
    for source in [Source::Claude, Source::Opencode] {
        let vault = MemoryVault::new();
        let mut alice = of("alice", NOON, source);
        match source {
            Source::Claude => alice["claudeAiOauth"]["refreshToken"] = json!("alice-refresh"),
            _ => alice["anthropic"]["refresh"] = json!("alice-refresh"),
        }
        run(&vault, &[home.found(source, alice.to_string())]).await;
        let id = only(&vault).await.metadata.id;
        assert!(tokens(&vault, id).await.refresh.is_some());
        let bob = home.found(source, of("bob", NOON + HOUR, source).to_string());
        let (action, reason) = one(&vault, bob.clone()).await;
        assert_eq!(action, Action::Update);
        assert!(reason.contains("no refresh token"), "{reason}");
        let known = tokens(&vault, id).await;
        assert_eq!((known.access.expose(), known.refresh.is_none()), ("bob", true));
        assert_eq!(one(&vault, bob).await, (Action::Unchanged, String::new()));
    }
}

#[tokio::test]
async fn an_account_that_is_said_to_be_the_same_keeps_its_refresh_token() {
    let home = Home::new();
    let vault = MemoryVault::new();
    run(&vault, &[home.found(Source::Codex, codex("alice", "1"))]).await;
    let id = only(&vault).await.metadata.id;
    let mut file: Value = serde_json::from_str(&codex("alice", "2")).unwrap();
    file["tokens"].as_object_mut().unwrap().remove("refresh_token");
    let (action, reason) = one(&vault, home.found(Source::Codex, file.to_string())).await;
    assert_eq!((action, &*reason), (Action::Update, ""));
    let known = tokens(&vault, id).await;
    assert_eq!(known.access.expose(), "pLaNtEd-2-access");
    assert_eq!(known.refresh.unwrap().expose(), "pLaNtEd-1");

    // Whose the file is then, is not said: the record is not hers any more.
    let bob = json!({"tokens": {"access_token": format!("{PLANTED}-3")}});
    assert_eq!(one(&vault, home.found(Source::Codex, bob.to_string())).await.0, Action::Update);
    let record = only(&vault).await;
    assert_eq!(record.metadata.attributes.get("account"), None);
    assert!(record.secret.refresh_token().is_none());
}

#[tokio::test]
async fn a_key_is_updated_as_often_as_it_changes() {
    let home = Home::new();
    let vault = MemoryVault::new();
    run(&vault, &[home.found(Source::Opencode, api("a", "1"))]).await;
    let id = only(&vault).await.metadata.id;
    for key in ["2", "3", "1"] {
        let found = home.found(Source::Opencode, api("a", key));
        assert_eq!(one(&vault, found.clone()).await.0, Action::Update);
        assert_eq!(one(&vault, found).await.0, Action::Unchanged);
        let record = only(&vault).await;
        assert_eq!((record.metadata.id, record.secret.token().expose()), (id, key));
    }
}

#[tokio::test]
async fn a_key_that_a_person_has_replaced_in_the_vault_stays() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let found = home.found(Source::Opencode, api("a", "1"));
    run(&vault, std::slice::from_ref(&found)).await;
    let record = only(&vault).await.metadata;
    vault.replace_secret(record.id, record.generation, Secret::api_key("mine")).await.unwrap();
    for found in [found, home.found(Source::Opencode, api("a", "2"))] {
        let (action, reason) = one(&vault, found).await;
        assert_eq!(action, Action::Keep);
        assert!(reason.contains("replaced by hand"), "{reason}");
    }
    assert_eq!(only(&vault).await.secret.token().expose(), "mine");
    // Whoever writes the same into the file has no quarrel with the vault.
    assert_eq!(one(&vault, home.found(Source::Opencode, api("a", "mine"))).await.0, Action::Unchanged);
}

#[tokio::test]
async fn one_key_in_two_files_is_one_record() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let codex = json!({"OPENAI_API_KEY": "same"}).to_string();
    let files = [home.found(Source::Codex, codex), home.found(Source::Opencode, api("openai", "same"))];
    let actions: Vec<_> = run(&vault, &files).await.steps.iter().map(|step| step.action).collect();
    assert_eq!(actions, [Action::Add, Action::Unchanged]);
    only(&vault).await;
}

#[tokio::test]
async fn files_in_two_places_are_two_accounts_and_a_copy_is_not_another() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let read = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::write(&path, text).unwrap();
        tower_credentials::migrate::read(Source::Claude, path).unwrap()
    };
    let (first, second) = (claude("a", NOON), claude("b", NOON + HOUR));
    run(&vault, &[read("one.json", &first), read("two.json", &second), read("copy.json", &first)]).await;
    let known = all(&vault).await;
    assert_eq!(known.len(), 2);
    assert_eq!(tokens(&vault, known[0].id).await.access.expose(), "pLaNtEd-a-access");
    assert_eq!(tokens(&vault, known[1].id).await.access.expose(), "pLaNtEd-b-access");
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_counts_as_the_file_itself() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let found = home.found(Source::Claude, claude("a", NOON));
    let link = home.path().join("link.json");
    std::os::unix::fs::symlink(&found.path, &link).unwrap();
    run(&vault, &[found]).await;
    home.write(Source::Claude, claude("b", NOON + HOUR));
    let by_link = tower_credentials::migrate::read(Source::Claude, link).unwrap();
    assert_eq!(one(&vault, by_link).await.0, Action::Update);
    only(&vault).await;
}

#[tokio::test]
async fn accounts_go_into_the_pools_that_the_settings_name() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let settings = ProviderSettings::new().namespace("work");
    let registry = Registry::builder().set("anthropic", settings).build().unwrap();
    let found = [home.found(Source::Claude, claude("a", NOON))];
    apply(&vault, &registry, &found).await.unwrap();
    let pool = PoolKey::with_namespace("anthropic", "work");
    assert_eq!(only(&vault).await.metadata.pool, pool);
    // A record stays in its pool, whatever the settings say later.
    home.write(Source::Claude, claude("b", NOON + HOUR));
    let found = home.found(Source::Claude, claude("b", NOON + HOUR));
    assert_eq!(one(&vault, found).await.0, Action::Update);
    assert_eq!(only(&vault).await.metadata.pool, pool);
}

#[tokio::test]
async fn an_entry_that_the_vault_refuses_is_named_and_the_others_are_added() {
    let home = Home::new();
    let vault = file_vault(&home).await;
    let long = format!("{PLANTED}{}", "x".repeat(2 << 20));
    let text = json!({
        "long": {"type": "api", "key": long},
        "short": {"type": "api", "key": "k"},
    });
    let found = home.found(Source::Opencode, text.to_string());
    let report = apply(&vault, &registry(), std::slice::from_ref(&found)).await.unwrap();
    assert_eq!(report.steps.len(), 1);
    let [failure] = &report.failures[..] else { panic!("{report:?}") };
    assert_eq!(failure.entry, "long");
    assert!(matches!(failure.error, VaultError::TooLong { .. }), "{failure}");
    is_clean(&format!("{failure} {report:?}"));
    let refused = remove_old(&vault, &registry(), &found).await.unwrap_err();
    assert!(matches!(refused, MigrateError::NotStored { .. }), "{refused}");
    assert!(found.path.exists());
}

/// That the one entry is not brought in, because of this record.
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
        // Also where others of the pool open.
        let other = Credential::new(pool, "other", Secret::api_key("k"));
        vault.put(other).await.unwrap();
        for text in [&text, &changed] {
            is_shut(&vault, &home.found(source, text), id).await;
        }
        vault.remove(id).await.unwrap();
        assert_eq!(one(&vault, home.found(source, &changed)).await.0, Action::Add);
    }
}

async fn only_listed(vault: &impl Vault) -> CredentialId {
    let known = all(vault).await;
    assert_eq!(known.len(), 1, "{known:?}");
    known[0].id
}

#[tokio::test]
async fn another_account_than_that_of_the_record_that_does_not_open_is_added() {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_migrations_add_nothing_twice() {
    let home = Home::new();
    let vault = file_vault(&home).await;
    let found = home.all();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (vault, found) = (vault.clone(), found.clone());
            tokio::spawn(async move { apply(&vault, &registry(), &found).await.unwrap() })
        })
        .collect();
    let mut added = 0;
    for task in tasks {
        let report = task.await.unwrap();
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        added += report.steps.iter().filter(|step| step.action == Action::Add).count();
    }
    assert_eq!((added, all(&vault).await.len()), (14, 14));
}

#[tokio::test]
async fn an_update_waits_for_a_refresh_in_progress_and_does_not_undo_it() {
    let home = Home::new();
    let vault = MemoryVault::new();
    run(&vault, &[home.found(Source::Claude, claude("a", NOON))]).await;
    let id = only(&vault).await.metadata.id;
    let lease = vault.lease_refresh(id).await.unwrap();
    let found = [home.found(Source::Claude, claude("b", NOON + HOUR))];
    let (waiting, registry) = (vault.clone(), registry());
    let migration = tokio::spawn(async move { apply(&waiting, &registry, &found).await.unwrap() });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tokens(&vault, id).await.access.expose(), "pLaNtEd-a-access");
    renew(&vault, id, "ours", NOON + 2 * HOUR).await;
    drop(lease);
    let report = migration.await.unwrap();
    assert_eq!(report.steps[0].action, Action::Keep);
    assert_eq!(tokens(&vault, id).await.access.expose(), "ours-access");
}

#[tokio::test]
async fn an_old_file_is_removed_once_the_vault_has_all_of_it() {
    let home = Home::new();
    let vault = file_vault(&home).await;
    for source in [Source::Opencode, Source::Claude, Source::Gemini, Source::Qwen, Source::Codex] {
        let mut file = json(source);
        if source == Source::Opencode {
            // The account that Codex has, too.
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
        // The one thread that the disk's work is done on has something else to do.
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
        vault.remove(record.id).await.unwrap();
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

#[tokio::test]
async fn a_vault_that_cannot_be_read_is_an_error() {
    let home = Home::new();
    let directory = home.path().join("vault");
    let vault = FileVault::open(&directory, &VaultKey::generate()).await.unwrap();
    let found = [home.found(Source::Claude, claude("a", NOON))];
    fs::remove_dir_all(&directory).unwrap();
    assert!(plan(&vault, &registry(), &found).await.is_err());
    assert!(apply(&vault, &registry(), &found).await.is_err());
    let error = remove_old(&vault, &registry(), &found[0]).await.unwrap_err();
    assert!(matches!(error, MigrateError::Vault(_)), "{error}");
    assert!(found[0].path.exists());
}

#[tokio::test]
async fn the_number_of_records_does_not_depend_on_the_order_of_files_or_on_repeated_runs() {
    let orders: Vec<Vec<usize>> = vec![vec![5, 4, 3, 2, 1, 0], vec![2, 0, 1, 5, 3, 4]];
    let mut seen = BTreeMap::new();
    for order in orders {
        let home = Home::new();
        let vault = MemoryVault::new();
        let found = home.all();
        let found: Vec<_> = order.iter().map(|place| found[*place].clone()).collect();
        run(&vault, &found).await;
        for record in all(&vault).await {
            *seen.entry((record.pool.to_string(), record.kind)).or_insert(0) += 1;
        }
    }
    assert_eq!(seen.values().sum::<i32>(), 28);
    assert!(seen.values().all(|count| count % 2 == 0), "{seen:?}");
}
