//! The endpoints of single accounts, and the headers that requests carry besides credentials.

use std::sync::LazyLock;

use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::Full;
use tower::ServiceExt;
use tower_credentials::provider::{Endpoint, GenericProvider, ListElement, Provider};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

/// A vendor that has endpoints of their own for some accounts.
struct Vendor(GenericProvider);

impl Vendor {
    fn new() -> Self {
        Self(GenericProvider::bearer("x").origin(ORIGIN).unwrap())
    }
}

impl Provider for Vendor {
    as_the_generic_one!();

    fn endpoint(&self, credential: &Credential) -> Option<Endpoint> {
        credential.metadata.attributes.get("endpoint")?.parse().ok()
    }

    fn default_headers(&self) -> &[(HeaderName, HeaderValue)] {
        static EDITOR: LazyLock<[(HeaderName, HeaderValue); 1]> = LazyLock::new(|| {
            [(HeaderName::from_static("editor-version"), HeaderValue::from_static("editor/1"))]
        });
        &*EDITOR
    }

    fn list_elements(&self) -> &[ListElement] {
        static BETA: LazyLock<[ListElement; 1]> = LazyLock::new(|| {
            let value = HeaderValue::from_static("oauth-1");
            [ListElement::new(HeaderName::from_static("x-beta"), value, &[Kind::OAuth])]
        });
        &*BETA
    }
}

/// A pool of accounts, each with an endpoint or without. An account named `key…` is an API key.
async fn pool(accounts: &[(&str, Option<&str>)]) -> Pool {
    let vault = MemoryVault::new();
    for (label, endpoint) in accounts {
        let secret = match label.starts_with("key") {
            true => Secret::api_key(*label),
            false => OAuthTokens::new(*label).into(),
        };
        let mut credential = Credential::new(key(), *label, secret);
        if let Some(endpoint) = endpoint {
            credential = credential.attribute("endpoint", *endpoint);
        }
        vault.put(credential).await.unwrap();
    }
    Pool::builder(Vendor::new(), vault).open().await.unwrap()
}

fn limits(labels: &[&str]) -> Upstream {
    let limited = |upstream: Upstream, label: &&str| upstream.answers(label, [Canned::limited(30)]);
    labels.iter().fold(Upstream::new(), limited)
}

fn to(uri: &str) -> Asked {
    Request::post(uri).body(Full::from("hi")).unwrap()
}

fn uris(upstream: &Upstream) -> Vec<String> {
    upstream.seen.all().iter().map(|seen| seen.uri.to_string()).collect()
}

#[tokio::test]
async fn each_attempt_goes_to_its_own_accounts_endpoint_whatever_the_order() {
    for stacked in ORDERS {
        let pool = pool(&[
            ("a", Some("https://a.vendor.test")),
            ("b", None),
            ("c", Some("https://c.vendor.test:8443/v1/")),
            ("d", None),
        ])
        .await;
        let upstream = limits(&["a", "b", "c", "d"]);
        ask(&stacked(&pool, upstream.clone()), to("https://api.test/chat?x=1")).await;
        assert_eq!(
            uris(&upstream),
            [
                "https://a.vendor.test/chat?x=1",
                "https://api.test/chat?x=1",
                "https://c.vendor.test:8443/v1/chat?x=1",
                "https://api.test/chat?x=1",
            ]
        );
        assert_eq!(upstream.tokens(), ["a", "b", "c", "d"]);
    }
}

#[tokio::test]
async fn a_prefix_that_the_path_already_has_is_neither_repeated_nor_removed() {
    for (path, sent) in [
        ("/v1/chat", "/v1/chat"),
        ("/v1", "/v1"),
        ("/v1?a=b", "/v1?a=b"),
        ("/v1beta/chat", "/v1/v1beta/chat"),
        ("/", "/v1/"),
        ("/chat", "/v1/chat"),
    ] {
        for stacked in ORDERS {
            let pool = pool(&[("a", Some("https://a.vendor.test/v1")), ("b", None)]).await;
            let upstream = limits(&["a"]);
            ask(&stacked(&pool, upstream.clone()), to(&format!("https://api.test{path}"))).await;
            let expected = [format!("https://a.vendor.test{sent}"), format!("https://api.test{path}")];
            assert_eq!(uris(&upstream), expected);
        }
    }
}

/// A request that is back at the caller's origin may look as if it were still for the endpoint.
#[tokio::test]
async fn a_path_that_only_begins_like_the_prefix_is_kept_whole() {
    let vault = MemoryVault::new();
    let tokens = |label: &str| OAuthTokens::new(label).refresh("r");
    let away = Credential::new(key(), "a", tokens("a")).attribute("endpoint", "https://api.test/v1");
    vault.put(away).await.unwrap();
    vault.put(Credential::new(key(), "b", tokens("b"))).await.unwrap();
    let pool = Pool::builder(Vendor::new(), vault).open().await.unwrap();
    let upstream = limits(&["a"]).answers("b", [Canned::status(401)]);
    let refresher = Refresher::new(|_| async { Ok::<Secret, BoxError>(OAuthTokens::new("b-2").into()) });
    let (rotate, refresh, auth, persist) = four(&pool, &refresher);
    let between = tower::util::MapRequestLayer::new(|request: Asked| request);
    let service = stack((persist, auth, rotate, between, refresh), upstream.clone());
    ask(&service, to("https://api.test/v1beta/chat")).await;
    assert_eq!(upstream.tokens(), ["a", "b", "b-2"]);
    assert_eq!(
        uris(&upstream),
        [
            "https://api.test/v1/v1beta/chat",
            "https://api.test/v1beta/chat",
            "https://api.test/v1beta/chat"
        ]
    );
}

