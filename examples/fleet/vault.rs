//! The vault that all hosts share.

use std::time::Duration;

use tower::Layer;
use tower_credentials::PoolKey;
use tower_credentials::vault::VaultError;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::seal::{Seal, SealLayer};

/// The provider's name.
pub const PROVIDER: &str = "example";

// These are short, so that the example takes less than a minute. The defaults are 10 s, 30 s and 5 s, and 250 ms. All hosts
// must use the same.
pub const LEASE: Duration = Duration::from_secs(1);
pub const PRESENT_WITHIN: Duration = Duration::from_secs(2);
pub const GRACE: Duration = Duration::from_secs(1);
/// Longer than the default, since a machine that runs all of this may be busy.
pub const COMMAND: Duration = Duration::from_secs(1);

/// Returns how long nobody may present the token of a host that was cut off in a refresh. The bound of a confirmation comes on
/// top, less the time that the token was on its way.
pub const fn hold_off() -> Duration {
    PRESENT_WITHIN.saturating_add(COMMAND.saturating_mul(2)).saturating_add(GRACE)
}

/// Returns the vault in the engine at this URL, without connecting.
pub fn vault(engine: &str, key: &VaultKey) -> Result<Seal<RedisBackend>, VaultError> {
    let backend = RedisBackend::builder(engine)
        .command_timeout(COMMAND)
        .lease_lifetime(LEASE)
        .present_within(PRESENT_WITHIN)
        .grace(GRACE)
        .build()?;
    Ok(SealLayer::new(key).layer(backend))
}

/// Returns the key of the pool that all hosts use.
pub fn pool() -> PoolKey {
    PoolKey::new(PROVIDER)
}
