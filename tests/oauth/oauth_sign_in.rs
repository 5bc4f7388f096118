//! Signing in, every vendor's way, from the prompt to the vault, at a strict server over real sockets.

#![cfg(feature = "oauth")]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower_credentials::oauth::{
    FlowKind, OAuthClient, OAuthConfig, OAuthError, OAuthHttp, Progress, Prompt, ReplaceError, SignedIn,
    TokenEncoding,
};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Clock, Credential, OAuthTokens, PoolKey, Secret, Timestamp};

use crate::authorization_server::{
    self, AuthorizationServer, CLIENT_ID, Kind, Rules, Vendor, client, fetch, follow, get, page,
};

const BROWSERS: [Vendor; 3] = [Vendor::Anthropic, Vendor::OpenAi, Vendor::Google];

fn extra<'a>(account: &'a SignedIn, name: &str) -> Option<&'a str> {
    account.tokens.extra.get(name).map(|value| value.expose())
}

/// A server whose devices may ask every second.
fn quick(vendor: Vendor) -> AuthorizationServer {
    AuthorizationServer::start(Rules { device_interval: Some(1), ..Rules::of(vendor) })
}

#[tokio::test]
async fn every_vendors_first_flow_ends_with_tokens_that_work() {
    for vendor in Vendor::ALL {
        let server = quick(vendor);
        let client = server.client();
        let flow = client.first_flow().unwrap();
        let account = server.sign_in(&client, flow).await.unwrap();
        assert_eq!(server.whose(&account.tokens).await.as_deref(), Some("alice"), "{vendor:?}");
        assert!(account.tokens.refresh.is_some(), "{vendor:?}");
        assert_eq!(account.account.is_some(), vendor != Vendor::Qwen, "Qwen tells nothing of it");
    }
}

#[tokio::test]
async fn a_browser_sign_in_takes_a_pasted_address_as_well() {
    for vendor in BROWSERS {
        let server = quick(vendor);
        let account = server.sign_in(&server.client(), FlowKind::PastedCode).await.unwrap_err();
        // The tests' redirect has no port of its own, and nothing listens at one.
        assert!(matches!(account, OAuthError::InvalidSetting { .. }), "{account}");

        let mut sign_in = server.client().sign_in(FlowKind::Loopback).await.unwrap();
        let address = get(&page(&sign_in)).await.location();
        sign_in.paste(&address).unwrap();
        let account = sign_in.finish().await.unwrap();
        assert_eq!(server.whose(&account.tokens).await.as_deref(), Some("alice"), "{vendor:?}");
    }
}

/// A client whose redirect URI has a port, at which nothing listens.
fn with_port(server: &AuthorizationServer) -> OAuthClient {
    let mut config = server.config();
    config.redirect_uri = config.redirect_uri.map(|uri| uri.replace(":0", ":54545"));
    OAuthClient::new(server.rules().vendor.name(), config, OAuthHttp::new(client()))
}

#[tokio::test]
async fn a_code_is_pasted_alone_with_its_state_or_in_the_whole_address() {
    for vendor in BROWSERS {
        let server = quick(vendor);
        for form in ["code", "code#state", "address", "address broken into lines"] {
            let mut sign_in = with_port(&server).sign_in(FlowKind::PastedCode).await.unwrap();
            let Prompt::Paste { url } = sign_in.prompt().clone() else { panic!("a page to open") };
            let address = get(&url).await.location();
            let query = url::Url::parse(&address).unwrap();
            let query: std::collections::HashMap<_, _> = query.query_pairs().into_owned().collect();
            let text = match form {
                "code" => query["code"].clone(),
                "code#state" => format!(" {}#{}\n", query["code"], query["state"]),
                "address" => address,
                _ => format!("{}\n  {}", &address[..40], &address[40..]),
            };
            sign_in.paste(&text).unwrap();
            let account = sign_in.finish().await.unwrap();
            assert_eq!(server.whose(&account.tokens).await.as_deref(), Some("alice"), "{form}");
        }
    }
}

