//! What an engine's settings promise is said when it is opened.

use tower_credentials::vault::VaultExt;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::{Finding, RedisBackend};

use crate::server::tls::TlsServer;
use crate::server::{Server, sealed};
use crate::vault_contract::{account, order};

#[tokio::test]
async fn a_safe_engine_has_no_findings_and_an_unsafe_one_is_refused_on_demand() {
    let Some(safe) = Server::start(&[]) else { return };
    let backend = safe.builder().require_durable(true).open().await.unwrap();
    assert_eq!(backend.findings(), []);
    let options = ["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"];
    let Some(server) = Server::start(&options) else { return };
    let backend = server.builder().open().await.unwrap();
    let expected = [Finding::NoAppendOnlyFile, Finding::Evicts("allkeys-lru".into())];
    assert_eq!(backend.findings(), expected);
    let refused = server.builder().require_durable(true).open().await.unwrap_err().to_string();
    assert!(refused.contains("appendonly yes") && refused.contains("noeviction"), "{refused}");
    server.tell::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
    server.tell::<()>(&["CONFIG", "SET", "appendfsync", "everysec"]);
    server.tell::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let expected = [Finding::NotSyncedEachTime("everysec".into())];
    assert_eq!(backend.examine().await.unwrap(), expected);
}

#[tokio::test]
async fn settings_that_the_engine_does_not_tell_are_said_to_be_unknown() {
    let Some(server) = Server::start(&[]) else { return };
    let rules = ["ACL", "SETUSER", "vault", "on", ">pw", "~*", "&*", "+@all", "-config", "-info"];
    server.tell::<()>(&rules);
    let url = format!("redis://vault:pw@127.0.0.1:{}", server.port());
    let backend = RedisBackend::builder(url).require_durable(true).open().await.unwrap();
    let [finding @ Finding::Unknown(what)] = backend.findings() else {
        panic!("{:?}", backend.findings());
    };
    assert!(what.contains("appendfsync") && !finding.loses_secrets(), "{finding}");
    let vault = sealed(backend, &VaultKey::generate());
    vault.put(account("a")).await.unwrap();
    assert_eq!(order(&vault).await, ["a"]);
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_certificate_names() {
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let Some(engine) = TlsServer::start_for_all(&certificate, &key) else { return };
    let builder = || RedisBackend::builder(format!("rediss://127.0.0.1:{}", engine.port()));
    let trusting = builder().root_certificates(certificate);
    let vault = sealed(trusting.open().await.unwrap(), &VaultKey::generate());
    vault.put(account("a")).await.unwrap();
    assert_eq!(order(&vault).await, ["a"]);
    let error = builder().open().await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
}
