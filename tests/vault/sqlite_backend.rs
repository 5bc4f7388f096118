//! The example of a backend of one's own keeps every promise: alone, and as several openings of one database.

#[path = "../../examples/sqlite_backend/backend.rs"]
mod backend;

use backend::SqliteBackend;
use tempfile::TempDir;
use tower_credentials::conformance::{Hosts, every_promise_of_hosts, every_promise_sealed};
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::seal::Seal;
use tower_credentials::vault::{VaultError, VaultExt};
use tower_credentials::{Credential, PoolKey, Secret};

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
async fn processes_that_open_a_new_database_at_once_wait_for_each_other() {
    for _ in 0..50 {
        let place = TempDir::new().unwrap();
        let open = || SqliteBackend::open(place.path());
        let (one, two, three) = tokio::join!(open(), open(), open());
        for opened in [one, two, three] {
            opened.unwrap();
        }
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_damaged_and_the_others_are_read() {
    let place = TempDir::new().unwrap();
    let vault = Seal::new(SqliteBackend::open(place.path()).await.unwrap(), &VaultKey::generate());
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    let database = rusqlite::Connection::open(place.path().join("vault.sqlite")).unwrap();
    let update = "UPDATE pools SET document = json_set(document, ?1, '{')";
    let secret = format!("$.credentials.{a}.record.secret");
    assert_eq!(database.execute(update, [secret]).unwrap(), 1);
    let loaded = vault.load_pool(pool()).await.unwrap();
    assert_eq!(loaded.credentials[0].metadata.id, b);
    assert_eq!(loaded.damaged[0].id, Some(a));
    assert!(!format!("{loaded:?}").contains(PLANTED));
    let listed = vault.list().await.unwrap();
    assert_eq!((&listed.damaged, listed.credentials.len()), (&loaded.damaged, 1));
    assert!(matches!(vault.get(&pool(), a).await, Err(VaultError::Damaged(_))));
    vault.remove(&pool(), a).await.unwrap();
    assert!(vault.load_pool(pool()).await.unwrap().damaged.is_empty());
}

#[tokio::test]
async fn a_document_that_cannot_be_read_is_named_and_the_other_pools_are_read() {
    let place = TempDir::new().unwrap();
    let vault = Seal::new(SqliteBackend::open(place.path()).await.unwrap(), &VaultKey::generate());
    let [a] = put_all(&vault, ["a"]).await;
    let other = Credential::new(PoolKey::new("other"), "b", Secret::api_key(PLANTED));
    let other = vault.put(other).await.unwrap();
    let database = rusqlite::Connection::open(place.path().join("vault.sqlite")).unwrap();
    let update = "UPDATE pools SET document = ?1 WHERE provider = 'example'";
    for (document, reason) in [("{", "EOF"), (r#"{"format":9}"#, "the document has format 9")] {
        assert_eq!(database.execute(update, [document]).unwrap(), 1);
        let listed = vault.list().await.unwrap();
        assert_eq!(listed.credentials, std::slice::from_ref(&other));
        let [damage] = &listed.damaged[..] else { panic!("{listed:?}") };
        assert!(damage.to_string().contains("example/default"), "{damage}");
        assert!(damage.reason.contains(reason), "{damage}");
        let error = vault.remove(&pool(), a).await.unwrap_err();
        assert!(matches!(&error, VaultError::Damaged(named) if named == damage), "{error:?}");
    }
    let stored =
        database
            .query_row("SELECT document FROM pools WHERE provider = 'example'", [], |row| row.get(0));
    assert_eq!(stored, Ok(r#"{"format":9}"#.to_owned()), "it is left alone");
}
