//! A change of the key in a key file and of everything sealed with it, stopped at each operation and by a power cut at
//! each: every record opens with the keys that are kept, and the next process can finish the change.

use std::sync::Arc;

use super::fault::{Fault, run};
use super::power_cuts::{BOTH, Trace, Unsynced, survives, survives_kill_of_one_and_power_cut};
use super::*;
use crate::vault::key::{FileKey, Keys, Rotation, Slot, Slots, replace_now};

fn key_file(place: &Path) -> FileKey {
    FileKey::new(place.join("keys/vault.key"))
}

/// Like [`KeyServiceExt::load_keys`](crate::vault::key::KeyServiceExt::load_keys), on this thread.
fn kept(place: &Path) -> Result<Keys, String> {
    let file = key_file(place);
    let failed = |error: VaultError| format!("no keys: {error}");
    let current = file.load(Slot::Current).map_err(failed)?.ok_or("there is no key")?;
    let keys = Keys::new(current);
    Ok(match file.load_previous().map_err(failed)? {
        Some(previous) => keys.previous(previous),
        None => keys,
    })
}

fn all(keys: &Keys) -> Vec<VaultKey> {
    [&keys.current].into_iter().chain(&keys.previous).cloned().collect()
}

/// A vault of one credential, with its key in a file beside it.
fn template() -> (TempDir, State) {
    let place = place();
    let key = VaultKey::generate();
    key_file(place.path()).add(Slot::Current, &key).unwrap();
    let store = opened(&root(place.path()), std::slice::from_ref(&key));
    store.call(&VaultRequest::Put(sealed(&key, &account(pool(), "a")))).unwrap();
    let before = State::of(&store, std::slice::from_ref(&key)).unwrap();
    (place, before)
}

/// Changes the key, or finishes a change: what a program does from its first step to its last.
fn change(place: &Path) -> Result<(), String> {
    let failed = |stopped: Stopped| format!("{stopped:?}");
    let rotation = Rotation::begin_now(Arc::new(key_file(place))).map_err(|error| error.to_string())?;
    let keys = all(rotation.keys());
    let store = Store::new(root(place));
    store.open(&signers(&keys), false).map_err(failed)?;
    for id in store.record_ids().map_err(|error| error.to_string())? {
        reseal(&store, &keys, id)?;
    }
    match store.forget_previous_keys(keys[0].id()).map_err(failed)? {
        0 => rotation.finish_now().map_err(|error| error.to_string()),
        left => Err(format!("{left} are left")),
    }
}

/// Reseals a record with the first of these keys, unless it is sealed with that key.
fn reseal(store: &Store, keys: &[VaultKey], id: CredentialId) -> Result<(), String> {
    let failed = |stopped: Stopped| format!("{stopped:?}");
    let response = store.call(&VaultRequest::Get { pool: pool(), id }).map_err(failed)?;
    let VaultResponse::Credential(stored) = response else { return Err(format!("{response:?}")) };
    if stored.secret.key_id() == keys[0].id() {
        return Ok(());
    }
    let metadata = stored.metadata.clone();
    let expected = metadata.generation;
    let secret = seal::open(keys, stored).ok_or("a record does not open")?;
    let secret = seal::seal(&keys[0], &Record { metadata, secret });
    store.call(&VaultRequest::Reseal { pool: pool(), id, expected, secret }).map_err(failed)?;
    Ok(())
}

/// Opens the vault with the keys that are kept. Fails if anything is missing.
fn check(place: &Path, before: &State) -> Result<Keys, String> {
    let keys = kept(place)?;
    let store = Store::new(root(place));
    store.open(&signers(&all(&keys)), false).map_err(|stopped| format!("no opening: {stopped:?}"))?;
    let mut state = State::of(&store, &all(&keys))?;
    let mut before = before.clone();
    for (_, _, sealed_with) in state.credentials.iter_mut().chain(&mut before.credentials) {
        *sealed_with = keys.current.id();
    }
    if state != before {
        return Err(format!("{state:?} in place of {before:?}"));
    }
    for (path, content) in tree(place) {
        if path.starts_with("keys") && content.is_some() {
            let metadata = fs::metadata(place.join(&path)).unwrap();
            if disk::open_to_others(&metadata) != 0 {
                return Err(format!("{} is open to others", path.display()));
            }
        }
    }
    Ok(keys)
}

