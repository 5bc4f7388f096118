//! A vault that cannot be written to can be read, loses nothing, and works again once it can be written to.

use super::fault::{Fault, Operation, Unwritable, on_unwritable, run};
use super::*;

const WAYS: [Unwritable; 3] = [Unwritable::Full, Unwritable::ReadOnly, Unwritable::Directories];

/// A state of a vault that nobody can write to: its name, and what brings it about.
type Condition = (&'static str, fn(&Path));

fn conditions() -> Vec<Condition> {
    vec![
        ("whole", |_| {}),
        ("without key.json", |root| fs::remove_file(root.join("key.json")).unwrap()),
        ("with a damaged key.json", |root| fs::write(root.join("key.json"), "{").unwrap()),
        ("without locks", |root| {
            fs::remove_file(root.join("lock")).unwrap();
            fs::remove_file(root.join("pools/example+default.lock")).unwrap();
        }),
        ("without a lock and the directories", |root| {
            fs::remove_file(root.join("lock")).unwrap();
            fs::remove_dir_all(root.join("pools")).unwrap();
            fs::remove_dir_all(root.join("leases")).unwrap();
        }),
        ("with what a killed process has left", |root| {
            fs::write(root.join("records/.0123456789abcdef.tmp"), "half").unwrap();
        }),
        #[cfg(unix)]
        ("open to others", |root| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(root.join("records"), fs::Permissions::from_mode(0o755)).unwrap();
            fs::set_permissions(root.join("key.json"), fs::Permissions::from_mode(0o644)).unwrap();
        }),
    ]
}

fn requests(store: &Store) -> Vec<VaultRequest<Sealed>> {
    let id = store.record_ids().unwrap()[0];
    let pool = pool();
    vec![
        VaultRequest::List,
        VaultRequest::Load(pool.clone()),
        VaultRequest::Load(PoolKey::new("other")),
        VaultRequest::Get { pool: pool.clone(), id },
        VaultRequest::Revision(pool),
    ]
}

#[test]
fn an_unwritable_vault_is_read_and_not_changed() {
    let case = Case::put();
    for (condition, make) in conditions() {
        for how in WAYS {
            let copy = case.copy();
            make(&copy.root());
            let before = tree(copy.place.path());
            let what = format!("{condition}, {how:?}");
            let store = Store::new(copy.root());
            let (opened, _) = on_unwritable(how, || store.open(&signers(copy.keys), false));
            opened.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            for request in requests(&store) {
                let (response, _) = on_unwritable(how, || store.call(&request));
                response.unwrap_or_else(|error| panic!("{what}, {request:?}: {error:?}"));
            }
            let (state, _) = on_unwritable(how, || State::of(&store, copy.keys));
            let left = tree(copy.place.path());
            // On a full disk it can be swept.
            let without_temporary =
                |tree: Tree| tree.into_iter().filter(|(path, _)| !is_temporary(path)).collect::<Tree>();
            if how == Unwritable::Full {
                assert_eq!(without_temporary(left), without_temporary(before), "{what}");
            } else {
                assert_eq!(left, before, "{what}");
            }
            // What the vault would be if it could be written to.
            let credentials = |state: State| {
                let mut known: Vec<_> = state
                    .credentials
                    .into_iter()
                    .map(|(metadata, secret, _)| (metadata.id, secret))
                    .collect();
                known.sort();
                known
            };
            assert_eq!(state.map(credentials), copy.state().map(credentials), "{what}");
        }
    }
}

#[test]
fn no_vault_is_made_where_nothing_can_be_written() {
    for how in WAYS {
        let place = place();
        let root = root(place.path());
        let keys = signers(&[VaultKey::generate()]);
        let (opened, _) = on_unwritable(how, || Store::new(root.clone()).open(&keys, false));
        assert!(matches!(opened, Err(Stopped::Failed(VaultError::Io { .. }))), "{how:?}: {opened:?}");
        assert!(tree(place.path()).is_empty(), "{how:?}");
    }
}

