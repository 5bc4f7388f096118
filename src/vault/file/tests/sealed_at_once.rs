//! Records that are resealed together, stopped at each operation and by a power cut at each: each of them is unchanged
//! or resealed, whatever the others are.

use super::fault::{Fault, Operation, run};
use super::power_cuts::{BOTH, Trace, survives};
use super::*;
use crate::vault::file::store::resealing::ResealedSecret;

/// Returns a vault of two credentials that is being resealed, its keys with the new one first, and its state.
fn template() -> (TempDir, [VaultKey; 2], State) {
    let place = place();
    let [new, old] = [VaultKey::generate(), VaultKey::generate()];
    let store = opened(&root(place.path()), std::slice::from_ref(&old));
    for label in ["a", "b"] {
        store.call(&VaultRequest::Put(sealed(&old, &account(pool(), label)))).unwrap();
    }
    let keys = [new, old];
    let before = State::of(&opened(&root(place.path()), &keys), &keys).unwrap();
    (place, keys, before)
}

/// Returns what should be stored: each secret, sealed with the first of these keys.
fn resealed(store: &Store, keys: &[VaultKey]) -> Vec<ResealedSecret> {
    let seal = |id| {
        let stored = record(store, id);
        let (metadata, expected) = (stored.metadata.clone(), stored.metadata.generation);
        let secret = seal::open(keys, stored).unwrap();
        ResealedSecret { id, expected, secret: seal::seal(&keys[0], &Record { metadata, secret }) }
    };
    store.record_ids().unwrap().into_iter().map(seal).collect()
}

/// Returns how many records are resealed. Fails if anything else has changed.
fn done(copy: &Copy<'_>, before: &State) -> Result<usize, String> {
    let (mut state, mut before) = (copy.state()?, before.clone());
    let new = copy.keys[0].id();
    let done = state.credentials.iter().filter(|(_, _, sealed_with)| *sealed_with == new).count();
    for (_, _, sealed_with) in state.credentials.iter_mut().chain(&mut before.credentials) {
        *sealed_with = new;
    }
    if state == before { Ok(done) } else { Err(format!("{state:?} in place of {before:?}")) }
}

#[test]
fn a_directory_is_synced_once_for_records_that_are_resealed_together() {
    let (place, keys, _) = template();
    let store = opened(&root(place.path()), &keys);
    let sealed = resealed(&store, &keys);
    let records = root(place.path()).join("records");
    let (_, report) = run(None, || store.reseal(&sealed).unwrap());
    let is_sync = |operation: &&Operation| match operation {
        Operation::Sync(path) => path.starts_with(&records),
        Operation::SyncDir(path) => *path == records,
        _ => false,
    };
    let syncs: Vec<_> = report.operations.iter().filter(is_sync).collect();
    assert!(
        matches!(syncs[..], [Operation::Sync(_), Operation::Sync(_), Operation::SyncDir(_)]),
        "{syncs:?}"
    );
}

#[test]
fn a_record_is_read_once_when_all_pools_are_loaded() {
    let (place, keys, _) = template();
    let store = opened(&root(place.path()), &keys);
    let (loaded, report) = run(None, || store.load_all().unwrap());
    for metadata in loaded.0.credentials {
        let path = root(place.path()).join(format!("records/{}.json", metadata.id));
        let reads =
            report.operations.iter().filter(|operation| **operation == Operation::Open(path.clone()));
        assert_eq!(reads.count(), 1);
    }
}

#[test]
fn records_that_are_resealed_together_outlast_a_power_cut() {
    let (place, keys, before) = template();
    let store = opened(&root(place.path()), &keys);
    let sealed = resealed(&store, &keys);
    let (trace, ids) = Trace::of(place.path(), || store.reseal(&sealed));
    assert_eq!(ids.unwrap().len(), 2);
    survives("resealed together", &trace, BOTH, |place, is_acknowledged| {
        match done(&Copy { place, keys: &keys }, &before)? {
            0 | 1 if is_acknowledged => Err("it was acknowledged".to_owned()),
            _ => Ok(()),
        }
    });
}

#[test]
fn each_record_is_resealed_or_as_before_whatever_fails() {
    let (template, keys, before) = template();
    let mut numbers_done = BTreeSet::new();
    for number in 0.. {
        let mut has_struck = false;
        for fault in [
            Fault::Fails(io::ErrorKind::StorageFull),
            Fault::FailsHalfway(io::ErrorKind::StorageFull),
            Fault::Stops,
            Fault::StopsHalfway,
        ] {
            let place = place();
            copy(template.path(), place.path());
            let copy = Copy { place, keys: &keys };
            let store = copy.open();
            let sealed = resealed(&store, &keys);
            let (stored, report) = run(Some((number, fault)), || store.reseal(&sealed));
            has_struck |= report.has_struck;
            let at = report.operations.get(number).map(brief);
            let left =
                done(&copy.again(), &before).unwrap_or_else(|why| panic!("{fault:?} at {at:?}: {why}"));
            numbers_done.insert(left);
            if let Ok(stored) = stored {
                assert!(stored.len() <= left, "{fault:?} at {at:?}: acknowledged, and not there");
            }
            // The next process finishes the work.
            let store = copy.open();
            assert_eq!(store.reseal(&resealed(&store, &keys)).unwrap().len(), 2, "{fault:?} at {at:?}");
            assert_eq!(done(&copy, &before), Ok(2), "{fault:?} at {at:?}");
        }
        if !has_struck {
            break;
        }
    }
    assert_eq!(numbers_done, BTreeSet::from([0, 1, 2]), "one may be done without the other");
}
