//! An entry that has changed updates its own record, and an older token never replaces a newer one.

use serde_json::{Value, json};
use tower_credentials::migrate::{Action, Source, apply};
use tower_credentials::standing::{Change, Health, Outcome};
use tower_credentials::vault::{MemoryVault, Vault, VaultExt};
use tower_credentials::{Credential, Metadata, OAuthTokens, PoolKey, Secret, Timestamp};

use super::{HOUR, NOON, all, api, file_vault, one, only, registry, renew, run, tokens, with_id};
use crate::legacy::{Home, claude, json};

#[tokio::test]
async fn a_renewed_renamed_and_moved_record_still_belongs_to_its_entry() {
    let home = Home::new();
    let vault = MemoryVault::new();
    let found = home.found(Source::Claude, claude("a", NOON));
    run(&vault, std::slice::from_ref(&found)).await;
    let Metadata { id, pool, .. } = only(&vault).await.metadata;
    let other = Credential::new(PoolKey::new("anthropic"), "other", Secret::api_key("k"));
    vault.put(other).await.unwrap();
    vault.relabel(&pool, id, "mine").await.unwrap();
    vault.move_to(&pool, id, 1).await.unwrap();
    // Also a token that expires earlier than the one before.
    for (name, end) in [("second", NOON + HOUR), ("third", NOON - HOUR)] {
        renew(&vault, id, name, end).await;
        assert_eq!(one(&vault, found.clone()).await, (Action::Unchanged, String::new()));
        assert_eq!(tokens(&vault, id).await.access.expose(), format!("{name}-access"));
    }
    let labels: Vec<_> = all(&vault).await.into_iter().map(|record| record.label.to_string()).collect();
    assert_eq!(labels, ["other", "mine"]);

    let changed = home.found(Source::Claude, claude("b", NOON + 2 * HOUR));
    assert_eq!(one(&vault, changed).await.0, Action::Update);
    // The other program renews, too, and its tokens are taken without a reason.
    let changed = home.found(Source::Claude, claude("c", NOON + 3 * HOUR));
    assert_eq!(one(&vault, changed).await, (Action::Update, String::new()));
    let record = vault.get(&pool, id).await.unwrap().metadata;
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
    let enterprise = with_id(&vault, of("github-copilot-enterprise")).await;
    assert_eq!(enterprise.metadata.attributes["enterprise_host"], "other.ghe.com");
    let endpoint = tokens(&vault, of("github-copilot-enterprise")).await.extra["endpoint"].clone();
    assert_eq!(endpoint.expose(), "https://copilot-api.other.ghe.com");
    // Attributes that the entry no longer has are gone from the record.
    let cloudflare = with_id(&vault, of("cloudflare-ai-gateway")).await.metadata.attributes;
    assert_eq!(cloudflare["metadata.gatewayId"], "gateway-2");
    assert!(!cloudflare.contains_key("metadata.accountId"), "{cloudflare:?}");
}

#[tokio::test]
async fn a_newer_token_is_never_replaced_by_an_older_one() {
    // The expiry in the file, the expiry in the vault after a renewal, and what is done.
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
    vault.replace_secret(&record.pool, record.id, record.generation, renewed).await.unwrap();
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
    vault.replace_secret(&record.pool, record.id, record.generation, exchanged).await.unwrap();
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
    let generation = vault.get(&pool, id).await.unwrap().metadata.generation;
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
        // A person has signed in again since.
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
    vault.replace_secret(&record.pool, record.id, record.generation, bare).await.unwrap();
    // The file expires later, but the record is the one that was renewed.
    assert_eq!(one(&vault, found).await.0, Action::Keep);
    assert_eq!(tokens(&vault, record.id).await.access.expose(), "ours");
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
    vault
        .replace_secret(&record.pool, record.id, record.generation, Secret::api_key("mine"))
        .await
        .unwrap();
    for found in [found, home.found(Source::Opencode, api("a", "2"))] {
        let (action, reason) = one(&vault, found).await;
        assert_eq!(action, Action::Keep);
        assert!(reason.contains("replaced by hand"), "{reason}");
    }
    assert_eq!(only(&vault).await.secret.token().expose(), "mine");
    // Writing the same key into the file settles it.
    assert_eq!(one(&vault, home.found(Source::Opencode, api("a", "mine"))).await.0, Action::Unchanged);
}

#[tokio::test]
async fn an_update_waits_for_a_refresh_in_progress_and_does_not_undo_it() {
    let home = Home::new();
    let vault = MemoryVault::new();
    run(&vault, &[home.found(Source::Claude, claude("a", NOON))]).await;
    let Metadata { id, pool, .. } = only(&vault).await.metadata;
    let lease = vault.lease_refresh(&pool, id).await.unwrap();
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
