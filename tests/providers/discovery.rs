//! Discovering the models of an upstream: in each shape, page by page, through the layers, within limits.
#![cfg(feature = "discovery")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_credentials::discovery::{Discovery, DiscoveryError, DiscoveryErrorKind};
use tower_credentials::provider::{GenericProvider, ModelsEndpoint, ModelsShape};
use tower_credentials::registry::Registry;
use tower_credentials::settings::{ProviderSettings, SettingsError};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{
    BoxError, Credential, CredentialsLayer, Error, Mode, OAuthTokens, Pool, PoolKey, Secret,
};

use ModelsShape::{Anthropic, Google, OpenAi};

use crate::discovery_rig::{Rig, ids, list};
use crate::support::{
    Canned, Journal, Upstream, account, accounts, builder, keys, no_refresh, renewing, seconds, stack,
    status_of,
};
use crate::wire::{Wire, WireReply, frames, wire_client};

fn page(body: &str) -> Canned {
    Canned::ok().body(body.to_owned())
}

#[tokio::test]
async fn a_list_is_sorted_and_has_no_model_twice() {
    let rig = Rig::new(keys(["a"]).await).await;
    rig.upstream.set("a", [list(&["c", "a", "b", "a"])]);
    let models = rig.builder(OpenAi).build().unwrap().models().await.unwrap();
    assert_eq!(ids(&models), ["a", "b", "c"]);
    assert_eq!((models.get("b").map(|model| &*model.id), models.get("d")), (Some("b"), None));
    assert_eq!(rig.asked(), ["a /v1/models"]);
    let headers = &rig.upstream.seen.all()[0].headers;
    assert_eq!(headers["accept"], "application/json");
    assert!(!headers.contains_key("if-none-match"));
}

