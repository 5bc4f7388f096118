//! What the promises put into a vault, for more tests of your own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::standing::{Change, Cooldown, Outcome, Reason};
use crate::vault::{Vault, VaultExt};
use crate::{Credential, CredentialId, PoolKey, Secret, Timestamp};

/// The beginning of the secrets of [`account`]. No vendor's key looks like this, so it can be searched for in what a
/// backend logs or stores.
pub const PLANTED: &str = "sk-planted-0123456789-abcdefghijklmnop";

/// The pool of the accounts: `example/default`.
pub fn pool() -> PoolKey {
    PoolKey::new("example")
}

/// Returns an account of [`pool`], with a key of its own that begins with [`PLANTED`].
pub fn account(label: &str) -> Credential {
    Credential::new(pool(), label, Secret::api_key(format!("{PLANTED}-{label}")))
}

/// Puts accounts with these labels, and returns their ids.
///
/// # Panics
/// If the vault refuses one.
pub async fn put_all<const N: usize>(vault: &impl Vault, labels: [&str; N]) -> [CredentialId; N] {
    let mut ids = [CredentialId::from_bytes([0; 16]); N];
    for (id, label) in ids.iter_mut().zip(labels) {
        *id = vault.put(account(label)).await.unwrap().id;
    }
    ids
}

/// Returns the labels of the pool's accounts, in its order.
///
/// # Panics
/// If the pool can't be loaded.
pub async fn order(vault: &impl Vault) -> Vec<String> {
    let pool = vault.load_pool(pool()).await.unwrap();
    pool.credentials.iter().map(|credential| credential.metadata.label.to_string()).collect()
}

/// Returns the outcome of a request that was limited: a cooldown, with its times in milliseconds since the Unix epoch.
pub fn cooled(id: CredentialId, until: u64, set_at: u64, to_back: bool) -> Outcome {
    let cooldown = Cooldown {
        until: Timestamp::from_millis(until),
        set_at: Timestamp::from_millis(set_at),
        reason: Reason::Limited,
        scope: None,
        generation: None,
        cause: None,
    };
    Outcome { id, change: Change::CooledDown { cooldown, failure: true, to_back } }
}

/// Returns until when an account cools down, in milliseconds since the Unix epoch.
///
/// # Panics
/// If the pool can't be loaded.
pub async fn until(vault: &impl Vault, id: CredentialId) -> Option<u64> {
    let pool = vault.load_pool(pool()).await.unwrap();
    Some(pool.standings.credentials.get(&id)?.cooldown(None)?.until.as_millis())
}

/// Returns the token of an account.
///
/// # Panics
/// If the account can't be read.
pub async fn token(vault: &impl Vault, id: CredentialId) -> String {
    vault.get(&pool(), id).await.unwrap().secret.token().expose().to_owned()
}

/// Polls a future once, as a caller does that then leaves it for a while.
pub fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
