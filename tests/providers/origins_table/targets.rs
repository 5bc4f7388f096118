//! Requests' targets that a vendor's adapter trusts.

use http::Uri;
use tower_credentials::provider::{Anthropic, OpenAi, Provider};

use super::{as_expected, vendors};

/// Targets made of a trusted host (`HOST`, `UPPER` in upper case, `CYRILLIC` with a look-alike letter), and
/// whether a credential may go there. Text that is not a URI makes no request, so it goes nowhere.
pub(super) const TARGETS: &[(&str, bool)] = &[
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
