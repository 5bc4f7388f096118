//! tower's layers around a vault in a directory: a timeout, a concurrency limit, a trace.
#![cfg(feature = "file")]

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tempfile::TempDir;
use tower::{Service, ServiceBuilder};
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::{Vault, VaultError, VaultExt, VaultRequest};
use tower_credentials::{BoxError, Pool};

use crate::vault_contract::{account, every_promise, order, pool, put_all};

/// The requests that reached the vault, and the maximum number of concurrent ones.
#[derive(Clone, Debug, Default)]
struct Seen {
    asked: Arc<Mutex<Vec<String>>>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

#[derive(Clone, Debug)]
struct Trace<V>(V, Seen);

impl<V: Vault> Service<VaultRequest> for Trace<V> {
    type Response = V::Response;
    type Error = V::Error;
    type Future = Pin<Box<dyn Future<Output = Result<V::Response, V::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), V::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: VaultRequest) -> Self::Future {
        let seen = self.1.clone();
        seen.asked.lock().unwrap().push(format!("{request:?}"));
        seen.most.fetch_max(seen.under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let response = self.0.call(request);
        Box::pin(async move {
            let response = response.await;
            seen.under_way.fetch_sub(1, Ordering::SeqCst);
            response
        })
    }
}

struct Place {
    temporary: TempDir,
    seen: Seen,
    key: VaultKey,
}

impl Place {
    fn new() -> Self {
        Self { temporary: TempDir::new().unwrap(), seen: Seen::default(), key: VaultKey::generate() }
    }

    /// A vault with all three layers around it, the trace innermost.
    async fn open(&self, timeout: Duration) -> impl Vault + std::fmt::Debug + use<> {
        let vault = FileVault::open(self.temporary.path().join("vault"), &self.key).await.unwrap();
        ServiceBuilder::new()
            .timeout(timeout)
            .concurrency_limit(3)
            .service(Trace(vault, self.seen.clone()))
    }
}

const LONG: Duration = Duration::from_secs(60);

async fn new() -> (impl Vault + std::fmt::Debug, Place) {
    let place = Place::new();
    (place.open(LONG).await, place)
}

// Everything that a vault promises also holds inside layers.
every_promise!(new);

#[tokio::test]
async fn a_concurrency_limit_holds_and_every_request_gets_its_response() {
    let place = Place::new();
    let vault = place.open(LONG).await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let vault = vault.clone();
            tokio::spawn(async move { vault.put(account("a")).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(order(&vault).await.len(), 20);
    let most = place.seen.most.load(Ordering::SeqCst);
    assert!((1..=3).contains(&most), "{most} at once");
}

#[tokio::test]
async fn a_timeouts_error_differs_from_the_vaults_and_loses_nothing() {
    let place = Place::new();
    let vault = place.open(Duration::from_millis(30)).await;
    let lock = place.temporary.path().join("vault/lock");
    let lock = std::fs::File::options().write(true).open(lock).unwrap();
    lock.lock().unwrap();
    match vault.put(account("a")).await {
        Err(VaultError::Layer(error)) => assert!(error.is::<tower::timeout::error::Elapsed>()),
        other => panic!("{other:?}"),
    }
    lock.unlock().unwrap();
    let patient = place.open(LONG).await;
    put_all(&patient, ["b"]).await;
    // The attempt that was given up may have got the lock after all.
    let stored = order(&patient).await;
    assert!(stored == ["b"] || stored == ["a", "b"], "{stored:?}");
    let [id] = put_all(&patient, ["c"]).await;
    match patient.relabel(&pool(), id, "b").await {
        Err(VaultError::LabelTaken(label)) => assert_eq!(&*label, "b"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_trace_sees_every_request_and_no_secret() {
    let place = Place::new();
    let vault = place.open(LONG).await;
    put_all(&vault, ["a"]).await;
    order(&vault).await;
    let asked = place.seen.asked.lock().unwrap().join("\n");
    assert!(asked.contains("Put") && asked.contains("Load"), "{asked}");
    assert!(!asked.contains("planted"), "{asked}");
}

#[tokio::test]
async fn a_pool_takes_a_vault_with_layers_around_it() -> Result<(), BoxError> {
    let place = Place::new();
    let vault = place.open(LONG).await;
    let [id] = put_all(&vault, ["a"]).await;
    let provider = GenericProvider::bearer(pool().provider()).origin("https://api.example.com")?;
    let opened = Pool::builder(provider, vault.clone()).open().await?;
    assert_eq!(opened.status().len(), 1);
    opened.reset(id).await?;
    assert!(place.seen.asked.lock().unwrap().iter().any(|asked| asked.starts_with("Record")));
    Ok(())
}