/// Like [`check`], and then finishes the change, after which there is one key, and it is not `first`.
fn goes_on(place: &Path, before: &State, first: KeyId) -> Result<(), String> {
    let begun = check(place, before)?;
    change(place).map_err(|why| format!("can't go on: {why}"))?;
    let keys = check(place, before)?;
    if begun.previous.is_some() && keys.current.id() != begun.current.id() {
        return Err("a third key".to_owned());
    }
    let left = tree(place).into_keys().filter(|path| path.starts_with("keys"));
    let left: Vec<_> = left.map(|path| path.display().to_string()).collect();
    if keys.previous.is_some() || keys.current.id() == first {
        return Err(format!("not changed: {keys:?}"));
    }
    // Nobody sweeps a temporary file beside the key.
    match left.iter().all(|name| ["keys", "keys/vault.key", "keys/vault.key.lock"].contains(&&**name)) {
        true => Ok(()),
        false => Err(format!("left: {left:?}")),
    }
}

#[test]
fn a_change_of_the_key_is_resumed_wherever_it_was_cut_off() {
    let (template, before) = template();
    let first = kept(template.path()).unwrap().current.id();
    let mut wrong = Vec::new();
    let faults = [Fault::Stops, Fault::StopsHalfway, Fault::Fails(io::ErrorKind::StorageFull)];
    let mut number = 0;
    loop {
        let mut has_struck = false;
        for fault in faults {
            let place = place();
            copy(template.path(), place.path());
            let (done, report) = run(Some((number, fault)), || change(place.path()));
            has_struck |= report.has_struck;
            let at = report.operations.get(number).map(brief);
            if let Err(why) = check(place.path(), &before) {
                wrong.push(format!("{fault:?} at {at:?}: {why}"));
            }
            if report.has_struck {
                // Nobody else removes what was being written to replace the key.
                sweep_keys(place.path());
                if let Err(why) = goes_on(place.path(), &before, first) {
                    wrong.push(format!("{fault:?} at {at:?}, then: {why}"));
                }
            } else {
                done.unwrap();
            }
        }
        if !has_struck {
            break;
        }
        number += 1;
    }
    assert!(number > 40, "{number} operations");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Removes the temporary files beside the key.
fn sweep_keys(place: &Path) {
    for path in tree(place).into_keys().filter(|path| path.starts_with("keys") && is_temporary(path)) {
        fs::remove_file(place.join(path)).unwrap();
    }
}

#[test]
fn a_change_of_the_key_outlasts_a_power_cut() {
    let (template, before) = template();
    let first = kept(template.path()).unwrap().current.id();
    let (trace, done) = Trace::of(template.path(), || change(template.path()));
    done.unwrap();
    // Without synced directories there are too many states; the next test looks at those that matter.
    survives("a change of the key", &trace, &[Unsynced::Files], |place, is_acknowledged| {
        let keys = check(place.path(), &before)?;
        if is_acknowledged && (keys.current.id() == first || keys.previous.is_some()) {
            return Err(format!("it was acknowledged: {keys:?}"));
        }
        sweep_keys(place.path());
        goes_on(place.path(), &before, first)
    });
}

#[test]
fn both_keys_outlast_a_power_cut_before_anything_is_sealed_with_the_new_one() {
    let (template, before) = template();
    let begin = || Rotation::begin_now(Arc::new(key_file(template.path()))).map(drop);
    let (trace, done) = Trace::of(template.path(), begin);
    done.unwrap();
    survives("a new key beside the one before", &trace, BOTH, |place, is_acknowledged| {
        let keys = check(place.path(), &before)?;
        match keys.previous.is_some() || !is_acknowledged {
            true => Ok(()),
            false => Err(format!("it was acknowledged: {keys:?}")),
        }
    });
}

#[test]
fn a_secret_sealed_during_anothers_rotation_outlasts_a_power_cut() {
    let (template, before) = template();
    let add = |place: &Path| {
        let keys = check(place, &before)?;
        let store = opened(&root(place), &all(&keys));
        let more = sealed(&keys.current, &account(pool(), "more"));
        store.call(&VaultRequest::Put(more)).map_err(|stopped| format!("{stopped:?}"))?;
        Ok(())
    };
    let name = "a change of the key that another one sees";
    survives_kill_of_one_and_power_cut(name, template.path(), change, add, |place, ()| {
        let keys = kept(place.path())?;
        let state = State::of(&opened(&root(place.path()), &all(&keys)), &all(&keys))?;
        let labels: Vec<_> = state.credentials.iter().map(|(metadata, ..)| &*metadata.label).collect();
        if labels == ["a", "more"] { Ok(()) } else { Err(format!("{labels:?}")) }
    });
}

#[test]
fn a_replaced_key_is_kept_whatever_fails() {
    let (template, before) = template();
    let old = kept(template.path()).unwrap().current;
    let new = VaultKey::generate();
    let put = |place: &Path| replace_now(&key_file(place), &new);
    for number in 0.. {
        let place = place();
        copy(template.path(), place.path());
        let (done, report) = run(Some((number, Fault::Stops)), || put(place.path()));
        if !report.has_struck {
            assert_eq!(done.unwrap()[0].id, old.id());
            break;
        }
        let file = key_file(place.path());
        let current = file.load(Slot::Current).unwrap().unwrap().id();
        if current == old.id() {
            check(place.path(), &before).unwrap();
        } else {
            assert_eq!(current, new.id());
            assert_eq!(file.load(Slot::Kept(old.id())).unwrap().unwrap().id(), old.id());
        }
        put(place.path()).unwrap();
        assert_eq!(file.load(Slot::Current).unwrap().unwrap().id(), new.id());
        assert_eq!(file.load(Slot::Kept(old.id())).unwrap().unwrap().id(), old.id());
    }
}

/// A vault of two credentials whose key is being changed: one is sealed with the new key, the other is not.
fn half_changed() -> (TempDir, State, Keys) {
    let (place, _) = template();
    let first = kept(place.path()).unwrap().current;
    let store = opened(&root(place.path()), std::slice::from_ref(&first));
    store.call(&VaultRequest::Put(sealed(&first, &account(pool(), "b")))).unwrap();
    drop(Rotation::begin_now(Arc::new(key_file(place.path()))).unwrap());
    let keys = kept(place.path()).unwrap();
    assert_eq!(keys.previous.as_ref().map(VaultKey::id), Some(first.id()));
    let store = opened(&root(place.path()), &all(&keys));
    reseal(&store, &all(&keys), store.record_ids().unwrap()[0]).unwrap();
    let before = State::of(&store, &all(&keys)).unwrap();
    (place, before, keys)
}

/// Checks that the vault has all its keys, or that `new` alone has replaced them, and that they are kept.
fn has_them_or_new(place: &Path, before: &State, them: &Keys, new: KeyId) -> Result<bool, String> {
    let file = key_file(place);
    let keys = kept(place)?;
    if keys.current.id() != new {
        check(place, before)?;
        return Ok(false);
    }
    if keys.previous.is_some() {
        return Err("a key before that is none".to_owned());
    }
    for old in all(them) {
        let slot = Slot::Kept(old.id());
        let there = file.load(slot).map_err(|error| error.to_string())?;
        if there.is_none_or(|there| there.id() != old.id()) {
            return Err(format!("{} is not kept", old.id()));
        }
    }
    Ok(true)
}

#[test]
fn both_keys_of_a_replaced_rotation_are_there_or_kept_whatever_fails() {
    let (template, before, them) = half_changed();
    let new = VaultKey::generate();
    let mut both = [false; 2];
    for number in 0.. {
        let place = place();
        copy(template.path(), place.path());
        let put = || replace_now(&key_file(place.path()), &new);
        let (done, report) = run(Some((number, Fault::Stops)), put);
        let at = report.operations.get(number).map(brief);
        let is_new = has_them_or_new(place.path(), &before, &them, new.id());
        let is_new = is_new.unwrap_or_else(|why| panic!("stopped at {at:?}: {why}"));
        both[usize::from(is_new)] = true;
        if !report.has_struck {
            assert_eq!(done.unwrap().len(), 2);
            break;
        }
        // The next key change is not misled by what was left.
        if is_new {
            let rotation = Rotation::begin_now(Arc::new(key_file(place.path()))).unwrap();
            assert!(!rotation.is_resumed(), "stopped at {at:?}");
            assert_eq!(rotation.keys().previous.as_ref().map(VaultKey::id), Some(new.id()));
            rotation.finish_now().unwrap();
        }
        put().unwrap();
        assert!(has_them_or_new(place.path(), &before, &them, new.id()).unwrap(), "then {at:?}");
        sweep_keys(place.path());
        let left: Vec<_> = tree(place.path()).into_keys().collect();
        let is_left =
            |path: &PathBuf| ["old", "new"].iter().any(|end| path.ends_with(format!("vault.key.{end}")));
        assert!(!left.iter().any(is_left), "{left:?}");
    }
    assert_eq!(both, [true; 2], "both ends were seen");
}

#[test]
fn both_keys_of_a_replaced_rotation_outlast_a_power_cut() {
    let (template, before, them) = half_changed();
    let new = VaultKey::generate();
    let (trace, done) = Trace::of(template.path(), || replace_now(&key_file(template.path()), &new));
    done.unwrap();
    survives("another key", &trace, BOTH, |place, is_acknowledged| {
        match has_them_or_new(place.path(), &before, &them, new.id())? || !is_acknowledged {
            true => Ok(()),
            false => Err("it was acknowledged".to_owned()),
        }
    });
}
