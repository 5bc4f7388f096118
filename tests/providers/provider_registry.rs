//! Providers by name: aliases, a program's own types, providers that a file declares, and their keys from the
//! environment.

#![cfg(all(feature = "config", feature = "oauth"))]

use std::num::NonZeroU32;

use http::{HeaderName, HeaderValue, Uri, header};
use tower_credentials::provider::{CredentialHeaders, GenericProvider, Provider, UnusableSecret};
use tower_credentials::registry::Registry;
use tower_credentials::settings::{ProviderSettings, SettingsError};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Credential, CredentialsLayer, Error, OAuthTokens, Pool, PoolKey, Secret};

use crate::settings_rig::{refused, variables, with_file};
use crate::support::{self, Canned, Upstream, ask, cools, seconds, stack, tokio_clock};

fn get() -> support::Asked {
    http::Request::get("https://api.openai.com/v1/models").body(Default::default()).unwrap()
}

fn named_endpoint(host: &str) -> Credential {
    let mut tokens = OAuthTokens::new("t");
    tokens.extra.insert("endpoint".into(), host.into());
    Credential::new(PoolKey::new("github-copilot"), "a", tokens)
}

#[tokio::test]
async fn an_alias_uses_the_canonical_pool() {
    let registry = Registry::builder().build().unwrap();
    let vault = MemoryVault::new();
    for (alias, name) in [
        ("github-copilot-enterprise", "github-copilot"),
        ("copilot", "github-copilot"),
        ("claude", "anthropic"),
        ("codex", "openai"),
        ("chatgpt", "openai"),
        ("gemini", "google"),
        ("qwen-code", "qwen"),
    ] {
        vault.put(Credential::new(PoolKey::new(name), "a", Secret::api_key("k"))).await.unwrap();
        let pool = registry.pool(alias, vault.clone()).unwrap().open().await.unwrap();
        assert_eq!(pool.key(), &PoolKey::new(name));
        assert!(!pool.status().is_empty());
        assert_eq!(registry.provider(alias).unwrap().name(), name);
    }
    let names: Vec<_> = registry.names().collect();
    assert_eq!(names, ["anthropic", "cursor", "github-copilot", "google", "openai", "qwen"]);
}

