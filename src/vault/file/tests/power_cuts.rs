//! Every state in which a power cut may leave the disk, at every point of a piece of work, if the file system keeps
//! only the weakest promises of POSIX: the work is done or it is not, and it is done if it was acknowledged.
//!
//! A file's content is certain once the file was synced. Before that it may be empty, any beginning of it (half of each
//! write, all but one byte, all), or zeros. A change of a name is certain once its directory was synced. Before that
//! each change may be there or not, independently of the others; but a name that a rename takes over names the old file
//! or the new one, and a renamed file may also still have its old name. The tests try all combinations.

mod disk;

use self::disk::Disk;
use super::fault::{self, Fault, Operation};
use super::*;
use crate::vault::key::load_or_create;

/// A recorded piece of work, and the disk before it.
pub(super) struct Trace {
    before: Tree,
    pub(super) operations: Vec<Operation>,
    place: PathBuf,
}

/// What a program may forget to sync. The tests must notice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unsynced {
    /// Temporary files, before they are renamed.
    Files,
    Directories,
}

/// The wrong states among those that were checked.
#[derive(Default)]
struct Found {
    /// The number of wrong states after which the rest is skipped.
    enough: usize,
    states: usize,
    wrong: Vec<String>,
}

impl Trace {
    pub(super) fn of<T>(place: &Path, work: impl FnOnce() -> T) -> (Self, T) {
        let before = tree(place);
        let (done, report) = fault::run(None, work);
        let trace = Self { before, operations: report.operations, place: place.to_owned() };
        assert_eq!(trace.disk().tree(), tree(place), "the model does what the disk has done");
        (trace, done)
    }

    fn disk(&self) -> Disk {
        let mut disk = Disk::of(&self.before);
        self.operations.iter().for_each(|operation| disk.apply(operation, &self.place));
        disk
    }

    /// Returns the same work by a program that does not sync these.
    fn without(&self, unsynced: Unsynced) -> Self {
        let is_left_out = |operation: &Operation| match operation {
            Operation::Sync(path) => unsynced == Unsynced::Files && is_temporary(path),
            Operation::SyncDir(_) => unsynced == Unsynced::Directories,
            _ => false,
        };
        let mut operations = self.operations.clone();
        operations.retain(|operation| !is_left_out(operation));
        assert!(operations.len() < self.operations.len(), "something is left out");
        Self { before: self.before.clone(), operations, place: self.place.clone() }
    }

    /// Cuts the power before each operation, and after the last, when the work is acknowledged. Lets `check` look at
    /// each state in a place of its own.
    fn cut(&self, enough: usize, check: impl Fn(TempDir, bool) -> Result<(), String>) -> Found {
        let mut found = Found { enough, ..Found::default() };
        found.look_after(&self.disk(), |place| check(place, true));
        // The same state at several points counts as one.
        let mut states = BTreeSet::new();
        let mut disk = Disk::of(&self.before);
        for operation in &self.operations {
            disk.after_power_cut(&mut states);
            disk.apply(operation, &self.place);
        }
        found.look(states, |place| check(place, false));
        found
    }
}

impl Found {
    fn look_after(&mut self, disk: &Disk, check: impl Fn(TempDir) -> Result<(), String>) {
        let mut states = BTreeSet::new();
        disk.after_power_cut(&mut states);
        self.look(states, check);
    }

    fn look(&mut self, states: BTreeSet<Tree>, check: impl Fn(TempDir) -> Result<(), String>) {
        for state in states {
            if self.wrong.len() >= self.enough {
                return;
            }
            let place = super::place();
            plant(&state, place.path());
            self.states += 1;
            if let Err(why) = check(place) {
                let length = |content: &Option<Vec<u8>>| content.as_ref().map(Vec::len);
                let files: Vec<_> =
                    state.iter().map(|(path, content)| (path, length(content))).collect();
                self.wrong.push(format!("{files:?}: {why}"));
            }
        }
    }
}

/// Cuts the power at each point of the work. Then does the same for a program that forgets to sync something, where
/// something must be found.
pub(super) fn survives(
    name: &str,
    trace: &Trace,
    unsynced: &[Unsynced],
    check: impl Fn(TempDir, bool) -> Result<(), String>,
) {
    let found = trace.cut(usize::MAX, &check);
    println!("{name}: {} operations, {} states", trace.operations.len(), found.states);
    let wrong = found.wrong.join("\n");
    assert!(wrong.is_empty(), "{name}, {} of {} states:\n{wrong}", found.wrong.len(), found.states);
    for unsynced in unsynced {
        let found = trace.without(*unsynced).cut(1, &check);
        println!("{name}, {unsynced:?} not synced: found in state {}", found.states);
        assert!(!found.wrong.is_empty(), "{name}: nothing tells of {unsynced:?} not synced");
    }
}

/// Like [`survives`], for the case's work.
fn survives_power_cuts(case: &Case, unsynced: &[Unsynced]) {
    let (before, after) = case.before_and_after();
    let copy = case.copy();
    let store = copy.open();
    let (trace, done) = Trace::of(copy.place.path(), || case.run(&store));
    done.unwrap();
    survives(case.name, &trace, unsynced, |place, is_acknowledged| {
        let left = Copy { place, keys: &case.keys };
        left.takes_more(&case.labels)?;
        let state = left.state()?;
        match state == after || (state == before && !(is_acknowledged && case.is_durable)) {
            true => Ok(()),
            false => Err(format!(
                "acknowledged: {is_acknowledged}; {state:?} is neither {before:?} nor {after:?}"
            )),
        }
    });
}

pub(super) const BOTH: &[Unsynced] = &[Unsynced::Files, Unsynced::Directories];