#[tokio::test]
async fn all_of_anthropics_pages_are_requested() {
    let rig = Rig::new(keys(["a"]).await).await;
    rig.upstream.set(
        "a",
        [
            page(r#"{"data": [{"id": "z"}, {"id": "y", "display_name": "Y"}], "has_more": true, "last_id": "y"}"#),
            page(r#"{"data": [{"id": "x"}, {"id": "y"}], "has_more": true, "last_id": "x/1"}"#),
            page(r#"{"data": [{"id": "w"}], "has_more": false, "last_id": "w"}"#),
        ],
    );
    let models = rig.builder(Anthropic).build().unwrap().models().await.unwrap();
    assert_eq!(ids(&models), ["w", "x", "y", "z"]);
    // Of several models with the same id, the first stays.
    assert_eq!(models.get("y").unwrap().name.as_deref(), Some("Y"));
    assert_eq!(
        rig.asked(),
        [
            "a /v1/models?limit=1000",
            "a /v1/models?limit=1000&after_id=y",
            "a /v1/models?limit=1000&after_id=x%2F1"
        ]
    );
}

#[tokio::test]
async fn all_of_googles_pages_are_requested() {
    let rig = Rig::new(keys(["a"]).await).await;
    rig.upstream.set(
        "a",
        [
            page(r#"{"models": [{"name": "models/b"}], "nextPageToken": "t&1"}"#),
            page(r#"{"nextPageToken": "t2"}"#),
            page(r#"{"models": [{"name": "tunedModels/a"}]}"#),
        ],
    );
    let models = rig.builder(Google).build().unwrap().models().await.unwrap();
    assert_eq!(ids(&models), ["b", "tunedModels/a"]);
    assert_eq!(
        rig.asked(),
        [
            "a /v1/models?pageSize=1000",
            "a /v1/models?pageSize=1000&pageToken=t%261",
            "a /v1/models?pageSize=1000&pageToken=t2"
        ]
    );
}

#[tokio::test]
async fn a_limited_account_does_not_prevent_a_list_even_between_two_pages() {
    let rig = Rig::new(keys(["a", "b"]).await).await;
    let first = page(r#"{"data": [{"id": "x"}], "has_more": true, "last_id": "x"}"#);
    let second = page(r#"{"data": [{"id": "y"}], "has_more": false}"#);
    rig.upstream.set("a", [first, Canned::limited(60)]);
    rig.upstream.set("b", [second]);
    let models = rig.builder(Anthropic).build().unwrap().models().await.unwrap();
    assert_eq!(ids(&models), ["x", "y"]);
    assert_eq!(rig.upstream.tokens(), ["a", "a", "b"]);
    assert!(status_of(&rig.pool, "a").ready_in(rig.pool.now()) >= seconds(60));
}

#[tokio::test]
async fn an_expired_token_is_renewed_between_two_pages() {
    let refreshed = Journal::new();
    let rig = Rig::with_refresher(accounts(["a"]).await, &renewing(&refreshed)).await;
    let first = page(r#"{"models": [{"name": "models/x"}], "nextPageToken": "t"}"#);
    rig.upstream.set("a-1", [first, Canned::status(401)]);
    rig.upstream.set("a-2", [page(r#"{"models": [{"name": "models/y"}]}"#)]);
    let models = rig.builder(Google).build().unwrap().models().await.unwrap();
    assert_eq!(ids(&models), ["x", "y"]);
    assert_eq!(refreshed.all(), ["a"]);
    assert_eq!(rig.asked()[2], "a-2 /v1/models?pageSize=1000&pageToken=t");
}

#[tokio::test]
async fn a_filter_selects_the_returned_models() {
    let rig = Rig::new(keys(["a"]).await).await;
    rig.upstream.set("a", [list(&["gpt-1", "gpt-2", "other"])]);
    let discovery = rig.builder(OpenAi).filter(|model| model.id.starts_with("gpt-")).build().unwrap();
    assert_eq!(ids(&discovery.models().await.unwrap()), ["gpt-1", "gpt-2"]);
    assert_eq!(ids(&discovery.models().await.unwrap()), ["gpt-1", "gpt-2"]);
}

/// Returns the error for an upstream that responds like this.
async fn refused(shape: ModelsShape, responses: impl IntoIterator<Item = Canned>) -> DiscoveryError {
    let rig = Rig::new(keys(["token-a"]).await).await;
    rig.upstream.set("token-a", responses);
    let builder = rig.builder(shape).max_pages(3).max_page_bytes(200).max_models(4);
    builder.build().unwrap().models().await.unwrap_err()
}

#[tokio::test]
async fn pages_and_models_and_bytes_are_bounded() {
    let more = |last: usize| {
        page(&format!(r#"{{"data": [{{"id": "m{last}"}}], "has_more": true, "last_id": "{last}"}}"#))
    };
    let error = refused(Anthropic, (0..9).map(more)).await;
    assert!(matches!(error.kind(), DiscoveryErrorKind::TooManyPages(3)), "{error:?}");
    let error = refused(OpenAi, [list(&["a", "b", "c", "d", "e"])]).await;
    assert!(matches!(error.kind(), DiscoveryErrorKind::TooManyModels(4)), "{error:?}");
    let error = refused(OpenAi, [list(&["x".repeat(200).as_str()])]).await;
    assert!(matches!(error.kind(), DiscoveryErrorKind::PageTooLong(200)), "{error:?}");
    let error = refused(Anthropic, [more(1)]).await;
    assert!(matches!(error.kind(), DiscoveryErrorKind::RepeatedPage), "{error:?}");
    let turning =
        ["t", "u"].map(|next| page(&format!(r#"{{"models": [], "nextPageToken": "{next}"}}"#)));
    let [one, other] = turning;
    let error = refused(Google, [one.clone(), other, one]).await;
    assert!(matches!(error.kind(), DiscoveryErrorKind::RepeatedPage), "{error:?}");
}

#[tokio::test]
async fn all_pages_together_are_bounded() {
    let rig = Rig::new(keys(["a"]).await).await;
    let text = |number: usize| {
        let body =
            format!(r#"{{"data": [{{"id": "m{number}"}}], "has_more": true, "last_id": "{number}"}}"#);
        format!("{body:<100}")
    };
    let last = format!("{:<100}", r#"{"data": [{"id": "last"}]}"#);
    let pages = || [page(&text(1)), page(&text(2)), page(&last)];
    let ask = async |bytes: usize| {
        rig.upstream.set("a", pages());
        rig.builder(Anthropic).max_page_bytes(150).max_bytes(bytes).build().unwrap().models().await
    };
    assert_eq!(ids(&ask(300).await.unwrap()), ["last", "m1", "m2"]);
    for bytes in [299, 200, 101] {
        let error = ask(bytes).await.unwrap_err();
        assert!(
            matches!(error.kind(), DiscoveryErrorKind::TooLong(most) if *most == bytes),
            "{error:?}"
        );
        assert!(error.to_string().contains(&bytes.to_string()), "{error}");
    }
    // By default it is less than five of the longest pages have.
    let page = |number: usize| page(&(text(number) + &" ".repeat(4 * 1024 * 1024 - 100)));
    rig.upstream.set("a", (0..5).map(page));
    let error = rig.builder(Anthropic).build().unwrap().models().await.unwrap_err();
    assert!(matches!(error.kind(), DiscoveryErrorKind::TooLong(_)), "{error:?}");
}

#[tokio::test]
async fn a_list_just_within_the_limits_is_accepted() {
    let rig = Rig::new(keys(["a"]).await).await;
    let body = r#"{"data": [{"id": "a"}, {"id": "b"}]}"#;
    rig.upstream.set("a", [page(body)]);
    let builder = rig.builder(OpenAi).max_pages(1).max_models(2).max_page_bytes(body.len());
    assert_eq!(ids(&builder.build().unwrap().models().await.unwrap()), ["a", "b"]);
}

#[tokio::test]
async fn an_error_names_the_provider_and_the_url_and_what_helps_but_no_secret() {
    let body = r#"{"error": {"message": "no such\r\n\u001b[2Jkey: token-a"}}"#;
    let error = refused(Anthropic, [Canned::status(404).body(body)]).await;
    let text = error.to_string();
    for part in ["x's models", "http://127.0.0.1:", "/v1/models:", "404", "key: …", "`models_url`"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    for part in ["token-a", "limit=", "\n", "\u{1b}"] {
        assert!(!text.contains(part) && !format!("{error:?}").contains(part), "{part:?} in {text}");
    }
    assert_eq!((error.provider(), error.status().map(|status| status.as_u16())), ("x", Some(404)));
    let long = format!(r#"{{"message": "{}"}}"#, "y".repeat(5000));
    let text = refused(OpenAi, [Canned::status(500).body(long)]).await.to_string();
    assert!(text.contains("yyy…") && text.len() < 500, "{text}");
    let text = refused(OpenAi, [page("<html>token-a")]).await.to_string();
    assert!(text.contains("no JSON") && text.contains("`models_shape`"), "{text}");
    assert!(!text.contains("token-a"), "{text}");
}

#[tokio::test]
async fn an_error_of_the_layers_can_be_recognized() {
    let rig = Rig::new(keys(["a"]).await).await;
    let endpoint = ModelsEndpoint::new(OpenAi, "https://elsewhere.test/models").unwrap();
    let discovery =
        Discovery::builder(&rig.pool, rig.client.clone()).endpoint(endpoint).build().unwrap();
    let error = discovery.models().await.unwrap_err();
    let DiscoveryErrorKind::Failed(cause) = error.kind() else { panic!("{error:?}") };
    assert!(matches!(cause.downcast_ref(), Some(Error::UntrustedOrigin { .. })), "{cause:?}");
    assert_eq!(rig.requests(), 0);
}

#[tokio::test]
async fn a_truncated_body_is_an_error() {
    let wire = Wire::start(|_| async {
        let piece = http_body::Frame::data(Bytes::from_static(b"{\"data\": [{\"id\": \"a\"}"));
        let mut reply = WireReply::new(frames([piece]));
        // The connection is closed when less than this has come.
        reply.headers_mut().insert("content-length", 1000.into());
        reply
    })
    .await;
    let provider = GenericProvider::bearer("x").origin(&wire.origin()).unwrap();
    let pool = Pool::builder(provider, keys(["a"]).await).open().await.unwrap();
    let client = tower::Layer::layer(&CredentialsLayer::new(pool.clone()), wire_client(false));
    let endpoint = ModelsEndpoint::new(OpenAi, "/models").unwrap();
    let builder = Discovery::builder(&pool, client).endpoint(endpoint);
    let error = builder.build().unwrap().models().await.unwrap_err();
    assert!(matches!(error.kind(), DiscoveryErrorKind::Failed(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_upstream_is_given_up_after_the_timeout() {
    let pool = builder(keys(["a"]).await).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [list(&["a"]).after(std::future::pending::<()>)]);
    let client = stack(CredentialsLayer::new(pool.clone()), upstream);
    let endpoint = ModelsEndpoint::new(OpenAi, "/v1/models").unwrap();
    let builder = Discovery::builder(&pool, client).endpoint(endpoint).timeout(seconds(7));
    let error = builder.build().unwrap().models().await.unwrap_err();
    assert!(matches!(error.kind(), DiscoveryErrorKind::TimedOut(after) if *after == seconds(7)));
}

/// Returns the URL at which the models of a vendor's account are requested.
async fn asked_at(provider: &str, settings: ProviderSettings, secret: impl Into<Secret>) -> String {
    let vault = MemoryVault::new();
    vault.put(Credential::new(PoolKey::new(provider), "a", secret)).await.unwrap();
    let registry = Registry::builder().set(provider, settings).build().unwrap();
    let pool = registry.pool(provider, vault).unwrap().open().await.unwrap();
    let asked = Arc::new(std::sync::Mutex::new(None));
    let upstream = {
        let asked = asked.clone();
        tower::service_fn(move |request: Request<Full<Bytes>>| {
            *asked.lock().unwrap() = Some(request.uri().to_string());
            std::future::ready(Err::<http::Response<Full<Bytes>>, BoxError>("not sent".into()))
        })
    };
    let client = tower::Layer::layer(&registry.layer(pool.clone()), upstream);
    let discovery = Discovery::builder(&pool, client).build().unwrap();
    discovery.models().await.unwrap_err();
    let asked = asked.lock().unwrap().take();
    asked.expect("it was not asked")
}

fn set(key: &str, value: &str) -> ProviderSettings {
    ProviderSettings::new().set(key, value).unwrap()
}

/// An account whose token response named its host.
fn with_host(host: &str) -> OAuthTokens {
    let mut tokens = OAuthTokens::new("t");
    tokens.extra.insert("endpoint".into(), host.into());
    tokens
}

#[tokio::test]
async fn every_vendors_list_is_requested_from_its_own_url() {
    let none = ProviderSettings::new;
    let key = || Secret::api_key("k");
    let account = || OAuthTokens::new("t");
    let portal = || set("subscription_endpoint", "https://portal.test/codex");
    for (provider, settings, secret, expected) in [
        ("anthropic", none(), key(), "https://api.anthropic.com/v1/models?limit=1000"),
        ("anthropic", none(), account().into(), "https://api.anthropic.com/v1/models?limit=1000"),
        (
            "google",
            none(),
            key(),
            "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000",
        ),
        ("openai", none(), key(), "https://api.openai.com/v1/models"),
        ("openai", none(), account().into(), "https://api.openai.com/v1/models"),
        ("openai", portal(), key(), "https://api.openai.com/v1/models"),
        ("openai", portal(), account().into(), "https://portal.test/codex/models"),
        (
            "openai",
            set("subscription_endpoint", "https://portal.test/v1"),
            account().into(),
            "https://portal.test/v1/models",
        ),
        ("github-copilot", none(), account().into(), "https://api.githubcopilot.com/models"),
        (
            "github-copilot",
            none(),
            with_host("api.business.githubcopilot.com").into(),
            "https://api.business.githubcopilot.com/models",
        ),
        ("qwen", none(), with_host("portal.qwen.ai").into(), "https://portal.qwen.ai/v1/models"),
        ("openai", set("origins", "http://127.0.0.1:1"), key(), "http://127.0.0.1:1/v1/models"),
        (
            "cursor",
            set("models_url", "https://api2.cursor.sh/models"),
            key(),
            "https://api2.cursor.sh/models",
        ),
        (
            "cursor",
            set("models_shape", "google"),
            key(),
            "https://api2.cursor.sh/v1beta/models?pageSize=1000",
        ),
        ("openai", set("models_url", "/models"), key(), "https://api.openai.com/models"),
    ] {
        assert_eq!(asked_at(provider, settings, secret).await, expected, "{provider}");
    }
}

#[tokio::test]
async fn the_kind_of_the_next_requests_account_decides_the_url() {
    let vault = MemoryVault::new();
    let key = PoolKey::new("openai");
    vault.put(Credential::new(key.clone(), "k", Secret::api_key("k"))).await.unwrap();
    vault.put(Credential::new(key, "a", OAuthTokens::new("t"))).await.unwrap();
    for (mode, expected) in [
        (Mode::Auto, "https://api.openai.com/models"),
        (Mode::Subscription, "https://api.openai.com/models"),
        (Mode::Api, "https://api.openai.com/v1/models"),
    ] {
        let settings = set("subscription_endpoint", "https://portal.test/codex").mode(mode);
        let registry = Registry::builder().set("openai", settings).build().unwrap();
        let pool = registry.pool("openai", vault.clone()).unwrap().open().await.unwrap();
        let client = stack(registry.layer(pool.clone()), Upstream::new());
        let discovery = Discovery::builder(&pool, client).build().unwrap();
        assert_eq!(*discovery.uri(), expected, "{mode:?}");
    }
}

#[tokio::test]
async fn a_provider_without_a_list_is_an_error_that_names_the_setting() {
    for (provider, secret) in [
        ("cursor", Secret::api_key("k")),
        ("qwen", Secret::api_key("k")),
        ("mine", Secret::api_key("k")),
    ] {
        let vault = MemoryVault::new();
        vault.put(Credential::new(PoolKey::new(provider), "a", secret)).await.unwrap();
        let registry = Registry::builder().register(GenericProvider::bearer("mine")).build().unwrap();
        let pool = registry.pool(provider, vault).unwrap().open().await.unwrap();
        let client = stack(registry.layer(pool.clone()), Upstream::new());
        let error = Discovery::builder(&pool, client.clone()).build().unwrap_err();
        assert!(matches!(&error, SettingsError::Invalid { key, .. } if key == "models_url"), "{error}");
        assert!(error.to_string().contains(provider), "{error}");
        if provider == "mine" {
            let endpoint = ModelsEndpoint::new(OpenAi, "/models").unwrap();
            let error = Discovery::builder(&pool, client).endpoint(endpoint).build().unwrap_err();
            assert!(matches!(&error, SettingsError::Invalid { key, .. } if key == "origins"), "{error}");
        }
    }
}

#[tokio::test]
async fn no_debug_output_of_a_discovery_contains_a_secret() {
    let vault = MemoryVault::new();
    vault.put(account("a")).await.unwrap();
    let rig = Rig::with_refresher(vault, &no_refresh()).await;
    let builder = rig.builder(OpenAi).time_to_live(Duration::from_secs(1));
    let shown = format!("{builder:?} {:?}", rig.builder(OpenAi).build().unwrap());
    assert!(!shown.contains("a-1") && shown.contains("x/default"), "{shown}");
}
