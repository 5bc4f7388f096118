//! Where credentials may go, as a table: what is an origin, an endpoint, a vendor's own endpoint, and what
//! of a request's or a redirect's target a vendor's adapter trusts. Each case has its expected result.

#![cfg(feature = "providers")]

use http::{Request, Uri};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_credentials::provider::{
    Anthropic, Copilot, Cursor, Endpoint, Google, OpenAi, Origin, Provider, Qwen,
};
use tower_credentials::*;
use tower_http::follow_redirect::FollowRedirectLayer;

use crate::support::*;

/// Fails with every case that came out otherwise than expected.
#[track_caller]
fn as_expected<T: PartialEq + std::fmt::Debug>(cases: impl IntoIterator<Item = (String, T, T)>) {
    let wrong: Vec<_> = cases.into_iter().filter(|(_, actual, expected)| actual != expected).collect();
    assert!(wrong.is_empty(), "(case, actual, expected): {wrong:#?}");
}

/// Texts, with the origin of each; `None` if it is not one.
const ORIGINS: &[(&str, Option<&str>)] = &[
    ("https://api.example.com", Some("https://api.example.com")),
    ("https://api.example.com/", Some("https://api.example.com")),
    ("HTTPS://API.Example.COM", Some("https://api.example.com")),
    ("https://api.example.com:443", Some("https://api.example.com")),
    ("https://api.example.com:8443", Some("https://api.example.com:8443")),
    ("https://api.example.com:8443/", Some("https://api.example.com:8443")),
    ("https://api.example.com:80", Some("https://api.example.com:80")),
    ("https://api.example.com:1", Some("https://api.example.com:1")),
    ("https://api.example.com:65535", Some("https://api.example.com:65535")),
    ("https://example", Some("https://example")),
    ("https://a-b.example.com", Some("https://a-b.example.com")),
    ("https://a_b.example.com", Some("https://a_b.example.com")),
    ("https://xn--bcher-kva.example", Some("https://xn--bcher-kva.example")),
    ("https://10.0.0.1", Some("https://10.0.0.1")),
    ("https://[2001:db8::1]", Some("https://[2001:db8::1]")),
    ("https://[2001:DB8::1]:8443", Some("https://[2001:db8::1]:8443")),
    ("https://localhost", Some("https://localhost")),
    ("https://127.0.0.1:1", Some("https://127.0.0.1:1")),
    ("http://localhost", Some("http://localhost")),
    ("http://LOCALHOST:8080", Some("http://localhost:8080")),
    ("http://localhost:80", Some("http://localhost")),
    ("http://127.0.0.1", Some("http://127.0.0.1")),
    ("http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
    ("http://127.255.255.254", Some("http://127.255.255.254")),
    ("http://[::1]", Some("http://[::1]")),
    ("http://[::1]:8080", Some("http://[::1]:8080")),
    ("http://[0:0:0:0:0:0:0:1]:1", Some("http://[0:0:0:0:0:0:0:1]:1")),
    ("HTTP://127.0.0.1:1", Some("http://127.0.0.1:1")),
    ("", None),
    (" ", None),
    ("api.example.com", None),
    ("api.example.com:443", None),
    ("//api.example.com", None),
    ("/v1", None),
    ("https:", None),
    ("https:/api.example.com", None),
    ("https://", None),
    ("https:///", None),
    ("https://:443", None),
    ("https:///api.example.com", None),
    (" https://api.example.com", None),
    ("https://api.example.com ", None),
    ("https://api. example.com", None),
    ("https://api.example.com\n", None),
    ("https://api.example.com\\evil.test", None),
    ("https://api.example.com/v1", None),
    ("https://api.example.com//", None),
    ("https://api.example.com?a", None),
    ("https://api.example.com/?a", None),
    ("https://api.example.com#a", None),
    ("https://user@api.example.com", None),
    ("https://user:pass@api.example.com", None),
    ("https://@api.example.com", None),
    ("https://api.example.com@evil.test", None),
    ("https://api.example.com:443@evil.test", None),
    ("https://api.example.com:", None),
    ("https://api.example.com:0", None),
    ("https://api.example.com:65536", None),
    ("https://api.example.com:99999", None),
    ("https://api.example.com:-1", None),
    ("https://api.example.com:+443", None),
    ("https://api.example.com:443:443", None),
    ("https://api.example.com:https", None),
    ("https://api.example.com:4 43", None),
    ("https://*.example.com", None),
    ("https://*", None),
    ("https://.example.com", None),
    ("https://api..example.com", None),
    ("https://.", None),
    ("https://api%2eexample.com", None),
    ("https://api.example.com%00", None),
    ("https://api.example.com%2f.evil.test", None),
    ("https://b\u{fc}cher.example", None),
    ("https://api\u{3002}example.com", None),
    ("https://\u{ff41}pi.example.com", None),
    ("https://api.ex\u{430}mple.com", None),
    ("https://[::1", None),
    ("https://::1", None),
    ("https://::1]", None),
    ("https://[]", None),
    ("https://[::1]x", None),
    ("https://[::1%25eth0]", None),
    ("https://[api.example.com]", None),
    ("http://api.example.com", None),
    ("http://10.0.0.1", None),
    ("http://0.0.0.0", None),
    ("http://[::]", None),
    ("http://[::2]", None),
    ("http://[::ffff:127.0.0.1]", None),
    ("http://127.1", None),
    ("http://2130706433", None),
    ("http://0x7f.0.0.1", None),
    ("http://0177.0.0.1", None),
    ("http://128.0.0.1", None),
    ("http://localhost.", None),
    ("http://localhost.evil.test", None),
    ("http://evil.localhost.test", None),
    ("http://localhost@evil.test", None),
    ("http://127.0.0.1.evil.test", None),
    ("ftp://api.example.com", None),
    ("ws://127.0.0.1", None),
    ("wss://api.example.com", None),
    ("file:///etc/passwd", None),
    ("httpss://api.example.com", None),
    ("https+unix://api.example.com", None),
    ("javascript://api.example.com", None),
];

#[test]
fn a_text_parses_to_the_expected_origin_or_none() {
    as_expected(ORIGINS.iter().map(|(text, expected)| {
        let origin = text.parse::<Origin>().ok().map(|origin| origin.to_string());
        (format!("{text:?}"), origin, expected.map(str::to_owned))
    }));
}

/// Texts, and the endpoint that each is.
const ENDPOINTS: &[(&str, Option<&str>)] = &[
    ("https://api.example.com", Some("https://api.example.com")),
    ("https://api.example.com/", Some("https://api.example.com")),
    ("https://api.example.com//", Some("https://api.example.com")),
    ("https://API.example.com/V1", Some("https://api.example.com/V1")),
    ("https://api.example.com/v1/", Some("https://api.example.com/v1")),
    ("https://api.example.com/a/b-c_d~e/1", Some("https://api.example.com/a/b-c_d~e/1")),
    ("https://api.example.com/a%20b", Some("https://api.example.com/a%20b")),
    ("https://api.example.com:443/v1", Some("https://api.example.com/v1")),
    ("https://api.example.com:8443/v1", Some("https://api.example.com:8443/v1")),
    ("https://[2001:db8::1]:8443/v1", Some("https://[2001:db8::1]:8443/v1")),
    ("http://127.0.0.1:8080/v1", Some("http://127.0.0.1:8080/v1")),
    ("http://[::1]:8080/v1", Some("http://[::1]:8080/v1")),
    ("http://localhost/v1", Some("http://localhost/v1")),
    ("https://api.example.com/.well", Some("https://api.example.com/.well")),
    ("https://api.example.com/a..b", Some("https://api.example.com/a..b")),
    ("", None),
    ("/v1", None),
    ("api.example.com/v1", None),
    ("//api.example.com/v1", None),
    ("https:///v1", None),
    ("http://api.example.com/v1", None),
    ("https://user@api.example.com/v1", None),
    ("https://user:pass@api.example.com/v1", None),
    ("https://api.example.com@evil.test/v1", None),
    ("https://api.example.com/v1?key=x", None),
    ("https://api.example.com/v1#x", None),
    ("https://api.example.com?x", None),
    ("https://api.example.com/..", None),
    ("https://api.example.com/../admin", None),
    ("https://api.example.com/v1/../admin", None),
    ("https://api.example.com/./v1", None),
    ("https://api.example.com/%2e%2e/admin", None),
    ("https://api.example.com/%2E%2E/admin", None),
    ("https://api.example.com/.%2e/admin", None),
    ("https://api.example.com/%2e/admin", None),
    ("https://api.example.com/v1\\..\\admin", None),
    ("https://api.example.com/a b", None),
    ("https://api.example.com/a\nb", None),
    ("https://api.example.com\\@evil.test/v1", None),
    ("https://api.example.com%2f@evil.test/v1", None),
    ("ftp://api.example.com/v1", None),
];

#[test]
fn a_text_parses_to_the_expected_endpoint_or_none() {
    as_expected(ENDPOINTS.iter().map(|(text, expected)| {
        let endpoint = text.parse::<Endpoint>().ok().map(|endpoint| endpoint.to_string());
        (format!("{text:?}"), endpoint, expected.map(str::to_owned))
    }));
}

/// The adapters and the hosts of their own.
fn vendors() -> Vec<(Box<dyn Provider>, &'static [&'static str])> {
    vec![
        (Box::new(Anthropic::new()), &["api.anthropic.com"]),
        (Box::new(OpenAi::new()), &["api.openai.com", "chatgpt.com"]),
        (
            Box::new(Google::new()),
            &[
                "generativelanguage.googleapis.com",
                "cloudcode-pa.googleapis.com",
                "aiplatform.googleapis.com",
            ],
        ),
        (
            Box::new(Copilot::new()),
            &[
                "api.githubcopilot.com",
                "api.individual.githubcopilot.com",
                "api.business.githubcopilot.com",
                "api.enterprise.githubcopilot.com",
            ],
        ),
        (
            Box::new(Qwen::new()),
            &[
                "portal.qwen.ai",
                "dashscope.aliyuncs.com",
                "dashscope-intl.aliyuncs.com",
                "dashscope-us.aliyuncs.com",
            ],
        ),
        (Box::new(Cursor::new()), &["api2.cursor.sh"]),
    ]
}

