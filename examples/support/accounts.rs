//! The accounts of the examples about clients, and about what can be seen of a pool.

#![allow(dead_code, reason = "each example uses a part of it")]

use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{BoxError, Credential, OAuthTokens, Pool, PoolBuilder, PoolKey};

/// A pool of two accounts.
pub async fn open_pool(origin: &str) -> Result<Pool, BoxError> {
    Ok(builder(origin).await?.open().await?)
}

/// The settings of that pool. A vault in a directory keeps its accounts for the next run: see `quickstart`.
pub async fn builder(origin: &str) -> Result<PoolBuilder, BoxError> {
    let vault = MemoryVault::new();
    for (label, token) in [("work", "work-access"), ("spare", "spare-access")] {
        let tokens = OAuthTokens::new(token);
        vault.put(Credential::new(PoolKey::new("example"), label, tokens)).await?;
    }
    let provider = GenericProvider::bearer("example").origin(origin)?;
    Ok(Pool::builder(provider, vault))
}

/// What every program must do before it ends, for whatever reason: a renewal that is cut off can cost the account its
/// sign-in.
pub async fn close(pool: &Pool) -> Result<(), BoxError> {
    Ok(pool.close(std::time::Duration::from_secs(60)).await?)
}

/// Prints the response and the attempts. An error if the first account's limit did not cost one attempt
/// more, or the response is not the one expected.
pub fn tell_end(pool: &Pool, attempts: u32, response: &str, expected: &str) -> Result<(), BoxError> {
    println!("{response}");
    let counters = pool.counters();
    println!("{} request, {attempts} attempts, {} rotation", counters.requests, counters.rotations);
    if response != expected || attempts != 2 {
        return Err("the story came out differently".into());
    }
    Ok(())
}