#[test]
fn a_change_fails_while_it_cannot_be_written_and_succeeds_afterwards() {
    let cases = [
        Case::put(),
        Case::swap(),
        Case::outcome(),
        Case::resealing(),
        Case::removal(),
        Case::relabelling(),
        Case::movement(),
    ];
    for case in cases {
        let (before, after) = case.before_and_after();
        for how in WAYS {
            let what = format!("{}, {how:?}", case.name);
            // A full disk still lets files be removed, and if only the directories are unwritable, an existing log can
            // be written.
            let can_be = match how {
                Unwritable::Full => case.name == "a removal",
                Unwritable::ReadOnly => false,
                Unwritable::Directories => ["an outcome", "a move"].contains(&case.name),
            };
            let copy = case.copy();
            let store = Store::new(copy.root());
            on_unwritable(how, || store.open(&signers(copy.keys), false)).0.unwrap();
            let (done, _) = on_unwritable(how, || case.run(&store));
            if can_be {
                assert!(done.is_ok(), "{what}: {done:?}");
                continue;
            }
            let Err(Stopped::Failed(error)) = done else { panic!("{what}: {done:?}") };
            let way_out = match how {
                Unwritable::Full => "make room on the disk",
                Unwritable::ReadOnly => "it is mounted read-only: mount it writable",
                Unwritable::Directories => "make it yours to read and write",
            };
            assert!(error.to_string().contains(way_out), "{what}: {error}");
            assert_eq!(copy.again().state().as_ref(), Ok(&before), "{what}");
            case.run(&store).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert_eq!(copy.state().as_ref(), Ok(&after), "{what}");
        }
    }
}

/// Before anything is sealed with a new key, `key.json` says so: a process that has only the old key must not go on.
#[test]
fn during_a_key_change_both_keys_open_and_key_json_names_the_new_one_at_the_first_seal() {
    let case = Case::put();
    let (old, new) = (case.keys[0].clone(), VaultKey::generate());
    let keys = [new.clone(), old.clone()];
    for how in WAYS {
        let copy = case.copy();
        let file = copy.root().join("key.json");
        let before = fs::read(&file).unwrap();
        let store = Store::new(copy.root());
        on_unwritable(how, || store.open(&signers(&keys), false)).0.unwrap();
        on_unwritable(how, || State::of(&store, &keys)).0.unwrap();
        let more = sealed(&new, &account(pool(), "more"));
        let put = VaultRequest::Put(more.clone());
        let (refused, _) = on_unwritable(how, || store.call(&put));
        assert!(matches!(refused, Err(Stopped::Failed(VaultError::Io { .. }))), "{how:?}: {refused:?}");
        assert_eq!(fs::read(&file).unwrap(), before, "{how:?}: others go on with the old key");
        copy.open();
        store.call(&put).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["key_id"], new.id().to_string(), "{how:?}: {text}");
        assert_eq!(json["previous"][0], old.id().to_string(), "{how:?}: {text}");
        let opened = Store::new(copy.root()).open(&signers(&keys[..1]), false);
        assert!(opened.is_ok(), "{how:?}: {opened:?}");
    }
}

/// How `key.json` can be lost: completely, or so that it cannot be read.
const LOSSES: [fn(&Path); 2] =
    [|file| fs::remove_file(file).unwrap(), |file| fs::write(file, "{").unwrap()];

/// Without the vault's id, nothing that is bound to it would open.
#[test]
fn the_vaults_id_is_known_from_its_records_while_key_json_is_unreadable() {
    let case = Case::put();
    let key = &case.keys[0];
    for (how, lose) in WAYS.into_iter().flat_map(|how| LOSSES.map(|lose| (how, lose))) {
        let copy = case.copy();
        let file = copy.root().join("key.json");
        let before = copy.open();
        let (_, rules) = before.facts().unwrap().unwrap();
        let bound = account(pool(), "bound");
        let secret = seal::seal_in(rules.vault.unwrap(), key, &bound);
        before.call(&VaultRequest::Put(Record { metadata: bound.metadata, secret })).unwrap();
        lose(&file);
        let store = Store::new(copy.root());
        on_unwritable(how, || store.open(&signers(copy.keys), false)).0.unwrap();
        for _ in 0..2 {
            let (facts, _) = on_unwritable(how, || store.facts());
            assert_eq!(facts.unwrap(), Some((key.id(), rules.clone())), "{how:?}");
        }
        // No other id is drawn once it can be written.
        store.identify().unwrap();
        assert_eq!(copy.open().facts().unwrap(), Some((key.id(), rules)), "{how:?}");
    }
}

