//! Where a credential may go, and what may not leave beside it.

use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::Full;
use tower::ServiceExt;
use tower_credentials::provider::{CredentialHeaders, GenericProvider, Provider, UnusableSecret};
use tower_credentials::*;

use crate::support::*;

async fn pool_for(provider: impl Provider) -> Pool {
    Pool::builder(provider, keys(["planted-a", "planted-b"]).await).open().await.unwrap()
}

fn to(uri: &str) -> Asked {
    Request::post(uri).body(Full::from("hi")).unwrap()
}

async fn refused(pool: &Pool, uri: &str) {
    let upstream = Upstream::new();
    let with_four = stack(four(pool, &no_refresh()), upstream.clone());
    let as_one = stack(CredentialsLayer::new(pool.clone()), upstream.clone());
    let alone = stack(AuthHeaderLayer::new(pool.clone()), upstream.clone());
    for service in [with_four, as_one, alone] {
        let error = service.oneshot(to(uri)).await.expect_err(uri);
        assert!(matches!(error.downcast_ref(), Some(Error::UntrustedOrigin { .. })), "{uri}: {error:?}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("planted") && !text.contains("user:pass"), "{text}");
    }
    assert!(upstream.seen.all().is_empty(), "{uri} left");
    assert_eq!(learnt(&pool.status()[0].standing), standing::Standing::default(), "{uri}");
}

async fn allowed(pool: &Pool, uri: &str) {
    let upstream = Upstream::new();
    let service = stack(four(pool, &no_refresh()), upstream.clone());
    assert_eq!(ask(&service, to(uri)).await.0, 200, "{uri}");
    assert_eq!(upstream.tokens(), ["planted-a"]);
}

#[tokio::test]
async fn a_request_to_another_origin_is_refused_before_it_leaves() {
    let pool = pool_for(GenericProvider::bearer("x").origin("https://api.example.com").unwrap()).await;
    for uri in [
        "https://evil.test/v1",
        "https://example.com/v1",
        "https://sub.api.example.com/v1",
        "https://api.example.com.evil.test/v1",
        "https://api.example.comevil.test/v1",
        "https://xapi.example.com/v1",
        "https://api-example.com/v1",
        "https://api.example.com./v1",
        "https://api.example.com:8443/v1",
        "https://api.example.com:444/v1",
        "https://api.example.com:80/v1",
        "https://api.example.com@evil.test/v1",
        "https://api.example.com:443@evil.test/v1",
        "https://user:pass@api.example.com/v1",
        "https://user@api.example.com/v1",
        "http://api.example.com/v1",
        "http://api.example.com:443/v1",
        "https://127.0.0.1/v1",
        "http://127.0.0.1/v1",
        "https://[::1]/v1",
        "ftp://api.example.com/v1",
        "wss://api.example.com/v1",
        "/v1",
    ] {
        refused(&pool, uri).await;
    }
}

#[tokio::test]
async fn the_same_origin_in_other_letters_is_allowed() {
    let pool = pool_for(GenericProvider::bearer("x").origin("https://api.example.com").unwrap()).await;
    for uri in [
        "https://api.example.com",
        "https://api.example.com/v1?a=b",
        "https://API.Example.COM/v1",
        "https://api.example.com:443/v1",
        "HTTPS://api.example.com/v1",
    ] {
        allowed(&pool, uri).await;
    }
}

#[tokio::test]
async fn an_origin_with_a_port_is_that_port() {
    let pool =
        pool_for(GenericProvider::bearer("x").origin("https://api.example.com:8443").unwrap()).await;
    allowed(&pool, "https://api.example.com:8443/v1").await;
    refused(&pool, "https://api.example.com/v1").await;
    refused(&pool, "https://api.example.com:443/v1").await;
}

#[tokio::test]
async fn plain_http_is_for_loopback_only() {
    for origin in
        ["http://api.example.com", "http://10.0.0.1", "http://localhost.evil.test", "http://0.0.0.0"]
    {
        assert!(GenericProvider::bearer("x").origin(origin).is_err(), "{origin}");
    }
    for (origin, uri) in [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("http://localhost:8080", "http://localhost:8080/v1"),
        ("http://[::1]:8080", "http://[::1]:8080/v1"),
    ] {
        let pool = pool_for(GenericProvider::bearer("x").origin(origin).unwrap()).await;
        allowed(&pool, uri).await;
        for other in
            ["http://127.0.0.2:8080/", "http://[::2]:8080/", "http://[::1]:8081/", "https://[::1]:8080/"]
        {
            refused(&pool, other).await;
        }
    }
}

#[tokio::test]
async fn plain_http_in_a_private_network_takes_a_word_for_each_origin() {
    for (origin, uri) in [
        ("http://10.0.0.5:8080", "http://10.0.0.5:8080/v1"),
        ("http://172.16.3.4", "http://172.16.3.4/v1"),
        ("http://192.168.1.2", "http://192.168.1.2/v1"),
        ("http://100.64.0.9", "http://100.64.0.9/v1"),
        ("http://[fd00::1]:8080", "http://[fd00::1]:8080/v1"),
        ("http://llm:4000", "http://LLM:4000/v1"),
        ("http://llm.tools.svc.cluster.local:4000", "http://llm.tools.svc.cluster.local:4000/v1"),
        ("http://llm.tools.svc", "http://llm.tools.svc/v1"),
    ] {
        assert!(GenericProvider::bearer("x").origin(origin).is_err(), "{origin}: not by itself");
        let pool = pool_for(GenericProvider::bearer("x").plain_http_origin(origin).unwrap()).await;
        allowed(&pool, uri).await;
        for other in
            ["http://10.0.0.6:8080/", "http://llm:4001/", "https://llm:4000/", "http://evil.test/"]
        {
            refused(&pool, other).await;
        }
    }
    for public in [
        "http://api.example.com",
        "http://8.8.8.8",
        "http://172.32.0.1",
        "http://100.128.0.1",
        "http://[2001:db8::1]",
        "http://[::ffff:8.8.8.8]",
        "http://2130706433",
        "http://0x7f000001",
        "http://10.1",
        "http://llm.local.evil.test",
        "http://llm.svc.",
        "http://user@llm",
        "https://llm.local",
        "llm.local",
    ] {
        let error = GenericProvider::bearer("x").plain_http_origin(public).unwrap_err();
        assert!(!error.to_string().contains("user@"), "{error}");
    }
}

#[tokio::test]
async fn a_provider_without_origins_sends_credentials_nowhere() {
    let pool = pool_for(GenericProvider::bearer("x")).await;
    refused(&pool, "https://api.example.com/v1").await;
    refused(&pool, "/v1").await;
}

#[tokio::test]
async fn relative_uris_are_allowed_only_where_the_provider_says_so() {
    let provider = GenericProvider::bearer("x").origin(ORIGIN).unwrap().relative_uris();
    let pool = pool_for(provider).await;
    allowed(&pool, "/v1/messages").await;
    refused(&pool, "https://evil.test/v1").await;
    // An authority alone, as of a CONNECT, is no relative URI.
    refused(&pool, "evil.test:443").await;
}

#[tokio::test]
async fn a_pool_may_have_several_origins() {
    let provider = GenericProvider::bearer("x")
        .origin("https://one.test")
        .unwrap()
        .origin("https://two.test")
        .unwrap();
    let pool = pool_for(provider).await;
    allowed(&pool, "https://one.test/").await;
    allowed(&pool, "https://two.test/").await;
    refused(&pool, "https://three.test/").await;
}

// What is removed

#[tokio::test]
async fn the_callers_own_key_headers_are_removed_whatever_the_providers_header() {
    for name in ["authorization", "x-api-key", "x-vendor-token"] {
        let provider =
            GenericProvider::header("x", HeaderName::from_static(name)).origin(ORIGIN).unwrap();
        let pool = pool_for(provider).await;
        let upstream = Upstream::new().answers("planted-a", [Canned::limited(30)]);
        let service = stack(four(&pool, &no_refresh()), upstream.clone());
        let mut request = post();
        for name in ["authorization", "x-api-key", "api-key", "x-goog-api-key", "x-vendor-token"] {
            request.headers_mut().append(name, "callers-own".parse().unwrap());
            request.headers_mut().append(name, "callers-own too".parse().unwrap());
        }
        if name != "x-vendor-token" {
            request.headers_mut().remove("x-vendor-token");
        }
        ask(&service, request).await;
        for seen in upstream.seen.all() {
            let text = format!(
                "{:?}",
                seen.headers
                    .values()
                    .map(HeaderValue::as_bytes)
                    .map(String::from_utf8_lossy)
                    .collect::<Vec<_>>()
            );
            assert!(!text.contains("callers-own"), "{name}: {text}");
            assert_eq!(seen.headers.get_all(name).iter().count(), 1);
        }
    }
}

#[tokio::test]
async fn the_callers_own_key_parameters_are_removed_and_the_others_stay_as_they_are() {
    let provider = GenericProvider::bearer("x").origin(ORIGIN).unwrap();
    let with_key = provider.clone().query_names(["key"]);
    let usual = pool_for(provider).await;
    let with_key = pool_for(with_key).await;
    for (pool, query, kept) in [
        (&usual, "?api_key=own", ""),
        (&usual, "?api-key=own", ""),
        (&usual, "?a=1&api_key=own&b=%20x", "?a=1&b=%20x"),
        (&usual, "?access_token=own&a", "?a"),
        (&usual, "?API_KEY=own&a=1", "?a=1"),
        (&usual, "?api%5Fkey=own&a=1", "?a=1"),
        (&usual, "?a=1&api_key", "?a=1"),
        (&usual, "?api_key=own&api_key=own", ""),
        (&usual, "?my_api_key=kept&key=kept", "?my_api_key=kept&key=kept"),
        (&with_key, "?alt=sse&key=own", "?alt=sse"),
        (&with_key, "?monkey=kept&KEY=own", "?monkey=kept"),
        (&usual, "?a=1;b=2&&c", "?a=1;b=2&&c"),
    ] {
        let upstream = Upstream::new();
        let service = stack(four(pool, &no_refresh()), upstream.clone());
        ask(&service, to(&format!("{ORIGIN}/v1/x{query}"))).await;
        assert_eq!(upstream.seen.all()[0].uri, format!("{ORIGIN}/v1/x{kept}").parse::<Uri>().unwrap());
    }
}

#[tokio::test]
async fn a_refused_request_was_sent_nowhere_and_the_next_is_answered() {
    let pool = pool_for(GenericProvider::bearer("x").origin(ORIGIN).unwrap()).await;
    let upstream = Upstream::new();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    service.clone().oneshot(to("https://evil.test/")).await.unwrap_err();
    assert_eq!(ask(&service, post()).await.0, 200);
}

// The host that a request names

/// The `host` headers of each attempt, of a request that names these; the first account is limited.
async fn hosts_sent(
    stacked: fn(&Pool, Upstream) -> Stack,
    uri: &str,
    hosts: &[&[u8]],
) -> Vec<Vec<String>> {
    let provider = GenericProvider::bearer("x").origin(ORIGIN).unwrap().relative_uris();
    let pool = pool_for(provider).await;
    let upstream = Upstream::new().answers("planted-a", [Canned::limited(30)]);
    let mut request = to(uri);
    for host in hosts {
        request.headers_mut().append(header::HOST, HeaderValue::from_bytes(host).unwrap());
    }
    assert_eq!(ask(&stacked(&pool, upstream.clone()), request).await.0, 200);
    let hosts = |seen: &Seen| {
        let hosts = seen.headers.get_all(header::HOST).iter();
        hosts.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()).collect()
    };
    upstream.seen.all().iter().map(hosts).collect()
}

