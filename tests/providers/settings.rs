//! Settings from the program, a file and the environment, and which take precedence.

#![cfg(all(feature = "config", feature = "oauth"))]

use std::num::NonZeroU32;
use std::time::Duration;

use tower_credentials::oauth::{Dialect, FlowKind, TokenEncoding};
use tower_credentials::provider::Provider;
use tower_credentials::registry::Registry;
use tower_credentials::settings::ProviderSettings;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Credential, CredentialsLayer, Error, Kind, OAuthTokens, PoolKey, Secret};

use crate::settings_rig::{refused, variables, with_file};
use crate::support::{self, Canned, Upstream, ask, cools, seconds, stack, tokio_clock};

/// A registry with the given settings from a file, the environment and the program.
fn of_three(
    key: &str,
    program: Option<&str>,
    file: Option<&str>,
    environment: Option<&str>,
) -> Registry {
    let provider = if key == "endpoint_hosts" { "github-copilot" } else { "openai" };
    let mut builder = Registry::builder();
    if let Some(value) = program {
        builder = builder.set(provider, ProviderSettings::new().set(key, value).unwrap());
    }
    if let Some(value) = file {
        let is_list = matches!(
            key,
            "origins" | "insecure_http_origins" | "endpoint_hosts" | "oauth.scopes" | "oauth.flows"
        );
        let value = if is_list { format!("[{value:?}]") } else { format!("{value:?}") };
        builder = builder.toml("credentials.toml", format!("[providers.{provider}]\n{key} = {value}"));
    }
    let variable = format!("TOWER_CREDENTIALS_{provider}_{key}").to_uppercase().replace(['-', '.'], "_");
    builder.environment(environment.map(|value| (variable, value.to_owned()))).build().unwrap()
}

/// Returns the effect of a key on a registry, as text.
async fn effect(registry: &Registry, key: &str) -> String {
    let provider = registry.provider("openai").unwrap();
    let oauth = provider.oauth().unwrap().clone();
    let joined = |items: &[String]| items.join(" ");
    match key {
        "mode" => mode_of(registry).await.to_owned(),
        "namespace" => registry.pool_key("openai").unwrap().namespace().to_owned(),
        "max_attempts" => {
            registry.max_attempts("openai").unwrap().map_or(0, NonZeroU32::get).to_string()
        }
        "max_in_flight" => at_once(registry).await,
        "cooldown_limited" => cooldown(registry, 429).await,
        "cooldown_refused" => cooldown(registry, 401).await,
        "api_key_variable" => registry.api_key_variable("openai").unwrap().unwrap_or("").to_owned(),
        "origins" => {
            let trusts = |host: &&str| provider.trusts(&format!("https://{host}/").parse().unwrap());
            let hosts = ["a.test", "b.test", "c.test"].into_iter().filter(trusts);
            hosts.map(|host| format!("https://{host}")).collect::<Vec<_>>().join(" ")
        }
        "insecure_http_origins" => {
            let trusts = |host: &&str| provider.trusts(&format!("http://{host}/").parse().unwrap());
            let hosts = ["10.0.0.1", "b.svc", "c"].into_iter().filter(trusts);
            hosts.map(|host| format!("http://{host}")).collect::<Vec<_>>().join(" ")
        }
        "endpoint_hosts" => {
            let copilot = registry.provider("github-copilot").unwrap();
            let lets = |host: &&str| copilot.endpoint(&named_endpoint(host)).is_some();
            ["a.test", "b.test", "c.test"].into_iter().filter(lets).collect::<Vec<_>>().join(" ")
        }
        "subscription_endpoint" => {
            let account = Credential::new(PoolKey::new("openai"), "a", OAuthTokens::new("t"));
            provider.endpoint(&account).map_or(String::new(), |endpoint| endpoint.to_string())
        }
        "models_url" => {
            let endpoint = provider.models(Kind::Api).unwrap();
            endpoint.uri(provider.origin()).unwrap().to_string()
        }
        "models_shape" => provider.models(Kind::Api).unwrap().shape().to_string(),
        "headers.x-team" => provider
            .default_headers()
            .iter()
            .filter(|(name, _)| name == "x-team")
            .map(|(_, value)| value.to_str().unwrap())
            .collect(),
        "oauth.client_id" => oauth.client_id.unwrap_or_default(),
        "oauth.client_secret" => oauth.client_secret.map_or(String::new(), |it| it.expose().to_owned()),
        "oauth.scopes" => joined(&oauth.scopes),
        "oauth.flows" => format!("{:?}", oauth.flows[0]).to_lowercase(),
        "oauth.authorize_url" => oauth.authorize_url.unwrap_or_default(),
        "oauth.authorize_params.x_y" => oauth
            .authorize_params
            .into_iter()
            .filter(|(name, _)| name == "x_y")
            .map(|(_, value)| value)
            .collect(),
        "oauth.redirect_uri" => oauth.redirect_uri.unwrap_or_default(),
        "oauth.device_url" => oauth.device_url.unwrap_or_default(),
        "oauth.token_url" => oauth.token_url.unwrap_or_default(),
        "oauth.refresh_url" => oauth.refresh_url.unwrap_or_default(),
        "oauth.exchange_url" => oauth.exchange_url.unwrap_or_default(),
        "oauth.account_url" => oauth.account_url.unwrap_or_default(),
        "oauth.poll_url" => oauth.poll_url.unwrap_or_default(),
        "oauth.token_encoding" => format!("{:?}", oauth.token_encoding).to_lowercase(),
        "oauth.dialect" => format!("{:?}", oauth.dialect).to_lowercase(),
        _ => panic!("{key}"),
    }
}

