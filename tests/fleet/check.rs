//! A check of a vault finds what does not fit, says the way out, and mends what is safe.

use std::time::Duration;

use tower_credentials::standing::{Change, Outcome};
use tower_credentials::vault::VaultExt;
use tower_credentials::vault::key::VaultKey;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::vault::redis::check::{Finding, FindingKind, Report, Severity};
use tower_credentials::{Credential, CredentialId, Generation, PoolKey, Secret};

use crate::hosts::hosts;
use crate::nodes::cluster_of_two;
use crate::server::{Server, sealed};
use crate::vault_contract::{account, pool, put_all};

fn key(part: &str) -> String {
    format!("tower-credentials:{{example/default}}:{part}")
}

/// A vault with two accounts and a few changes, and its backend.
async fn vault(server: &Server) -> (RedisBackend, [CredentialId; 2]) {
    server.tell::<()>(&["FLUSHALL"]);
    let backend = server.builder().build().unwrap();
    let vault = sealed(backend.clone(), &VaultKey::generate());
    let ids = put_all(&vault, ["a", "b"]).await;
    vault.record(pool(), vec![Outcome { id: ids[0], change: Change::Paused }]).await.unwrap();
    vault.relabel(&pool(), ids[1], "c").await.unwrap();
    (backend, ids)
}

/// Returns the only finding.
fn only(report: &Report) -> &Finding {
    let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
    assert!(finding.key.starts_with("tower-credentials"), "{finding}");
    finding
}

#[tokio::test]
async fn a_vault_in_use_has_no_findings() {
    let Some(server) = Server::start(&[]) else { return };
    let [vault] = hosts(&server).await;
    let backend = server.builder().build().unwrap();
    let empty = backend.check(false).await.unwrap();
    assert!(empty.is_healthy() && empty.findings.is_empty(), "{:?}", empty.findings);
    let [a, b] = put_all(&vault, ["a", "b"]).await;
    vault.load_pool(pool()).await.unwrap();
    let _lease = vault.lease_refresh(&pool(), a).await.unwrap();
    let _client = vault.lease_client("client".into()).await.unwrap();
    vault.begin_refresh(&pool(), a, Generation::FIRST).await.unwrap();
    vault.remove(&pool(), b).await.unwrap();
    // Longer than a log becomes before it is trimmed.
    for _ in 0..600 {
        vault.record(pool(), vec![Outcome { id: a, change: Change::Paused }]).await.unwrap();
    }
    vault.changes(pool(), Default::default()).await.unwrap();
    server.tell::<()>(&["SET", "tower-credentials:vault", "its identity"]);
    let report = backend.check(true).await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.pools, report.records), (1, 1));
}

#[tokio::test]
async fn each_thing_that_is_broken_by_hand_is_found_and_named() {
    let Some(server) = Server::start(&[]) else { return };
    let none = CredentialId::random().to_string();
    let log = || key("log");
    let (records, notes, failures) = (key("records"), key("notes"), key("failures"));
    let (revision, snapshot) = (key("revision"), key("snapshot"));
    let lease = key(&format!("lease:{none}"));
    use FindingKind as Kind;
    use Severity::{Error, Note, Warning};
    let cases: [(&[&str], Kind, Severity, String); 15] = [
        (&["HSET", &records, &none, "1.0:{}"], Kind::Record, Error, records.clone()),
        (&["HSET", &records, "else", "1.0:{}"], Kind::Record, Error, records.clone()),
        (&["HSET", &notes, &none, "1:2:::"], Kind::Leftover, Warning, notes.clone()),
        (&["HSET", &failures, &none, "1:2:3:why"], Kind::Leftover, Warning, failures.clone()),
        (&["SET", &lease, "holder", "PX", "60000"], Kind::Leftover, Note, lease.clone()),
        (&["SET", &key("lease:snapshot"), "holder"], Kind::Lease, Error, key("lease:snapshot")),
        (
            &["SET", "tower-credentials:{client:x}:lease", "holder"],
            Kind::Lease,
            Error,
            "tower-credentials:{client:x}:lease".to_owned(),
        ),
        (&["SET", &revision, "9-9"], Kind::Log, Error, log()),
        (&["SET", &revision, "else"], Kind::Revision, Error, revision.clone()),
        (&["DEL", &log()], Kind::Log, Error, log()),
        (&["SET", &snapshot, "2-2:else"], Kind::Snapshot, Error, snapshot.clone()),
        (
            &["SET", &snapshot, "9-9:{\"order\":[],\"credentials\":{}}"],
            Kind::Snapshot,
            Error,
            snapshot.clone(),
        ),
        (&["SET", &key("gone"), "else"], Kind::OtherType, Error, key("gone")),
        (&["SET", &key("more"), "else"], Kind::UnknownKey, Note, key("more")),
        (
            &["SADD", "tower-credentials:pools", "else"],
            Kind::PoolName,
            Error,
            "tower-credentials:pools".to_owned(),
        ),
    ];
    for (command, kind, severity, at) in &cases {
        let (backend, _) = vault(&server).await;
        server.tell::<redis::Value>(command);
        // Nothing of this is mended.
        let report = backend.check(true).await.unwrap();
        let finding = only(&report);
        assert_eq!((finding.kind, finding.severity, &finding.key), (*kind, *severity, at), "{finding}");
        assert!(!finding.can_fix && !finding.is_fixed);
        assert_eq!(report.is_healthy(), *severity == Note);
        assert_eq!(backend.check(false).await.unwrap().findings, report.findings);
    }
}