#[tokio::test]
async fn a_host_header_names_the_host_that_the_request_goes_to() {
    let foreign: [&[&[u8]]; 8] = [
        &[b"evil.test"],
        &[b"api.test:8443"],
        &[b"api.test.evil.test"],
        &[b""],
        &[b"\xe4pi.test"],
        &[b"evil.test", b"api.test"],
        &[b"api.test", b"evil.test"],
        &[b"api.test", b"api.test"],
    ];
    for stacked in ORDERS {
        for hosts in foreign.iter().copied().chain([&[&b"api.test"[..]][..]]) {
            let sent = hosts_sent(stacked, &format!("{ORIGIN}/v1"), hosts).await;
            assert_eq!(sent, [["api.test"], ["api.test"]], "{hosts:?}");
        }
    }
}

#[tokio::test]
async fn a_host_header_that_is_absent_is_left_to_the_client_and_one_of_a_relative_uri_to_the_caller() {
    for stacked in ORDERS {
        assert_eq!(hosts_sent(stacked, &format!("{ORIGIN}/v1"), &[]).await, [[""; 0]; 2]);
        assert_eq!(hosts_sent(stacked, "/v1", &[b"own.test"]).await, [["own.test"]; 2]);
    }
}

#[tokio::test]
async fn a_layer_in_between_changes_no_host_under_a_credential() {
    let pool = pool_for(GenericProvider::bearer("x").origin(ORIGIN).unwrap()).await;
    let upstream = Upstream::new();
    let foreign = tower::util::MapRequestLayer::new(|mut request: Asked| {
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("evil.test"));
        request
    });
    let layers = (AuthHeaderLayer::new(pool.clone()), foreign, CooldownPersistLayer::new(pool));
    let service = stack(layers, upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.seen.all()[0].headers[header::HOST], "api.test");
}

