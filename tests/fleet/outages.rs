//! An engine that is away, hangs or refuses: every request ends, with plain words and without a password.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::timeout;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::{Vault, VaultError, VaultExt};
use tower_credentials::{CredentialId, Generation, Secret};

use crate::children::is_alone;
use crate::hosts::{hosts, once_it_is_back};
use crate::server::{Server, sealed};
use crate::vault_contract::{account, cooled, order, pool, put_all};

/// Far more than the bound of any request.
const HANGS: Duration = Duration::from_secs(30);

/// Makes each kind of request, and returns their errors.
async fn errors(vault: &impl Vault, id: CredentialId) -> Vec<VaultError> {
    let first = Generation::FIRST;
    let requests = async {
        [
            vault.load_pool(pool()).await.err(),
            vault.list().await.err(),
            vault.revision(pool()).await.err(),
            vault.get(&pool(), id).await.err(),
            vault.put(account("late")).await.err(),
            vault.relabel(&pool(), id, "late").await.err(),
            vault.move_to(&pool(), id, 0).await.err(),
            vault.remove(&pool(), id).await.err(),
            vault.replace_secret(&pool(), id, first, Secret::api_key("late")).await.err(),
            vault.record(pool(), vec![cooled(id, 1, 1, false)]).await.err(),
            vault.changes(pool(), Default::default()).await.err(),
            vault.lease_refresh(&pool(), id).await.err(),
            vault.lease_client("client".into()).await.err(),
            vault.begin_refresh(&pool(), id, first).await.err(),
        ]
    };
    let errors = timeout(HANGS, requests).await.expect("a request hangs");
    errors.into_iter().map(|error| error.expect("it can't have worked")).collect()
}

fn are_all_unreachable(errors: &[VaultError]) {
    for error in errors {
        assert!(matches!(error, VaultError::Unreachable(_)), "{error:?}");
    }
}

#[tokio::test]
async fn every_request_fails_while_the_engine_is_away_and_works_when_it_is_back() {
    let Some(server) = Server::start(&[]) else { return };
    let [vault] = hosts(&server).await;
    let [id] = put_all(&vault, ["a"]).await;
    server.kill();
    are_all_unreachable(&errors(&vault, id).await);
    server.start_again();
    once_it_is_back(async || vault.load_pool(pool()).await).await.unwrap();
    assert_eq!(order(&vault).await, ["a"]);
}

#[tokio::test]
async fn an_outage_is_two_lines_in_the_log_however_many_requests_fail() {
    // If another thread without a subscriber were the first to log such a line, it would be off for all.
    if !is_alone(module_path!(), "an_outage_is_two_lines_in_the_log_however_many_requests_fail") {
        return;
    }
    let Some(server) = Server::start(&[]) else { return };
    let [vault] = hosts(&server).await;
    let [id] = put_all(&vault, ["a"]).await;
    let _watch = vault.watch(pool()).await.unwrap();
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    server.kill();
    for _ in 0..20 {
        are_all_unreachable(&errors(&vault, id).await);
    }
    server.start_again();
    once_it_is_back(async || vault.load_pool(pool()).await).await.unwrap();
    for _ in 0..20 {
        vault.load_pool(pool()).await.unwrap();
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("engine is away") && text.contains("engine is back"), "{text}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_request_ends_while_the_engine_hangs() {
    let Some(server) = Server::start(&[]) else { return };
    // With the bounds that are the default.
    let backend = RedisBackend::builder(server.url()).open().await.unwrap();
    let vault = sealed(backend, &VaultKey::generate());
    let [id] = put_all(&vault, ["a"]).await;
    server.signal("-STOP");
    let errors = errors(&vault, id).await;
    server.signal("-CONT");
    are_all_unreachable(&errors);
    once_it_is_back(async || vault.load_pool(pool()).await).await.unwrap();
}

#[tokio::test]
async fn a_backend_can_be_built_while_the_engine_is_away() {
    let Some(server) = Server::start(&[]) else { return };
    server.kill();
    let opened = server.builder().open().await;
    assert!(matches!(opened, Err(VaultError::Unreachable(_))), "{opened:?}");
    let vault = sealed(server.builder().build().unwrap(), &VaultKey::generate());
    server.start_again();
    once_it_is_back(async || vault.put(account("a")).await).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_said_without_any_password() {
    let Some(server) = Server::start(&["--requirepass", "right-hunter2"]) else { return };
    let port = server.port();
    let vault = |login: &str| {
        let backend = RedisBackend::builder(format!("redis://{login}127.0.0.1:{port}/")).build();
        sealed(backend.unwrap(), &VaultKey::generate())
    };
    vault(":right-hunter2@").load_pool(pool()).await.unwrap();
    for wrong in [":wrong-hunter2@", "me:wrong-hunter2@", ""] {
        let vault = vault(wrong);
        let error = vault.load_pool(pool()).await.unwrap_err();
        let shown = format!("{error} {error:?} {vault:?}");
        assert!(shown.contains("password") && shown.contains("URL"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let builder = RedisBackend::builder("redis://:hunter2@127.0.0.1");
    assert!(!format!("{builder:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_full_engine_and_one_with_other_keys_say_the_way_out() {
    let Some(server) = Server::start(&[]) else { return };
    let [vault] = hosts(&server).await;
    server.tell::<()>(&["SET", "tower-credentials:{other/default}:records", "else"]);
    let other = tower_credentials::PoolKey::new("other");
    let error = vault.load_pool(other).await.unwrap_err().to_string();
    assert!(error.contains("prefix"), "{error}");
    server.tell::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = vault.put(account("a")).await.unwrap_err().to_string();
    assert!(error.contains("maxmemory"), "{error}");
}