#[tokio::test]
async fn an_entry_that_is_missing_in_a_log_is_named() {
    let Some(server) = Server::start(&[]) else { return };
    let (backend, _) = vault(&server).await;
    let entries: Vec<(String, Vec<String>)> = server.tell(&["XRANGE", &key("log"), "-", "+"]);
    server.tell::<u8>(&["XDEL", &key("log"), &entries[1].0]);
    let report = backend.check(false).await.unwrap();
    let finding = only(&report);
    assert_eq!(finding.kind, FindingKind::Log);
    assert!(finding.what.contains("entry 2 is missing"), "{finding}");
}

#[tokio::test]
async fn notes_and_failures_that_cannot_be_read_are_found() {
    let Some(server) = Server::start(&[]) else { return };
    for part in ["notes", "failures"] {
        let (backend, [a, _]) = vault(&server).await;
        server.tell::<u8>(&["HSET", &key(part), &a.to_string(), "else"]);
        let report = backend.check(false).await.unwrap();
        assert_eq!(only(&report).kind, FindingKind::Refresh);
    }
}

#[tokio::test]
async fn indexes_of_labels_are_mended_on_demand() {
    let Some(server) = Server::start(&[]) else { return };
    let none = CredentialId::random().to_string();
    for command in [
        &["HDEL", &key("labels"), "a"][..],
        &["HSET", &key("labels"), "more", &none],
        &["HSET", &key("names"), &none, "more"],
        &["DEL", &key("labels"), &key("names")],
    ] {
        let (backend, _) = vault(&server).await;
        server.tell::<redis::Value>(command);
        let report = backend.check(false).await.unwrap();
        assert!(!report.findings.is_empty() && !report.is_healthy());
        for finding in &report.findings {
            assert_eq!((finding.kind, finding.severity), (FindingKind::Labels, Severity::Warning));
            assert!(finding.can_fix && !finding.is_fixed, "{finding}");
        }
        let mended = backend.check(true).await.unwrap();
        assert!(mended.is_healthy() && mended.findings.iter().all(|finding| finding.is_fixed));
        assert_eq!(backend.check(false).await.unwrap().findings, []);
        // The label is taken again.
        let vault = sealed(backend, &VaultKey::generate());
        assert_eq!(&*vault.put(account("a")).await.unwrap().label, "a-2");
    }
}

#[tokio::test]
async fn two_accounts_with_one_label_are_found_and_left_alone() {
    let Some(server) = Server::start(&[]) else { return };
    let (backend, [_, b]) = vault(&server).await;
    let record: String = server.tell(&["HGET", &key("records"), &b.to_string()]);
    let same = record.replace("\"label\":\"c\"", "\"label\":\"a\"");
    assert_ne!(same, record);
    server.tell::<u8>(&["HSET", &key("records"), &b.to_string(), &same]);
    let report = backend.check(true).await.unwrap();
    let finding = report.findings.iter().find(|finding| finding.kind == FindingKind::SameLabel);
    let finding = finding.unwrap_or_else(|| panic!("{:?}", report.findings));
    assert!(finding.what.contains("\"a\"") && !finding.is_fixed, "{finding}");
}