fn named_endpoint(host: &str) -> Credential {
    let mut tokens = OAuthTokens::new("t");
    tokens.extra.insert("endpoint".into(), host.into());
    Credential::new(PoolKey::new("github-copilot"), "a", tokens)
}

const UNTRIED: &str = "https://api.openai.com/v1/models";

fn get() -> support::Asked {
    http::Request::get(UNTRIED).body(Default::default()).unwrap()
}

/// Returns which credentials a pool uses.
async fn mode_of(registry: &Registry) -> &'static str {
    let keys_only = MemoryVault::new();
    let both = MemoryVault::new();
    for vault in [&keys_only, &both] {
        vault.put(Credential::new(PoolKey::new("openai"), "k", Secret::api_key("key"))).await.unwrap();
    }
    both.put(Credential::new(PoolKey::new("openai"), "a", OAuthTokens::new("account"))).await.unwrap();
    let upstream = Upstream::new();
    match registry.pool("openai", keys_only).unwrap().open().await {
        Err(Error::NoCredential { .. }) => return "subscription",
        Err(error) => panic!("{error}"),
        Ok(_) => {}
    }
    let pool = registry.pool("openai", both).unwrap().open().await.unwrap();
    ask(&stack(CredentialsLayer::new(pool), upstream.clone()), get()).await;
    if upstream.tokens() == ["key"] { "api" } else { "auto" }
}

/// Returns how many of five concurrent requests one credential serves.
async fn at_once(registry: &Registry) -> String {
    let key = registry.pool_key("openai").unwrap();
    let vault = MemoryVault::new();
    vault.put(Credential::new(key, "k", Secret::api_key("key"))).await.unwrap();
    let pool = registry.pool("openai", vault).unwrap().open().await.unwrap();
    let upstream = Upstream::new().answers("key", [Canned::ok().after(std::future::pending)]);
    let service = stack(CredentialsLayer::new(pool), upstream.clone());
    let requests: Vec<_> = (0..5).map(|_| tokio::spawn(ask(&service, get()))).collect();
    // Time is paused: it advances once every request waits.
    tokio::time::sleep(seconds(1)).await;
    requests.iter().for_each(|request| request.abort());
    upstream.tokens().len().to_string()
}

/// Returns how long a credential cools down after this status.
async fn cooldown(registry: &Registry, status: u16) -> String {
    let key = registry.pool_key("openai").unwrap();
    let vault = MemoryVault::new();
    // The second one gets a good response, so the refused one is to blame.
    for (label, secret) in [("k", "key"), ("well", "other")] {
        vault.put(Credential::new(key.clone(), label, Secret::api_key(secret))).await.unwrap();
    }
    let pool = registry.pool("openai", vault).unwrap().clock(tokio_clock()).open().await.unwrap();
    let upstream = Upstream::new().answers("key", [Canned::status(status)]);
    ask(&stack(CredentialsLayer::new(pool.clone()), upstream), get()).await;
    // A default is prolonged by a tenth at most.
    let wait = cools(&pool, "k");
    [seconds(10), seconds(20), seconds(40), seconds(80)]
        .into_iter()
        .find(|base| wait >= *base && wait <= base.mul_f64(1.1))
        .map_or_else(|| format!("{wait:?}"), |base| format!("{}s", base.as_secs()))
}

