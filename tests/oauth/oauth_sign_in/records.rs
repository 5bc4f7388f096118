//! An account's record: whose it is, and what is kept in it.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_credentials::oauth::{FlowKind, OAuthClient, OAuthConfig, OAuthHttp, ReplaceError, SignedIn};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Credential, OAuthTokens, PoolKey, Secret};

use super::quick;
use crate::authorization_server::{CLIENT_ID, Vendor};

fn extra<'a>(account: &'a SignedIn, name: &str) -> Option<&'a str> {
    account.tokens.extra.get(name).map(|value| value.expose())
}

#[tokio::test]
async fn each_vendors_facts_about_an_account_are_kept() {
    for vendor in Vendor::ALL {
        let server = quick(vendor);
        let client = server.client();
        let account = server.sign_in(&client, client.first_flow().unwrap()).await.unwrap();
        let id = account.account.as_deref();
        let email = Some("alice@example.com");
        match vendor {
            Vendor::Anthropic => {
                assert_eq!((id, account.label.as_deref()), (Some("uuid-org/uuid-alice"), email));
            }
            Vendor::OpenAi => {
                assert_eq!((id, account.label.as_deref()), (Some("workspace/sub-alice"), email));
                assert_eq!(extra(&account, "account_id"), Some("workspace"));
                assert_eq!(extra(&account, "id_token").unwrap().split('.').count(), 3);
            }
            Vendor::Google => assert_eq!((id, account.label.as_deref()), (Some("sub-alice"), email)),
            Vendor::Copilot => {
                assert_eq!((id, account.label.as_deref()), (Some("510"), Some("alice")));
                assert_eq!(
                    extra(&account, "endpoint"),
                    Some("https://api.individual.githubcopilot.com")
                );
            }
            Vendor::Qwen => assert_eq!(extra(&account, "endpoint"), Some("portal.example.com")),
            Vendor::Cursor => assert_eq!(id, Some("auth0|alice")),
        }
    }
}

