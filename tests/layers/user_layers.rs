//! A user's own layers over, under and between ours.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower::buffer::BufferLayer;
use tower::limit::ConcurrencyLimitLayer;
use tower::timeout::TimeoutLayer;
use tower::timeout::error::Elapsed;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::Standing;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
use tower_http::trace::{ResponseBody, TraceLayer};

use crate::support::*;

async fn ours() -> (Pool, Upstream) {
    let pool = builder(keys(["a", "b", "c"]).await).clock(tokio_clock()).open().await.unwrap();
    (pool, Upstream::new().answers("a", [Canned::limited(3000)]))
}

// Timeouts

#[tokio::test(start_paused = true)]
async fn a_timeout_under_rotate_bounds_an_attempt() {
    let (pool, _) = ours().await;
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(3000).after_time(Duration::from_millis(800))])
        .answers("b", [Canned::ok().after_time(Duration::from_millis(800))]);
    let service =
        between(1, four(&pool, &no_refresh()), TimeoutLayer::new(seconds(1)), boxed(&upstream));
    let start = Instant::now();
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(start.elapsed(), Duration::from_millis(1600), "together they took longer than one may");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_over_rotate_bounds_the_whole_and_nothing_learnt_is_lost() {
    let (pool, _) = ours().await;
    let upstream = Upstream::new()
        .answers("a", [Canned::limited(3000).after_time(Duration::from_millis(800))])
        .answers("b", [Canned::ok().after_time(Duration::from_millis(800))]);
    let service =
        between(0, four(&pool, &no_refresh()), TimeoutLayer::new(seconds(1)), boxed(&upstream));
    let start = Instant::now();
    let error = service.clone().oneshot(post()).await.unwrap_err();
    assert!(error.is::<Elapsed>(), "{error:?}");
    assert_eq!(start.elapsed(), seconds(1));
    assert_eq!(upstream.tokens(), ["a", "b"]);
    assert_ne!(cools(&pool, "a"), Duration::ZERO);
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens()[2], "b");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_timed_out_is_not_sent_again_unless_the_user_says_so() {
    let (pool, _) = ours().await;
    let slow = Canned::ok().after_time(seconds(10));
    let upstream = Upstream::new().answers("a", [slow, Canned::ok()]);
    let (rotate, _, auth, _) = four(&pool, &no_refresh());
    let timeout = TimeoutLayer::new(seconds(1));
    let service = stack((rotate.clone(), timeout.clone(), auth.clone()), upstream.clone());
    let error = service.oneshot(post()).await.unwrap_err();
    assert!(error.is::<Elapsed>(), "{error:?}");
    assert_eq!(upstream.tokens(), ["a"]);
    assert_eq!(learnt(&status_of(&pool, "a").standing), Standing::default());

    upstream.set("a", [Canned::ok().after_time(seconds(10)), Canned::ok()]);
    let rotate = rotate.network(NetworkRetry::default().when(|error| error.is::<Elapsed>()));
    let service = stack((rotate, timeout, auth), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a", "a", "a"]);
}

// tower-http

#[tokio::test]
async fn trace_and_sensitive_headers_layers_in_between_change_nothing() {
    for place in 0..5 {
        let (pool, upstream) = ours().await;
        let sensitive = SetSensitiveHeadersLayer::new([header::COOKIE]);
        // What a trace makes of a body is turned back, for the helper knows one type of body.
        let plain = tower::util::AndThenLayer::new(|response: Response<ResponseBody<_, _>>| async {
            let (parts, body) = response.into_parts();
            let body = http_body_util::BodyExt::collect(body).await;
            Ok::<_, BoxError>(Response::from_parts(parts, Full::new(body?.to_bytes())))
        });
        let users = (plain, TraceLayer::new_for_http(), sensitive);
        let service = between(place, four(&pool, &no_refresh()), users, boxed(&upstream));
        assert_eq!(ask(&service, post()).await, (200, "b".into()), "at place {place}");
        assert_eq!(upstream.tokens(), ["a", "b"]);
        assert_eq!(order(&pool), ["b", "c", "a"]);
        assert_eq!(status_of(&pool, "a").standing.failures, 1, "recorded once");
    }
}

#[tokio::test]
async fn the_body_of_a_trace_layer_goes_through_ours() {
    let (pool, upstream) = ours().await;
    let (rotate, refresh, auth, persist) = four(&pool, &no_refresh());
    let layers = (rotate, refresh, auth, persist, TraceLayer::new_for_http());
    let response = layers.layer(upstream.clone()).oneshot(post()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(upstream.tokens(), ["a", "b"]);
}

// Permits that run out

#[tokio::test]
async fn a_concurrency_limit_of_one_between_any_two_layers_never_deadlocks() {
    let upstream = Upstream::new()
        .answers("a-1", [Canned::limited(3000)])
        .answers("b-1", [Canned::status(401)])
        .answers("b-2", [Canned::ok()]);
    for place in 0..5 {
        let pool = builder(accounts(["a", "b"]).await).open().await.unwrap();
        let layers = four(&pool, &renewing(&Journal::new()));
        let service = between(place, layers, ConcurrencyLimitLayer::new(1), boxed(&upstream));
        let requests: Vec<_> = (0..10).map(|_| tokio::spawn(ask(&service, post()))).collect();
        for request in requests {
            assert_eq!(request.await.unwrap().0, 200, "at place {place}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_keeps_the_service_while_the_request_waits_for_a_credential_holds_up_nobody() {
    let pool = builder(keys(["a"]).await)
        .clock(tokio_clock())
        .when_all_cooling_down(WhenAllCoolingDown::WaitUpTo(seconds(60)))
        .open()
        .await
        .unwrap();
    let upstream = Upstream::new().answers("a", [Canned::limited(30), Canned::ok()]);
    let limit = ConcurrencyLimitLayer::new(1);
    let mut service = between(4, four(&pool, &no_refresh()), limit, boxed(&upstream));
    let first = service.ready().await.unwrap().call(post()).await.unwrap();
    assert_eq!(first.status(), StatusCode::TOO_MANY_REQUESTS);
    // The caller's service has been made ready, and so has the one permit.
    let second = service.ready().await.unwrap().call(post());
    let second = tokio::time::timeout(seconds(3600), second).await.expect("it must not wait for ever");
    assert_eq!(second.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_concurrency_limit_and_a_cap_per_account_do_not_block_each_other() {
    // One request changes from a to b while another, that has waited for the only permit, has nothing
    // to take but b: it must not keep the permit that the first one needs.
    for place in 0..5 {
        let release = Arc::new(Notify::new());
        let hold = release.clone();
        let limited = Canned::limited(3000).after(move || {
            let hold = hold.clone();
            async move { hold.notified().await }
        });
        let upstream = Upstream::new().answers("a", [limited]);
        let pool = builder(keys(["a", "b"]).await).max_in_flight(NonZeroU32::MIN).open().await.unwrap();
        let limit = ConcurrencyLimitLayer::new(1);
        let service = between(place, four(&pool, &no_refresh()), limit, boxed(&upstream));
        let requests: Vec<_> = (0..10).map(|_| tokio::spawn(ask(&service, post()))).collect();
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        release.notify_one();
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        for request in requests {
            assert!(request.is_finished(), "it hangs at place {place}: {:?}", upstream.tokens());
            assert_eq!(request.await.unwrap().0, 200);
        }
    }
}

// Buffers

#[tokio::test]
async fn a_buffer_between_any_two_layers_changes_nothing() {
    for place in 0..5 {
        let upstream = Upstream::new()
            .answers("a-1", [Canned::limited(3000)])
            .answers("b-1", [Canned::status(401)]);
        let vault = accounts(["a", "b"]).await;
        let pool = builder(vault.clone()).open().await.unwrap();
        let refreshes = Journal::new();
        let layers = four(&pool, &renewing(&refreshes));
        let service = between(place, layers, BufferLayer::new(1), boxed(&upstream));
        assert_eq!(ask(&service, post()).await, (200, "b-2".into()), "at place {place}");
        assert_eq!(upstream.tokens(), ["a-1", "b-1", "b-2"]);
        assert_eq!(refreshes.all(), ["b"]);
        assert_eq!(status_of(&pool, "a").standing.failures, 1);
        assert_eq!(order(&pool), ["b", "a"]);
        let stored = vault::VaultExt::load_pool(&vault, key()).await.unwrap().standings;
        let id = status_of(&pool, "a").credential.id;
        assert_eq!(stored.credentials[&id], status_of(&pool, "a").standing);
    }
}

// Layers that send a request more than once

/// Sends each request twice at once, as a hedge does when it is late, and takes the first copy's answer.
#[derive(Clone)]
struct Doubled<S>(S);

#[derive(Clone)]
struct Double;

impl<S> Layer<S> for Double {
    type Service = Doubled<S>;

    fn layer(&self, inner: S) -> Doubled<S> {
        Doubled(inner)
    }
}

impl<S, R> Service<Asked> for Doubled<S>
where
    S: Service<Asked, Response = Response<R>, Error: Into<BoxError>, Future: Send + 'static> + Clone,
    R: Send + 'static,
    S::Error: Send,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Asked) -> Self::Future {
        let (one, two) = (self.0.call(request.clone()), self.0.clone().call(request));
        Box::pin(async {
            let (one, two) = tokio::join!(one, two);
            two.map_err(Into::into)?;
            one.map_err(Into::into)
        })
    }
}

#[tokio::test]
async fn a_layer_that_sends_copies_at_once_gets_each_answered_and_the_limit_counted_once() {
    for place in 0..6 {
        let (pool, upstream) = ours().await;
        let to = boxed(&upstream);
        let service = if place < 5 {
            between(place, four(&pool, &no_refresh()), Double, to)
        } else {
            // Here each copy is rotated by itself.
            let (rotate, refresh, auth, persist) = four(&pool, &no_refresh());
            stack(auth, stack(Double, stack((rotate, refresh, persist), to)))
        };
        assert_eq!(ask(&service, post()).await.0, 200, "at place {place}");
        assert_eq!(status_of(&pool, "a").standing.failures, 1, "at place {place}");
        assert_eq!(order(&pool).last().unwrap(), "a");
        for seen in upstream.seen.all() {
            assert_eq!(seen.headers.get_all("authorization").iter().count(), 1);
        }
    }
}

/// Sends again, twice at most, what was answered by a 500.
#[derive(Clone)]
struct OnServerError(u32);

impl<R, E> tower::retry::Policy<Asked, Response<R>, E> for OnServerError {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut Asked, result: &mut Result<Response<R>, E>) -> Option<Self::Future> {
        let is_worth = result.as_ref().is_ok_and(|response| response.status() == 500) && self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        is_worth.then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &Asked) -> Option<Asked> {
        Some(request.clone())
    }
}

#[tokio::test]
async fn a_retry_layer_between_auth_header_and_rotate_keeps_the_attempts_own_credential() {
    for auth_outside in [false, true] {
        let pool = builder(keys(["a", "b", "c"]).await).open().await.unwrap();
        let upstream = Upstream::new()
            .answers("a", [Canned::limited(3000)])
            .answers("b", [Canned::status(500), Canned::status(500), Canned::ok().body("b at last")]);
        let (rotate, _, auth, persist) = four(&pool, &no_refresh());
        let retry = tower::retry::RetryLayer::new(OnServerError(2));
        let service = if auth_outside {
            stack(auth, stack(retry, stack((rotate, persist), boxed(&upstream))))
        } else {
            stack(rotate, stack(retry, stack((auth, persist), boxed(&upstream))))
        };
        let response = ask(&service, post()).await;
        assert_eq!(status_of(&pool, "a").standing.failures, 1);
        assert_eq!(learnt(&status_of(&pool, "b").standing), Standing::default());
        if auth_outside {
            // What the retry layer has to send again is its own request, which is with a.
            assert_eq!(response, (200, "c".into()));
            assert_eq!(upstream.tokens(), ["a", "b", "a", "c"]);
        } else {
            assert_eq!(response, (200, "b at last".into()));
            assert_eq!(upstream.tokens(), ["a", "b", "b", "b"]);
        }
    }
}

#[tokio::test]
async fn a_retry_layer_that_sends_with_a_limited_credential_is_moved_to_the_next() {
    let pool = builder(keys(["a", "b", "c"]).await).open().await.unwrap();
    let upstream = Upstream::new().answers("a", [Canned::status(500), Canned::limited(3000)]);
    let (rotate, _, auth, persist) = four(&pool, &no_refresh());
    let retry = tower::retry::RetryLayer::new(OnServerError(2));
    let service = stack(auth, stack(retry, stack((rotate, persist), boxed(&upstream))));
    assert_eq!(ask(&service, post()).await, (200, "b".into()));
    assert_eq!(upstream.tokens(), ["a", "a", "b"]);
    assert_eq!(status_of(&pool, "a").standing.failures, 1, "the right one is blamed");
    assert_eq!(learnt(&status_of(&pool, "b").standing), Standing::default());
}

/// The first copy of the request renews the token, and the second one finds it renewed.
#[tokio::test]
async fn a_retry_layer_between_persist_and_the_others_has_an_expired_token_renewed_once() {
    let vault = MemoryVault::new();
    let tokens = OAuthTokens::new("a").refresh("refresh-a").expires_at(Timestamp::from_millis(1));
    vault.put(Credential::new(key(), "a", Secret::from(tokens))).await.unwrap();
    let pool = builder(vault).open().await.unwrap();
    let renewals = Journal::new();
    let upstream = Upstream::new().answers("a-2", [Canned::status(500), Canned::ok()]);
    let (rotate, refresh, auth, persist) = four(&pool, &renewing(&renewals));
    let retry = tower::retry::RetryLayer::new(OnServerError(2));
    let service = stack(persist, stack(retry, stack((rotate, refresh, auth), boxed(&upstream))));
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a-2", "a-2"]);
    assert_eq!(renewals.all(), ["a".to_owned()]);
}

// Redirects

const EVIL: &str = "https://evil.test";

type Redirecting = BoxCloneSyncService<Asked, Reply, BoxError>;

/// Redirects what comes to our origin to another one, and notes all that arrives there.
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
            // What another origin says is nothing that an account of ours has done.
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
async fn a_key_in_a_header_that_lost_its_context_is_refused_as_such() {
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
async fn a_layer_that_rewrites_the_uri_under_auth_header_is_found_out_by_the_layers_below() {
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
