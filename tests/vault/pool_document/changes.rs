//! The last changes in a stored document: how much they take, and what another version's number of them means.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};
use tower_credentials::standing::{Change, Outcome, Quota, QuotaName};
use tower_credentials::vault::{BatchId, PoolDocument, Revision, VaultRequest};
use tower_credentials::{CredentialId, Timestamp};

use super::{apply, changes, put, read, stored, value};
use crate::vault_contract::{cooled, pool};

fn record(document: &mut PoolDocument, outcomes: Vec<Outcome>) {
    let request = VaultRequest::Record { pool: pool(), outcomes, batch: BatchId::unique() };
    assert!(apply(document, request).unwrap().is_changed);
}

/// Returns a document with this many accounts, which share a quota or have their own.
fn with_accounts(count: usize, quota: Option<Quota>) -> (PoolDocument, Vec<CredentialId>) {
    let mut document = PoolDocument::new(pool());
    let ids: Vec<_> = (0..count).map(|number| put(&mut document, &format!("{number:03}"))).collect();
    let set = |id: &CredentialId| Outcome { id: *id, change: Change::Quota { quota: quota.clone() } };
    record(&mut document, ids.iter().map(set).collect());
    (document, ids)
}

fn acme() -> Option<Quota> {
    Some(Quota::Shared(QuotaName::new("acme").unwrap()))
}

/// Returns how many bytes a field of a document takes.
fn bytes(document: &PoolDocument, field: &str) -> usize {
    value(document)[field].to_string().len()
}

/// Returns how many bytes the names of these accounts take in a change.
fn bytes_of_sharing(accounts: usize) -> usize {
    let ids = vec!["0".repeat(32); accounts];
    // With its comma, and without the braces.
    json!({ "sharing": ids }).to_string().len() + 1 - 2
}

#[test]
fn a_thousand_limits_of_a_shared_quota_take_no_more_room_than_one_does() {
    const ACCOUNTS: usize = 100;
    let [shared, own] = [acme(), Some(Quota::Own)].map(|quota| {
        let (mut document, ids) = with_accounts(ACCOUNTS, quota);
        for number in 0..1_000 {
            let until = 1_000_000 + number as u64;
            record(&mut document, vec![cooled(ids[number % ACCOUNTS], until, 1, true)]);
            if number % 100 == 0 {
                document = stored(&document);
            }
        }
        (bytes(&document, "recent"), bytes(&document, "batches"))
    });
    assert_eq!(shared.1, own.1);
    // The last one names all others, and that says it for all before.
    assert_eq!(shared.0, own.0 + bytes_of_sharing(ACCOUNTS - 1));
}

#[test]
fn limits_and_successes_of_a_shared_quota_name_each_account_twice_at_most() {
    const ACCOUNTS: usize = 50;
    let (mut document, ids) = with_accounts(ACCOUNTS, acme());
    for number in 0..600 {
        let id = ids[number * 7 % ACCOUNTS];
        let set_until = Timestamp::from_millis(1);
        let succeeded = Outcome { id, change: Change::Succeeded { set_until, scope: None } };
        let limited = cooled(id, 1_000 + number as u64, 1, true);
        record(&mut document, vec![limited, succeeded]);
        if number % 7 != 0 {
            continue;
        }
        let mut named = BTreeMap::new();
        for step in value(&document)["recent"].as_array().unwrap() {
            for id in step[1]["merged"]["sharing"].as_array().into_iter().flatten() {
                *named.entry(id.to_string()).or_insert(0) += 1;
            }
        }
        assert!(named.len() >= ACCOUNTS - 1, "all but the one that was limited");
        assert!(named.values().all(|times| *times <= 2), "{named:?}");
    }
}

/// Returns the revisions of a document's last changes, first to last, each with the number of its changes.
fn kept(document: &PoolDocument) -> Vec<(Revision, usize)> {
    let mut kept: Vec<(Revision, usize)> = Vec::new();
    for step in value(document)["recent"].as_array().unwrap() {
        let before: Revision = step[0].as_str().unwrap().parse().unwrap();
        match kept.last_mut().filter(|(last, _)| *last == before) {
            Some((_, count)) => *count += 1,
            None => kept.push((before, 1)),
        }
    }
    kept
}

