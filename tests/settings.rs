//! Settings from the program, a file and the environment, and the registry that they make.

#![cfg(all(feature = "config", feature = "oauth"))]

mod support;

use std::num::NonZeroU32;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri, header};
use support::{Answer, Upstream, ask, cools, seconds, stack, tokio_clock};
use tower_credentials::oauth::{Dialect, FlowKind, TokenEncoding};
use tower_credentials::provider::{
    CredentialHeaders, GenericProvider, Provider, Registry, RegistryBuilder, UnusableSecret,
};
use tower_credentials::settings::{ProviderSettings, SettingsError};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Credential, CredentialsLayer, Error, OAuthTokens, Pool, PoolKey, Secret};

fn with_file(text: &str) -> RegistryBuilder {
    Registry::builder().toml("credentials.toml", text)
}

fn refused(builder: RegistryBuilder) -> SettingsError {
    builder.build().expect_err("it was taken")
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

// What is wrong is named, with where and with the way out

/// Files, and what the error says.
const WRONG_FILES: &[(&str, &[&str])] = &[
    (
        "[providers.openai]\n\nmoed = \"api\"",
        &["credentials.toml, line 3", "`providers.openai.moed`", "`mode`"],
    ),
    ("[providers.openai]\nmax_atempts = 1", &["line 2", "`max_attempts`"]),
    ("[providers.openai]\norigin = []", &["line 2", "`origins`"]),
    (
        "[providers.openai.oauth]\nclientid = \"x\"",
        &["line 2", "`providers.openai.oauth.clientid`", "`oauth.client_id`"],
    ),
    ("[providers.openai.oauth]\ntoken_uri = \"x\"", &["`oauth.token_url`"]),
    ("[providers.openai]\noauth.authorise_url = \"x\"", &["`oauth.authorize_url`"]),
    (
        "[providers.openai.cooldowns]\nlimited = 1",
        &["line 1", "`providers.openai.cooldowns`", "`cooldown_"],
    ),
    ("[provider.openai]\nmode = \"api\"", &["line 1", "`provider`", "`providers`"]),
    ("mode = \"api\"", &["line 1", "`mode`", "`providers`"]),
    ("[providers.opnai]\nmode = \"api\"", &["line 1", "\"opnai\"", "`openai`", "`type`"]),
    ("[providers.anthropc]", &["`anthropic`"]),
    ("\n\n[providers.github-copliot]", &["line 3", "`github-copilot`"]),
    ("providers = 1", &["line 1", "`providers` must be a table"]),
    ("[providers]\nopenai = \"api\"", &["line 2", "`providers.openai` must be a table"]),
    (
        "[providers.openai]\nmode = \"apis\"",
        &["line 2", "`providers.openai.mode`", "\"auto\", \"api\", \"subscription\""],
    ),
    ("[providers.openai]\nmode = 1", &["must be text, in quotes"]),
    ("[providers.openai]\nmode = [\"api\"]", &["must be text, not a list"]),
    ("[providers.openai]\nmode.x = 1", &["must be text, not a table"]),
    ("[providers.openai]\nmode = true", &["must be text, not a true or false"]),
    (
        "[providers.openai]\nmax_attempts = 0",
        &["line 2", "`providers.openai.max_attempts`", "from 1 on"],
    ),
    ("[providers.openai]\nmax_attempts = -1", &["from 1 on"]),
    ("[providers.openai]\nmax_attempts = 4294967296", &["from 1 on"]),
    ("[providers.openai]\nmax_attempts = 1.5", &["from 1 on"]),
    ("[providers.openai]\nmax_attempts = []", &["from 1 on"]),
    (
        "[providers.openai]\ncooldown_limited = \"soon\"",
        &["`providers.openai.cooldown_limited`", "\"30s\""],
    ),
    ("[providers.openai]\ncooldown_limited = -1", &["\"30s\""]),
    ("[providers.openai]\ncooldown_limited = \"-1s\"", &["\"30s\""]),
    ("[providers.openai]\ncooldown_refused = \"5 minutes\"", &["\"5m\""]),
    ("[providers.openai]\ncooldown_cap = []", &["\"1h30m\""]),
    ("[providers.openai]\nnamespace = \"\"", &["`providers.openai.namespace`", "it is empty"]),
    ("[providers.openai]\nnamespace = \"a\\nb\"", &["control characters"]),
    ("[providers.openai]\napi_key_variable = \"A=B\"", &["environment variable"]),
    ("[providers.openai]\norigins = \"https://a.test\"", &["must be a list of texts"]),
    ("[providers.openai]\norigins = [1]", &["must be text, in quotes"]),
    ("[providers.openai]\norigins = [\"http://a.test\"]", &["`providers.openai.origins`", "use https"]),
    ("[providers.openai]\norigins = [\"https://a.test/v1\"]", &["no path"]),
    ("[providers.github-copilot]\nendpoint_hosts = [\"http://a.test\"]", &["use https"]),
    ("[providers.github-copilot]\nendpoint_hosts = [\"*.a.test\"]", &["letters, digits and dashes"]),
    (
        "[providers.openai]\nendpoint_hosts = [\"a.test\"]",
        &["openai", "`endpoint_hosts`", "Copilot and Qwen"],
    ),
    ("[providers.openai]\nsubscription_endpoint = \"http://a.test\"", &["use https"]),
    ("[providers.qwen]\nsubscription_endpoint = \"https://a.test\"", &["qwen", "OpenAI alone"]),
    ("[providers.openai]\nheaders = 1", &["must be a table of headers"]),
    ("[providers.openai.headers]\n\"a b\" = \"x\"", &["line 2", "header's name"]),
    ("[providers.openai.headers]\na = 1", &["must be text"]),
    ("[providers.openai.headers]\na = \"x\\ny\"", &["one line of plain text"]),
    ("[providers.openai]\nheader = \"x-api-key\"", &["openai", "`header`", "\"generic\" alone"]),
    ("[providers.openai]\nprefix = \"\"", &["`prefix`", "\"generic\" alone"]),
    ("[providers.openai.extra_headers]\na = \"b\"", &["`extra_headers`", "\"generic\" alone"]),
    ("[providers.openai]\nquery_names = [\"k\"]", &["`query_names`", "\"generic\" alone"]),
    ("[providers.mine]\ntype = \"genric\"", &["mine", "`type`", "\"generic\"", "\"github-copilot\""]),
    ("[providers.mine]\ntype = \"openai\"\nheader = \"a\"", &["`header`", "\"generic\" alone"]),
    ("[providers.mine]\ntype = \"generic\"\naliases = [\"openai\"]", &["\"openai\" is taken by openai"]),
    (
        "[providers.mine]\ntype = \"generic\"\naliases = [\"claude\"]",
        &["\"claude\" is taken by anthropic"],
    ),
    ("[providers.mine]\ntype = \"generic\"\nquery_names = [\"\"]", &["empty name"]),
    ("[providers.mine]\ntype = \"generic\"\nheader = \"a b\"", &["header's name"]),
    ("[providers.openai]\naliases = [\"oai\"]", &["openai", "`aliases`", "credentials.toml, line 1"]),
    ("[providers.\"\"]\ntype = \"generic\"", &["line 1", "it is empty"]),
    ("[providers.claude]\n[providers.anthropic]", &["`claude`", "another name of anthropic"]),
    ("[providers.openai]\noauth = 1", &["`providers.openai.oauth` must be a table"]),
    ("[providers.openai]\noauth.client_id = \"\"", &["is empty"]),
    ("[providers.openai]\noauth.client_id = 1", &["must be text"]),
    ("[providers.openai]\noauth.scopes = \"a b\"", &["must be a list"]),
    ("[providers.openai]\noauth.flows = [\"divice\"]", &["\"device\"", "\"pasted-code\""]),
    ("[providers.openai]\noauth.token_encoding = \"xml\"", &["\"form\", \"json\""]),
    ("[providers.openai]\noauth.dialect = \"x\"", &["\"standard\""]),
    (
        "[providers.openai]\noauth.token_url = \"http://a.test/token\"",
        &["`providers.openai.oauth.token_url`", "use https"],
    ),
    ("[providers.openai]\noauth.device_url = \"a.test\"", &["https://"]),
    ("[providers.openai]\noauth.redirect_uri = \"localhost:1\"", &["http://127.0.0.1"]),
    ("[providers.openai]\noauth.redirect_uri = \"/callback\"", &["http://127.0.0.1"]),
    ("[providers.openai]\noauth.authorize_url = \"https://u:p@a.test/\"", &["must not name a user"]),
    ("[providers.openai]\noauth.authorize_params = \"a=b\"", &["must be a table of texts"]),
    ("[providers.openai]\noauth.authorize_params.a = 1", &["must be text"]),
    ("[providers.openai\nmode = \"api\"", &["credentials.toml, line 1", "no TOML"]),
    ("[providers.openai]\nmode = \"api\"\nmode = \"api\"", &["credentials.toml, line 3", "no TOML"]),
];

#[test]
fn what_is_wrong_in_a_file_is_named_with_its_line_and_the_way_out() {
    for (text, says) in WRONG_FILES {
        let error = refused(with_file(text)).to_string();
        for part in *says {
            assert!(error.contains(part), "{text:?}: {error:?} does not say {part:?}");
        }
    }
    assert!(WRONG_FILES.len() >= 65);
}

/// Variables, and what the error says; `None` where there is none.
const WRONG_VARIABLES: &[(&str, &str, Option<&[&str]>)] = &[
    (
        "TOWER_CREDENTIALS_OPENAI_MOED",
        "api",
        Some(&["TOWER_CREDENTIALS_OPENAI_MOED", "`TOWER_CREDENTIALS_OPENAI_MODE`"]),
    ),
    (
        "TOWER_CREDENTIALS_GITHUB_COPILOT_MAX_ATEMPTS",
        "1",
        Some(&["`TOWER_CREDENTIALS_GITHUB_COPILOT_MAX_ATTEMPTS`"]),
    ),
    (
        "TOWER_CREDENTIALS_OPENAI_OAUTH_CLIENTID",
        "x",
        Some(&["`TOWER_CREDENTIALS_OPENAI_OAUTH_CLIENT_ID`"]),
    ),
    ("TOWER_CREDENTIALS_OPENAI_mode", "api", Some(&["`TOWER_CREDENTIALS_OPENAI_MODE`"])),
    ("TOWER_CREDENTIALS_OPENAI_", "x", Some(&["TOWER_CREDENTIALS_OPENAI_"])),
    ("TOWER_CREDENTIALS_OPENAI_OAUTH", "x", Some(&["TOWER_CREDENTIALS_OPENAI_OAUTH"])),
    ("TOWER_CREDENTIALS_OPENAI_HEADERS", "x", Some(&["must be a table"])),
    (
        "TOWER_CREDENTIALS_OPNAI_MODE",
        "api",
        Some(&["TOWER_CREDENTIALS_OPNAI_MODE", "\"OPNAI\"", "`OPENAI`"]),
    ),
    ("TOWER_CREDENTIALS_COPLIOT_OAUTH_CLIENT_ID", "x", Some(&["\"COPLIOT\"", "`COPILOT`"])),
    (
        "TOWER_CREDENTIALS_OPENAI_MODE",
        "apis",
        Some(&["TOWER_CREDENTIALS_OPENAI_MODE", "`mode`", "\"api\""]),
    ),
    ("TOWER_CREDENTIALS_OPENAI_MAX_ATTEMPTS", "0", Some(&["from 1 on"])),
    ("TOWER_CREDENTIALS_OPENAI_MAX_ATTEMPTS", "many", Some(&["from 1 on"])),
    ("TOWER_CREDENTIALS_OPENAI_COOLDOWN_LIMITED", "soon", Some(&["\"30s\""])),
    ("TOWER_CREDENTIALS_OPENAI_ORIGINS", "https://a.test http://b.test", Some(&["use https"])),
    ("TOWER_CREDENTIALS_OPENAI_HEADERS_X_TEAM", "a\nb", Some(&["one line"])),
    ("TOWER_CREDENTIALS_OPENAI_OAUTH_TOKEN_URL", "ftp://a.test", Some(&["https"])),
    ("TOWER_CREDENTIALS_OPENAI_HEADER", "a", Some(&["`header`", "\"generic\" alone"])),
    ("TOWER_CREDENTIALS_VAULT_KEY", "planted", None),
    ("TOWER_CREDENTIALS_DIR", "/tmp", None),
    ("TOWER_CREDENTIALS_SOMETHING_ELSE", "x", None),
    ("TOWER_CREDENTIALS_", "x", None),
    ("TOWER_CREDENTIALS", "x", None),
    ("OPENAI_MOED", "x", None),
    ("XTOWER_CREDENTIALS_OPENAI_MOED", "x", None),
];

#[test]
fn what_is_wrong_in_the_environment_is_named_with_the_variable_and_the_way_out() {
    for (name, value, says) in WRONG_VARIABLES {
        let built = Registry::builder().environment(variables(&[(name, value)])).build();
        match says {
            None => assert!(built.is_ok(), "{name}: {built:?}"),
            Some(says) => {
                let error = built.expect_err(name).to_string();
                for part in *says {
                    assert!(error.contains(part), "{name}: {error:?} does not say {part:?}");
                }
            }
        }
    }
}

#[test]
fn two_variables_of_one_setting_and_one_that_may_be_of_two_providers_are_refused() {
    let twice =
        variables(&[("TOWER_CREDENTIALS_OPENAI_MODE", "api"), ("TOWER_CREDENTIALS_CODEX_MODE", "auto")]);
    let error = refused(Registry::builder().environment(twice)).to_string();
    assert!(error.contains("TOWER_CREDENTIALS_CODEX_MODE"), "{error}");
    assert!(error.contains("is set by TOWER_CREDENTIALS_OPENAI_MODE, too"), "{error}");
    let text = "[providers.a-b]\ntype = \"generic\"\n[providers.\"a.b\"]\ntype = \"generic\"";
    with_file(text).build().unwrap();
    let of_two = variables(&[("TOWER_CREDENTIALS_A_B_MODE", "api")]);
    let error = refused(with_file(text).environment(of_two)).to_string();
    assert!(error.contains("a-b's or a.b's"), "{error}");
}

#[test]
fn the_documentations_file_is_taken() {
    let source = include_str!("../src/settings/mod.rs");
    let block = source.split("//! ```toml\n").nth(1).unwrap().split("//! ```").next().unwrap();
    let text = block.lines().map(|line| line.trim_start_matches("//!").trim_start()).collect::<Vec<_>>();
    let registry = with_file(&text.join("\n")).build().unwrap();
    assert_eq!(registry.max_attempts("openai").unwrap(), NonZeroU32::new(3));
    assert_eq!(registry.provider("github-copilot").unwrap().default_headers().len(), 1);
    assert_eq!(registry.provider("example").unwrap().header_names()[0], "x-api-key");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_refused_and_others_are_left_alone() {
    use std::os::unix::ffi::OsStringExt;
    let not_text = || std::ffi::OsString::from_vec(vec![b'a', 0xff]);
    let mode = (std::ffi::OsString::from("TOWER_CREDENTIALS_OPENAI_MODE"), not_text());
    assert!(refused(Registry::builder().environment([mode])).to_string().contains("UTF-8"));
    let others =
        [(not_text(), not_text()), ("PATH".into(), not_text()), ("OPENAI_API_KEY".into(), not_text())];
    Registry::builder().environment(others).build().unwrap();
}

#[test]
fn what_is_wrong_in_the_program_is_an_error_too() {
    let set = |key, value| ProviderSettings::new().set(key, value).unwrap_err().to_string();
    assert!(set("moed", "api").contains("`mode`"));
    assert!(set("max_attempts", "0").contains("from 1 on"));
    assert!(set("oauth.client", "x").contains("`oauth.client_id`"));
    assert!(set("mode.x", "x").contains("`mode`"));
    assert!(set("", "x").contains("nearest"));
    let unknown = refused(Registry::builder().set("opnai", ProviderSettings::new())).to_string();
    assert!(unknown.contains("the program") && unknown.contains("`openai`"), "{unknown}");
}

#[test]
fn a_name_that_is_asked_for_and_not_known_names_the_nearest() {
    let registry = Registry::builder().build().unwrap();
    for (name, nearest) in [
        ("opnai", "openai"),
        ("Anthropic", "anthropic"),
        ("gemni", "gemini"),
        ("githubcopilot", "github-copilot"),
        ("copilt", "copilot"),
    ] {
        let text = registry.provider(name).err().unwrap().to_string();
        assert_eq!(text, format!("no provider is called {name:?}; the nearest is `{nearest}`"));
        assert!(registry.max_attempts(name).is_err() && registry.pool_key(name).is_err());
        assert!(registry.pool(name, MemoryVault::new()).is_err());
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error_unless_it_need_not_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("credentials.toml");
    let error = refused(Registry::builder().file(&path));
    assert!(matches!(error, SettingsError::Io { .. }) && error.to_string().contains("credentials.toml"));
    Registry::builder().optional_file(&path).build().unwrap();
    std::fs::write(&path, "[providers.openai]\nmax_attempts = 2").unwrap();
    for builder in [Registry::builder().file(&path), Registry::builder().optional_file(&path)] {
        let registry = builder.build().unwrap();
        assert_eq!(registry.max_attempts("openai").unwrap(), NonZeroU32::new(2));
    }
    std::fs::write(&path, "[providers.openai]\nmax_attempts = 0").unwrap();
    let error = refused(Registry::builder().optional_file(&path)).to_string();
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    assert!(matches!(
        refused(Registry::builder().optional_file(directory.path())),
        SettingsError::Io { .. }
    ));
}

#[test]
fn secrets_are_in_no_error_and_in_no_debug_output() {
    let whole = "[providers.openai]\noauth.client_secret = \"planted\"\n[providers.openai.headers]\nx = \"planted\"\n";
    let registry =
        with_file(whole).environment(variables(&[("OPENAI_API_KEY", "planted")])).build().unwrap();
    assert!(!format!("{registry:?}").contains("planted"));
    assert!(!format!("{:?}", with_file(whole)).contains("planted"));
    let settings = ProviderSettings::new().set("oauth.client_secret", "planted").unwrap();
    assert!(!format!("{settings:?}").contains("planted"));
    let oauth = registry.provider("openai").unwrap().oauth().unwrap().clone();
    assert_eq!(oauth.client_secret.as_ref().unwrap().expose(), "planted");
    assert!(!format!("{oauth:?}").contains("planted"));
    for broken in [
        "[providers.openai]\noauth.client_secret = \"planted\nx",
        "[providers.openai]\noauth.client_secret = [\"planted\"]",
        "[providers.openai]\noauth.client_secret = planted",
        "[providers.openai]\noauth.client_secret = \"\\planted\"",
        "[providers.openai]\noauth.client_secrt = \"planted\"",
        "[providers.openai.headers]\nx = \"planted\\n\"",
        "[providers.openai]\noauth.token_url = \"https://planted:planted@a.test/x\"",
        "[providers.openai]\norigins = [\"https://planted@a.test\"]",
        "[providers.openai]\nsubscription_endpoint = \"https://u:planted@a.test/x\"",
    ] {
        let error = refused(with_file(broken));
        assert!(!format!("{error} {error:?}").contains("planted"), "{error} {error:?}");
    }
}

// The order of precedence

/// A registry whose file, environment and program say what is given, where it is.
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
        let is_list = matches!(key, "origins" | "endpoint_hosts" | "oauth.scopes" | "oauth.flows");
        let value = if is_list { format!("[{value:?}]") } else { format!("{value:?}") };
        builder = builder.toml("credentials.toml", format!("[providers.{provider}]\n{key} = {value}"));
    }
    let variable = format!("TOWER_CREDENTIALS_{provider}_{key}").to_uppercase().replace(['-', '.'], "_");
    builder.environment(environment.map(|value| (variable, value.to_owned()))).build().unwrap()
}

/// What a registry does with a key, as text.
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
        "cooldown_limited" => cooldown(registry, 429).await,
        "cooldown_refused" => cooldown(registry, 401).await,
        "api_key_variable" => registry.api_key_variable("openai").unwrap().unwrap_or("").to_owned(),
        "origins" => {
            let trusts = |host: &&str| provider.trusts(&format!("https://{host}/").parse().unwrap());
            let hosts = ["a.test", "b.test", "c.test"].into_iter().filter(trusts);
            hosts.map(|host| format!("https://{host}")).collect::<Vec<_>>().join(" ")
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

/// Which credentials a pool takes.
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

/// How long a credential cools down after this status.
async fn cooldown(registry: &Registry, status: u16) -> String {
    let key = registry.pool_key("openai").unwrap();
    let vault = MemoryVault::new();
    vault.put(Credential::new(key, "k", Secret::api_key("key"))).await.unwrap();
    let pool = registry.pool("openai", vault).unwrap().clock(tokio_clock()).open().await.unwrap();
    let upstream = Upstream::new().answers("key", [Answer::status(status)]);
    ask(&stack(CredentialsLayer::new(pool.clone()), upstream), get()).await;
    // A guess is prolonged by a tenth at most.
    let wait = cools(&pool, "k");
    [seconds(10), seconds(20), seconds(40), seconds(80)]
        .into_iter()
        .find(|base| wait >= *base && wait <= base.mul_f64(1.1))
        .map_or_else(|| format!("{wait:?}"), |base| format!("{}s", base.as_secs()))
}

/// A key, and three values of it.
const KEYS: &[(&str, [&str; 3])] = &[
    ("mode", ["api", "subscription", "auto"]),
    ("namespace", ["a", "b", "c"]),
    ("max_attempts", ["1", "2", "3"]),
    ("cooldown_limited", ["10s", "20s", "40s"]),
    ("cooldown_refused", ["10s", "20s", "40s"]),
    ("api_key_variable", ["A", "B", "C"]),
    ("origins", ["https://a.test", "https://b.test", "https://c.test"]),
    ("endpoint_hosts", ["a.test", "b.test", "c.test"]),
    ("subscription_endpoint", ["https://a.test/x", "https://b.test", "https://c.test"]),
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
    ("oauth.poll_url", ["https://a.test/x", "https://b.test/x", "https://c.test/x"]),
];

#[tokio::test(start_paused = true)]
async fn the_program_goes_before_the_file_and_the_file_before_the_environment_in_every_key() {
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
async fn numbers_in_a_file_are_taken_as_they_are() {
    let text = "[providers.openai]\nmax_attempts = 3\ncooldown_limited = 40\ncooldown_refused = 20";
    let registry = with_file(text).build().unwrap();
    assert_eq!(effect(&registry, "max_attempts").await, "3");
    assert_eq!(effect(&registry, "cooldown_limited").await, "40s");
    assert_eq!(effect(&registry, "cooldown_refused").await, "20s");
}

#[tokio::test(start_paused = true)]
async fn a_guess_is_capped_by_the_setting() {
    let text = "[providers.openai]\ncooldown_limited = \"1h\"\ncooldown_cap = \"20s\"";
    assert_eq!(cooldown(&with_file(text).build().unwrap(), 429).await, "20s");
}

#[test]
fn of_keys_that_are_apart_each_comes_from_its_own_source() {
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
fn the_words_of_oauth_settings_are_read() {
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

// Names

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
async fn a_registry_has_a_programs_own_type_by_its_names_with_its_settings() {
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
fn an_own_type_takes_a_vendors_place_and_shares_no_name_with_another() {
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
        api_key_variable = "EXAMPLE_KEY"
        extra_headers.x-tenant = "t1"
        headers.x-version = "1"
        oauth.token_url = "https://auth.test/token"

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
    // The vendor's key is not this server's.
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
async fn no_key_is_taken_from_the_environment_where_that_is_not_meant() {
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
async fn pools_of_one_registry_share_how_the_environments_key_stands() {
    let environment = variables(&[("OPENAI_API_KEY", "planted")]);
    let registry = Registry::builder().environment(environment).build().unwrap();
    let (vault, clock) = (MemoryVault::new(), tokio_clock());
    let open = async || {
        let builder = registry.pool("openai", vault.clone()).unwrap().clock(clock.clone());
        builder.open().await.unwrap()
    };
    let first = open().await;
    let upstream = Upstream::new().answers("planted", [Answer::limited(60)]);
    ask(&stack(CredentialsLayer::new(first.clone()), upstream), get()).await;
    first.save().await;
    assert_eq!(cools(&open().await, "$OPENAI_API_KEY"), seconds(60));
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
