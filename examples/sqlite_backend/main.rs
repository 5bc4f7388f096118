//! A backend of your own, over SQLite: a vault of sealed secrets that all processes of one machine share.
//!
//! `cargo run --example sqlite_backend --features conformance`
//!
//! Each pool is one `PoolDocument` in one row, which knows what a vault promises; this keeps it in a transaction. Leases are
//! locked files, which the system unlocks when their process ends. `tests/vault/sqlite_backend.rs` runs the conformance suite
//! over it.
//!
//! Each change writes the whole document of its pool, and each look for changes reads it. That is right for pools of up to
//! some hundred accounts. For larger ones, keep the revision in a column of its own, then the standings, and then each record
//! in a row of its own.

mod backend;

use backend::SqliteBackend;
use tower::{Layer, ServiceExt, service_fn};
use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::seal::Seal;
use tower_credentials::{BoxError, Credential, CredentialsLayer, Pool, PoolKey, Secret};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let place = tempfile::tempdir()?;
    let key = VaultKey::generate();
    // Two openings, as two processes have them.
    let vault = Seal::new(SqliteBackend::open(place.path()).await?, &key);
    let other = Seal::new(SqliteBackend::open(place.path()).await?, &key);

    let pool = PoolKey::new("example");
    for (label, secret) in [("work", "sk-1"), ("spare", "sk-2")] {
        vault.put(Credential::new(pool.clone(), label, Secret::api_key(secret))).await?;
    }
    let provider = GenericProvider::bearer("example").origin("https://api.example.com")?;
    let opened = Pool::builder(provider, vault).open().await?;

    // An upstream that limits the account `work`.
    let upstream = service_fn(async |request: http::Request<String>| {
        let is_limited = request.headers()["authorization"] == "Bearer sk-1";
        let status = if is_limited { 429 } else { 200 };
        http::Response::builder().status(status).body(String::new()).map_err(BoxError::from)
    });
    let client = CredentialsLayer::new(opened.clone()).layer(upstream);
    let request = http::Request::post("https://api.example.com/v1").body(String::from("hello"))?;
    println!("the request got {}", client.oneshot(request).await?.status());
    opened.close(std::time::Duration::from_secs(60)).await?;

    // The other process knows of the limit, and reads the secrets.
    let stored = other.load_pool(pool).await?;
    for Credential { metadata, secret } in &stored.credentials {
        let standing = stored.standings.credentials.get(&metadata.id);
        let is_cooling_down = standing.is_some_and(|standing| !standing.cooldowns.is_empty());
        println!(
            "{}: a key of {} bytes, cooling down: {is_cooling_down}",
            metadata.label,
            secret.token().expose().len()
        );
    }
    let [spare, work] = &stored.credentials[..] else { return Err("two accounts were put".into()) };
    if [&*spare.metadata.label, &*work.metadata.label] != ["spare", "work"] {
        return Err("the limited account has not moved to the back".into());
    }
    Ok(())
}