// Marked sensitive

/// A provider whose credentials set several headers, none of them marked.
struct Several;

impl Provider for Several {
    fn name(&self) -> &str {
        "x"
    }

    fn trusts(&self, uri: &Uri) -> bool {
        uri.host() == Some("api.test")
    }

    fn headers(&self, credential: &Credential) -> Result<CredentialHeaders, UnusableSecret> {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let token = credential.secret.token().expose();
        let mut headers = vec![
            (header::AUTHORIZATION, value(&format!("Token {token}"))),
            (HeaderName::from_static("x-account"), value(&credential.metadata.label)),
        ];
        if let Some(project) = credential.metadata.attributes.get("project") {
            headers.push((HeaderName::from_static("x-project"), value(project)));
        }
        Ok(headers)
    }

    fn header_names(&self) -> &[HeaderName] {
        static NAMES: [HeaderName; 3] = [
            header::AUTHORIZATION,
            HeaderName::from_static("x-account"),
            HeaderName::from_static("x-project"),
        ];
        &NAMES
    }
}

async fn several() -> Pool {
    let vault = vault::MemoryVault::new();
    let with_project = |label: &str, project: Option<&str>| {
        let credential = Credential::new(key(), label, Secret::api_key(format!("token-{label}")));
        match project {
            Some(project) => credential.attribute("project", project),
            None => credential,
        }
    };
    for (label, project) in [("a", Some("project-a")), ("b", None), ("c", Some("project-c"))] {
        vault::VaultExt::put(&vault, with_project(label, project)).await.unwrap();
    }
    Pool::builder(Several, vault).open().await.unwrap()
}

