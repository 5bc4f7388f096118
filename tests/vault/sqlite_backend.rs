//! The example of a backend of one's own keeps every promise: alone, and as several openings of one database.

#[path = "../../examples/sqlite_backend/backend.rs"]
mod backend;
#[path = "../../examples/sqlite_backend/pools.rs"]
mod pools;
#[path = "../../examples/sqlite_backend/records.rs"]
mod records;

use backend::SqliteBackend;
use tempfile::TempDir;
use tower_credentials::conformance::{Hosts, every_promise_of_hosts, every_promise_sealed};
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::seal::Seal;

use crate::vault_contract::{PLANTED, pool, put_all};

async fn new() -> (SqliteBackend, TempDir) {
    let place = TempDir::new().unwrap();
    (SqliteBackend::open(place.path()).await.unwrap(), place)
}

every_promise_sealed!(new);

struct Openings(TempDir, VaultKey);

impl Hosts for Openings {
    type Vault = Seal<SqliteBackend>;

    async fn open(&self) -> Seal<SqliteBackend> {
        Seal::new(SqliteBackend::open(self.0.path()).await.unwrap(), &self.1)
    }
}

async fn openings() -> (Openings, ()) {
    (Openings(TempDir::new().unwrap(), VaultKey::generate()), ())
}

every_promise_of_hosts!(openings);

#[tokio::test]
async fn a_record_that_cannot_be_read_is_damaged_and_the_others_are_read() {
    let place = TempDir::new().unwrap();
    let vault = Seal::new(SqliteBackend::open(place.path()).await.unwrap(), &VaultKey::generate());
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    let database = rusqlite::Connection::open(place.path().join("vault.sqlite")).unwrap();
    let update = "UPDATE records SET secret = '{' WHERE id = ?1";
    assert_eq!(database.execute(update, [a.to_string()]).unwrap(), 1);
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.credentials[0].metadata.id, b);
    assert_eq!(loaded.damaged[0].id, Some(a));
    assert!(!format!("{loaded:?}").contains(PLANTED));
    vault.remove(&pool(), a).await.unwrap();
    assert!(vault.load_pool(pool()).await.unwrap().damaged.is_empty());
}
