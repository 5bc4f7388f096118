//! A caller's own keys, and a host header for another host, are never sent beside a credential.

use http::{HeaderName, HeaderValue, Uri, header};
use tower_credentials::provider::GenericProvider;
use tower_credentials::*;

use super::origins::{pool_for, to};
use super::rig::rig;
use crate::support::*;

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

/// Sends a request with these `host` headers; the first account is limited. Returns the headers of each attempt.
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
async fn a_host_header_always_names_the_host_that_the_request_goes_to() {
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
async fn the_client_adds_a_missing_host_header_and_the_callers_stays_with_a_relative_uri() {
    for stacked in ORDERS {
        assert_eq!(hosts_sent(stacked, &format!("{ORIGIN}/v1"), &[]).await, [[""; 0]; 2]);
        assert_eq!(hosts_sent(stacked, "/v1", &[b"own.test"]).await, [["own.test"]; 2]);
    }
}

#[tokio::test]
async fn a_layer_in_between_cannot_change_the_host_of_a_request_with_a_credential() {
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

#[tokio::test]
async fn the_callers_own_credentials_are_never_sent_beside_ours() {
    let rig = rig(keys(["a", "b"]).await, Upstream::new().answers("a", [Canned::limited(30)])).await;
    let mut request = rig.server.post();
    for name in ["authorization", "x-api-key", "api-key", "x-goog-api-key"] {
        request.headers_mut().append(name, "Bearer callers-own".parse().unwrap());
        request.headers_mut().append(name, "callers-second".parse().unwrap());
    }
    request.headers_mut().insert("x-trace", "kept".parse().unwrap());
    assert_eq!(ask(&rig.service, request).await.0, 200);
    let seen = rig.upstream.seen.all();
    assert_eq!(seen.len(), 2);
    for (seen, token) in seen.iter().zip(["Bearer a", "Bearer b"]) {
        assert!(!format!("{seen:?}").contains("callers-"), "{seen:?}");
        assert_eq!(seen.headers.get_all("authorization").iter().collect::<Vec<_>>(), [token]);
        assert_eq!(seen.headers["x-trace"], "kept");
    }
}