/// A provider that a program has written itself.
struct Own(&'static str);

impl Provider for Own {
    fn name(&self) -> &str {
        self.0
    }

    fn trusts(&self, uri: &Uri) -> bool {
        uri.host() == Some("api.test") && uri.scheme_str() == Some("https")
    }

    fn headers(&self, credential: &Credential) -> Result<CredentialHeaders, UnusableSecret> {
        let value = format!("Own {}", credential.secret.token().expose());
        Ok(vec![(header::AUTHORIZATION, value.parse().map_err(|_| UnusableSecret)?)])
    }

    fn header_names(&self) -> &[HeaderName] {
        &[header::AUTHORIZATION]
    }

    fn aliases(&self) -> &[&str] {
        &["my-own"]
    }
}

#[tokio::test]
async fn a_registry_has_a_programs_own_type_under_its_names_with_its_settings() {
    let text = "[providers.my-own]\norigins = [\"https://more.test\"]\nheaders.x-team = \"blue\"\noauth.client_id = \"c\"";
    let builder = with_file(text)
        .register(Own("own"))
        .environment(variables(&[("TOWER_CREDENTIALS_OWN_MAX_ATTEMPTS", "4")]));
    let registry = builder.build().unwrap();
    let provider = registry.provider("my-own").unwrap();
    assert_eq!(provider.name(), "own");
    for (uri, expected) in
        [("https://api.test/", true), ("https://more.test/", true), ("https://evil.test/", false)]
    {
        assert_eq!(provider.trusts(&uri.parse().unwrap()), expected, "{uri}");
    }
    let team = (HeaderName::from_static("x-team"), HeaderValue::from_static("blue"));
    assert_eq!(provider.default_headers(), [team]);
    assert_eq!(provider.oauth().unwrap().client_id.as_deref(), Some("c"));
    assert_eq!(registry.max_attempts("own").unwrap(), NonZeroU32::new(4));

    let vault = MemoryVault::new();
    vault.put(Credential::new(PoolKey::new("own"), "a", Secret::api_key("k"))).await.unwrap();
    let pool = registry.pool("own", vault).unwrap().open().await.unwrap();
    let upstream = Upstream::new();
    let service = stack(CredentialsLayer::new(pool), upstream.clone());
    assert_eq!(ask(&service, support::post()).await.0, 200);
    assert_eq!(upstream.seen.all()[0].headers["authorization"], "Own k");
}

#[test]
fn an_own_type_replaces_a_vendors_adapter_and_shares_no_name_with_another() {
    let registry = Registry::builder().register(Own("openai")).build().unwrap();
    assert!(registry.provider("openai").unwrap().trusts(&"https://api.test/".parse().unwrap()));
    assert!(registry.provider("codex").is_err());
    for builder in [
        Registry::builder().register(Own("own")).register(Own("other")),
        Registry::builder().register(Own("own")).register(Own("own")),
        Registry::builder().register(Own("own")).register(GenericProvider::bearer("my-own")),
        Registry::builder().register(Own("claude")),
    ] {
        assert!(matches!(refused(builder), SettingsError::NameTaken { .. }));
    }
    let typed = with_file("[providers.own]\ntype = \"generic\"").register(Own("own"));
    assert!(refused(typed).to_string().contains("the program itself"));
}

#[tokio::test]
async fn a_generic_provider_is_declared_in_a_file_without_code() {
    let text = r#"
        [providers.example]
        type = "generic"
        aliases = ["ex"]
        origins = ["https://api.test"]
        header = "x-example-key"
        prefix = "Key "
        oauth_header = "authorization"
        query_names = ["sig"]
        quota_headers = ["x-org", "x-team"]
        api_key_variable = "EXAMPLE_KEY"
        extra_headers.x-tenant = "t1"
        headers.x-version = "1"
        oauth.token_url = "https://auth.test/token"

        [providers.anthropic]
        quota_headers = []

        [providers.plain]
        type = "generic"
        origins = ["https://plain.test"]
    "#;
    let environment = variables(&[
        ("TOWER_CREDENTIALS_EXAMPLE_MAX_ATTEMPTS", "2"),
        ("TOWER_CREDENTIALS_EX_HEADERS_X_MORE", "m"),
        ("EXAMPLE_KEY", "planted"),
    ]);
    let registry = with_file(text).environment(environment).build().unwrap();
    let provider = registry.provider("ex").unwrap();
    assert_eq!(provider.query_names(), ["sig"]);
    assert_eq!(provider.quota_headers(), ["x-org", "x-team"]);
    let plain = registry.provider("plain").unwrap();
    assert!(plain.quota_headers().is_empty());
    let anthropic = registry.provider("anthropic").unwrap();
    assert!(anthropic.quota_headers().is_empty(), "settings come before the vendor's");
    assert_eq!(registry.provider("openai").unwrap().quota_headers().len(), 2);
    let defaults: Vec<_> = provider.default_headers().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(defaults, ["x-version", "x-more"]);
    assert_eq!(provider.oauth().unwrap().token_url.as_deref(), Some("https://auth.test/token"));
    assert_eq!(registry.max_attempts("example").unwrap(), NonZeroU32::new(2));

    let pool = registry.pool("example", MemoryVault::new()).unwrap().open().await.unwrap();
    let upstream = Upstream::new();
    let service = stack(CredentialsLayer::new(pool), upstream.clone());
    let mut request = support::post();
    *request.uri_mut() = "https://api.test/?sig=own&a=1".parse().unwrap();
    assert_eq!(ask(&service, request).await.0, 200);
    let seen = upstream.seen.all().remove(0);
    assert_eq!(seen.headers["x-example-key"], "Key planted");
    assert_eq!(seen.headers["x-tenant"], "t1");
    assert_eq!(seen.uri.query(), Some("a=1"));

    let account = Credential::new(PoolKey::new("example"), "a", OAuthTokens::new("t"));
    let headers = provider.headers(&account).unwrap();
    assert!(headers.contains(&(header::AUTHORIZATION, HeaderValue::from_static("Bearer t"))));
    let plain = registry.provider("plain").unwrap();
    let key = Credential::new(PoolKey::new("plain"), "a", Secret::api_key("k"));
    assert_eq!(
        plain.headers(&key).unwrap(),
        [(header::AUTHORIZATION, HeaderValue::from_static("Bearer k"))]
    );
    assert!(plain.oauth().is_none());
}

#[test]
fn a_vendors_adapter_serves_a_compatible_server_under_another_name() {
    let text = r#"
        [providers.mine]
        type = "anthropic"
        origins = ["https://mine.test"]
        [providers.enterprise]
        type = "github-copilot"
        endpoint_hosts = ["copilot.corp.test"]
    "#;
    let registry = with_file(text).build().unwrap();
    let mine = registry.provider("mine").unwrap();
    assert_eq!((mine.name(), mine.aliases()), ("mine", &[][..]));
    assert!(mine.trusts(&"https://mine.test/".parse().unwrap()));
    assert!(!mine.trusts(&"https://api.anthropic.com/".parse().unwrap()));
    assert_eq!(mine.list_elements().len(), 1);
    // The vendor's key is not for this server.
    assert_eq!(registry.api_key_variable("mine").unwrap(), None);
    assert!(
        registry
            .provider("enterprise")
            .unwrap()
            .endpoint(&named_endpoint("copilot.corp.test"))
            .is_some()
    );
    assert!(
        registry
            .provider("github-copilot")
            .unwrap()
            .endpoint(&named_endpoint("copilot.corp.test"))
            .is_none()
    );
}

#[test]
fn the_longest_name_of_a_provider_counts_in_a_variable() {
    let text = "[providers.openai-eu]\ntype = \"openai\"\n[providers.\"my.own\"]\ntype = \"generic\"";
    let environment = variables(&[
        ("TOWER_CREDENTIALS_OPENAI_EU_MAX_ATTEMPTS", "2"),
        ("TOWER_CREDENTIALS_OPENAI_MAX_ATTEMPTS", "3"),
        ("TOWER_CREDENTIALS_MY_OWN_MAX_ATTEMPTS", "4"),
    ]);
    let registry = with_file(text).environment(environment).build().unwrap();
    let attempts = ["openai-eu", "openai", "my.own"].map(|name| registry.max_attempts(name).unwrap());
    assert_eq!(attempts, [2, 3, 4].map(NonZeroU32::new));
}

// Keys from the environment

#[tokio::test]
async fn auto_takes_accounts_then_a_stored_key_then_the_environments() {
    let vault = MemoryVault::new();
    let environment = variables(&[("OPENAI_API_KEY", "from-environment")]);
    let registry = Registry::builder().environment(environment).build().unwrap();
    let mut expected = Vec::new();
    for (secret, token) in [
        (None, "from-environment"),
        (Some(Secret::api_key("stored")), "stored"),
        (Some(OAuthTokens::new("account").into()), "account"),
    ] {
        if let Some(secret) = secret {
            vault.put(Credential::new(PoolKey::new("openai"), "a", secret)).await.unwrap();
        }
        let pool = registry.pool("openai", vault.clone()).unwrap().open().await.unwrap();
        let upstream = Upstream::new();
        ask(&stack(CredentialsLayer::new(pool), upstream.clone()), get()).await;
        expected.push(token);
        assert_eq!(upstream.tokens(), [token]);
    }
    assert_eq!(expected.len(), 3);
}

#[tokio::test]
async fn no_key_is_taken_from_the_environment_unless_that_is_intended() {
    let key = ("OPENAI_API_KEY", "planted");
    let size = async |settings: ProviderSettings, pairs: &[(&str, &str)]| {
        let builder = Registry::builder().set("openai", settings).environment(variables(pairs));
        let pool = builder.build().unwrap().pool("openai", MemoryVault::new()).unwrap();
        pool.open().await.map(|pool: Pool| pool.status().len())
    };
    let with = |name, value| ProviderSettings::new().set(name, value).unwrap();
    assert_eq!(size(ProviderSettings::new(), &[key]).await.unwrap(), 1);
    assert_eq!(size(with("mode", "api"), &[key]).await.unwrap(), 1);
    assert_eq!(size(ProviderSettings::new(), &[("OPENAI_API_KEY", "  ")]).await.unwrap(), 0);
    assert_eq!(size(ProviderSettings::new(), &[]).await.unwrap(), 0);
    assert_eq!(size(with("api_key_variable", ""), &[key]).await.unwrap(), 0);
    assert_eq!(size(with("api_key_variable", "OTHER"), &[key]).await.unwrap(), 0);
    assert_eq!(size(with("api_key_variable", "OTHER"), &[("OTHER", "x")]).await.unwrap(), 1);
    assert_eq!(size(with("type", "openai"), &[key]).await.unwrap(), 1);
    let error = size(with("mode", "subscription"), &[key]).await.unwrap_err();
    assert!(matches!(error, Error::NoCredential { .. }));
}

#[tokio::test(start_paused = true)]
async fn pools_of_one_registry_share_the_standing_of_the_environments_key() {
    let environment = variables(&[("OPENAI_API_KEY", "planted")]);
    let registry = Registry::builder().environment(environment).build().unwrap();
    let (vault, clock) = (MemoryVault::new(), tokio_clock());
    let open = async || {
        let builder = registry.pool("openai", vault.clone()).unwrap().clock(clock.clone());
        builder.open().await.unwrap()
    };
    let first = open().await;
    let upstream = Upstream::new().answers("planted", [Canned::limited(60)]);
    ask(&stack(CredentialsLayer::new(first.clone()), upstream), get()).await;
    first.save().await.unwrap();
    let left = cools(&first, "$OPENAI_API_KEY");
    assert!(left >= seconds(60), "{left:?}");
    assert_eq!(cools(&open().await, "$OPENAI_API_KEY"), left);
}

#[test]
fn each_vendor_has_its_usual_variable() {
    let registry = Registry::builder().build().unwrap();
    let variables: Vec<_> =
        registry.names().map(|name| registry.api_key_variable(name).unwrap().unwrap_or("-")).collect();
    let expected =
        ["ANTHROPIC_API_KEY", "-", "-", "GEMINI_API_KEY", "OPENAI_API_KEY", "DASHSCOPE_API_KEY"];
    assert_eq!(variables, expected);
}