/// Returns whose standings have changed since a revision.
fn changed(document: &mut PoolDocument, since: Revision) -> Option<HashSet<CredentialId>> {
    let changes = changes(document, since)?;
    Some(changes.standings.into_iter().map(|(id, _)| id).collect())
}

#[test]
fn a_revision_is_kept_with_all_its_changes_or_not_at_all() {
    let (mut document, ids) = with_accounts(9, None);
    let mut revisions = Vec::new();
    // The number of changes that are kept is no multiple of three.
    for number in 0..300 {
        let at = number % 3 * 3;
        revisions.push(document.revision());
        record(&mut document, ids[at..at + 3].iter().map(|id| cooled(*id, 9_000, 1, false)).collect());
        document = stored(&document);
        let kept = kept(&document);
        // The accounts and their quotas come first.
        let batches: Vec<_> = kept.iter().filter(|(before, _)| revisions.contains(before)).collect();
        assert!(batches.iter().all(|(_, count)| *count == 3), "{kept:?}");
    }
    assert!(kept(&document).len() > 50);
    let all: HashSet<_> = ids.iter().copied().collect();
    for (place, since) in revisions[..298].iter().enumerate() {
        let is_kept = kept(&document).iter().any(|(before, _)| before == since);
        let changed = changed(&mut document, *since);
        assert_eq!(changed, is_kept.then(|| all.clone()), "{place}");
    }
}

#[test]
fn a_batch_that_is_longer_than_what_is_kept_makes_a_reader_load_the_pool() {
    let (mut document, ids) = with_accounts(3, None);
    let since = document.revision();
    let outcomes = (0..300).map(|number| cooled(ids[number % 3], 9_000, 1, false)).collect();
    record(&mut document, outcomes);
    assert!(changed(&mut document, since).is_none());
    // What comes after it is known.
    let since = document.revision();
    let mut document = stored(&document);
    assert_eq!(changed(&mut document, since), Some(HashSet::new()));
    record(&mut document, vec![cooled(ids[1], 9_500, 1, false)]);
    assert_eq!(changed(&mut document, since), Some(HashSet::from([ids[1]])));
    assert!(changed(&mut document, Revision::default()).is_none());
}

/// Returns a document with these last changes, as another version may have stored it.
fn with_recent(document: &PoolDocument, recent: &[Value]) -> PoolDocument {
    let mut value = value(document);
    value["recent"] = recent.to_vec().into();
    read(value)
}

#[test]
fn a_document_of_a_version_that_keeps_more_or_fewer_changes_says_what_it_knows() {
    let (mut document, ids) = with_accounts(2, None);
    let (mut every, mut revisions) = (Vec::new(), Vec::new());
    for number in 0..400 {
        revisions.push(document.revision());
        let of_both = ids.iter().map(|id| cooled(*id, 9_000 + number, 1, false));
        record(&mut document, of_both.collect());
        let recent = value(&document)["recent"].as_array().unwrap().clone();
        every.extend_from_slice(&recent[recent.len() - 2..]);
    }
    let both: HashSet<_> = ids.iter().copied().collect();
    for keeps in [2, 20, 800] {
        let mut other = with_recent(&document, &every[800 - keeps..]);
        let first = revisions.len() - keeps / 2;
        for (place, since) in revisions.iter().enumerate() {
            let expected = (place >= first).then(|| both.clone());
            assert_eq!(changed(&mut other, *since), expected, "of {keeps}: {place}");
        }
        // It goes on with as many as this version keeps.
        record(&mut other, vec![cooled(ids[0], 20_000, 1, false)]);
        let now = kept(&other);
        assert!(now.iter().map(|(_, count)| count).sum::<usize>() <= 256, "of {keeps}");
        let (oldest, _) = now[0];
        assert_eq!(changed(&mut other, oldest).map(|ids| ids.len()), Some(2), "of {keeps}");
    }
}