/// Targets made of a trusted host (`HOST`, `UPPER` in upper case, `CYRILLIC` with a look-alike letter), and
/// whether a credential may go there. Text that is not a URI makes no request, so it goes nowhere.
const TARGETS: &[(&str, bool)] = &[
    ("https://HOST", true),
    ("https://HOST/", true),
    ("https://HOST/v1/messages?a=b", true),
    ("https://HOST//evil.test/", true),
    ("https://HOST/@evil.test", true),
    ("https://HOST/..", true),
    ("https://UPPER/", true),
    ("HTTPS://HOST/", true),
    ("https://HOST:443/", true),
    ("http://HOST/", false),
    ("http://HOST:443/", false),
    ("http://HOST:80/", false),
    ("https://HOST:80/", false),
    ("https://HOST:444/", false),
    ("https://HOST:8443/", false),
    ("https://HOST:4430/", false),
    ("https://HOST:65979/", false),
    ("https://HOST:443:443/", false),
    ("https://HOST:443.evil.test/", false),
    ("https://HOST:+443/", false),
    ("https://HOST./", false),
    ("https://HOST../", false),
    ("https://.HOST/", false),
    ("https://HOST.evil.test/", false),
    ("https://HOSTevil.test/", false),
    ("https://HOST-evil.test/", false),
    ("https://xHOST/", false),
    ("https://x-HOST/", false),
    ("https://x.HOST/", false),
    ("https://*.HOST/", false),
    ("https://evil.test/HOST", false),
    ("https://evil.test/?HOST", false),
    ("https://evil.test/#https://HOST/", false),
    ("https://evil.test:443/https://HOST/", false),
    ("https://HOST@evil.test/", false),
    ("https://HOST:443@evil.test/", false),
    ("https://HOST%40evil.test/", false),
    ("https://HOST%2f@evil.test/", false),
    ("https://evil.test@HOST/", false),
    ("https://user@HOST/", false),
    ("https://user:pass@HOST/", false),
    ("https://@HOST/", false),
    ("https://:@HOST/", false),
    ("https://HOST\\.evil.test/", false),
    ("https://evil.test\\@HOST/", false),
    ("https://HOST\\@evil.test/", false),
    ("https://HOST%2eevil.test/", false),
    ("https://HOST%00.evil.test/", false),
    ("https://HOST%20/", false),
    ("https://HOST /", false),
    ("https://HOST\t/", false),
    ("https://CYRILLIC/", false),
    ("https://xn--HOST/", false),
    ("https://[HOST]/", false),
    ("https:///HOST/", false),
    ("https:/HOST/", false),
    ("https:HOST/", false),
    ("//HOST/", false),
    ("HOST", false),
    ("HOST:443", false),
    ("/HOST/", false),
    ("*", false),
    ("ftp://HOST/", false),
    ("ws://HOST/", false),
    ("wss://HOST/", false),
    ("httpss://HOST/", false),
    ("file://HOST/", false),
    ("https://127.0.0.1/", false),
    ("http://127.0.0.1/", false),
    ("http://localhost/", false),
    ("https://[::1]/", false),
    ("http://[::1]/", false),
    ("https://[::ffff:127.0.0.1]/", false),
    ("https://0.0.0.0/", false),
];

