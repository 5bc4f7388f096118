//! Each account's last response: its status, and when it came.

#![cfg(feature = "file")]

mod merged;
mod recorded;
mod saved;

use std::time::Duration;

use tower_credentials::standing::{Change, LastResponse, Outcome};
use tower_credentials::vault::{MemoryVault, VaultExt};
use tower_credentials::*;

use crate::support::*;

const MINUTE: Duration = Duration::from_secs(60);

/// The status of an account's last response, and how long ago it came.
fn last(pool: &Pool, label: &str) -> Option<(u16, Duration)> {
    let response = status_of(pool, label).standing.last_response?;
    Some((response.status, pool.now().since(response.at)))
}

/// The status of an account's last response in the vault.
async fn saved(vault: &MemoryVault, label: &str) -> Option<u16> {
    let stored = vault.load_pool(key()).await.unwrap();
    let of_label = |stored: &&Credential| &*stored.metadata.label == label;
    let id = stored.credentials.iter().find(of_label).unwrap().metadata.id;
    Some(stored.standings.credentials.get(&id)?.last_response?.status)
}

fn answered(id: CredentialId, at: u64, status: u16) -> Outcome {
    let at = Timestamp::from_millis(at);
    Outcome { id, change: Change::Answered(LastResponse { at, status }) }
}