#[test]
fn a_put_outlasts_a_power_cut() {
    survives_power_cuts(&Case::put(), BOTH);
}

#[test]
fn a_swap_outlasts_a_power_cut() {
    survives_power_cuts(&Case::swap(), BOTH);
}

#[test]
fn a_compaction_outlasts_a_power_cut() {
    survives_power_cuts(&Case::compaction(), BOTH);
}

#[test]
fn a_resealing_outlasts_a_power_cut() {
    survives_power_cuts(&Case::resealing(), BOTH);
}

#[test]
fn a_relabelling_outlasts_a_power_cut() {
    survives_power_cuts(&Case::relabelling(), BOTH);
}

#[test]
fn a_power_cut_may_take_an_outcome_and_nothing_else() {
    survives_power_cuts(&Case::outcome(), &[]);
}

#[test]
fn a_power_cut_may_take_a_move_and_nothing_else() {
    survives_power_cuts(&Case::movement(), &[]);
}

#[test]
fn a_removal_outlasts_a_power_cut() {
    survives_power_cuts(&Case::removal(), &[Unsynced::Directories]);
}

/// Makes a vault, and puts a credential into it.
fn first_run(case: &Case, place: &Path) -> Result<(), Stopped> {
    let store = Store::new(root(place));
    store.open(&signers(&case.keys), false)?;
    case.run(&store).map(|_| ())
}

#[test]
fn a_new_vault_and_its_first_credential_outlast_a_power_cut() {
    let case = Case::first_put();
    let (before, after) = case.before_and_after();
    let place = place();
    let (trace, done) = Trace::of(place.path(), || first_run(&case, place.path()));
    done.unwrap();
    survives("a new vault", &trace, BOTH, |place, is_acknowledged| {
        let left = Copy { place, keys: &case.keys };
        left.takes_more(&case.labels)?;
        let state = left.state()?;
        match state == after || (state == before && !is_acknowledged) {
            true => Ok(()),
            false => Err(format!("acknowledged: {is_acknowledged}; {state:?} is not {after:?}")),
        }
    });
}

#[test]
fn what_a_killed_process_has_made_outlasts_a_power_cut_once_the_next_one_acknowledges() {
    let case = Case::first_put();
    let (_, after) = case.before_and_after();
    survives_kill_and_power_cut(
        "a new vault",
        |place| first_run(&case, place).map_err(|stopped| format!("{stopped:?}")),
        |place, ()| {
            let state = Copy { place, keys: &case.keys }.state()?;
            if state == after { Ok(()) } else { Err(format!("{state:?} is not {after:?}")) }
        },
    );
}

/// Kills a process at each operation of its work, lets another one do the work, and cuts the power when that is
/// acknowledged.
fn survives_kill_and_power_cut<T>(
    name: &str,
    work: impl Fn(&Path) -> Result<T, String>,
    check: impl Fn(TempDir, &T) -> Result<(), String>,
) {
    let nothing = super::place();
    survives_kill_of_one_and_power_cut(
        name,
        nothing.path(),
        |place| work(place).map(drop),
        &work,
        check,
    );
}

/// Like [`survives_kill_and_power_cut`], starting from the template, and with different work for the second process.
pub(super) fn survives_kill_of_one_and_power_cut<T>(
    name: &str,
    template: &Path,
    work: impl Fn(&Path) -> Result<(), String>,
    next: impl Fn(&Path) -> Result<T, String>,
    check: impl Fn(TempDir, &T) -> Result<(), String>,
) {
    let mut found = Found { enough: usize::MAX, ..Found::default() };
    for number in 0.. {
        let place = place();
        copy(template, place.path());
        let (_, report) = fault::run(Some((number, Fault::Stops)), || work(place.path()));
        if !report.has_struck {
            println!("{name}: killed at {number} operations, {} states", found.states);
            break;
        }
        let (then, done) = Trace::of(place.path(), || next(place.path()));
        // If the killed process has finished a put, the put is not repeated.
        let Ok(done) = done else { continue };
        let operations = [&report.operations[..number], &then.operations].concat();
        let trace = Trace { before: tree(template), operations, place: place.path().to_owned() };
        found.look_after(&trace.disk(), |place| {
            check(place, &done)
                .map_err(|why| format!("killed at {:?}: {why}", report.operations[number]))
        });
    }
    let wrong = found.wrong.join("\n");
    assert!(wrong.is_empty(), "{name}, {} of {} states:\n{wrong}", found.wrong.len(), found.states);
}

fn key_file(place: &Path) -> PathBuf {
    place.join("config/deep/vault.key")
}

#[test]
fn a_new_key_outlasts_a_power_cut() {
    let place = place();
    let (trace, key) = Trace::of(place.path(), || load_or_create(&key_file(place.path())));
    let key = key.unwrap().id();
    survives("a key file", &trace, BOTH, |place, is_acknowledged| {
        match load_or_create(&key_file(place.path())) {
            Ok(found) if found.id() == key || !is_acknowledged => Ok(()),
            found => Err(format!("acknowledged: {is_acknowledged}; {found:?} in place of {key}")),
        }
    });
}

#[test]
fn a_key_that_was_made_by_a_killed_process_outlasts_a_power_cut_once_the_next_has_it() {
    survives_kill_and_power_cut(
        "a key file",
        |place| load_or_create(&key_file(place)).map_err(|error| error.to_string()),
        |place, key| match load_or_create(&key_file(place.path())) {
            Ok(found) if found.id() == key.id() => Ok(()),
            found => Err(format!("{found:?} in place of {key:?}")),
        },
    );
}
