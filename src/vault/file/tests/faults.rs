//! A fault of each kind at each operation of each piece of work: the work is done or it is not, the response is true,
//! and the next process can go on.

use super::fault::{Fault, Operation, run};
use super::*;

const FAULTS: [Fault; 5] = [
    Fault::Fails(io::ErrorKind::StorageFull),
    // What EIO becomes.
    Fault::Fails(io::ErrorKind::Other),
    Fault::FailsHalfway(io::ErrorKind::StorageFull),
    Fault::Stops,
    Fault::StopsHalfway,
];

/// What a process has done before it is asked to do the work.
#[derive(Clone, Copy, Debug)]
enum Begun {
    /// It has made a [`Store`] and nothing else.
    Nothing,
    Opened,
    Loaded,
}

impl Begun {
    fn store(self, copy: &Copy<'_>) -> Store {
        let store = Store::new(copy.root());
        if !matches!(self, Self::Nothing) {
            store.open(&signers(copy.keys), false).unwrap();
        }
        if matches!(self, Self::Loaded) {
            store.call(&VaultRequest::Load(pool())).unwrap();
        }
        store
    }
}

/// Lets each operation of the case's work fail in each way.
fn survives_every_fault(case: &Case) {
    let (before, after) = case.before_and_after();
    let begun = match case.work {
        Work::Open => &[Begun::Nothing][..],
        _ => &[Begun::Opened, Begun::Loaded],
    };
    let mut wrong = Vec::new();
    for begun in begun {
        let whole = {
            let copy = case.copy();
            let store = begun.store(&copy);
            let (done, report) = run(None, || case.run(&store));
            done.unwrap();
            report.operations
        };
        assert!(whole.len() >= 3, "{whole:?}");
        let mut count = 0;
        for (number, operation) in whole.iter().enumerate() {
            for fault in FAULTS {
                let is_halfway = matches!(fault, Fault::FailsHalfway(_) | Fault::StopsHalfway);
                if is_halfway && !matches!(operation, Operation::Write(..)) {
                    continue;
                }
                count += 1;
                if let Err(why) = survives(case, *begun, (number, fault), [&before, &after]) {
                    wrong.push(format!("{begun:?}, {fault:?} at {number}, {}: {why}", brief(operation)));
                }
            }
        }
        println!("{}, {begun:?}: {} operations, {count} faults", case.name, whole.len());
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), case.name, wrong.join("\n"));
}

fn survives(
    case: &Case,
    begun: Begun,
    at: (usize, Fault),
    [before, after]: [&State; 2],
) -> Result<(), String> {
    let copy = case.copy();
    let store = begun.store(&copy);
    let (done, report) = run(Some(at), || case.run(&store));
    if !report.has_struck {
        return Err("the fault has not come".into());
    }
    let is_done = match done {
        Ok(_) => true,
        Err(Stopped::Failed(error)) => {
            names_a_file(&error.to_string(), copy.place.path())?;
            false
        }
        Err(Stopped::Busy(busy)) => return Err(format!("{busy:?}, of all the errors")),
    };
    // The process is dead, or has something else to do first.
    let is_dead = matches!(at.1, Fault::Stops | Fault::StopsHalfway);
    let store = (!is_dead).then_some(store);
    has_no_secret(&copy)?;
    has_no_lock(&copy)?;
    let left = copy.again().state()?;
    // If the names could not be synced, the new state may be there although an error was returned.
    if left != *after && (is_done || left != *before) {
        return Err(format!("acknowledged: {is_done}; {left:?} is neither {before:?} nor {after:?}"));
    }
    copy.takes_more(&case.labels)?;
    let store = store.unwrap_or_else(|| copy.open());
    let is_outcome = matches!(case.work, Work::Ask(VaultRequest::Record { .. }));
    // Another failure of the same credential would count once more.
    if left != *after || !is_outcome {
        let was_done = left == *after;
        match case.run(&store) {
            Ok(VaultResponse::Replaced(Replaced::Conflict(_))) if was_done => {}
            Err(Stopped::Failed(VaultError::Exists(_) | VaultError::NotFound(_))) if was_done => {}
            Ok(VaultResponse::Replaced(Replaced::Conflict(_))) | Err(_) => {
                return Err("it can't be done again".into());
            }
            Ok(_) => {}
        }
    }
    for (known, who) in [(State::of(&store, case.keys.as_slice())?, "it"), (copy.state()?, "another")] {
        if known != *after {
            return Err(format!("done again, {who} knows {known:?} in place of {after:?}"));
        }
    }
    Ok(())
}