#[tokio::test]
async fn a_pool_that_is_missing_in_the_list_is_added_on_demand() {
    let Some(server) = Server::start(&[]) else { return };
    let (backend, _) = vault(&server).await;
    server.tell::<u8>(&["DEL", "tower-credentials:pools"]);
    let report = backend.check(false).await.unwrap();
    assert_eq!(only(&report).kind, FindingKind::UnlistedPool);
    assert!(!report.is_healthy());
    let mended = backend.check(true).await.unwrap();
    assert!(only(&mended).is_fixed && mended.is_healthy());
    assert_eq!(backend.check(false).await.unwrap().findings, []);
    let listing = sealed(backend, &VaultKey::generate()).list().await.unwrap();
    assert_eq!(listing.credentials.len(), 2);
}

#[tokio::test]
async fn a_pool_without_accounts_is_a_note() {
    let Some(server) = Server::start(&[]) else { return };
    let (backend, ids) = vault(&server).await;
    let vault = sealed(backend.clone(), &VaultKey::generate());
    for id in ids {
        vault.remove(&pool(), id).await.unwrap();
    }
    let report = backend.check(false).await.unwrap();
    assert_eq!((only(&report).kind, report.is_healthy()), (FindingKind::EmptyPool, true));
}

#[tokio::test]
async fn a_user_with_few_rights_is_told_what_was_not_looked_at() {
    let Some(server) = Server::start(&[]) else { return };
    let (whole, _) = vault(&server).await;
    server.tell::<()>(&["ACL", "SETUSER", "vault", "on", ">pw", "~*", "&*", "+@all", "-scan", "-info"]);
    let url = format!("redis://vault:pw@127.0.0.1:{}", server.port());
    let backend = RedisBackend::builder(url).command_timeout(Duration::from_secs(10)).build().unwrap();
    let report = backend.check(false).await.unwrap();
    let finding = only(&report);
    assert_eq!((finding.kind, finding.severity), (FindingKind::NotAllowed, Severity::Note));
    assert!(finding.way_out.as_ref().unwrap().contains("SCAN"), "{finding}");
    assert_eq!((report.pools, report.records, report.is_healthy()), (1, 2, true));
    // What is in the pools that it knows is found all the same.
    server.tell::<u8>(&["HDEL", &key("labels"), "a"]);
    let report = backend.check(false).await.unwrap();
    assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::Labels));
    assert!(!whole.check(true).await.unwrap().findings.is_empty());
}

#[tokio::test]
async fn all_nodes_of_a_cluster_are_looked_at() {
    let Some([one, other]) = cluster_of_two().await else { return };
    let backend = one.builder().cluster(true).build().unwrap();
    let vault = sealed(backend.clone(), &VaultKey::generate());
    for number in 0..16 {
        let pool = PoolKey::new(format!("example-{number}"));
        vault.put(Credential::new(pool, "a", Secret::api_key("k"))).await.unwrap();
    }
    let report = backend.check(false).await.unwrap();
    assert_eq!((report.findings, report.pools, report.records), (Vec::new(), 16, 16));
    // Whichever node has the list.
    for node in [&one, &other] {
        let found: Vec<String> = node.tell(&["KEYS", "tower-credentials:pools"]);
        if !found.is_empty() {
            node.tell::<u8>(&["DEL", "tower-credentials:pools"]);
        }
    }
    let report = backend.check(true).await.unwrap();
    assert_eq!(report.findings.len(), 16);
    assert!(report.findings.iter().all(|finding| finding.kind == FindingKind::UnlistedPool));
    assert!(report.is_healthy());
    assert_eq!(vault.list().await.unwrap().credentials.len(), 16);
}

#[tokio::test]
async fn no_finding_shows_a_sealed_secret() {
    let Some(server) = Server::start(&[]) else { return };
    let (backend, [a, _]) = vault(&server).await;
    let record: String = server.tell(&["HGET", &key("records"), &a.to_string()]);
    server.tell::<u8>(&["HSET", &key("records"), &a.to_string(), &record[..record.len() - 3]]);
    let report = backend.check(false).await.unwrap();
    assert_eq!(only(&report).id, Some(a));
    let shown = format!("{report:?} {}", only(&report));
    let sealed = record.split("\"secret\"").nth(1).unwrap();
    assert!(!shown.contains(&sealed[20..60]), "{shown}");
}
