//! What happens at the edges of a request: when it ends in an error, waits, or is sent again.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_credentials::events::EventKind;
use tower_credentials::provider::{CredentialHeaders, GenericProvider, Provider, UnusableSecret};
use tower_credentials::standing::Health;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{
    AuthHeaderLayer, BoxError, Clock, CooldownPersistLayer, Cooldowns, Credential, CredentialsLayer,
    OAuthTokens, Pool, PoolKey, RefreshError, Refresher, RotateOn429Layer, Secret, WhenAllCoolingDown,
};

type Body = Full<Bytes>;

fn request() -> Request<Body> {
    Request::post("https://x.test/v1").body(Full::from("question")).unwrap()
}

fn response(status: u16) -> Response<Body> {
    let mut response = Response::new(Full::from("a response"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn provider() -> GenericProvider {
    GenericProvider::bearer("x").origin("https://x.test").unwrap()
}

async fn vault(secrets: impl IntoIterator<Item = Secret>) -> MemoryVault {
    let vault = MemoryVault::new();
    for (number, secret) in secrets.into_iter().enumerate() {
        vault.put(Credential::new(PoolKey::new("x"), format!("{number}"), secret)).await.unwrap();
    }
    vault
}

fn keys(count: usize) -> impl Iterator<Item = Secret> {
    (0..count).map(|number| Secret::api_key(format!("key-{number}")))
}

#[tokio::test]
async fn a_request_that_ends_in_an_error_still_saves_its_outcomes() {
    let vault = vault(keys(2)).await;
    let pool = Pool::builder(provider(), vault.clone()).open().await.unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let upstream = service_fn(move |_: Request<Body>| {
        let nth = asked.fetch_add(1, Ordering::SeqCst);
        async move { if nth == 0 { Ok(response(429)) } else { Err::<_, BoxError>("broken".into()) } }
    });
    let client = ServiceBuilder::new()
        .layer(CooldownPersistLayer::new(pool.clone()))
        .layer(RotateOn429Layer::new(pool.clone()))
        .layer(AuthHeaderLayer::new(pool.clone()))
        .service(upstream);
    client.oneshot(request()).await.unwrap_err();
    pool.save().await.unwrap();
    let stored = vault.load_pool(PoolKey::new("x")).await.unwrap();
    assert_eq!(stored.standings.credentials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_first_credential_does_not_wait_for_its_own_permit() {
    let start = (tokio::time::Instant::now(), SystemTime::now());
    let pool = Pool::builder(provider(), vault(keys(1)).await)
        .clock(Clock::from_fn(move || start.1 + start.0.elapsed()))
        .cooldowns(Cooldowns::default().limited(Duration::from_secs(5)).jitter(0.0).spread(0.0))
        .when_all_cooling_down(WhenAllCoolingDown::WaitUpTo(Duration::from_secs(10)))
        .open()
        .await
        .unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let upstream = service_fn(move |_: Request<Body>| {
        let nth = asked.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, BoxError>(response(if nth == 0 { 429 } else { 200 })) }
    });
    let mut client =
        ServiceBuilder::new().layer(CredentialsLayer::new(pool)).concurrency_limit(1).service(upstream);
    let limited = client.ready().await.unwrap().call(request()).await.unwrap();
    assert_eq!(limited.status(), 429);
    let waits = client.ready().await.unwrap().call(request());
    let response = tokio::time::timeout(Duration::from_secs(60), waits).await;
    assert_eq!(response.expect("the wait ends").unwrap().status(), 200);
    assert!(start.0.elapsed() >= Duration::from_secs(5));
}

/// A provider that forgets to mark its header.
struct Forgetful([HeaderName; 1]);

impl Provider for Forgetful {
    fn name(&self) -> &str {
        "x"
    }

    fn trusts(&self, _: &Uri) -> bool {
        true
    }

    fn headers(&self, credential: &Credential) -> Result<CredentialHeaders, UnusableSecret> {
        let value = credential.secret.token().expose().parse().map_err(|_| panic!("a valid key"))?;
        Ok(vec![(self.0[0].clone(), value)])
    }

    fn header_names(&self) -> &[HeaderName] {
        &self.0
    }
}

#[tokio::test]
async fn a_header_that_holds_the_token_is_sensitive_whatever_the_provider_says() {
    let provider = Forgetful([HeaderName::from_static("x-mine")]);
    let pool = Pool::builder(provider, vault(keys(1)).await).open().await.unwrap();
    let upstream = service_fn(|request: Request<Body>| async move {
        assert_eq!(request.headers()["x-mine"], "key-0");
        assert!(request.headers()["x-mine"].is_sensitive());
        Ok::<_, BoxError>(response(200))
    });
    let client = ServiceBuilder::new().layer(AuthHeaderLayer::new(pool)).service(upstream);
    client.oneshot(request()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saving_nothing_is_not_an_event() {
    let empty = Arc::new(AtomicU32::new(0));
    let seen = empty.clone();
    let pool = Pool::builder(provider(), vault(keys(3)).await)
        .on_event(move |event| {
            if let EventKind::Saved { outcomes: 0 } = event.kind {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        })
        .open()
        .await
        .unwrap();
    let upstream = service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(response(429)) });
    let client = ServiceBuilder::new().layer(CredentialsLayer::new(pool.clone())).service(upstream);
    let requests: Vec<_> = (0..50).map(|_| tokio::spawn(client.clone().oneshot(request()))).collect();
    for request in requests {
        request.await.unwrap().unwrap();
    }
    pool.save().await.unwrap();
    assert_eq!(empty.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_cap_on_concurrent_requests_also_holds_for_what_is_sent_again() {
    let secret = OAuthTokens::new("old").refresh("refresh").into();
    let pool = Pool::builder(provider(), vault([secret]).await)
        .max_in_flight(NonZeroU32::MIN)
        .open()
        .await
        .unwrap();
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let seen = most.clone();
    let upstream = service_fn(move |request: Request<Body>| {
        let (now, most) = (now.clone(), most.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Gives every other request a chance to come in between.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            now.fetch_sub(1, Ordering::SeqCst);
            let is_old = request.headers()["authorization"] == "Bearer old";
            Ok::<_, BoxError>(response(if is_old { 401 } else { 200 }))
        }
    });
    let refresher = Refresher::new(|_| async {
        tokio::task::yield_now().await;
        Ok::<Secret, RefreshError>(OAuthTokens::new("new").refresh("next").into())
    });
    let client = ServiceBuilder::new()
        .layer(CredentialsLayer::new(pool.clone()).refresher(refresher))
        .service(upstream);
    let requests: Vec<_> = (0..6).map(|_| tokio::spawn(client.clone().oneshot(request()))).collect();
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    assert_eq!(pool.counters().refreshes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_waited_for_once_per_credential() {
    let pool = Pool::builder(provider(), vault(keys(2)).await).open().await.unwrap();
    let upstream = service_fn(|_: Request<Body>| async {
        let mut response = response(429);
        response.headers_mut().insert("retry-after-ms", "100".parse().unwrap());
        Ok::<_, BoxError>(response)
    });
    let layer =
        CredentialsLayer::new(pool.clone()).rotate(|rotate| rotate.wait_up_to(Duration::from_secs(60)));
    let client = ServiceBuilder::new().layer(layer).service(upstream);
    assert_eq!(client.oneshot(request()).await.unwrap().status(), 429);
    assert_eq!(pool.counters().attempts, 4, "each of two credentials, and once more after a wait");
}

#[tokio::test]
async fn a_new_sign_in_clears_the_verdict_on_the_old_secret() {
    let vault = vault([OAuthTokens::new("old").refresh("refresh").into()]).await;
    let pool = Pool::builder(provider(), vault.clone()).open().await.unwrap();
    let upstream = service_fn(|request: Request<Body>| async move {
        let is_old = request.headers()["authorization"] == "Bearer old";
        Ok::<_, BoxError>(response(if is_old { 401 } else { 200 }))
    });
    let refresher = Refresher::new(|_| async { Err::<Secret, _>(RefreshError::rejected("revoked")) });
    let layer = CredentialsLayer::new(pool.clone()).refresher(refresher);
    let client = ServiceBuilder::new().layer(layer).service(upstream);
    assert_eq!(client.clone().oneshot(request()).await.unwrap().status(), 401);
    let status = pool.status().remove(0);
    assert!(matches!(status.standing.health, Health::NeedsSignIn { .. }));
    let metadata = status.credential;
    vault
        .replace_secret(&metadata.pool, metadata.id, metadata.generation, OAuthTokens::new("new"))
        .await
        .unwrap();
    pool.sync().await.unwrap();
    assert_eq!(client.oneshot(request()).await.unwrap().status(), 200);
}