#[tokio::test]
async fn tokens_of_somebody_else_are_not_put_into_a_record() {
    for vendor in Vendor::ALL {
        let server = quick(vendor);
        let vault = MemoryVault::new();
        let alice = server.account().await;
        let stored = alice.store(&vault, PoolKey::new("test"), "work").await.unwrap();
        let again = server.account().await;
        server.person("bob");
        let bob = server.account().await;
        if vendor == Vendor::Qwen {
            // Its responses do not say who it is.
            assert_eq!(bob.is_of(&vault.get(&stored.pool, stored.id).await.unwrap()), None);
            continue;
        }
        let error = bob.replace(&vault, &stored.pool, stored.id).await.unwrap_err();
        assert!(matches!(error, ReplaceError::AnotherAccount { .. }), "{vendor:?}: {error:?}");
        let text = error.to_string();
        let id = |account: &SignedIn| account.account.clone().unwrap();
        assert!(text.contains("test/work") && text.contains(&id(&bob)), "{text}");
        assert!(text.contains(&id(&alice)), "{text}");
        let kept = vault.get(&stored.pool, stored.id).await.unwrap();
        assert_eq!(kept.secret.token().expose(), alice.tokens.access.expose());
        assert_eq!(
            again.replace(&vault, &stored.pool, stored.id).await.unwrap().generation.get(),
            2,
            "{vendor:?}"
        );
        // A record that does not say whose it is accepts any account, and says so from then on.
        let tokens = tower_credentials::OAuthTokens::new("old").refresh("older");
        let bare = tower_credentials::Credential::new(PoolKey::new("test"), "bare", tokens);
        let bare = vault.put(bare).await.unwrap();
        let named = bob.replace(&vault, &bare.pool, bare.id).await.unwrap();
        assert_eq!(named.attributes[SignedIn::ACCOUNT], id(&bob));
        alice.replace(&vault, &bare.pool, bare.id).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_second_sign_in_to_an_account_renews_its_record_and_another_account_gets_one() {
    let server = quick(Vendor::OpenAi);
    let client = server.client();
    let vault = MemoryVault::new();
    let pool = PoolKey::new("openai");
    let sign_in = async || server.sign_in(&client, FlowKind::Loopback).await.unwrap();

    let first = sign_in().await.store(&vault, pool.clone(), "work").await.unwrap();
    assert_eq!(first.attributes["account"], "workspace/sub-alice");
    let again = sign_in().await;
    let second = again.store(&vault, pool.clone(), "other").await.unwrap();
    assert_eq!((second.id, &*second.label), (first.id, "work"));
    assert!(second.generation > first.generation);
    let stored = vault.get(&first.pool, first.id).await.unwrap();
    assert_eq!(stored.secret.token().expose(), again.tokens.access.expose());

    // In the same workspace, but another person.
    server.person("bob");
    let bob = sign_in().await.store(&vault, pool.clone(), "work").await.unwrap();
    assert_ne!(bob.id, first.id);
    assert_eq!(&*bob.label, "work-2");
    // Records of another pool are separate.
    let elsewhere = PoolKey::with_namespace("openai", "private");
    let private = sign_in().await.store(&vault, elsewhere, "work").await.unwrap();
    assert_eq!(&*private.label, "work");
    assert_eq!(vault.list().await.unwrap().credentials.len(), 3);
}

#[tokio::test]
async fn a_second_sign_in_without_a_refresh_token_keeps_the_first_ones() {
    let server = quick(Vendor::Google);
    let vault = MemoryVault::new();
    let account = server.sign_in(&server.client(), FlowKind::Loopback).await.unwrap();
    let first = account.store(&vault, PoolKey::new("google"), "work").await.unwrap();
    // Google responds like this without `prompt=consent`.
    let mut again = server.sign_in(&server.client(), FlowKind::Loopback).await.unwrap();
    again.tokens.refresh = None;
    let second = again.store(&vault, PoolKey::new("google"), "work").await.unwrap();
    assert_eq!(second.id, first.id);
    let stored = vault.get(&first.pool, first.id).await.unwrap().secret;
    assert_eq!(stored.token().expose(), again.tokens.access.expose());
    let kept = stored.refresh_token().map(|token| token.expose());
    assert_eq!(kept, account.tokens.refresh.as_ref().map(|token| token.expose()));
}

#[tokio::test]
async fn a_refresh_that_comes_between_does_not_undo_a_sign_in() {
    let server = quick(Vendor::Anthropic);
    let client = server.client();
    let vault = MemoryVault::new();
    let pool = PoolKey::new("anthropic");
    let account = server.sign_in(&client, FlowKind::Loopback).await.unwrap();
    let first = account.store(&vault, pool.clone(), "work").await.unwrap();
    let again = server.sign_in(&client, FlowKind::Loopback).await.unwrap();

    // Somebody stores a renewed token between each look at the vault and the change that follows.
    let racing = {
        let (inner, pool) = (vault.clone(), pool.clone());
        let mut races = 3;
        tower::service_fn(move |request: tower_credentials::vault::VaultRequest| {
            let (inner, pool, id) = (inner.clone(), pool.clone(), first.id);
            let is_swap =
                matches!(request, tower_credentials::vault::VaultRequest::ReplaceSecret { .. });
            let races_now = is_swap && races > 0;
            races -= u32::from(races_now);
            async move {
                if races_now {
                    let now = inner.get(&pool, id).await?.metadata.generation;
                    inner.replace_secret(&pool, id, now, OAuthTokens::new("theirs")).await?;
                }
                tower::ServiceExt::oneshot(inner, request).await
            }
        })
    };
    // `service_fn` counts in its own copy, so all share one.
    let racing = tower::buffer::Buffer::new(racing, 1);
    let stored = again.store(&racing, pool, "work").await.unwrap();
    assert_eq!(stored.id, first.id);
    assert_eq!(stored.generation.get(), 5, "three refreshes, then the sign-in");
    let secret = vault.get(&first.pool, first.id).await.unwrap().secret;
    assert_eq!(secret.token().expose(), again.tokens.access.expose());
}

#[tokio::test]
async fn an_unidentified_account_gets_a_new_record_each_time() {
    let server = quick(Vendor::Qwen);
    let account = server.sign_in(&server.client(), FlowKind::Device).await.unwrap();
    assert_eq!(account.account, None);
    let vault = MemoryVault::new();
    let pool = PoolKey::new("qwen");
    vault.put(Credential::new(pool.clone(), "default", Secret::api_key("key"))).await.unwrap();
    let labels = [
        account.store(&vault, pool.clone(), "default").await.unwrap().label,
        account.store(&vault, pool.clone(), "default").await.unwrap().label,
    ];
    assert_eq!(labels.map(|label| label.to_string()), ["default-2", "default-3"]);
}

#[tokio::test]
async fn an_account_id_that_cannot_be_shown_is_not_kept() {
    use base64::Engine;
    let long = "x".repeat(40_000);
    for sub in ["", "a\u{1b}[2J", long.as_str()] {
        let claims = serde_json::json!({ "sub": sub }).to_string();
        let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(claims);
        let response =
            serde_json::json!({ "access_token": "token", "id_token": format!("a.{claims}.b") });
        let http = OAuthHttp::new(tower::service_fn(move |_: Request<Full<Bytes>>| {
            let response = Full::<Bytes>::from(response.to_string());
            async move { Ok::<_, tower_credentials::BoxError>(http::Response::new(response)) }
        }));
        let client = OAuthClient::new("google", OAuthConfig::google().client_id(CLIENT_ID), http);
        let mut sign_in = client.sign_in(FlowKind::PastedCode).await.unwrap();
        sign_in.paste("code").unwrap();
        let account = sign_in.finish().await.unwrap();
        assert_eq!(account.account, None, "{sub:.20}");
    }
}
