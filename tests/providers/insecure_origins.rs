//! Plain HTTP within a private network, with a setting whose name says that it is insecure.

#![cfg(feature = "config")]

use http::Uri;
use tower_credentials::registry::Registry;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{Credential, CredentialsLayer, Error, PoolKey, Secret};

use crate::support::{Upstream, ask, stack};

fn registry(settings: &str) -> Result<Registry, String> {
    let text = format!("[providers.llm]\ntype = \"generic\"\n{settings}");
    Registry::builder().toml("credentials.toml", text).build().map_err(|error| error.to_string())
}

/// A registry with this origin alone.
fn naming(origin: &str) -> Result<Registry, String> {
    registry(&format!("insecure_http_origins = [{origin:?}]"))
}

#[tokio::test]
async fn credentials_go_only_to_the_named_origins() {
    for (origin, uri) in [
        ("http://10.0.0.5:8080", "http://10.0.0.5:8080/v1"),
        ("http://172.16.3.4", "http://172.16.3.4/v1"),
        ("http://192.168.1.2", "http://192.168.1.2/v1"),
        ("http://[fd00::1]:8080", "http://[fd00::1]:8080/v1"),
        ("http://llm:4000", "http://LLM:4000/v1"),
        ("http://llm.tools.svc.cluster.local:4000", "http://llm.tools.svc.cluster.local:4000/v1"),
        ("http://llm.tools.svc/", "http://llm.tools.svc/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
    ] {
        let registry = naming(origin).unwrap();
        let vault = MemoryVault::new();
        let account = Credential::new(PoolKey::new("llm"), "work", Secret::api_key("sk-1"));
        vault.put(account).await.unwrap();
        let pool = registry.pool("llm", vault).unwrap().open().await.unwrap();
        let upstream = Upstream::new();
        let service = stack(CredentialsLayer::new(pool), upstream.clone());
        let to = |uri: &str| http::Request::get(uri).body(Default::default()).unwrap();
        assert_eq!(ask(&service, to(uri)).await.0, 200, "{origin}");
        assert_eq!(upstream.tokens(), ["sk-1"]);
        for other in
            ["http://10.0.0.6:8080/", "http://llm:4001/", "https://llm:4000/", "http://evil.test/"]
        {
            let error = tower::ServiceExt::oneshot(service.clone(), to(other)).await.unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(Error::UntrustedOrigin { .. })), "{other}");
        }
        assert_eq!(upstream.tokens().len(), 1, "{origin}");
        // The program's requests go there, and so do those for models.
        let provider = registry.provider("llm").unwrap();
        assert_eq!(provider.origin().unwrap().to_string(), origin.trim_end_matches('/'));
        let named = registry.insecure_http_origins("llm").unwrap();
        assert_eq!(named, [provider.origin().unwrap().clone()]);
    }
}

#[test]
fn a_public_or_invalid_origin_is_refused_with_the_line_and_the_reason() {
    for (origin, says) in [
        ("http://api.example.com", "not public"),
        ("http://8.8.8.8", "not public"),
        ("http://172.32.0.1", "not public"),
        ("http://[2001:db8::1]", "not public"),
        ("http://2130706433", "not public"),
        ("http://llm.local.evil.test", "not public"),
        ("http://10.0.0.5/v1", "no path"),
        ("http://user:planted@llm", "must not name a user"),
        ("http://llm?key=planted", "no path"),
        ("http://llm#planted", "must be"),
        ("https://10.0.0.5", "http://"),
        ("10.0.0.5", "https://"),
    ] {
        let error = naming(origin).unwrap_err();
        for part in ["credentials.toml, line 3", "`providers.llm.insecure_http_origins`", says] {
            assert!(error.contains(part), "{origin}: {error}");
        }
        assert!(!error.contains("planted"), "{error}");
    }
    let error = registry("insecure_http_origins = \"http://llm\"").unwrap_err();
    assert!(error.contains("must be a list"), "{error}");
}

#[test]
fn the_error_of_origins_names_the_insecure_setting_if_that_would_accept_the_origin() {
    for (origin, helps) in [
        ("http://10.0.0.5:8080", true),
        ("http://llm.tools.svc:4000", true),
        ("http://api.example.com", false),
        ("http://8.8.8.8", false),
    ] {
        let error = registry(&format!("origins = [{origin:?}]")).unwrap_err();
        assert!(error.contains("use https"), "{error}");
        assert_eq!(error.contains("`insecure_http_origins`"), helps, "{error}");
    }
}

#[test]
fn https_origins_come_first_and_the_vendors_own_stay() {
    let both = "origins = [\"https://a.test\"]\ninsecure_http_origins = [\"http://llm\"]\n";
    let provider = registry(both).unwrap().provider("llm").unwrap();
    assert_eq!(provider.origin().unwrap().to_string(), "https://a.test");
    assert!(provider.trusts(&Uri::from_static("http://llm/v1")));

    let text = "[providers.openai]\ninsecure_http_origins = [\"http://llm\"]\n";
    let provider = Registry::builder().toml("x", text).build().unwrap().provider("openai").unwrap();
    for uri in ["http://llm/v1", "https://api.openai.com/v1"] {
        assert!(provider.trusts(&uri.parse().unwrap()), "{uri}");
    }
}

#[test]
fn token_endpoints_are_never_reached_unencrypted() {
    for setting in ["models_url", "oauth.token_url", "oauth.refresh_url", "oauth.device_url"] {
        let settings =
            format!("insecure_http_origins = [\"http://llm\"]\n{setting} = \"http://llm/x\"\n");
        let error = registry(&settings).unwrap_err();
        assert!(error.contains(setting) && error.contains("https"), "{error}");
    }
}

#[test]
fn an_insecure_origin_from_the_environment_is_reported() {
    let variables = [("TOWER_CREDENTIALS_OPENAI_INSECURE_HTTP_ORIGINS", "http://llm")];
    let registry = Registry::builder().environment(variables).build().unwrap();
    assert_eq!(registry.insecure_http_origins("openai").unwrap().len(), 1);
    let told: Vec<_> = registry.from_environment().iter().map(|from| from.setting.as_str()).collect();
    assert_eq!(told, ["insecure_http_origins"]);
}
