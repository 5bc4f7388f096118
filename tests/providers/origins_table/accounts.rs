//! Endpoints that an account names.

use tower_credentials::provider::{Copilot, OpenAi, Provider, Qwen};
use tower_credentials::*;

use super::vendors;

/// What a token endpoint may name, and where Copilot's requests then go: `None` means the caller's origin.
pub(super) const COPILOT: &[(&str, Option<&str>)] = &[
    ("https://api.individual.githubcopilot.com", Some("https://api.individual.githubcopilot.com")),
    ("https://api.business.githubcopilot.com/", Some("https://api.business.githubcopilot.com")),
    ("https://API.Enterprise.GitHubCopilot.com", Some("https://api.enterprise.githubcopilot.com")),
    ("api.githubcopilot.com", Some("https://api.githubcopilot.com")),
    ("https://githubcopilot.com", Some("https://githubcopilot.com")),
    ("https://a.b.c.githubcopilot.com/prefix", Some("https://a.b.c.githubcopilot.com/prefix")),
    ("https://api.githubcopilot.com:443", Some("https://api.githubcopilot.com")),
    (" https://api.githubcopilot.com ", Some("https://api.githubcopilot.com")),
    ("https://copilot.corp.test", Some("https://copilot.corp.test")),
    ("https://copilot.corp.test/x/", Some("https://copilot.corp.test/x")),
    ("https://other.corp.test:8443", Some("https://other.corp.test:8443")),
    ("http://127.0.0.1:4141", Some("http://127.0.0.1:4141")),
    ("http://[::1]:4141", Some("http://[::1]:4141")),
    ("", None),
    ("/", None),
    ("https://", None),
    ("http://api.githubcopilot.com", None),
    ("https://api.githubcopilot.com:8443", None),
    ("https://api.githubcopilot.com.", None),
    ("https://api.githubcopilot.com..", None),
    ("https://.githubcopilot.com", None),
    ("https://a..githubcopilot.com", None),
    ("https://xgithubcopilot.com", None),
    ("https://x-githubcopilot.com", None),
    ("https://githubcopilot.com.evil.test", None),
    ("https://api.githubcopilot.comevil.test", None),
    ("https://githubcopilot.evil.test", None),
    ("https://evil.test/githubcopilot.com", None),
    ("https://evil.test/.githubcopilot.com", None),
    ("https://evil.test?.githubcopilot.com", None),
    ("https://evil.test#.githubcopilot.com", None),
    ("https://evil.test\\.githubcopilot.com", None),
    ("https://evil.test%2f.githubcopilot.com", None),
    ("https://evil.test%00.githubcopilot.com", None),
    ("https://evil.test%23.githubcopilot.com", None),
    ("https://evil.test:443.githubcopilot.com", None),
    ("https://*.githubcopilot.com", None),
    ("https://evil.test@api.githubcopilot.com", None),
    ("https://user:pass@api.githubcopilot.com", None),
    ("https://api.githubcopilot.com@evil.test", None),
    ("https://api.githubcopilot.com:443@evil.test", None),
    ("https://api.githubc\u{43e}pilot.com", None),
    ("https://api.githubcopilot\u{3002}com", None),
    ("https://api\u{2024}githubcopilot.com", None),
    ("https://xn--api.evil.test", None),
    ("https://api.githubcopilot.com/../x", None),
    ("https://api.githubcopilot.com/?x", None),
    ("https://api.githubcopilot.com\r\nx: y", None),
    ("https://api.github.com", None),
    ("https://127.0.0.1:4141", None),
    ("http://127.0.0.1:4142", None),
    ("http://localhost:4141", None),
    ("https://other.corp.test", None),
    ("https://x.copilot.corp.test", None),
    ("http://copilot.corp.test", None),
    ("ftp://api.githubcopilot.com", None),
    ("javascript:alert(1)", None),
];