#[tokio::test]
async fn header_values_that_hold_a_secret_are_marked_sensitive() {
    let pool = pool_for(GenericProvider::bearer("x").origin(ORIGIN).unwrap()).await;
    let upstream = Upstream::new().answers("planted-a", [Canned::limited(30)]);
    ask(&stack(four(&pool, &no_refresh()), upstream.clone()), post()).await;
    let seen = upstream.seen.all();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen.headers["authorization"].is_sensitive()));
}

#[tokio::test]
async fn header_values_that_hold_a_secret_are_marked_sensitive_whatever_the_provider_does() {
    let upstream = Upstream::new();
    ask(&stack(four(&several().await, &no_refresh()), upstream.clone()), post()).await;
    let headers = upstream.seen.all()[0].headers.clone();
    assert_eq!(headers["authorization"], "Token token-a");
    assert!(headers["authorization"].is_sensitive());
}

// Never a mix of two accounts

#[tokio::test]
async fn each_attempt_carries_its_own_credentials_headers_never_a_mix_of_two() {
    for stacked in ORDERS {
        let pool = several().await;
        let upstream = ["a", "b", "c"].iter().fold(Upstream::new(), |upstream, label| {
            upstream.answers(&format!("Token token-{label}"), [Canned::limited(30)])
        });
        let mut request = post();
        request.headers_mut().insert("x-project", "callers-own".parse().unwrap());
        assert_eq!(ask(&stacked(&pool, upstream.clone()), request).await.0, 429);
        let seen = upstream.seen.all();
        assert_eq!(seen.len(), 3);
        for (seen, (label, project)) in
            seen.iter().zip([("a", Some("project-a")), ("b", None), ("c", Some("project-c"))])
        {
            let all = |name: &str| {
                seen.headers
                    .get_all(name)
                    .iter()
                    .map(|value| value.to_str().unwrap())
                    .collect::<Vec<_>>()
            };
            assert_eq!(all("authorization"), [format!("Token token-{label}")]);
            assert_eq!(all("x-account"), [label]);
            assert_eq!(all("x-project"), project.into_iter().collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn a_secret_that_can_be_no_header_is_named_and_the_others_are_used() {
    let vault = keys(["good"]).await;
    let broken = Credential::new(key(), "broken", Secret::api_key("planted\nsecret"));
    // As a vault that refuses none has it.
    vault.clone().oneshot(vault::VaultRequest::Put(broken)).await.unwrap();
    let events = Journal::new();
    let pool = builder(vault).on_event(events.observer()).open().await.unwrap();
    assert_eq!(order(&pool), ["good"]);
    assert_eq!(events.count("Damaged"), 1);
    assert!(
        events.all()[0].contains("broken") && !events.all()[0].contains("planted"),
        "{:?}",
        events.all()
    );
}
