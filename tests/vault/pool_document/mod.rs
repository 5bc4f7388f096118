//! A pool as one value: what it does of the requests, and that nothing is lost if it is stored and read again.

mod changes;
mod damage;
mod histories;
mod unknown_fields;

use std::time::Duration;

use serde_json::{Value, json};
use tower_credentials::vault::{
    Applied, BatchId, BatchOrigin, Changes, FailedRefresh, PoolDocument, Revision, VaultError,
    VaultRequest, VaultResponse,
};
use tower_credentials::{Credential, CredentialId, Generation, PoolKey, Secret, Timestamp};

use crate::vault_contract::{PLANTED, account, cooled, pool};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Stores a document, and reads it.
fn stored(document: &PoolDocument) -> PoolDocument {
    serde_json::from_str(&serde_json::to_string(document).unwrap()).unwrap()
}

fn value(document: &PoolDocument) -> Value {
    serde_json::to_value(document).unwrap()
}

fn read(value: Value) -> PoolDocument {
    serde_json::from_value(value).unwrap()
}

fn apply(document: &mut PoolDocument, request: VaultRequest) -> Result<Applied, VaultError> {
    document.apply(request, NOW)
}

fn put(document: &mut PoolDocument, label: &str) -> CredentialId {
    match apply(document, VaultRequest::Put(account(label))).unwrap().response {
        VaultResponse::Stored(metadata) => metadata.id,
        other => panic!("{other:?}"),
    }
}

fn record(document: &mut PoolDocument, id: CredentialId, until: u64) {
    let outcomes = vec![cooled(id, until, 1, false)];
    let request = VaultRequest::Record { pool: pool(), outcomes, batch: BatchId::unique() };
    assert!(apply(document, request).unwrap().is_changed);
}

fn changes(document: &mut PoolDocument, since: Revision) -> Option<Changes> {
    match apply(document, VaultRequest::Changes { pool: pool(), since, told: false }).unwrap().response {
        VaultResponse::Changes(changes) => changes,
        other => panic!("{other:?}"),
    }
}

/// Returns a document with the accounts `a` and `b`, of which the first cools down.
fn two() -> (PoolDocument, [CredentialId; 2]) {
    let mut document = PoolDocument::new(pool());
    let ids = ["a", "b"].map(|label| put(&mut document, label));
    record(&mut document, ids[0], 5_000);
    (document, ids)
}

#[test]
fn the_last_batch_of_an_origin_that_goes_on_is_known_after_many_others() {
    let (document, [id, _]) = two();
    let mut document = stored(&document);
    let origin = BatchOrigin::random();
    let mut record = |batch| {
        let outcomes = vec![cooled(id, 6_000, 1, false)];
        let request = VaultRequest::Record { pool: pool(), outcomes, batch };
        apply(&mut document, request).unwrap().is_changed
    };
    // Documents remember 1,024 origins.
    for number in 1..=2_000 {
        assert!(record(BatchId { origin, number }), "{number}");
        assert!(record(BatchId::unique()));
        assert!(!record(BatchId { origin, number }), "{number}");
    }
}

#[test]
fn a_document_responds_for_its_own_pool_only() {
    let (mut document, [id, _]) = two();
    let before = value(&document);
    let other = PoolKey::new("other");
    for request in [
        VaultRequest::Load(other.clone()),
        VaultRequest::Remove { pool: other.clone(), id },
        VaultRequest::Put(Credential::new(other, "c", Secret::api_key("c"))),
    ] {
        let error = apply(&mut document, request).unwrap_err();
        assert!(matches!(error, VaultError::Layer(_)), "{error:?}");
        assert!(error.to_string().contains("other/default"), "{error}");
    }
    assert_eq!(value(&document), before);
}

