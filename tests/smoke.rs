//! One request through all four.
use std::convert::Infallible;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use bytes::Bytes;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_credentials::{provider::GenericProvider, vault::{MemoryVault, VaultExt}, *};

#[tokio::test]
async fn rotates() {
    let vault = MemoryVault::new();
    for label in ["a", "b", "c"] {
        vault.put(Credential::new(PoolKey::new("x"), label, Secret::api_key(label))).await.unwrap();
    }
    let provider = GenericProvider::bearer("x").origin("https://x.test").unwrap();
    let pool = Pool::builder(provider, vault.clone()).on_event(|e| println!("{e:?}")).open().await.unwrap();
    let upstream = service_fn(|r: Request<Full<Bytes>>| async move {
        let auth = r.headers()["authorization"].to_str().unwrap().to_owned();
        let mut response = Response::new(Full::new(Bytes::from(auth.clone())));
        if auth == "Bearer a" { *response.status_mut() = StatusCode::TOO_MANY_REQUESTS; }
        Ok::<_, Infallible>(response)
    });
    let service = ServiceBuilder::new()
        .layer(RotateOn429Layer::new(pool.clone()))
        .layer(RefreshOn401Layer::new(pool.clone(), Refresher::new(|_| async { Err::<Secret, _>(RefreshError::rejected("no")) })))
        .layer(AuthHeaderLayer::new(pool.clone()))
        .layer(CooldownPersistLayer::new(pool.clone()))
        .service(upstream);
    for _ in 0..2 {
        let r = service.clone().oneshot(Request::post("https://x.test/v1").body(Full::from("hi")).unwrap()).await.unwrap();
        assert_eq!(r.status(), 200);
    }
    println!("{:?}", pool.counters());
    println!("{pool:?}");
    let stored = vault.load_pool(PoolKey::new("x")).await.unwrap();
    println!("{:?}", stored.standings);
}
