//! One account is one record, from whichever files it comes, and two accounts are two.

use std::fs;

use serde_json::{Value, json};
use tower_credentials::migrate::{Action, Source};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Credential, OAuthTokens, PoolKey, Timestamp};

use super::{HOUR, NOON, all, api, codex, one, only, run, tokens};
use crate::legacy::{Home, PLANTED, claude, json};

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
        // Whichever comes first, the token that expires later is there, and stays.
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

    // Alice again, with new tokens: her own record.
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
async fn an_account_that_names_itself_the_same_keeps_its_refresh_token() {
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

    // Then the file does not say whose it is, and the record is no longer hers.
    let bob = json!({"tokens": {"access_token": format!("{PLANTED}-3")}});
    assert_eq!(one(&vault, home.found(Source::Codex, bob.to_string())).await.0, Action::Update);
    let record = only(&vault).await;
    assert_eq!(record.metadata.attributes.get("account"), None);
    assert!(record.secret.refresh_token().is_none());
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
