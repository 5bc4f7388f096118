//! What a vendor's server receives over sockets: which headers for which kind of secret.

#![cfg(all(feature = "providers", feature = "hyper"))]

use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use tower_credentials::provider::{
    Anthropic, Copilot, Cursor, GenericProvider, Google, OpenAi, Provider, Qwen,
};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Credential, CredentialsLayer, Kind, OAuthTokens, Pool, PoolKey, Secret};

use crate::support::{self, Canned, Server, Stack, Upstream, ask, client, stack};

/// Headers of a request that carry a credential, whatever it is for.
const NAMES: [&str; 9] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-goog-user-project",
    "chatgpt-account-id",
    "openai-organization",
    "openai-project",
    "x-vendor-key",
];

fn secret(kind: Kind, token: &str) -> Secret {
    match kind {
        Kind::OAuth => {
            let mut tokens = OAuthTokens::new(token).refresh("planted-refresh");
            tokens.extra.insert("account_id".into(), format!("account-{token}").into());
            tokens.extra.insert("id_token".into(), "planted-id".into());
            tokens.into()
        }
        Kind::Mcp => Secret::Mcp(OAuthTokens::new(token)),
        Kind::WellKnown => Secret::WellKnown { variable: "SOME_KEY".into(), token: token.into() },
        _ => Secret::api_key(token),
    }
}

struct Rig {
    upstream: Upstream,
    server: Server,
    service: Stack<hyper::body::Incoming>,
}

/// The vendor's adapter over a hyper client, with these credentials.
async fn rig(
    adapt: impl FnOnce(&str) -> Box<dyn Provider>,
    credentials: impl IntoIterator<Item = Credential>,
) -> Rig {
    let upstream = Upstream::new();
    let server = Server::start(&upstream).await;
    let provider = std::sync::Arc::<dyn Provider>::from(adapt(&server.origin()));
    let vault = MemoryVault::new();
    for mut credential in credentials {
        credential.metadata.pool = PoolKey::new(provider.name());
        vault.put(credential).await.unwrap();
    }
    let pool = Pool::builder(provider, vault).open().await.unwrap();
    Rig { upstream, server, service: stack(CredentialsLayer::new(pool), client()) }
}

impl Rig {
    /// Sends a request that has the caller's own credentials everywhere.
    async fn ask(&self) -> u16 {
        let uri = format!(
            "{}/v1/x?key=own&a=1&api_key=own&access_token=own&api-key=own",
            self.server.origin()
        );
        let mut request = Request::post(uri).body(Full::from("a question")).unwrap();
        for name in NAMES {
            request.headers_mut().append(name, HeaderValue::from_static("callers-own"));
        }
        ask(&self.service, request).await.0
    }

    /// Returns the credential headers that the server received with each request.
    fn received(&self) -> Vec<Vec<(&'static str, String)>> {
        let of_one = |seen: support::Seen| {
            let values = |name: &'static str| {
                let values = seen.headers.get_all(name).iter();
                values.map(|value| (name, value.to_str().unwrap().to_owned())).collect::<Vec<_>>()
            };
            NAMES.into_iter().flat_map(values).collect()
        };
        self.upstream.seen.all().into_iter().map(of_one).collect()
    }
}

type Adapt = fn(&str) -> Box<dyn Provider>;

const VENDORS: [(&str, Adapt); 6] = [
    ("anthropic", |origin| Box::new(Anthropic::new().origin(origin).unwrap())),
    ("openai", |origin| Box::new(OpenAi::new().origin(origin).unwrap())),
    ("google", |origin| Box::new(Google::new().origin(origin).unwrap())),
    ("github-copilot", |origin| Box::new(Copilot::new().origin(origin).unwrap())),
    ("qwen", |origin| Box::new(Qwen::new().origin(origin).unwrap())),
    ("cursor", |origin| Box::new(Cursor::new().origin(origin).unwrap())),
];

#[tokio::test]
async fn each_vendor_receives_each_kind_of_secret_where_it_expects_it_and_nothing_of_the_callers() {
    let mut cases = 0;
    for (name, adapt) in VENDORS {
        for kind in [Kind::OAuth, Kind::Api, Kind::WellKnown, Kind::Mcp] {
            let is_oauth = matches!(kind, Kind::OAuth | Kind::Mcp);
            let bearer = ("authorization", "Bearer planted".to_owned());
            let expected = match (name, is_oauth) {
                ("anthropic", false) => vec![("x-api-key", "planted".to_owned())],
                ("google", false) => vec![("x-goog-api-key", "planted".to_owned())],
                ("openai", true) if kind == Kind::OAuth => {
                    vec![bearer, ("chatgpt-account-id", "account-planted".to_owned())]
                }
                _ => vec![bearer],
            };
            let rig =
                rig(adapt, [Credential::new(PoolKey::new("x"), "a", secret(kind, "planted"))]).await;
            assert_eq!(rig.ask().await, 200);
            // A header that is neither one of the vendor's nor a usual one stays the caller's.
            let received: Vec<_> = rig
                .received()
                .remove(0)
                .into_iter()
                .filter(|(header, value)| !(value == "callers-own" && is_others(name, header)))
                .collect();
            assert_eq!(received, expected, "{name}, {kind}");
            cases += 1;
        }
    }
    assert_eq!(cases, 24);
}