#[test]
fn what_the_backend_must_do_itself_is_unsupported() {
    let (mut document, [id, _]) = two();
    for (request, name) in [
        (VaultRequest::List, "list"),
        (VaultRequest::Watch(pool()), "watch"),
        (VaultRequest::LeaseRefresh { pool: pool(), id }, "lease refresh"),
        (VaultRequest::LeaseClient { client: "app".into() }, "lease client"),
    ] {
        let error = apply(&mut document, request).unwrap_err();
        assert!(matches!(error, VaultError::Unsupported { request } if request == name), "{error:?}");
    }
    let listed = document.listing().credentials;
    assert_eq!(listed.iter().map(|metadata| &*metadata.label).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(document.get(id).unwrap().metadata.id, id);
    let missing = CredentialId::random();
    assert!(matches!(document.get(missing), Err(VaultError::NotFound(id)) if id == missing));
}

#[test]
fn a_document_that_was_lost_or_restored_never_comes_to_a_revision_that_was_there() {
    let (mut document, [id, _]) = two();
    let backup = value(&document);
    let mut seen = vec![document.revision()];
    let mut next = |document: &mut PoolDocument| {
        record(document, id, 6_000);
        assert!(!seen.contains(&document.revision()), "{:?} came twice", document.revision());
        seen.push(document.revision());
    };
    next(&mut document);
    next(&mut document);
    let known = document.revision();
    // Two processes that read the same, of which one can store it, and a backup that is restored.
    for mut copy in [read(backup.clone()), read(backup)] {
        assert!(changes(&mut copy, known).is_none(), "it has not come to this revision");
        next(&mut copy);
        next(&mut copy);
        assert!(changes(&mut copy, known).is_none(), "nor has it now");
    }
    let mut anew = PoolDocument::new(pool());
    for label in ["a", "b", "c", "d", "e"] {
        put(&mut anew, label);
        assert!(!seen.contains(&anew.revision()));
        assert!(changes(&mut anew, known).is_none());
    }
}

#[test]
fn a_reader_learns_by_changes_what_another_process_has_stored() {
    let (document, [a, b]) = two();
    let since = document.revision();
    let mut document = stored(&document);
    record(&mut document, b, 7_000);
    let mut document = stored(&document);
    let remove = VaultRequest::Remove { pool: pool(), id: a };
    assert!(apply(&mut document, remove).unwrap().is_changed);
    let changes = changes(&mut stored(&document), since).expect("both are known");
    assert_eq!((changes.removed, changes.revision), (vec![a], document.revision()));
    assert_eq!(changes.standings.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [b]);
}

#[test]
fn a_wait_that_a_wrong_clock_has_set_in_the_future_is_over() {
    let (mut document, [id, _]) = two();
    let (wait, expected) = (Duration::from_secs(60), Generation::FIRST);
    let failed = FailedRefresh { wait, in_a_row: 1, reason: "503".into() };
    let failed = VaultRequest::RefreshFailed { pool: pool(), id, expected, failed };
    let a_day_ahead = NOW.after(Duration::from_secs(86_400));
    assert!(document.apply(failed, a_day_ahead).unwrap().is_changed);
    let mut left = |now| {
        let begin = VaultRequest::BeginRefresh { pool: pool(), id, expected };
        let Applied { response, is_changed, .. } = document.apply(begin, now).unwrap();
        let VaultResponse::Begun(begun) = response else { panic!("{response:?}") };
        let left = begun.failed.expect("it has failed").wait;
        assert_eq!(is_changed, left.is_zero(), "it begins once nothing is left");
        left
    };
    assert_eq!(left(a_day_ahead.before(Duration::from_secs(10))), wait, "it is never longer");
    assert_eq!(left(a_day_ahead.after(Duration::from_secs(45))), Duration::from_secs(15));
    assert_eq!(left(NOW), Duration::ZERO);
}

#[test]
fn a_newer_format_is_refused_whatever_else_is_in_it() {
    let (document, _) = two();
    let mut newer = value(&document);
    let format = newer["format"].as_u64().unwrap() + 1;
    newer["format"] = json!(format);
    for newer in [newer, json!({ "format": format, "credentials": "elsewhere" })] {
        let error = serde_json::from_value::<PoolDocument>(newer).unwrap_err().to_string();
        assert!(error.contains(&format!("format {format}")) && error.contains("update"), "{error}");
    }
}

#[test]
fn fields_that_came_after_version_1_may_be_missing() {
    let (document, [id, _]) = two();
    let mut other = value(&document);
    let fields = other.as_object_mut().unwrap();
    fields.retain(|name, _| {
        ["format", "pool", "revision", "order", "credentials"].contains(&name.as_str())
    });
    let mut bare = read(other);
    assert_eq!(bare.listing().credentials, document.listing().credentials);
    assert_eq!(bare.revision(), document.revision());
    record(&mut bare, id, 9_000);
}

#[test]
fn changes_of_a_kind_that_came_later_are_forgotten() {
    let (document, _) = two();
    let since = document.revision();
    let mut later = value(&document);
    later["recent"].as_array_mut().unwrap().push(json!([since, { "from_a_later_version": 1 }]));
    let mut document = read(later);
    assert!(changes(&mut document, Revision::default()).is_none(), "the pool must be loaded");
    assert_eq!(document.listing().credentials.len(), 2);
}

#[test]
fn debug_shows_no_secret() {
    let (document, _) = two();
    let shown = format!("{document:?}");
    assert!(shown.contains("example/default") && !shown.contains(PLANTED), "{shown}");
}
