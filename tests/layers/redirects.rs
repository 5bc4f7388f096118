//! Layers that follow redirects or rewrite a request's URI never take a credential to another origin.

use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::Standing;
use tower_credentials::*;
use tower_http::follow_redirect::FollowRedirectLayer;

use super::user_layers::ours;
use crate::support::*;

const EVIL: &str = "https://evil.test";

type Redirecting = BoxCloneSyncService<Asked, Reply, BoxError>;

/// Redirects every request to our origin to another one, and records what arrives there.
fn redirecting(to: &'static str, status: u16, arrived: &Journal<String>) -> Redirecting {
    let arrived = arrived.clone();
    BoxCloneSyncService::new(tower::service_fn(move |request: Asked| {
        let mut response = Response::new(Full::default());
        if request.uri().path() == "/v1/messages" {
            *response.status_mut() = StatusCode::SEE_OTHER;
            response.headers_mut().insert(header::LOCATION, to.parse().unwrap());
        } else {
            let headers: Vec<_> =
                request.headers().iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
            let values: Vec<_> =
                request.headers().values().map(|value| value.to_str().unwrap().to_owned()).collect();
            arrived.push(format!("{} {headers:?} {values:?}", request.uri()));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
        }
        async move { Ok::<_, BoxError>(response) }
    }))
}

async fn redirected(header_name: &'static str) -> Pool {
    let provider = match header_name {
        "authorization" => GenericProvider::bearer("x"),
        name => GenericProvider::header("x", http::HeaderName::from_static(name)),
    };
    let vault = keys(["the-planted-key", "the-planted-key-2"]).await;
    Pool::builder(provider.origin(ORIGIN).unwrap(), vault).open().await.unwrap()
}

fn is_own(error: &BoxError) -> bool {
    matches!(error.downcast_ref(), Some(Error::UntrustedOrigin { .. } | Error::LostContext { .. }))
}

#[tokio::test]
async fn a_redirect_layer_above_never_carries_a_credential_to_another_origin() {
    for header_name in ["authorization", "x-api-key", "x-goog-api-key", "x-own-name"] {
        let (pool, arrived) = (redirected(header_name).await, Journal::new());
        let to = redirecting("https://evil.test/steal", 200, &arrived);
        let service = between(0, four(&pool, &no_refresh()), FollowRedirectLayer::new(), to);
        let error = service.oneshot(post()).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Error::UntrustedOrigin { .. })), "{error:?}");
        assert!(error.to_string().contains(EVIL), "{error}");
        assert!(arrived.all().is_empty(), "{:?}", arrived.all());
    }
}

#[tokio::test]
async fn a_redirect_layer_in_between_never_carries_a_credential_to_another_origin() {
    for header_name in ["authorization", "x-api-key", "x-goog-api-key", "x-own-name"] {
        for place in 0..5 {
            let (pool, arrived) = (redirected(header_name).await, Journal::new());
            let layers = four(&pool, &no_refresh());
            let to = redirecting("https://evil.test/steal", 429, &arrived);
            let follow = FollowRedirectLayer::new();
            let (rotate, refresh, auth, persist) = layers.clone();
            let service = match place {
                0..3 => between(place + 1, layers, follow, to),
                3 => stack(auth, stack(follow, stack((rotate, refresh, persist), to))),
                _ => stack((refresh, auth, persist), stack(follow, stack(rotate, to))),
            };
            let result = service.oneshot(post()).await;
            let at = format!("{header_name} at place {place}: {result:?}, {:?}", arrived.all());
            assert!(arrived.all().iter().all(|seen| !seen.contains("planted")), "{at}");
            // The response of another origin says nothing about an account of ours.
            for status in pool.status() {
                assert_eq!(learnt(&status.standing), Standing::default(), "{at}");
            }
            if let Err(error) = result {
                assert!(is_own(&error), "{at}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_in_the_header_of_a_request_without_its_context_is_refused() {
    let (pool, arrived) = (redirected("x-api-key").await, Journal::new());
    let to = redirecting("https://evil.test/steal", 200, &arrived);
    let service = between(3, four(&pool, &no_refresh()), FollowRedirectLayer::new(), to);
    let error = service.oneshot(post()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::LostContext { .. })), "{error:?}");
    assert!(arrived.all().is_empty());
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_followed_with_the_credential() {
    for place in 0..5 {
        let (pool, arrived) = (redirected("x-api-key").await, Journal::new());
        let to = redirecting("https://api.test/elsewhere", 200, &arrived);
        let service = between(place, four(&pool, &no_refresh()), FollowRedirectLayer::new(), to);
        assert_eq!(ask(&service, post()).await.0, 200, "at place {place}");
        let arrived = arrived.all();
        assert_eq!(arrived.len(), 1);
        assert!(arrived[0].starts_with("https://api.test/elsewhere"), "{arrived:?}");
        assert!(arrived[0].contains("x-api-key: Sensitive"), "{arrived:?}");
        assert!(arrived[0].contains("the-planted-key"), "{arrived:?}");
    }
}

#[tokio::test]
async fn a_layer_below_auth_header_that_rewrites_the_uri_is_caught_by_the_layers_below() {
    let (pool, _) = ours().await;
    let upstream = Upstream::new();
    let rewrite = tower::util::MapRequestLayer::new(|mut request: Asked| {
        *request.uri_mut() = "https://evil.test/".parse().unwrap();
        request
    });
    let service = between(3, four(&pool, &no_refresh()), rewrite, boxed(&upstream));
    let error = service.oneshot(post()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::UntrustedOrigin { .. })), "{error:?}");
    assert!(upstream.seen.all().is_empty());
}

#[tokio::test]
async fn a_layer_that_makes_uris_absolute_may_stand_between_rotate_and_auth_header() {
    let (pool, upstream) = ours().await;
    let base = tower::util::MapRequestLayer::new(|mut request: Asked| {
        *request.uri_mut() = format!("{ORIGIN}{}", request.uri().path()).parse().unwrap();
        request
    });
    let service = between(2, four(&pool, &no_refresh()), base, boxed(&upstream));
    let request = Request::post("/v1/messages").body(Full::from("hi")).unwrap();
    assert_eq!(ask(&service, request).await.0, 200);
    assert_eq!(upstream.tokens(), ["a", "b"]);
}