fn target(pattern: &str, host: &str) -> String {
    let cyrillic = host.replace('a', "\u{430}").replace('p', "\u{440}").replace('o', "\u{43e}");
    let text = pattern.replace("HOST", host).replace("UPPER", &host.to_ascii_uppercase());
    text.replace("CYRILLIC", &cyrillic)
}

#[test]
fn a_vendor_trusts_its_own_origins_and_nothing_that_looks_like_them() {
    for (vendor, hosts) in vendors() {
        for host in hosts {
            as_expected(TARGETS.iter().map(|(pattern, expected)| {
                let text = target(pattern, host);
                let trusted = text.parse::<Uri>().is_ok_and(|uri| vendor.trusts(&uri));
                (text, trusted, *expected)
            }));
        }
    }
}

#[test]
fn a_vendors_adapter_trusts_no_other_vendors_hosts() {
    for (vendor, _) in vendors() {
        for (other, hosts) in vendors() {
            for host in hosts {
                let uri: Uri = format!("https://{host}/").parse().unwrap();
                assert_eq!(
                    vendor.trusts(&uri),
                    vendor.name() == other.name(),
                    "{}: {host}",
                    vendor.name()
                );
            }
        }
    }
}

#[test]
fn an_adapter_for_a_compatible_server_trusts_only_that_server() {
    let named = OpenAi::new().named("mine").origin("http://127.0.0.1:8080").unwrap();
    assert_eq!((named.name(), named.aliases()), ("mine", &[][..]));
    for (uri, expected) in [
        ("http://127.0.0.1:8080/v1", true),
        ("http://127.0.0.1:8081/v1", false),
        ("https://127.0.0.1:8080/v1", false),
        ("https://api.openai.com/v1", false),
        ("https://chatgpt.com/", false),
    ] {
        assert_eq!(named.trusts(&uri.parse().unwrap()), expected, "{uri}");
    }
    let without = Anthropic::new().without_origins();
    assert!(!without.trusts(&"https://api.anthropic.com/".parse().unwrap()));
    assert!(OpenAi::new().origin("http://api.example.com").is_err());
}

