//! A user's layers that send a request more than once.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use tower::{Layer, Service};
use tower_credentials::standing::Standing;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use super::user_layers::ours;
use crate::support::*;

/// Sends each request twice at once, as a late hedge does, and returns the first copy's response.
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
async fn copies_sent_at_once_each_get_a_response_and_count_a_limit_once() {
    for place in 0..6 {
        let (pool, upstream) = ours().await;
        let to = boxed(&upstream);
        let service = if place < 5 {
            between(place, four(&pool, &no_refresh()), Double, to)
        } else {
            // Here each copy is rotated separately.
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

/// Sends a request again after a 500, at most this often.
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
async fn a_retry_layer_between_auth_header_and_rotate_keeps_each_attempts_credential() {
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
            // The retry layer sends its own request again, which is with a.
            assert_eq!(response, (200, "c".into()));
            assert_eq!(upstream.tokens(), ["a", "b", "a", "c"]);
        } else {
            assert_eq!(response, (200, "b at last".into()));
            assert_eq!(upstream.tokens(), ["a", "b", "b", "b"]);
        }
    }
}

#[tokio::test]
async fn a_retry_with_a_limited_credential_is_moved_to_the_next() {
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
async fn a_retry_layer_above_persist_renews_an_expired_token_once() {
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
