//! Renewing tokens at a strict server over real sockets: what is kept, what is a verdict, and what may pass.

#![cfg(feature = "oauth")]

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt};
use tower_credentials::oauth::{Dialect, FlowKind, OAuthClient, OAuthError, OAuthHttp, SignedIn};
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::Health;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{
    Credential, CredentialsLayer, OAuthTokens, Pool, PoolKey, RefreshError, Refresher, Secret,
};

use crate::authorization_server::{AuthorizationServer, Fault, Kind, Rules, Vendor, client, refresh};

/// A server with an account.
async fn account(rules: Rules) -> (AuthorizationServer, SignedIn) {
    let server = AuthorizationServer::start(rules);
    let account = server.account().await;
    (server, account)
}

fn text(secret: &Option<tower_credentials::SecretString>) -> Option<&str> {
    secret.as_ref().map(|secret| secret.expose())
}

fn failure(error: &RefreshError) -> &OAuthError {
    match error {
        RefreshError::Failed(error) | RefreshError::Unread { error, .. } => {
            error.downcast_ref().expect("an OAuthError")
        }
        other => panic!("{other:?}"),
    }
}

fn reason(error: RefreshError) -> String {
    match error {
        RefreshError::Rejected { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_vendors_tokens_are_renewed_repeatedly() {
    for vendor in Vendor::ALL {
        let (server, account) = account(Rules::of(vendor)).await;
        let client = server.client();
        let mut tokens = account.tokens;
        for round in 0..3 {
            server.advance(Duration::from_secs(9 * 3600));
            assert!(server.whose(&tokens).await.is_none(), "{vendor:?} {round}: it has expired");
            let renewed = refresh(&client, &tokens).await.unwrap();
            assert!(server.whose(&renewed).await.is_some(), "{vendor:?} {round}");
            assert_ne!(renewed.access.expose(), tokens.access.expose());
            let keeps = matches!(vendor, Vendor::Google | Vendor::Copilot);
            assert_eq!(text(&renewed.refresh) == text(&tokens.refresh), keeps, "{vendor:?} {round}");
            assert!(renewed.expires_at.is_some());
            assert!(tokens.extra.keys().eq(renewed.extra.keys()), "{vendor:?} {round}");
            tokens = renewed;
        }
    }
}

#[tokio::test]
async fn tokens_that_a_response_does_not_renew_are_kept() {
    let (server, account) = account(Rules::of(Vendor::Qwen)).await;
    let client = server.client();
    let mut tokens = account.tokens;
    tokens.extra.insert("endpoint".to_owned(), "old.example.com".into());
    tokens.extra.insert("mine".to_owned(), "kept".into());
    let renewed = refresh(&client, &tokens).await.unwrap();
    assert_eq!(renewed.extra["endpoint"].expose(), "portal.example.com");
    assert_eq!(renewed.extra["mine"].expose(), "kept");

    for response in [
        r#"{"access_token": "new"}"#,
        r#"{"access_token": "new", "refresh_token": null, "resource_url": null, "expires_in": null}"#,
        // Unusual, but the grant is spent and the token is good.
        r#"{"access_token": "new", "refresh_token": "", "resource_url": 7, "expires_in": "soon", "error": null}"#,
        r#"{"access_token": "new", "error": ""}"#,
        r#"{"access_token": "new", "expires_in": "3600", "id_token": {}, "account": "none"}"#,
        r#"{"access_token": "new", "accessToken": "new", "expires_in": 3600.0, "scope": ["a", "b"]}"#,
    ] {
        // In place of the real response, which is thrown away.
        server.fail_next([Fault::Text(StatusCode::OK, response)]);
        let before = tower_credentials::Timestamp::from(std::time::SystemTime::now());
        let renewed = refresh(&client, &renewed).await.unwrap();
        assert_eq!(renewed.access.expose(), "new");
        assert!(renewed.refresh.as_ref().is_some_and(|token| token.expose().starts_with("refresh-")));
        assert_eq!(renewed.extra["endpoint"].expose(), "portal.example.com");
        let lifetime = renewed.expires_at.unwrap().since(before).as_secs();
        assert!((3600..3700).contains(&lifetime), "{response}: {lifetime}");
    }
}

#[tokio::test]
async fn copilots_expiry_is_read_with_a_wrong_clock() {
    let (server, account) = account(Rules::of(Vendor::Copilot)).await;
    let now = tower_credentials::Timestamp::from(std::time::SystemTime::now());
    let in_half_an_hour = now.as_millis() / 1000 + 1800;
    for (times, expected) in [
        (format!(r#""expires_at": {in_half_an_hour}, "refresh_in": 1500"#), 1800),
        (format!(r#""expires_at": "{in_half_an_hour}""#), 1800),
        (format!(r#""expires_at": {in_half_an_hour}.5"#), 1800),
        // As by a clock that is years fast or slow.
        (r#""expires_at": 1000000000, "refresh_in": 1500"#.to_owned(), 1500),
        (r#""expires_at": 4000000000, "refresh_in": 1500"#.to_owned(), 1500),
        (r#""expires_at": 0"#.to_owned(), 3600),
        (r#""expires_at": 1e30, "refresh_in": -1"#.to_owned(), 3600),
        (r#""refresh_in": "1500""#.to_owned(), 1500),
        (r#""endpoints": 7"#.to_owned(), 3600),
    ] {
        let response = format!(r#"{{"token": "new", {times}}}"#);
        server.fail_next([Fault::Text(StatusCode::OK, response.leak())]);
        let renewed = refresh(&server.client(), &account.tokens).await.unwrap();
        let lifetime = renewed.expires_at.unwrap().since(now).as_secs();
        assert!((expected - 2..expected + 60).contains(&lifetime), "{times}: {lifetime}");
    }
}

#[tokio::test]
async fn a_spent_or_revoked_refresh_token_is_a_verdict_in_the_vendors_words() {
    for (vendor, words) in [
        (Vendor::Anthropic, "invalid_grant: … was used before"),
        (Vendor::OpenAi, "refresh_token_reused: … was used before"),
        (Vendor::Qwen, "invalid_grant: … was used before"),
        (Vendor::Cursor, "should_logout: the session has ended"),
    ] {
        let (server, account) = account(Rules::of(vendor)).await;
        let client = server.client();
        let renewed = refresh(&client, &account.tokens).await.unwrap();
        assert_eq!(reason(refresh(&client, &account.tokens).await.unwrap_err()), words);
        assert_eq!(server.reuses(), 1);
        // All tokens of the sign-in are gone.
        assert!(server.whose(&renewed).await.is_none(), "{vendor:?}");
        let ended = reason(refresh(&client, &renewed).await.unwrap_err());
        assert!(ended.ends_with("has ended"), "{ended}");
    }
    for vendor in [Vendor::Google, Vendor::Copilot] {
        let (server, account) = account(Rules::of(vendor)).await;
        server.revoke_all();
        reason(refresh(&server.client(), &account.tokens).await.unwrap_err());
    }
}

#[tokio::test]
async fn the_last_spent_token_works_again_only_within_its_grace_period() {
    let grace = Some(Duration::from_secs(30));
    let (server, account) = account(Rules { grace, ..Rules::of(Vendor::OpenAi) }).await;
    let client = server.client();
    let renewed = refresh(&client, &account.tokens).await.unwrap();
    let again = refresh(&client, &account.tokens).await.unwrap();
    assert_eq!(renewed.access.expose(), again.access.expose());
    assert_eq!((server.granted(Kind::Refresh), server.reuses()), (2, 0));
    server.advance(Duration::from_secs(31));
    reason(refresh(&client, &account.tokens).await.unwrap_err());
    assert_eq!(server.reuses(), 1);
}

#[tokio::test]
async fn only_a_refusal_of_the_token_itself_is_a_verdict() {
    let (server, account) = account(Rules::of(Vendor::Qwen)).await;
    let client = server.client();
    for (response, is_verdict, words) in [
        (r#"{"error": "invalid_grant"}"#, true, "invalid_grant"),
        (r#"{"error": {"code": "refresh_token_reused", "message": "again"}}"#, true, "again"),
        (r#"{"error": {"code": "refresh_token_expired"}}"#, true, "refresh_token_expired"),
        (r#"{"error": {"code": "refresh_token_invalidated"}}"#, true, "refresh_token_invalidated"),
        (r#"{"error": "expired_token"}"#, true, "expired_token"),
        (r#"{"error": "bad_refresh_token"}"#, true, "bad_refresh_token"),
        (r#"{"error": "invalid_client"}"#, false, "providers.qwen.oauth.client_id"),
        (r#"{"error": "unauthorized_client"}"#, false, "TOWER_CREDENTIALS_QWEN_OAUTH_CLIENT_ID"),
        (r#"{"error": "invalid_scope"}"#, false, "providers.qwen.oauth.scopes"),
        (r#"{"error": "invalid_request"}"#, false, "providers.qwen.oauth.token_encoding"),
        (r#"{"error": "server_error"}"#, false, "server_error"),
        (
            r#"{"error": {"type": "overloaded_error", "message": "busy"}}"#,
            false,
            "overloaded_error: busy",
        ),
        (r#"{"error": {}}"#, false, "refuses"),
    ] {
        server.fail_next([Fault::Text(StatusCode::BAD_REQUEST, response)]);
        let error = refresh(&client, &account.tokens).await.unwrap_err();
        assert_eq!(matches!(error, RefreshError::Rejected { .. }), is_verdict, "{response}: {error:?}");
        assert!(error.to_string().contains(words), "{response}: {error}");
    }
}

#[tokio::test]
async fn a_servers_words_are_cut_to_one_short_line() {
    let (server, account) = account(Rules::of(Vendor::Anthropic)).await;
    let long = "x".repeat(5000);
    let response = format!(
        r#"{{"error": "invalid_grant", "error_description": "a\u0000b\u001b[31m\r\nc\u202e{long}"}}"#
    );
    server.fail_next([Fault::Text(StatusCode::BAD_REQUEST, response.leak())]);
    let reason = reason(refresh(&server.client(), &account.tokens).await.unwrap_err());
    assert!(reason.starts_with("invalid_grant: a b [31m  c x"), "{reason}");
    assert!(reason.chars().count() < 350, "{reason}");
    assert!(!reason.contains(char::is_control), "{reason:?}");
}

#[tokio::test]
async fn a_wrong_client_is_an_error_of_a_setting() {
    let (server, account) = account(Rules::of(Vendor::Google)).await;
    for config in [
        server.config().client_id("another"),
        server.config().client_secret("wrong"),
        server.config().client_secret(""),
    ] {
        let client = OAuthClient::new("google", config, OAuthHttp::new(client()));
        let error = refresh(&client, &account.tokens).await.unwrap_err();
        assert!(matches!(failure(&error), OAuthError::Refused { code, .. } if code == "invalid_client"));
        assert!(error.to_string().contains("providers.google.oauth.client_id"), "{error}");
    }
    let mut config = server.config();
    config.client_id = None;
    let client = OAuthClient::new("google", config, OAuthHttp::new(client()));
    let error = refresh(&client, &account.tokens).await.unwrap_err();
    assert!(matches!(failure(&error), OAuthError::MissingSetting { setting: "client_id", .. }));
}

#[tokio::test]
async fn a_credential_without_a_refresh_token_needs_a_sign_in_and_a_key_cannot_be_renewed() {
    let server = AuthorizationServer::start(Rules::of(Vendor::OpenAi));
    let client = server.client();
    let error = refresh(&client, &OAuthTokens::new("access")).await.unwrap_err();
    assert!(reason(error).contains("without a refresh token"));
    let key = Credential::new(PoolKey::new("test"), "key", Secret::api_key("sk"));
    let error = client.refresher().oneshot(key).await.unwrap_err();
    assert!(matches!(failure(&error), OAuthError::NotOAuth { .. }));
    assert_eq!(server.asked(Kind::Refresh), 0);
}

#[tokio::test]
async fn an_mcp_servers_tokens_are_renewed_and_keep_their_kind() {
    let (server, account) = account(Rules::of(Vendor::Qwen)).await;
    let mut config = server.config();
    config.dialect = Dialect::Standard;
    let client = OAuthClient::new("mcp", config, OAuthHttp::new(client()));
    let secret = Secret::Mcp(account.tokens);
    let credential = Credential::new(PoolKey::new("mcp"), "server", secret);
    assert!(matches!(client.refresher().oneshot(credential).await.unwrap(), Secret::Mcp(_)));
}

#[tokio::test]
async fn a_request_with_an_expired_token_succeeds_after_one_refresh_that_is_saved() {
    let (server, account) = account(Rules::of(Vendor::OpenAi)).await;
    let vault = MemoryVault::new();
    let stored = account.store(&vault, PoolKey::new("test"), "work").await.unwrap();
    let provider = GenericProvider::bearer("test").origin(server.url()).unwrap();
    let pool = Pool::builder(provider, vault.clone()).open().await.unwrap();
    let refresher = Refresher::from_service(server.client().refresher());
    let stack =
        ServiceBuilder::new().layer(CredentialsLayer::new(pool).refresher(refresher)).service(client());

    server.advance(Duration::from_secs(9 * 3600));
    let requests = (0..5).map(|_| {
        let request = Request::get(format!("{}/resource", server.url())).body(Full::default()).unwrap();
        tokio::spawn(stack.clone().oneshot(request))
    });
    for response in requests.collect::<Vec<_>>() {
        assert_eq!(response.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!((server.granted(Kind::Refresh), server.reuses()), (1, 0));
    let now = vault.get(&stored.pool, stored.id).await.unwrap();
    assert!(now.metadata.generation > stored.generation);
}

/// The part of an unreadable response that is kept.
async fn kept(vault: &MemoryVault) -> Option<String> {
    let stored = vault.load_pool(PoolKey::new("test")).await.unwrap().credentials.remove(0);
    let Secret::OAuth(tokens) = stored.secret else { panic!() };
    tokens.extra.get(OAuthTokens::UNREAD_RESPONSE).map(|response| response.expose().to_owned())
}

#[tokio::test]
async fn an_unreadable_response_is_kept_until_a_readable_one_arrives() {
    const TWO: &str = r#"{"access_token": "one", "access_token": "two", "refresh_token": "next"}"#;
    for (rotates, fault, expected) in [
        (false, Fault::Text(StatusCode::OK, TWO), TWO),
        (
            false,
            Fault::Text(StatusCode::OK, r#"[{"access_token": "one"}]"#),
            r#"[{"access_token": "one"}]"#,
        ),
        (false, Fault::Oversized, r#"{"access_token":"#),
        (true, Fault::Text(StatusCode::OK, TWO), TWO),
    ] {
        let (server, account) = account(Rules { rotates, ..Rules::of(Vendor::OpenAi) }).await;
        let vault = MemoryVault::new();
        account.store(&vault, PoolKey::new("test"), "work").await.unwrap();
        let told = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let open = async || {
            let told = told.clone();
            let provider = GenericProvider::bearer("test").origin(server.url()).unwrap();
            let pool = Pool::builder(provider, vault.clone()).on_event(move |event| {
                if let tower_credentials::events::EventKind::RefreshFailed { error, .. } = &event.kind {
                    *told.lock().unwrap() = error.to_string();
                }
            });
            let pool = pool.open().await.unwrap();
            let refresher = Refresher::from_service(server.client().refresher());
            let layer = CredentialsLayer::new(pool.clone()).refresher(refresher);
            (pool, ServiceBuilder::new().layer(layer).service(client()))
        };
        let ask = async |stack: tower::util::BoxCloneService<_, _, _>| {
            let request = Request::get(format!("{}/resource", server.url())).body(Full::default());
            let response: http::Response<hyper::body::Incoming> =
                stack.oneshot(request.unwrap()).await.unwrap();
            response.status()
        };
        server.advance(Duration::from_secs(9 * 3600));
        server.fail_next([fault.clone()]);
        let (_pool, stack) = open().await;
        assert_eq!(ask(tower::util::BoxCloneService::new(stack)).await, StatusCode::UNAUTHORIZED);
        let response = kept(&vault).await.unwrap_or_else(|| panic!("{fault:?}: nothing is kept"));
        assert!(response.starts_with(expected), "{fault:?}: {response}");
        let words = told.lock().unwrap().clone();
        assert!(
            words.contains("is kept with the account, sealed") && !words.contains("next"),
            "{words}"
        );

        // The old refresh token is tried once more, for example by another process.
        let (pool, stack) = open().await;
        pool.reset(pool.status()[0].credential.id).await.unwrap();
        let status = ask(tower::util::BoxCloneService::new(stack)).await;
        if rotates {
            let Health::NeedsSignIn { reason, .. } = pool.status()[0].standing.health.clone() else {
                panic!("{:?}", pool.status())
            };
            assert!(
                reason.ends_with("an earlier response could not be read, and is kept with the account")
            );
            assert_eq!(kept(&vault).await.as_deref(), Some(TWO));
            server
                .sign_in(&server.client(), FlowKind::Loopback)
                .await
                .unwrap()
                .store(&vault, PoolKey::new("test"), "work")
                .await
                .unwrap();
        } else {
            assert_eq!(status, StatusCode::OK, "{fault:?}");
        }
        assert_eq!(kept(&vault).await, None, "{fault:?}");
    }
}

#[tokio::test]
async fn a_new_sign_in_restores_an_account_whose_session_was_ended() {
    let (server, account) = account(Rules::of(Vendor::Anthropic)).await;
    let vault = MemoryVault::new();
    let key = PoolKey::new("test");
    let stored = account.store(&vault, key.clone(), "work").await.unwrap();
    let open = async || {
        let provider = GenericProvider::bearer("test").origin(server.url()).unwrap();
        let pool = Pool::builder(provider, vault.clone()).open().await.unwrap();
        let refresher = Refresher::from_service(server.client().refresher());
        let layer = CredentialsLayer::new(pool.clone()).refresher(refresher);
        (pool, ServiceBuilder::new().layer(layer).service(client()))
    };
    let request = || Request::get(format!("{}/resource", server.url())).body(Full::default()).unwrap();

    server.revoke_all();
    let (pool, stack) = open().await;
    assert_eq!(stack.oneshot(request()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let Health::NeedsSignIn { reason, .. } = pool.status()[0].standing.health.clone() else {
        panic!("{:?}", pool.status())
    };
    assert_eq!(reason, "invalid_grant: the session of … has ended");

    let again = server.sign_in(&server.client(), FlowKind::Loopback).await.unwrap();
    assert_eq!(again.store(&vault, key, "work").await.unwrap().id, stored.id);
    let (pool, stack) = open().await;
    assert_eq!(stack.oneshot(request()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(pool.status()[0].standing.health, Health::Good);
}

#[tokio::test]
async fn githubs_own_token_is_renewed_once_expired_and_never_lost() {
    let github_lifetime = Some(Duration::from_secs(24 * 3600));
    let (server, account) = account(Rules { github_lifetime, ..Rules::of(Vendor::Copilot) }).await;
    let client = server.client();
    let tokens = account.tokens;

    // While GitHub's token is valid, it is exchanged, and nothing else is requested.
    server.advance(Duration::from_secs(9 * 3600));
    let tokens = refresh(&client, &tokens).await.unwrap();
    assert_eq!((server.granted(Kind::Exchange), server.asked(Kind::Refresh)), (2, 0));

    // Once it has expired, it is renewed first. Here the exchange fails after that, and after the first exchange with
    // the old token.
    server.advance(Duration::from_secs(24 * 3600));
    let trouble = Fault::Text(StatusCode::SERVICE_UNAVAILABLE, "");
    server.fail_next([Fault::None, Fault::None, trouble]);
    let saved = refresh(&client, &tokens).await.unwrap();
    assert_eq!(server.asked(Kind::Refresh), 1);
    assert_eq!(saved.access.expose(), tokens.access.expose(), "there is no other yet");
    assert_ne!(text(&saved.refresh), text(&tokens.refresh));
    assert!(server.whose(&saved).await.is_none());

    let renewed = refresh(&client, &saved).await.unwrap();
    assert!(server.whose(&renewed).await.is_some());
    assert_eq!(server.asked(Kind::Refresh), 1, "GitHub's new token was kept");

    // Renewing GitHub's token does not help if it is never exchanged.
    server.fail_next([Fault::Text(StatusCode::NOT_FOUND, "")]);
    let verdict = reason(refresh(&client, &renewed).await.unwrap_err());
    assert!(verdict.starts_with("token_not_exchanged: "), "{verdict}");
    assert_eq!(server.asked(Kind::Refresh), 1);

    // A refusal about something else says what, and is not a verdict.
    let policy = Fault::Text(StatusCode::FORBIDDEN, r#"{"message": "the policy says no"}"#);
    server.fail_next([policy.clone()]);
    let error = refresh(&client, &renewed).await.unwrap_err();
    assert_eq!(
        failure(&error).to_string(),
        "github-copilot refuses with the status 403: the policy says no"
    );
    // Nor does it lose GitHub's renewed token.
    server.advance(Duration::from_secs(24 * 3600));
    server.fail_next([Fault::None, Fault::None, policy]);
    let saved = refresh(&client, &renewed).await.unwrap();
    assert_ne!(text(&saved.refresh), text(&renewed.refresh));

    // Both are spent: a verdict.
    server.advance(Duration::from_secs(48 * 3600));
    let verdict = reason(refresh(&client, &tokens).await.unwrap_err());
    assert_eq!(verdict, "bad_refresh_token: … was used before");
}