/// What a token endpoint may name, and where Copilot's requests then go: `None` for the caller's origin.
const COPILOT: &[(&str, Option<&str>)] = &[
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

/// The same of Qwen's.
const QWEN: &[(&str, Option<&str>)] = &[
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

/// What a redirect from `https://api.openai.com/v1/a/b` names, and where the credential then goes; `None`
/// if it goes nowhere.
const REDIRECTS: &[(&str, Option<&str>)] = &[
    ("/v2", Some("https://api.openai.com/v2")),
    ("c", Some("https://api.openai.com/v1/a/c")),
    ("../c", Some("https://api.openai.com/v1/c")),
    ("?x=y", Some("https://api.openai.com/v1/a/b?x=y")),
    ("./", Some("https://api.openai.com/v1/a/")),
    ("https://api.openai.com/v2", Some("https://api.openai.com/v2")),
    ("https://API.OPENAI.com/v2", Some("https://API.OPENAI.com/v2")),
    ("https://api.openai.com:443/v2", Some("https://api.openai.com/v2")),
    ("https://chatgpt.com/v2", Some("https://chatgpt.com/v2")),
    ("//api.openai.com/v2", Some("https://api.openai.com/v2")),
    ("https://evil.test/", None),
    ("//evil.test/", None),
    ("//evil.test", None),
    ("//evil.test:443/", None),
    ("https://api.openai.com.evil.test/", None),
    ("https://evil.test/api.openai.com", None),
    ("https://api.openai.com@evil.test/", None),
    ("//api.openai.com@evil.test/", None),
    ("https://user:pass@api.openai.com/", None),
    ("http://api.openai.com/", None),
    ("http://api.openai.com:443/", None),
    ("https://api.openai.com:8443/", None),
    ("https://api.openai.com./", None),
    ("https://x.api.openai.com/", None),
    ("https://openai.com/", None),
    ("https://127.0.0.1/", None),
    ("https://[::1]/", None),
    ("http://localhost/", None),
    ("https://api.anthropic.com/", None),
    ("ftp://api.openai.com/", None),
];

#[tokio::test]
async fn a_redirect_carries_a_credential_only_to_where_it_may_go() {
    for (location, expected) in REDIRECTS {
        let vault = vault::MemoryVault::new();
        let key = Credential::new(PoolKey::new("openai"), "a", Secret::api_key("planted"));
        vault::VaultExt::put(&vault, key).await.unwrap();
        let pool = Pool::builder(OpenAi::new(), vault).open().await.unwrap();
        let redirect = Canned::status(307).header("location", location);
        let upstream = Upstream::new().answers("planted", [redirect, Canned::ok()]);
        let credentials = CredentialsLayer::new(pool).layer(upstream.clone());
        let service = FollowRedirectLayer::new().layer(credentials);
        let request = Request::get("https://api.openai.com/v1/a/b").body(Full::from("")).unwrap();
        let result = service.oneshot(request).await.map(|response| response.status().as_u16());
        let seen = upstream.seen.all();
        match expected {
            Some(uri) => {
                assert_eq!(result.unwrap(), 200, "{location}");
                assert_eq!(seen.len(), 2, "{location}");
                assert_eq!(seen[1].uri, uri.parse::<Uri>().unwrap(), "{location}");
                assert_eq!(seen[1].token, "planted", "{location}");
            }
            None => {
                let error = result.expect_err(location);
                let error = error.downcast_ref::<Error>();
                assert!(matches!(error, Some(Error::UntrustedOrigin { .. })), "{location}: {error:?}");
                assert_eq!(seen.len(), 1, "{location}");
            }
        }
    }
}

#[test]
fn there_are_at_least_five_hundred_cases() {
    let hosts: usize = vendors().iter().map(|(_, hosts)| hosts.len()).sum();
    let tables = ORIGINS.len() + ENDPOINTS.len() + COPILOT.len() + QWEN.len() + REDIRECTS.len();
    // Each vendor's hosts were also tried on every vendor.
    let cases = tables + hosts * TARGETS.len() + hosts * vendors().len();
    assert!(cases >= 500 && tables >= 250 && TARGETS.len() >= 70, "{cases}, {tables}");
}