/// A key, and three values for it.
const KEYS: &[(&str, [&str; 3])] = &[
    ("mode", ["api", "subscription", "auto"]),
    ("namespace", ["a", "b", "c"]),
    ("max_attempts", ["1", "2", "3"]),
    ("max_in_flight", ["1", "2", "3"]),
    ("cooldown_limited", ["10s", "20s", "40s"]),
    ("cooldown_refused", ["10s", "20s", "40s"]),
    ("api_key_variable", ["A", "B", "C"]),
    ("origins", ["https://a.test", "https://b.test", "https://c.test"]),
    ("insecure_http_origins", ["http://10.0.0.1", "http://b.svc", "http://c"]),
    ("endpoint_hosts", ["a.test", "b.test", "c.test"]),
    ("subscription_endpoint", ["https://a.test/x", "https://b.test", "https://c.test"]),
    ("models_url", ["https://a.test/x", "https://b.test/x?y=z", "http://127.0.0.1:1/x"]),
    ("models_shape", ["openai", "anthropic", "google"]),
    ("headers.x-team", ["a", "b", "c"]),
    ("oauth.client_id", ["a", "b", "c"]),
    ("oauth.client_secret", ["a", "b", "c"]),
    ("oauth.scopes", ["a", "b", "c"]),
    ("oauth.flows", ["device", "loopback", "device"]),
    ("oauth.token_encoding", ["json", "form", "json"]),
    ("oauth.dialect", ["qwen", "cursor", "copilot"]),
    ("oauth.authorize_url", ["https://a.test/x", "https://b.test/?x=y", "http://127.0.0.1:1/x"]),
    ("oauth.authorize_params.x_y", ["a", "b", "c"]),
    ("oauth.redirect_uri", ["http://localhost:1/x", "http://127.0.0.1:0/x", "http://[::1]/x"]),
    ("oauth.device_url", ["https://a.test/x", "https://b.test/x", "https://c.test/x"]),
    ("oauth.token_url", ["https://a.test/x", "https://b.test/x", "https://c.test/x"]),
    ("oauth.refresh_url", ["https://a.test/x", "https://b.test/x", "https://c.test/x"]),
    ("oauth.exchange_url", ["https://a.test/x", "https://b.test/x", "https://c.test/x"]),
    ("oauth.account_url", ["https://a.test/x", "https://b.test/x", "https://c.test/x"]),
    ("oauth.poll_url", ["https://a.test/x", "https://b.test/x", "https://c.test/x"]),
];