/// An id that cannot be stored would be a different one at the next opening.
#[test]
fn no_id_is_drawn_that_cannot_be_written() {
    let case = Case::put();
    for (how, lose) in WAYS.into_iter().flat_map(|how| LOSSES.map(|lose| (how, lose))) {
        let copy = case.copy();
        let file = copy.root().join("key.json");
        lose(&file);
        let store = Store::new(copy.root());
        let is_unknown = |store: &Store| {
            let (facts, _) = on_unwritable(how, || store.facts());
            assert_eq!(facts.unwrap(), Some((case.keys[0].id(), Default::default())), "{how:?}");
        };
        on_unwritable(how, || store.open(&signers(copy.keys), false)).0.unwrap();
        is_unknown(&store);
        let (identified, _) = on_unwritable(how, || store.identify());
        let Err(Stopped::Failed(VaultError::Io { .. })) = identified else { panic!("{identified:?}") };
        is_unknown(&store);
        store.identify().unwrap();
        let facts = store.facts().unwrap().unwrap();
        assert!(facts.1.vault.is_some() && facts.1.least == 1, "{how:?}: {facts:?}");
        assert_eq!(copy.open().facts().unwrap(), Some(facts), "{how:?}");
    }
}

/// Writes `key.json` as versions without ids wrote it.
fn without_id(file: &Path) {
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    json.as_object_mut().unwrap().remove("vault");
    json["version"] = 1.into();
    fs::write(file, serde_json::to_vec_pretty(&json).unwrap()).unwrap();
}

#[test]
fn a_vault_of_an_older_format_is_read_and_gets_its_id_at_the_first_seal() {
    let case = Case::put();
    for how in WAYS {
        let copy = case.copy();
        let file = copy.root().join("key.json");
        without_id(&file);
        let before = fs::read(&file).unwrap();
        let store = Store::new(copy.root());
        on_unwritable(how, || store.open(&signers(copy.keys), false)).0.unwrap();
        on_unwritable(how, || State::of(&store, copy.keys)).0.unwrap();
        let (facts, _) = on_unwritable(how, || store.facts());
        assert_eq!(facts.unwrap(), Some((case.keys[0].id(), Default::default())), "{how:?}");
        // It goes on without an id, in case there is room for a record alone.
        let (identified, _) = on_unwritable(how, || store.identify());
        assert_eq!(identified.is_ok(), how != Unwritable::ReadOnly, "{how:?}: {identified:?}");
        assert_eq!(fs::read(&file).unwrap(), before, "{how:?}");
        store.identify().unwrap();
        assert!(store.facts().unwrap().unwrap().1.vault.is_some(), "{how:?}");
    }
}

/// The keys that seal and open are those of the change, for every process that asks before it is written.
#[test]
fn a_change_of_keys_counts_before_it_is_written_unless_another_process_has_written_since() {
    let case = Case::put();
    let (new, third) = (VaultKey::generate(), VaultKey::generate());
    let keys = [new.clone(), case.keys[0].clone()];
    for how in WAYS {
        let copy = case.copy();
        let (_, rules) = copy.open().facts().unwrap().unwrap();
        let store = Store::new(copy.root());
        on_unwritable(how, || store.open(&signers(&keys), false)).0.unwrap();
        let facts = || on_unwritable(how, || store.facts()).0.unwrap();
        assert_eq!(facts(), Some((new.id(), rules.clone())), "{how:?}");
        // Another process's count of its seals is not a change.
        let more = sealed(&case.keys[0], &account(pool(), "more"));
        copy.open().call(&VaultRequest::Put(more)).unwrap();
        assert_eq!(facts(), Some((new.id(), rules.clone())), "{how:?}");
        opened(&copy.root(), &[third.clone(), case.keys[0].clone()]);
        assert_eq!(facts(), Some((third.id(), rules)), "{how:?}");
    }
}