/// Whether a text names a file or directory of the vault, or one on the way to it.
fn names_a_file(text: &str, place: &Path) -> Result<(), String> {
    let way = root(place);
    let mut way = way.ancestors().map(|directory| format!("could not sync {}", directory.display()));
    let below = format!("{}/config", place.display());
    match text.contains(&below) || way.any(|way| text.starts_with(&way)) {
        true => Ok(()),
        false => Err(format!("{text:?} names no file")),
    }
}

/// Searches everything that is left for the planted secret: in clear, in base64 at each alignment, and in hex.
fn has_no_secret(copy: &Copy<'_>) -> Result<(), String> {
    let mut needles = vec![PLANTED.to_owned(), hex(PLANTED.as_bytes())];
    for shift in 0..3 {
        // Its base64 depends on its position within groups of three bytes.
        let text = STANDARD_NO_PAD.encode([&b"..."[..shift], PLANTED.as_bytes()].concat());
        needles.push(text[(shift * 8).div_ceil(6)..text.len() - 1].to_owned());
    }
    for (path, content) in tree(copy.place.path()) {
        let content = content.unwrap_or_default();
        let holds =
            |needle: &String| content.windows(needle.len()).any(|part| part == needle.as_bytes());
        if needles.iter().any(holds) {
            return Err(format!("{} holds a secret", path.display()));
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tries every lock as another process would.
fn has_no_lock(copy: &Copy<'_>) -> Result<(), String> {
    for path in tree(copy.place.path()).into_keys() {
        let is_lock = path.ends_with("lock") || path.extension().is_some_and(|ending| ending == "lock");
        if is_lock && fs::File::open(copy.place.path().join(&path)).unwrap().try_lock().is_err() {
            return Err(format!("{} is locked", path.display()));
        }
    }
    Ok(())
}

#[test]
fn a_put_is_done_or_not_whatever_fails() {
    survives_every_fault(&Case::put());
}

#[test]
fn a_first_put_is_done_or_not_whatever_fails() {
    survives_every_fault(&Case::first_put());
}

#[test]
fn a_swap_is_done_or_not_whatever_fails() {
    survives_every_fault(&Case::swap());
}

#[test]
fn an_outcome_is_recorded_or_not_whatever_fails() {
    survives_every_fault(&Case::outcome());
}

#[test]
fn a_log_is_compacted_or_not_whatever_fails() {
    survives_every_fault(&Case::compaction());
}

#[test]
fn a_record_is_resealed_or_not_whatever_fails() {
    survives_every_fault(&Case::resealing());
}

#[test]
fn a_vault_can_be_made_after_any_failure() {
    survives_every_fault(&Case::opening());
}

#[test]
fn a_removal_is_done_or_not_whatever_fails() {
    survives_every_fault(&Case::removal());
}

#[test]
fn a_credential_has_its_old_label_or_its_new_one_whatever_fails() {
    survives_every_fault(&Case::relabelling());
}

#[test]
fn a_credential_is_moved_or_not_whatever_fails() {
    survives_every_fault(&Case::movement());
}

/// The requests of a process that only reads.
fn readings() -> Vec<VaultRequest<Sealed>> {
    vec![VaultRequest::Load(pool()), VaultRequest::List]
}

/// The content of a response, and the damage in it.
fn content(response: &VaultResponse<Sealed>) -> (String, Vec<Damage>) {
    match response {
        VaultResponse::Pool(loaded) => {
            let standings = &loaded.standings;
            let credentials: BTreeMap<_, _> = standings.credentials.iter().collect();
            let records = &loaded.credentials;
            (format!("{records:?} {:?} {credentials:?}", standings.order), loaded.damaged.clone())
        }
        VaultResponse::List(listing) => (format!("{:?}", listing.credentials), listing.damaged.clone()),
        response => (format!("{response:?}"), Vec::new()),
    }
}

/// Lets each operation of each request fail, after the vault was brought to the state in which the request starts.
fn reads_under_every_fault(
    case: &Case,
    requests: &[VaultRequest<Sealed>],
    begin: impl Fn(&Copy<'_>) -> Store,
) {
    for request in requests {
        let (whole, before, operations) = {
            let copy = case.copy();
            let store = begin(&copy);
            let before = copy.again().state().unwrap();
            let (response, report) = run(None, || store.call(request));
            (content(&response.unwrap()), before, report.operations)
        };
        println!("{request:?}: {} operations", operations.len());
        for (number, operation) in operations.iter().enumerate() {
            for kind in [io::ErrorKind::Other, io::ErrorKind::PermissionDenied] {
                let what = format!("{request:?}, {kind:?} at {number}, {}", brief(operation));
                let copy = case.copy();
                let store = begin(&copy);
                let (response, report) = run(Some((number, Fault::Fails(kind))), || store.call(request));
                assert!(report.has_struck, "{what}");
                match response {
                    Ok(response) => {
                        let (text, damaged) = content(&response);
                        assert!(text == whole.0 || !damaged.is_empty(), "{what}: {text}");
                        for damage in damaged {
                            names_a_file(&damage.to_string(), copy.place.path())
                                .unwrap_or_else(|why| panic!("{what}: {why}"));
                        }
                    }
                    Err(Stopped::Failed(error)) => names_a_file(&error.to_string(), copy.place.path())
                        .unwrap_or_else(|why| panic!("{what}: {why}")),
                    Err(Stopped::Busy(busy)) => panic!("{what}: {busy:?}"),
                }
                has_no_lock(&copy).unwrap_or_else(|why| panic!("{what}: {why}"));
                assert_eq!(copy.again().state().as_ref(), Ok(&before), "{what}: something is lost");
                assert_eq!(content(&store.call(request).unwrap()), whole, "{what}: and again");
                assert_eq!(copy.state().as_ref(), Ok(&before), "{what}: something is lost later");
            }
        }
    }
}

#[test]
fn reading_names_what_it_cannot_read_and_loses_nothing() {
    let case = Case::outcome();
    let id = case.copy().state().unwrap().credentials[0].0.id;
    let mut requests = readings();
    requests.push(VaultRequest::Get { pool: pool(), id });
    reads_under_every_fault(&case, &requests, |copy| copy.open());
    reads_under_every_fault(&case, &requests, |copy| Begun::Loaded.store(copy));
}

#[test]
fn reading_what_another_process_has_added_loses_nothing_whatever_fails() {
    let case = Case::outcome();
    reads_under_every_fault(&case, &readings(), |copy| {
        let store = Begun::Loaded.store(copy);
        case.run(&copy.open()).unwrap();
        store
    });
    let case = Case::compaction();
    reads_under_every_fault(&case, &readings(), |copy| {
        let store = Begun::Loaded.store(copy);
        case.run(&copy.open()).unwrap();
        store
    });
}

#[test]
fn what_a_killed_process_has_left_is_mended_or_not_whatever_fails() {
    let case = Case::put();
    reads_under_every_fault(&case, &readings(), |copy| {
        let store = copy.open();
        // Killed between the log and the record.
        let is_record = |operation: &Operation| match operation {
            Operation::Create(path) => disk::parent(path).ends_with("records"),
            _ => false,
        };
        let (_, report) = run(None, || case.run(&case.copy().open()));
        let number = report.operations.iter().position(is_record).unwrap();
        run(Some((number, Fault::Stops)), || case.run(&store)).0.unwrap_err();
        copy.open()
    });
}

/// Replaces the log by what version 1 left.
fn to_version_1(copy: &Copy<'_>) {
    let state = copy.state().unwrap();
    let (order, credentials) = &state.standings[&pool()];
    let old = serde_json::json!({
        "version": 1,
        "pool": pool(),
        "standings": { "order": order, "credentials": credentials },
    });
    fs::write(copy.root().join("pools/example+default.json"), old.to_string()).unwrap();
    fs::remove_file(copy.root().join("pools/example+default.log")).unwrap();
}

#[test]
fn the_state_of_version_1_is_taken_over_whatever_fails() {
    let case = Case::outcome();
    reads_under_every_fault(&case, &readings(), |copy| {
        to_version_1(copy);
        copy.open()
    });
    let before = case.copy().state().unwrap();
    for number in 0.. {
        let copy = case.copy();
        to_version_1(&copy);
        let store = copy.open();
        let fault = Some((number, Fault::Fails(io::ErrorKind::Other)));
        let (_, report) = run(fault, || case.run(&store));
        if !report.has_struck {
            break;
        }
        let state = copy.state().unwrap();
        let known: Vec<_> = state.standings[&pool()].1.keys().collect();
        assert_eq!(known.len(), before.standings[&pool()].1.len(), "{number}: {:?}", report.operations);
    }
}

#[test]
fn a_vault_on_a_network_file_system_is_refused_unless_it_is_allowed() {
    let case = Case::put();
    for copy in [case.copy(), Copy { place: place(), keys: &case.keys }] {
        let open = |on_network| Store::new(copy.root()).open(&signers(copy.keys), on_network);
        fault::on_network("NFS", || {
            match open(false) {
                Err(Stopped::Failed(VaultError::NetworkFileSystem { path, name: "NFS" })) => {
                    assert_eq!(path, copy.root());
                }
                opened => panic!("{opened:?}"),
            }
            open(true).unwrap();
        });
        open(false).unwrap();
    }
}

/// Opens the vault while each operation fails in turn, and lets `check` look at the result.
fn opens_under_every_fault(
    case: &Case,
    keys: &[VaultKey],
    begin: impl Fn(&Copy<'_>),
    check: impl Fn(&Copy<'_>, &str),
) {
    for fault in FAULTS {
        for number in 0.. {
            let copy = case.copy();
            begin(&copy);
            let store = Store::new(copy.root());
            let (_, report) = run(Some((number, fault)), || store.open(&signers(keys), false));
            if !report.has_struck {
                assert!(number > 10, "{:?}", report.operations);
                break;
            }
            check(&copy, &format!("{fault:?} at {number}, {}", brief(&report.operations[number])));
        }
    }
}

#[test]
fn the_file_of_the_keys_of_a_newer_version_is_left_whatever_fails() {
    let case = Case::put();
    let newer = "{\"version\": 9, \"new\": true}";
    opens_under_every_fault(
        &case,
        &case.keys,
        |copy| fs::write(copy.root().join("key.json"), newer).unwrap(),
        |copy, what| {
            let left = fs::read_to_string(copy.root().join("key.json"));
            assert_eq!(left.ok().as_deref(), Some(newer), "{what}");
        },
    );
}

#[test]
fn another_key_never_begins_a_vault_that_has_a_record_whatever_fails() {
    let case = Case::first_put();
    opens_under_every_fault(
        &case,
        &[VaultKey::generate()],
        |copy| {
            case.run(&copy.open()).unwrap();
            fs::remove_file(copy.root().join("key.json")).unwrap();
        },
        |copy, what| assert!(!copy.root().join("key.json").exists(), "{what}"),
    );
}

#[test]
fn seals_count_as_many_after_their_count_was_damaged_whatever_fails() {
    let case = Case::put();
    opens_under_every_fault(
        &case,
        &case.keys,
        |copy| fs::write(copy.root().join("key.json"), "{").unwrap(),
        |copy, what| {
            copy.open();
            let text = fs::read_to_string(copy.root().join("key.json")).unwrap();
            assert!(text.contains("2147483648"), "{what}: {text}");
        },
    );
}
