//! A vault is a tower service: a timeout, a concurrency limit and a trace around one in a directory.
//!
//! `cargo run --example vault_layers`

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tower::timeout::TimeoutLayer;
use tower::{Layer, Service, ServiceBuilder};
use tower_credentials::provider::GenericProvider;
use tower_credentials::standing::{Change, Outcome};
use tower_credentials::vault::file::FileVault;
use tower_credentials::vault::key::{EnvKey, FileKey, KeyServiceExt};
use tower_credentials::vault::{Vault, VaultError, VaultExt, VaultRequest};
use tower_credentials::{Credential, Pool, PoolKey, Secret};

/// Wraps a vault: prints every request, runs at most four at once, and fails those that take longer than two
/// seconds.
fn wrap(vault: FileVault) -> impl Vault {
    ServiceBuilder::new()
        .layer_fn(Trace)
        .concurrency_limit(4)
        .timeout(Duration::from_secs(2))
        .service(vault)
}

/// A user's own trace. Any layer works that passes the requests on.
#[derive(Clone)]
struct Trace<V>(V);

impl<V: Vault> Service<VaultRequest> for Trace<V> {
    type Response = V::Response;
    type Error = V::Error;
    type Future = Pin<Box<dyn Future<Output = Result<V::Response, V::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: VaultRequest) -> Self::Future {
        // `Debug` shows the request, and no secret.
        let (asked, since) = (format!("{request:?}"), Instant::now());
        let name = asked.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
        let response = self.0.call(request);
        Box::pin(async move {
            let response = response.await;
            let outcome = if response.is_ok() { "done" } else { "failed" };
            println!("{name:13} {outcome} in {:6.3} ms", since.elapsed().as_secs_f64() * 1e3);
            response
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let place = tempfile::tempdir()?;
    let key =
        EnvKey::default().or(FileKey::new(place.path().join("vault.key"))).load_or_create().await?;
    let directory = place.path().join("vault");
    let vault = wrap(FileVault::open(&directory, &key).await?);

    let pool = PoolKey::new("example");
    let work = vault.put(Credential::new(pool.clone(), "work", Secret::api_key("sk-1"))).await?;
    vault.put(Credential::new(pool.clone(), "spare", Secret::api_key("sk-2"))).await?;
    vault.replace_secret(&work.pool, work.id, work.generation, Secret::api_key("sk-1b")).await?;
    vault.record(pool.clone(), vec![Outcome { id: work.id, change: Change::Reset }]).await?;

    // To a pool it is a vault like any other.
    let provider = GenericProvider::bearer("example").origin("https://api.example.com")?;
    let opened = Pool::builder(provider, vault.clone()).open().await?;
    println!("the pool has {} accounts", opened.status().len());
    opened.close(Duration::from_secs(60)).await?;

    // While another process holds the vault's lock, the layer's timeout comes first. It differs from the vault's own.
    let lock = std::fs::File::options().write(true).open(directory.join("lock"))?;
    lock.lock()?;
    let impatient = TimeoutLayer::new(Duration::from_millis(50)).layer(vault);
    match impatient.load_pool(pool).await {
        Err(VaultError::Layer(error)) => println!("while the vault is locked: {error}"),
        other => return Err(format!("expected the timeout's error, not {other:?}").into()),
    }
    Ok(())
}