#[tokio::test]
async fn a_pasted_text_of_another_sign_in_is_refused_and_the_right_one_still_works() {
    let server = quick(Vendor::Anthropic);
    let mut one = with_port(&server).sign_in(FlowKind::PastedCode).await.unwrap();
    let other = with_port(&server).sign_in(FlowKind::PastedCode).await.unwrap();
    let theirs = get(&page(&other)).await.location();
    assert!(matches!(one.paste(&theirs), Err(OAuthError::WrongState)));
    assert!(matches!(one.paste("code#forged"), Err(OAuthError::WrongState)));
    for nothing in ["", "  \n", "https://example.com/", "http://localhost/callback?state=", "#"] {
        let error = one.paste(nothing).unwrap_err();
        assert!(matches!(error, OAuthError::NoCode | OAuthError::WrongState), "{nothing:?}: {error}");
    }
    let ours = get(&page(&one)).await.location();
    one.paste(&ours).unwrap();
    assert!(matches!(one.paste(&ours), Err(OAuthError::Ended)), "there is one already");
    one.finish().await.unwrap();
}

#[tokio::test]
async fn an_injected_code_fails_at_the_verifier() {
    let server = quick(Vendor::OpenAi);
    let victim = with_port(&server).sign_in(FlowKind::PastedCode).await.unwrap();
    let mut attacker = with_port(&server).sign_in(FlowKind::PastedCode).await.unwrap();
    let address = get(&page(&victim)).await.location();
    let url = url::Url::parse(&address).unwrap();
    let code = url.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    attacker.paste(&code).unwrap();
    let error = attacker.finish().await.unwrap_err();
    let OAuthError::Refused { code, description, .. } = &error else { panic!("{error:?}") };
    assert_eq!(code, "invalid_grant");
    // The server quotes the verifier.
    assert_eq!(description.as_deref(), Some("the verifier … is not this code's"));
}

#[tokio::test]
async fn reusing_a_code_ends_the_session_that_it_began() {
    let server = quick(Vendor::Google);
    let account = server.sign_in(&server.client(), FlowKind::Loopback).await.unwrap();
    assert!(server.whose(&account.tokens).await.is_some());
    let body = server.token_requests().remove(0);
    let again = Request::post(format!("{}/token", server.url()))
        .header("accept", "application/json")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::<Bytes>::from(body));
    assert_eq!(fetch(again.unwrap()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.whose(&account.tokens).await, None);
}

#[tokio::test]
async fn a_refusal_ends_the_sign_in_with_the_vendors_words() {
    for vendor in [Vendor::Anthropic, Vendor::OpenAi, Vendor::Google, Vendor::Copilot, Vendor::Qwen] {
        let server = quick(vendor);
        server.says_yes(false);
        let client = server.client();
        let error = server.sign_in(&client, client.first_flow().unwrap()).await.unwrap_err();
        let OAuthError::Refused { code, description, provider } = &error else { panic!("{error:?}") };
        assert_eq!((code.as_str(), provider.as_str()), ("access_denied", vendor.name()));
        assert!(description.as_deref().unwrap().contains("erson said no"), "{error}");
    }
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
            assert_eq!(bob.is_of(&vault.get(stored.id).await.unwrap()), None);
            continue;
        }
        let error = bob.replace(&vault, stored.id).await.unwrap_err();
        assert!(matches!(error, ReplaceError::AnotherAccount { .. }), "{vendor:?}: {error:?}");
        let text = error.to_string();
        let id = |account: &SignedIn| account.account.clone().unwrap();
        assert!(text.contains("test/work") && text.contains(&id(&bob)), "{text}");
        assert!(text.contains(&id(&alice)), "{text}");
        let kept = vault.get(stored.id).await.unwrap();
        assert_eq!(kept.secret.token().expose(), alice.tokens.access.expose());
        assert_eq!(again.replace(&vault, stored.id).await.unwrap().generation.get(), 2, "{vendor:?}");
        // A record that doesn't say whose it is takes any, and says so from then on.
        let tokens = tower_credentials::OAuthTokens::new("old").refresh("older");
        let bare = tower_credentials::Credential::new(PoolKey::new("test"), "bare", tokens);
        let bare = vault.put(bare).await.unwrap();
        let named = bob.replace(&vault, bare.id).await.unwrap();
        assert_eq!(named.attributes[SignedIn::ACCOUNT], id(&bob));
        alice.replace(&vault, bare.id).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_response_without_a_lifetime_means_an_hour() {
    let began: Timestamp = SystemTime::now().into();
    for (states_lifetime, expected) in [(true, 8 * 3600), (false, 3600)] {
        let server = AuthorizationServer::start(Rules { states_lifetime, ..Rules::of(Vendor::OpenAi) });
        let clock =
            Clock::from_fn(move || SystemTime::UNIX_EPOCH + Duration::from_millis(began.as_millis()));
        let client = server.client().clock(clock);
        let account = server.sign_in(&client, FlowKind::Loopback).await.unwrap();
        assert_eq!(account.tokens.expires_at, Some(began.after(Duration::from_secs(expected))));
    }
}

