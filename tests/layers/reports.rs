//! What callers and programs can see: the account of a response, and why a request was not sent again.

use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_credentials::*;

use crate::support::*;

#[tokio::test]
async fn a_response_says_which_account_it_came_from_whatever_the_layers() {
    for make in ORDERS {
        let upstream = Upstream::new().answers("a", [Canned::limited(30)]);
        let pool = builder(keys(["a", "b"]).await).expose_attempts(true).open().await.unwrap();
        let service = make(&pool, upstream);
        for attempts in [2, 1] {
            let response = service.clone().oneshot(post()).await.unwrap();
            let by = response.extensions().get::<AnsweredBy>().unwrap();
            assert_eq!((&*by.credential().label, by.attempts()), ("b", attempts));
        }
    }
}

#[tokio::test]
async fn a_pools_status_says_when_each_token_expires() {
    let vault = keys(["key"]).await;
    let expiry = Timestamp::from_millis(4_000_000_000_000);
    let tokens = OAuthTokens::new("token").expires_at(expiry);
    vault::VaultExt::put(&vault, Credential::new(key(), "account", tokens)).await.unwrap();
    let pool = builder(vault).open().await.unwrap();
    let expiries: Vec<_> = pool.status().into_iter().map(|one| one.expires_at).collect();
    assert_eq!(expiries, [Some(expiry), None], "the sign-in comes first");
}

#[tokio::test]
async fn a_refresher_may_return_only_tokens() {
    let upstream = Upstream::new().answers("a-1", [Canned::status(401)]);
    let refresher =
        Refresher::new(|_| async { Ok::<_, RefreshError>(OAuthTokens::new("new").refresh("newer")) });
    let pool = builder(accounts(["a"]).await).open().await.unwrap();
    let service = stack(CredentialsLayer::new(pool).refresher(refresher), upstream.clone());
    assert_eq!(ask(&service, post()).await.0, 200);
    assert_eq!(upstream.tokens(), ["a-1", "new"]);
}

#[tokio::test]
async fn an_event_says_that_a_body_could_not_be_sent_again() {
    let once = || post().map(SendOnce::<Full<bytes::Bytes>>::new);
    let limited = || [Canned::limited(30)];
    let upstream = Upstream::new().answers("a", limited()).answers("b", limited());
    let pool_of = async |vault: vault::MemoryVault| {
        let events = Journal::new();
        let pool = builder(vault).on_event(events.observer()).open().await.unwrap();
        (four(&pool, &no_refresh()).layer(upstream.clone()), events)
    };
    let (service, events) = pool_of(keys(["a", "b"]).await).await;
    assert_eq!(service.clone().oneshot(once()).await.unwrap().status(), 429);
    assert_eq!(events.count("SentOnce"), 1);
    assert_eq!(service.oneshot(once()).await.unwrap().status(), 429);
    assert_eq!(events.count("SentOnce"), 1, "no other is ready");
    let (service, events) = pool_of(keys(["a"]).await).await;
    assert_eq!(service.oneshot(once()).await.unwrap().status(), 429);
    assert_eq!(events.count("SentOnce"), 0, "there is no other");
}