/// The same for Qwen.
pub(super) const QWEN: &[(&str, Option<&str>)] = &[
    ("portal.qwen.ai", Some("https://portal.qwen.ai/v1")),
    ("portal.qwen.ai/", Some("https://portal.qwen.ai/v1")),
    ("portal.qwen.ai/v1", Some("https://portal.qwen.ai/v1")),
    ("https://portal.qwen.ai", Some("https://portal.qwen.ai/v1")),
    ("https://portal.qwen.ai/v1/", Some("https://portal.qwen.ai/v1")),
    ("https://Portal.Qwen.AI", Some("https://portal.qwen.ai/v1")),
    ("https://qwen.ai", Some("https://qwen.ai/v1")),
    ("https://a.b.qwen.ai:443/v1", Some("https://a.b.qwen.ai/v1")),
    (
        "dashscope.aliyuncs.com/compatible-mode",
        Some("https://dashscope.aliyuncs.com/compatible-mode/v1"),
    ),
    (
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        Some("https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
    ),
    ("https://dashscope-us.aliyuncs.com", Some("https://dashscope-us.aliyuncs.com/v1")),
    ("https://vpc.dashscope.aliyuncs.com", Some("https://vpc.dashscope.aliyuncs.com/v1")),
    ("http://127.0.0.1:4141", Some("http://127.0.0.1:4141/v1")),
    ("https://qwen.corp.test/x", Some("https://qwen.corp.test/x/v1")),
    ("https://portal.qwen.ai/v1beta", Some("https://portal.qwen.ai/v1beta/v1")),
    ("https://portal.qwen.ai/xv1", Some("https://portal.qwen.ai/xv1/v1")),
    ("", None),
    ("v1", None),
    ("https:///v1", None),
    ("http://portal.qwen.ai", None),
    ("https://portal.qwen.ai:8443", None),
    ("https://portal.qwen.ai.", None),
    ("https://portal.qwen.ai.evil.test", None),
    ("https://xqwen.ai", None),
    ("https://qwen.ai.evil.test/v1", None),
    ("https://evil.test/portal.qwen.ai/v1", None),
    ("https://aliyuncs.com", None),
    ("https://evil.aliyuncs.com", None),
    ("https://evil.oss-cn-hangzhou.aliyuncs.com", None),
    ("https://evil.cn-hangzhou.fc.aliyuncs.com", None),
    ("https://xdashscope.aliyuncs.com", None),
    ("https://dashscope.evil.aliyuncs.com", None),
    ("https://dashscope-evil.aliyuncs.com", None),
    ("https://user@portal.qwen.ai", None),
    ("https://portal.qwen.ai@evil.test", None),
    ("portal.qwen.ai@evil.test", None),
    ("https://portal.qwen.ai/v1?x", None),
    ("https://portal.qwen.ai/../v1", None),
    ("https://evil.test\\.qwen.ai", None),
    ("https://evil.test%2f.qwen.ai", None),
    ("https://127.0.0.1:4141", None),
    ("http://127.0.0.1:4142", None),
    ("http://[::1]:4141", None),
    ("https://chat.qwen\u{3002}ai", None),
];

fn signed_in(provider: &dyn Provider, endpoint: &str) -> Credential {
    let mut tokens = OAuthTokens::new("t");
    tokens.extra.insert("endpoint".into(), endpoint.into());
    Credential::new(PoolKey::new(provider.name().to_owned()), "a", tokens)
}

#[test]
fn an_account_names_its_endpoint_only_among_the_vendors_hosts_and_the_users() {
    let mut copilot = Copilot::new();
    for host in [
        "copilot.corp.test",
        "https://other.corp.test:8443",
        "http://127.0.0.1:4141",
        "http://[::1]:4141",
    ] {
        copilot = copilot.endpoint_host(host).unwrap();
    }
    let qwen = Qwen::new().endpoint_host("http://127.0.0.1:4141").unwrap();
    let qwen = qwen.endpoint_host("qwen.corp.test").unwrap();
    for (vendor, cases) in [(&copilot as &dyn Provider, COPILOT), (&qwen, QWEN)] {
        for (text, expected) in cases {
            let endpoint =
                vendor.endpoint(&signed_in(vendor, text)).map(|endpoint| endpoint.to_string());
            assert_eq!(endpoint.as_deref(), *expected, "{}: {text:?}", vendor.name());
        }
    }
    assert!(Copilot::new().endpoint_host("http://copilot.corp.test").is_err());
    assert!(Qwen::new().endpoint_host("https://qwen.corp.test/v1").is_err());
}

#[test]
fn only_a_sign_in_names_an_endpoint() {
    let named = "https://api.business.githubcopilot.com";
    let key = Credential::new(PoolKey::new("github-copilot"), "a", Secret::api_key("k"));
    assert_eq!(Copilot::new().endpoint(&key.clone().attribute("endpoint", named)), None);
    for (vendor, _) in vendors() {
        let account = signed_in(&*vendor, named);
        let expected = (vendor.name() == "github-copilot").then_some(named);
        assert_eq!(vendor.endpoint(&account).map(|it| it.to_string()).as_deref(), expected);
    }
}

#[test]
fn openais_subscriptions_go_where_the_user_says_and_its_keys_where_the_caller_does() {
    let openai = OpenAi::new().subscription_endpoint("https://chatgpt.com/backend-api/codex/").unwrap();
    let account = Credential::new(PoolKey::new("openai"), "a", OAuthTokens::new("t"));
    let key = Credential::new(PoolKey::new("openai"), "a", Secret::api_key("k"));
    let endpoint = openai.endpoint(&account).unwrap().to_string();
    assert_eq!(endpoint, "https://chatgpt.com/backend-api/codex");
    assert_eq!(openai.endpoint(&key), None);
    assert_eq!(OpenAi::new().endpoint(&account), None);
    assert!(OpenAi::new().subscription_endpoint("http://chatgpt.com").is_err());
}