#[test]
fn a_key_that_was_given_up_is_taken_back_once_it_can_be_and_a_revoked_one_is_not() {
    let case = Case::put();
    let (old, new) = (case.keys[0].clone(), VaultKey::generate());
    for how in WAYS {
        let copy = Copy { place: place(), keys: std::slice::from_ref(&new) };
        opened(&copy.root(), std::slice::from_ref(&old));
        let rotated = opened(&copy.root(), &[new.clone(), old.clone()]);
        rotated.forget_previous_keys(new.id()).unwrap();
        let file = copy.root().join("key.json");
        let before = fs::read(&file).unwrap();
        let retired = |store: &Store| store.facts().unwrap().unwrap().1.retired;
        assert_eq!(retired(&rotated), [old.id()]);
        let back = signers(&[old.clone(), new.clone()]);
        let store = Store::new(copy.root());
        on_unwritable(how, || store.open(&back, false)).0.unwrap();
        assert_eq!(fs::read(&file).unwrap(), before, "{how:?}");
        assert!(retired(&store).is_empty(), "{how:?}");
        store.check_writable().unwrap();
        assert!(retired(&opened(&copy.root(), &[old.clone(), new.clone()])).is_empty(), "{how:?}");

        fs::write(&file, before).unwrap();
        rotated.revoke(old.id()).unwrap();
        let (refused, _) = on_unwritable(how, || Store::new(copy.root()).open(&back, false));
        let Err(Stopped::Failed(VaultError::Key(reason))) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("was revoked"), "{reason}");
    }
}

/// Meanwhile another process may have given the vault a different key.
#[test]
fn a_pending_change_does_not_overwrite_what_others_have_written_since() {
    let case = Case::put();
    let (new, third) = (VaultKey::generate(), VaultKey::generate());
    let keys = [new.clone(), case.keys[0].clone()];
    let copy = case.copy();
    let store = Store::new(copy.root());
    on_unwritable(Unwritable::Full, || store.open(&signers(&keys), false)).0.unwrap();
    let file = copy.root().join("key.json");
    opened(&copy.root(), &[third.clone(), case.keys[0].clone()]);
    let text =
        fs::read_to_string(&file).unwrap().replace(&case.keys[0].id().to_string(), "0000000000000000");
    fs::write(&file, &text).unwrap();
    let put = VaultRequest::Put(sealed(&new, &account(pool(), "more")));
    let Err(Stopped::Failed(VaultError::Key(_))) = store.call(&put) else { panic!("it was sealed") };
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn no_refresh_begins_whose_result_could_not_be_stored() {
    let case = Case::put();
    let begin = |store: &Store| {
        let id = store.record_ids().unwrap()[0];
        store.call(&VaultRequest::BeginRefresh { pool: pool(), id, expected: Generation::FIRST })
    };
    for how in WAYS {
        let copy = case.copy();
        let store = copy.open();
        let before = tree(copy.place.path());
        let (begun, _) = on_unwritable(how, || begin(&store));
        assert!(matches!(begun, Err(Stopped::Failed(VaultError::Io { .. }))), "{how:?}: {begun:?}");
        assert_eq!(tree(copy.place.path()), before, "{how:?}: no note is made that no exchange follows");
        begin(&store).unwrap();
    }
    // There would be room for the note, but not for the record.
    let copy = case.copy();
    let store = copy.open();
    let (_, report) = run(None, || begin(&store).map(drop));
    let is_of_record = |operation: &Operation| matches!(operation, Operation::Write(path, _) if disk::parent(path).ends_with("records"));
    let number = report.operations.iter().position(is_of_record).unwrap();
    fs::remove_file(copy.root().join(begun_name(&store))).unwrap();
    let fault = Fault::Fails(io::ErrorKind::QuotaExceeded);
    let Err(Stopped::Failed(error)) = run(Some((number, fault)), || begin(&store)).0 else {
        panic!("begun")
    };
    assert!(error.to_string().contains("make room"), "{error}");
    assert!(!copy.root().join(begun_name(&store)).exists());
    assert!(!tree(copy.place.path()).keys().any(|path| is_temporary(path)));
}

fn begun_name(store: &Store) -> String {
    format!("leases/{}.begun", store.record_ids().unwrap()[0])
}

/// The file system may be read-only for this process alone.
#[test]
fn a_reader_waits_for_writers() {
    let case = Case::put();
    let copy = case.copy();
    let reader = Store::new(copy.root());
    let list = || on_unwritable(Unwritable::ReadOnly, || reader.call(&VaultRequest::List)).0;
    on_unwritable(Unwritable::ReadOnly, || reader.open(&signers(copy.keys), false)).0.unwrap();
    let lock = fs::File::options().write(true).open(copy.root().join("lock")).unwrap();
    lock.lock().unwrap();
    let response = list();
    assert!(matches!(response, Err(Stopped::Busy(_))), "{response:?}");
    lock.unlock().unwrap();
    list().unwrap();
    // From now on it can be written to.
    case.run(&reader).unwrap();
}