/// Whether a header belongs to another vendor, so that it means nothing to this one.
fn is_others(vendor: &str, header: &str) -> bool {
    match header {
        "x-goog-user-project" => vendor != "google",
        "chatgpt-account-id" | "openai-organization" | "openai-project" => vendor != "openai",
        "x-vendor-key" => true,
        _ => false,
    }
}

#[tokio::test]
async fn key_parameters_are_removed_from_the_query_including_googles_own() {
    for (name, adapt) in VENDORS {
        let rig =
            rig(adapt, [Credential::new(PoolKey::new("x"), "a", secret(Kind::OAuth, "planted"))]).await;
        rig.ask().await;
        let kept = if name == "google" { "a=1" } else { "key=own&a=1" };
        assert_eq!(rig.upstream.seen.all()[0].uri.query(), Some(kept), "{name}");
    }
}

#[tokio::test]
async fn the_account_and_the_project_belong_to_the_same_credential_in_each_attempt() {
    let with = |label: &str, attributes: &[(&str, &str)]| {
        let credential = Credential::new(PoolKey::new("x"), label, Secret::api_key(label));
        attributes
            .iter()
            .fold(credential, |credential, (name, value)| credential.attribute(*name, *value))
    };
    let credentials = [
        with("a", &[("organization", "org-a"), ("project", "proj-a")]),
        with("b", &[]),
        with("c", &[("project", "proj-c")]),
    ];
    let rig = rig(VENDORS[1].1, credentials).await;
    for label in ["a", "b", "c"] {
        rig.upstream.set(label, [Canned::limited(30)]);
    }
    assert_eq!(rig.ask().await, 429);
    let own = |text: &str| text.to_owned();
    let expected = [
        vec![
            ("authorization", own("Bearer a")),
            ("openai-organization", own("org-a")),
            ("openai-project", own("proj-a")),
        ],
        vec![("authorization", own("Bearer b"))],
        vec![("authorization", own("Bearer c")), ("openai-project", own("proj-c"))],
    ];
    let received = rig.received().into_iter().map(|headers| {
        headers.into_iter().filter(|(name, _)| !is_others("openai", name)).collect::<Vec<_>>()
    });
    assert_eq!(received.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn two_subscriptions_never_mix_their_account_ids() {
    let account = |label: &str| Credential::new(PoolKey::new("x"), label, secret(Kind::OAuth, label));
    let mut second = account("b");
    if let Secret::OAuth(tokens) = &mut second.secret {
        tokens.extra.remove("account_id");
    }
    let rig = rig(VENDORS[1].1, [account("a"), second, account("c")]).await;
    for label in ["a", "b", "c"] {
        rig.upstream.set(label, [Canned::limited(30)]);
    }
    rig.ask().await;
    let ids = rig.upstream.seen.all().into_iter().map(|seen| {
        let id = seen.headers.get("chatgpt-account-id").map(|id| id.to_str().unwrap().to_owned());
        (seen.token, id)
    });
    let expected = [("a", Some("account-a")), ("b", None), ("c", Some("account-c"))];
    let expected = expected.map(|(token, id)| (token.to_owned(), id.map(str::to_owned)));
    assert_eq!(ids.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn googles_project_goes_with_a_sign_in_and_not_with_a_key() {
    for (kind, expected) in [(Kind::OAuth, Some("my-project")), (Kind::Api, None)] {
        let credential = Credential::new(PoolKey::new("x"), "a", secret(kind, "planted"));
        let rig = rig(VENDORS[2].1, [credential.attribute("project", "my-project")]).await;
        rig.ask().await;
        let seen = rig.upstream.seen.all().remove(0);
        let project = seen.headers.get("x-goog-user-project").map(|value| value.to_str().unwrap());
        assert_eq!(project, expected);
    }
}

#[tokio::test]
async fn anthropics_auth_token_variable_is_a_bearer_token() {
    let well_known =
        |variable: &str| Secret::WellKnown { variable: variable.to_owned(), token: "planted".into() };
    for (variable, expected) in [
        ("ANTHROPIC_AUTH_TOKEN", ("authorization", "Bearer planted".to_owned())),
        ("ANTHROPIC_API_KEY", ("x-api-key", "planted".to_owned())),
    ] {
        let rig =
            rig(VENDORS[0].1, [Credential::new(PoolKey::new("x"), "a", well_known(variable))]).await;
        rig.ask().await;
        assert!(rig.received()[0].contains(&expected), "{:?}", rig.received());
    }
}

#[tokio::test]
async fn a_generic_provider_puts_keys_and_sign_ins_into_headers_of_their_own() {
    let adapt = |origin: &str| -> Box<dyn Provider> {
        let provider = GenericProvider::header("mine", HeaderName::from_static("x-vendor-key"));
        let provider = provider.prefix("Key ").oauth_header(http::header::AUTHORIZATION, "Token ");
        Box::new(provider.origin(origin).unwrap())
    };
    for (kind, expected) in [
        (Kind::Api, ("x-vendor-key", "Key planted".to_owned())),
        (Kind::WellKnown, ("x-vendor-key", "Key planted".to_owned())),
        (Kind::OAuth, ("authorization", "Token planted".to_owned())),
        (Kind::Mcp, ("authorization", "Token planted".to_owned())),
    ] {
        let rig = rig(adapt, [Credential::new(PoolKey::new("x"), "a", secret(kind, "planted"))]).await;
        rig.ask().await;
        let mut received = rig.received().remove(0);
        received.retain(|(_, value)| value.contains("planted"));
        assert_eq!(received, [expected], "{kind}");
        let seen = rig.upstream.seen.all().remove(0);
        for name in ["authorization", "x-vendor-key"] {
            let values: Vec<_> = seen.headers.get_all(name).iter().collect();
            assert!(values.len() < 2 && !values.iter().any(|value| *value == "callers-own"), "{name}");
        }
    }
}

// The other facts for the layers

#[test]
fn every_header_that_a_credential_sets_is_among_the_names_and_marked_sensitive_if_it_is_secret() {
    for (name, adapt) in VENDORS {
        let provider = adapt("http://127.0.0.1:1");
        assert_eq!(provider.name(), name);
        for kind in [Kind::OAuth, Kind::Api, Kind::WellKnown, Kind::Mcp] {
            let credential = Credential::new(PoolKey::new(name), "a", secret(kind, "planted"));
            let credential = credential.attribute("project", "p").attribute("organization", "o");
            for (header, value) in provider.headers(&credential).unwrap() {
                assert!(provider.header_names().contains(&header), "{name}: {header}");
                let is_secret = value.to_str().unwrap().contains("planted");
                assert_eq!(value.is_sensitive(), is_secret, "{name}: {header}");
                assert!(!format!("{value:?}").contains("planted"));
            }
        }
        assert!(!format!("{:?}", provider.default_headers()).contains("planted"));
    }
}

#[test]
fn secrets_and_attributes_that_fit_no_header_are_an_error_that_does_not_quote_them() {
    for (name, adapt) in VENDORS {
        let provider = adapt("http://127.0.0.1:1");
        for kind in [Kind::OAuth, Kind::Api] {
            let broken = Credential::new(PoolKey::new(name), "a", secret(kind, "planted\nx"));
            let error = provider.headers(&broken).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("planted"));
        }
    }
    let key = Credential::new(PoolKey::new("openai"), "a", Secret::api_key("k"));
    assert!(OpenAi::new().headers(&key.attribute("project", "a\nb")).is_err());
}

#[test]
fn anthropics_sign_ins_enable_the_feature_that_they_need_and_keys_do_not() {
    let anthropic = Anthropic::new();
    let [element] = anthropic.list_elements() else { panic!() };
    assert_eq!(
        (element.name.as_str(), &element.value),
        ("anthropic-beta", &"oauth-2025-04-20".parse().unwrap())
    );
    assert_eq!(element.kinds, [Kind::OAuth]);
    for (name, adapt) in &VENDORS[1..] {
        assert!(adapt("http://127.0.0.1:1").list_elements().is_empty(), "{name}");
    }
}

#[test]
fn no_shipped_header_claims_to_be_another_product() {
    for (name, adapt) in VENDORS {
        let provider = adapt("http://127.0.0.1:1");
        let headers: Vec<_> = provider.default_headers().iter().map(|(name, _)| name.as_str()).collect();
        let expected: &[&str] = if name == "anthropic" { &["anthropic-version"] } else { &[] };
        assert_eq!(headers, expected, "{name}");
    }
}

#[test]
fn a_users_default_header_replaces_the_adapters() {
    let version = HeaderName::from_static("anthropic-version");
    let anthropic =
        Anthropic::new().default_header(version.clone(), HeaderValue::from_static("2099-01-01"));
    assert_eq!(anthropic.default_headers(), [(version, HeaderValue::from_static("2099-01-01"))]);
}

#[test]
fn the_vendors_other_names_are_their_aliases() {
    let aliases = VENDORS.map(|(_, adapt)| adapt("http://127.0.0.1:1").aliases().join(" "));
    let expected =
        ["claude", "codex chatgpt", "gemini", "github-copilot-enterprise copilot", "qwen-code", ""];
    assert_eq!(aliases, expected);
}
