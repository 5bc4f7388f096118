//! Accounts are added once, to the right pool, whatever the order of the files and however often they are migrated.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;
use sha2::{Digest, Sha256};
use tower_credentials::PoolKey;
use tower_credentials::migrate::{Action, MigrateError, Source, apply, plan, remove_old};
use tower_credentials::registry::Registry;
use tower_credentials::settings::ProviderSettings;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{MemoryVault, VaultError, VaultExt};

use super::{HOUR, NOON, all, api, file_vault, one, only, registry, run, story};
use crate::legacy::{self, Home, PLANTED, claude, fixture, is_clean, json};

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
        let changed = again.steps.iter().filter(|step| step.action != Action::Unchanged);
        assert_eq!(changed.map(|step| &*step.entry).collect::<Vec<_>>(), ["tokens"]);
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

    // At rest there is nothing to compare a guess with either.
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
async fn a_removed_record_comes_back() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let found = home.found(Source::Claude, claude("a", NOON));
    run(&vault, std::slice::from_ref(&found)).await;
    let record = only(&vault).await.metadata;
    vault.remove(&record.pool, record.id).await.unwrap();
    assert_eq!(one(&vault, found).await.0, Action::Add);
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