#[tokio::test]
async fn the_encoding_of_token_requests_is_a_setting() {
    for vendor in BROWSERS {
        for encoding in [TokenEncoding::Form, TokenEncoding::Json] {
            let server = AuthorizationServer::start(Rules { encoding, ..Rules::of(vendor) });
            let mut config = server.config();
            config.token_encoding = encoding;
            let client = OAuthClient::new("test", config.clone(), OAuthHttp::new(client()));
            server.sign_in(&client, FlowKind::Loopback).await.unwrap();

            config.token_encoding = match encoding {
                TokenEncoding::Form => TokenEncoding::Json,
                _ => TokenEncoding::Form,
            };
            let client =
                OAuthClient::new("test", config, OAuthHttp::new(authorization_server::client()));
            let error = server.sign_in(&client, FlowKind::Loopback).await.unwrap_err();
            assert!(error.to_string().contains("providers.test.oauth.token_encoding"), "{error}");
        }
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
    let stored = vault.get(first.id).await.unwrap();
    assert_eq!(stored.secret.token().expose(), again.tokens.access.expose());

    // Of the same workspace, but another person.
    server.person("bob");
    let bob = sign_in().await.store(&vault, pool.clone(), "work").await.unwrap();
    assert_ne!(bob.id, first.id);
    assert_eq!(&*bob.label, "work-2");
    // Another pool's records are its own.
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
    // As Google answers without `prompt=consent`.
    let mut again = server.sign_in(&server.client(), FlowKind::Loopback).await.unwrap();
    again.tokens.refresh = None;
    let second = again.store(&vault, PoolKey::new("google"), "work").await.unwrap();
    assert_eq!(second.id, first.id);
    let stored = vault.get(first.id).await.unwrap().secret;
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

    // Somebody stores a renewed token between each look at the vault and what is done upon it.
    let racing = {
        let inner = vault.clone();
        let mut races = 3;
        tower::service_fn(move |request: tower_credentials::vault::VaultRequest| {
            let (inner, id) = (inner.clone(), first.id);
            let is_swap =
                matches!(request, tower_credentials::vault::VaultRequest::ReplaceSecret { .. });
            let races_now = is_swap && races > 0;
            races -= u32::from(races_now);
            async move {
                if races_now {
                    let now = inner.get(id).await?.metadata.generation;
                    inner.replace_secret(id, now, OAuthTokens::new("theirs")).await?;
                }
                tower::ServiceExt::oneshot(inner, request).await
            }
        })
    };
    // `service_fn` counts in its own copy, so one is shared by all.
    let racing = tower::buffer::Buffer::new(racing, 1);
    let stored = again.store(&racing, pool, "work").await.unwrap();
    assert_eq!(stored.id, first.id);
    assert_eq!(stored.generation.get(), 5, "three refreshes, then the sign-in");
    let secret = vault.get(first.id).await.unwrap().secret;
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
async fn a_sign_in_by_link_waits_until_somebody_has_followed_it() {
    let server = quick(Vendor::Cursor);
    let mut sign_in = server.client().sign_in(FlowKind::LinkPoll).await.unwrap();
    let url = page(&sign_in);
    let (early, rest) = tokio::join!(
        async {
            // Not before it was asked for in vain.
            while server.asked(Kind::LinkPoll) == 0 {
                tokio::task::yield_now().await;
            }
            get(&url).await
        },
        follow(&mut sign_in),
    );
    assert_eq!(early.status, StatusCode::OK);
    let (story, end) = rest;
    assert_eq!(story, Vec::<String>::new());
    assert_eq!(server.whose(&end.unwrap().tokens).await.as_deref(), Some("alice"));
    assert!(server.asked(Kind::LinkPoll) >= 2);
}

#[tokio::test]
async fn copilots_exchange_is_tried_again_after_a_network_error() {
    use crate::authorization_server::Fault;
    let server = quick(Vendor::Copilot);
    let mut sign_in = server.client().sign_in(FlowKind::Device).await.unwrap();
    let Prompt::Device { user_code, .. } = sign_in.prompt().clone() else { panic!("a device's code") };
    server.type_in(&user_code);
    let mut story = Vec::new();
    let account = loop {
        match sign_in.next().await.unwrap().unwrap() {
            Progress::SignedIn(account) => break account,
            Progress::Exchanging => {
                // The first response of the exchange, since the device's is there.
                server.fail_next([Fault::Text(StatusCode::SERVICE_UNAVAILABLE, "not now")]);
            }
            other => story.push(other.to_string()),
        }
    };
    assert_eq!(story.len(), 1, "{story:?}");
    assert!(story[0].contains("503"), "{story:?}");
    assert_eq!(server.whose(&account.tokens).await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn a_missing_setting_is_named_with_all_the_places_to_set_it() {
    let http = OAuthHttp::new(client());
    for (name, config, flow) in [
        ("openai", OAuthConfig::openai(), FlowKind::Loopback),
        ("google", OAuthConfig::google(), FlowKind::PastedCode),
        ("github-copilot", OAuthConfig::github_copilot(), FlowKind::Device),
    ] {
        let error = OAuthClient::new(name, config, http.clone()).sign_in(flow).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, OAuthError::MissingSetting { setting: "client_id", .. }), "{text}");
        let variable = name.to_uppercase().replace('-', "_");
        for place in [
            format!("providers.{name}.oauth.client_id"),
            format!("TOWER_CREDENTIALS_{variable}_OAUTH_CLIENT_ID"),
            "OAuthConfig::client_id".to_owned(),
        ] {
            assert!(text.contains(&place), "{text}");
        }
    }
}

#[tokio::test]
async fn a_pasted_codes_redirect_uri_may_have_a_programs_own_scheme() {
    for uri in ["com.example.app:/callback", "urn:ietf:wg:oauth:2.0:oob"] {
        let config = OAuthConfig::openai().client_id(CLIENT_ID).redirect_uri(uri);
        let client = OAuthClient::new("openai", config, OAuthHttp::new(client()));
        let sign_in = client.sign_in(FlowKind::PastedCode).await.unwrap();
        let url = url::Url::parse(&page(&sign_in)).unwrap();
        assert!(url.query_pairs().any(|(name, value)| name == "redirect_uri" && value == uri), "{url}");
    }
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

#[tokio::test]
async fn a_setting_that_would_send_secrets_unencrypted_is_refused() {
    let http = OAuthHttp::new(client());
    for url in [
        "http://auth.example.com/token",
        "https://user@auth.example.com/token",
        "ftp://auth.example.com/token",
        "https://auth.example.com/token#part",
        "/token",
        "http://127.0.0.1.example.com/token",
    ] {
        let mut config = OAuthConfig::openai().client_id(CLIENT_ID);
        config.token_url = Some(url.to_owned());
        let error = OAuthClient::new("openai", config, http.clone())
            .sign_in(FlowKind::Loopback)
            .await
            .unwrap_err();
        assert!(
            matches!(error, OAuthError::InvalidSetting { setting: "token_url", .. }),
            "{url}: {error}"
        );
    }
}

#[tokio::test]
async fn a_flow_that_the_provider_lacks_is_an_error() {
    let client = OAuthClient::new("cursor", OAuthConfig::cursor(), OAuthHttp::new(client()));
    let error = client.sign_in(FlowKind::Device).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cursor has no sign-in by device code"), "{text}");
    assert!(text.contains("add \"device\" to providers.cursor.oauth.flows"), "{text}");
    let mut sign_in = client.sign_in(FlowKind::LinkPoll).await.unwrap();
    assert!(matches!(sign_in.paste("code"), Err(OAuthError::UnsupportedFlow { .. })));
}