#[tokio::test(start_paused = true)]
async fn the_program_overrides_the_file_and_the_file_the_environment_in_every_key() {
    for (key, [a, b, c]) in KEYS {
        for (sources, expected) in [
            ([Some(*a), Some(*b), Some(*c)], a),
            ([Some(*b), Some(*c), Some(*a)], b),
            ([None, Some(*b), Some(*c)], b),
            ([None, Some(*a), Some(*b)], a),
            ([Some(*a), None, Some(*b)], a),
            ([Some(*b), Some(*a), None], b),
            ([Some(*a), None, None], a),
            ([None, Some(*b), None], b),
            ([None, None, Some(*c)], c),
            ([None, None, Some(*a)], a),
        ] {
            let registry = of_three(key, sources[0], sources[1], sources[2]);
            assert_eq!(effect(&registry, key).await, *expected, "{key}: {sources:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn numbers_in_a_file_need_no_quotes() {
    let text = "[providers.openai]\nmax_attempts = 3\ncooldown_limited = 40\ncooldown_refused = 20";
    let registry = with_file(text).build().unwrap();
    assert_eq!(effect(&registry, "max_attempts").await, "3");
    assert_eq!(effect(&registry, "cooldown_limited").await, "40s");
    assert_eq!(effect(&registry, "cooldown_refused").await, "20s");
}

#[tokio::test(start_paused = true)]
async fn a_default_cooldown_is_capped_by_the_setting() {
    let text = "[providers.openai]\ncooldown_limited = \"1h\"\ncooldown_cap = \"20s\"";
    assert_eq!(cooldown(&with_file(text).build().unwrap(), 429).await, "20s");
}

#[test]
fn each_key_may_come_from_a_different_source() {
    let registry =
        with_file("[providers.openai]\nnamespace = \"f\"\nmax_attempts = 2\noauth.client_id = \"f\"")
            .set("openai", ProviderSettings::new().namespace("first"))
            .set("codex", ProviderSettings::new().max_attempts(NonZeroU32::MIN))
            .environment(variables(&[
                ("TOWER_CREDENTIALS_OPENAI_MAX_ATTEMPTS", "9"),
                ("TOWER_CREDENTIALS_OPENAI_OAUTH_TOKEN_URL", "https://e.test/"),
            ]));
    let error = refused(registry).to_string();
    assert!(error.contains("another name of openai"), "{error}");
    let registry =
        with_file("[providers.codex]\nnamespace = \"f\"\nmax_attempts = 2\noauth.client_id = \"f\"")
            .set("openai", ProviderSettings::new().namespace("first"))
            .set("openai", ProviderSettings::new().namespace("last"))
            .environment(variables(&[
                ("TOWER_CREDENTIALS_CHATGPT_MAX_ATTEMPTS", "9"),
                ("TOWER_CREDENTIALS_OPENAI_OAUTH_TOKEN_URL", "https://e.test/"),
            ]))
            .build()
            .unwrap();
    assert_eq!(registry.pool_key("openai").unwrap(), PoolKey::with_namespace("openai", "last"));
    assert_eq!(registry.max_attempts("openai").unwrap(), NonZeroU32::new(2));
    let oauth = registry.provider("openai").unwrap().oauth().unwrap().clone();
    assert_eq!(
        (oauth.client_id.as_deref(), oauth.token_url.as_deref()),
        (Some("f"), Some("https://e.test/"))
    );
}

#[test]
fn the_values_of_oauth_settings_are_read() {
    let text = r#"
        [providers.qwen.oauth]
        flows = ["device", "loopback", "pasted-code", "link-poll"]
        scopes = ["a", "b"]
        token_encoding = "json"
        dialect = "qwen"
        authorize_params = { prompt = "login", "x.y" = "z" }
    "#;
    let registry = with_file(text).build().unwrap();
    let oauth = registry.provider("qwen").unwrap().oauth().unwrap().clone();
    let flows = [FlowKind::Device, FlowKind::Loopback, FlowKind::PastedCode, FlowKind::LinkPoll];
    assert_eq!(oauth.flows, flows);
    assert_eq!(oauth.scopes, ["a", "b"]);
    assert_eq!((oauth.token_encoding, oauth.dialect), (TokenEncoding::Json, Dialect::Qwen));
    let has = |name: &str, value: &str| {
        oauth.authorize_params.iter().any(|param| *param == (name.to_owned(), value.to_owned()))
    };
    assert!(has("prompt", "login") && has("x.y", "z"));
    let environment = variables(&[
        ("TOWER_CREDENTIALS_QWEN_OAUTH_FLOWS", "device,link-poll"),
        ("TOWER_CREDENTIALS_QWEN_OAUTH_SCOPES", " a  b,c "),
        ("TOWER_CREDENTIALS_QWEN_OAUTH_TOKEN_ENCODING", "form"),
        ("TOWER_CREDENTIALS_QWEN_OAUTH_DIALECT", "standard"),
    ]);
    let registry = Registry::builder().environment(environment).build().unwrap();
    let oauth = registry.provider("qwen").unwrap().oauth().unwrap().clone();
    assert_eq!(oauth.flows, [FlowKind::Device, FlowKind::LinkPoll]);
    assert_eq!(oauth.scopes, ["a", "b", "c"]);
}

#[test]
fn the_documentations_file_is_valid() {
    let source = include_str!("../../src/settings/mod.rs");
    let block = source.split("//! ```toml\n").nth(1).unwrap().split("//! ```").next().unwrap();
    let text = block.lines().map(|line| line.trim_start_matches("//!").trim_start()).collect::<Vec<_>>();
    let registry = with_file(&text.join("\n")).build().unwrap();
    assert_eq!(registry.max_attempts("openai").unwrap(), NonZeroU32::new(3));
    assert_eq!(registry.provider("github-copilot").unwrap().default_headers().len(), 1);
    assert_eq!(registry.provider("example").unwrap().header_names()[0], "x-api-key");
}

#[test]
fn a_cooldown_is_written_in_several_ways() {
    for (text, expected) in [
        ("30", 30_000),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("1.5s", 1_500),
        ("250ms", 250),
        ("1d", 86_400_000),
        ("0", 0),
    ] {
        let set = ProviderSettings::new().set("cooldown_limited", text).unwrap();
        let expected = ProviderSettings::new().cooldown_limited(Duration::from_millis(expected));
        assert_eq!(format!("{set:?}"), format!("{expected:?}"), "{text}");
    }
}
