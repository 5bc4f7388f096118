//! The accounts of the examples that are about clients.

use tower_credentials::provider::GenericProvider;
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::{BoxError, Credential, OAuthTokens, Pool, PoolKey};

use super::upstream::Upstream;

/// A pool of two accounts. A vault in a directory keeps them for the next run: see `quickstart`.
pub async fn open_pool(origin: &str) -> Result<Pool, BoxError> {
    let vault = MemoryVault::new();
    for (label, token) in [("work", "work-access"), ("spare", "spare-access")] {
        let tokens = OAuthTokens::new(token);
        vault.put(Credential::new(PoolKey::new("example"), label, tokens)).await?;
    }
    let provider = GenericProvider::bearer("example").origin(origin)?;
    Ok(Pool::builder(provider, vault).open().await?)
}

/// Tells the answer, and what it took; an error where that is not as it should be.
pub fn tell_end(answer: &str, pool: &Pool, upstream: &Upstream) -> Result<(), BoxError> {
    println!("{answer}");
    let counters = pool.counters();
    println!(
        "{} request, {} attempts, {} rotation",
        counters.requests,
        upstream.api_requests(),
        counters.rotations
    );
    if answer != "hello, spare" || upstream.api_requests() != 2 {
        return Err("the story came out differently".into());
    }
    Ok(())
}