#[tokio::test]
async fn a_host_header_follows_the_endpoint() {
    for stacked in ORDERS {
        let pool = pool(&[("a", Some("https://a.vendor.test")), ("b", None)]).await;
        let upstream = limits(&["a"]);
        let mut request = to("https://api.test/chat");
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("api.test"));
        ask(&stacked(&pool, upstream.clone()), request).await;
        let hosts: Vec<_> =
            upstream.seen.all().iter().map(|seen| seen.headers[header::HOST].clone()).collect();
        assert_eq!(hosts, ["a.vendor.test", "api.test"]);
    }
}

#[tokio::test]
async fn an_endpoint_that_the_caller_names_is_trusted_for_its_own_account_only() {
    let upstream = Upstream::new();
    let own = pool(&[("a", Some("https://a.vendor.test"))]).await;
    ask(&stack(four(&own, &no_refresh()), upstream.clone()), to("https://a.vendor.test/chat")).await;
    assert_eq!(uris(&upstream), ["https://a.vendor.test/chat"]);

    // The first pick has no endpoint, so its token must not go there.
    let mixed = pool(&[("b", None), ("a", Some("https://a.vendor.test"))]).await;
    let upstream = Upstream::new();
    let service = stack(four(&mixed, &no_refresh()), upstream.clone());
    for uri in ["https://a.vendor.test/chat", "https://b.vendor.test/chat"] {
        let error = service.clone().oneshot(to(uri)).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Error::UntrustedOrigin { .. })), "{uri}: {error}");
    }
    assert!(upstream.seen.all().is_empty());
}

#[tokio::test]
async fn a_service_in_between_cannot_send_one_accounts_token_to_anothers_endpoint() {
    let pool = pool(&[("a", Some("https://a.vendor.test")), ("b", Some("https://b.vendor.test"))]).await;
    let upstream = Upstream::new();
    let (rotate, refresh, auth, persist) = four(&pool, &no_refresh());
    let astray = tower::util::MapRequestLayer::new(|mut request: Asked| {
        *request.uri_mut() = Uri::from_static("https://b.vendor.test/chat");
        request
    });
    let service = stack((rotate, refresh, auth, astray, persist), upstream.clone());
    let error = service.oneshot(to("https://api.test/chat")).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::UntrustedOrigin { .. })), "{error}");
    assert!(upstream.seen.all().is_empty());
}

#[tokio::test]
async fn a_relative_uri_stays_as_it_is() {
    let provider = Vendor(GenericProvider::bearer("x").relative_uris());
    let vault = MemoryVault::new();
    let credential = Credential::new(key(), "a", OAuthTokens::new("a"));
    vault.put(credential.attribute("endpoint", "https://a.vendor.test/v1")).await.unwrap();
    let pool = Pool::builder(provider, vault).open().await.unwrap();
    let upstream = Upstream::new();
    ask(&stack(four(&pool, &no_refresh()), upstream.clone()), to("/chat")).await;
    assert_eq!(uris(&upstream), ["/chat"]);
}

#[tokio::test]
async fn default_headers_give_way_to_the_callers() {
    for stacked in ORDERS {
        let pool = pool(&[("a", None), ("b", None)]).await;
        for (own, sent) in [(None, "editor/1"), (Some("mine/2"), "mine/2")] {
            let upstream = limits(&["a"]);
            let mut request = post();
            if let Some(own) = own {
                request.headers_mut().insert("editor-version", HeaderValue::from_static(own));
            }
            ask(&stacked(&pool, upstream.clone()), request).await;
            for seen in upstream.seen.all() {
                let sent_there: Vec<_> = seen.headers.get_all("editor-version").iter().collect();
                assert_eq!(sent_there, [sent]);
            }
        }
    }
}

#[tokio::test]
async fn list_elements_are_added_for_their_kinds_and_removed_for_others() {
    for stacked in ORDERS {
        // The caller's value, and what is sent for each kind. A value that is right stays as it is.
        let cases: [[&[&str]; 3]; 9] = [
            [&[], &["oauth-1"], &[]],
            [&["tools-2"], &["tools-2, oauth-1"], &["tools-2"]],
            [&["tools-2, oauth-1"], &["tools-2, oauth-1"], &["tools-2"]],
            [&["oauth-1"], &["oauth-1"], &[]],
            [&["a", "b,c"], &["a, b, c, oauth-1"], &["a", "b,c"]],
            [&["a", "oauth-1", "b"], &["a", "oauth-1", "b"], &["a, b"]],
            [&["not-oauth-1"], &["not-oauth-1, oauth-1"], &["not-oauth-1"]],
            [&[""], &["oauth-1"], &[""]],
            [&["a,", "oauth-1,"], &["a,", "oauth-1,"], &["a"]],
        ];
        for [own, oauth, api] in cases {
            let pool = pool(&[("a", None), ("key-b", None)]).await;
            for (label, expected) in [("a", oauth), ("key-b", api)] {
                let upstream = Upstream::new();
                let mut request = post();
                request.extensions_mut().insert(Pin::label(label));
                for own in own {
                    request.headers_mut().append("x-beta", HeaderValue::from_static(own));
                }
                ask(&stacked(&pool, upstream.clone()), request).await;
                let seen = upstream.seen.all();
                let sent: Vec<_> = seen[0].headers.get_all("x-beta").iter().collect();
                assert_eq!(sent, expected);
            }
        }
    }
}
