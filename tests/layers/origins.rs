//! The origins that a credential may be sent to.

use http::Request;
use http_body_util::Full;
use tower::ServiceExt;
use tower_credentials::provider::{GenericProvider, Provider};
use tower_credentials::*;

use crate::support::*;

pub(super) async fn pool_for(provider: impl Provider) -> Pool {
    Pool::builder(provider, keys(["planted-a", "planted-b"]).await).open().await.unwrap()
}

pub(super) fn to(uri: &str) -> Asked {
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
async fn other_spellings_of_the_same_origin_are_allowed() {
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
async fn an_origin_with_a_port_means_that_port_only() {
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
async fn plain_http_in_a_private_network_must_be_allowed_for_each_origin() {
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
        assert!(GenericProvider::bearer("x").origin(origin).is_err(), "{origin}: only if it is allowed");
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
async fn relative_uris_are_allowed_only_if_the_provider_says_so() {
    let provider = GenericProvider::bearer("x").origin(ORIGIN).unwrap().relative_uris();
    let pool = pool_for(provider).await;
    allowed(&pool, "/v1/messages").await;
    refused(&pool, "https://evil.test/v1").await;
    // An authority alone, as in a CONNECT, is not a relative URI.
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

#[tokio::test]
async fn a_refused_request_is_sent_nowhere_and_the_next_one_works() {
    let pool = pool_for(GenericProvider::bearer("x").origin(ORIGIN).unwrap()).await;
    let upstream = Upstream::new();
    let service = stack(four(&pool, &no_refresh()), upstream.clone());
    service.clone().oneshot(to("https://evil.test/")).await.unwrap_err();
    assert_eq!(ask(&service, post()).await.0, 200);
}
