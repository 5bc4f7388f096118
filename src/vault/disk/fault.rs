//! For tests: a plan that says which of this thread's file operations fails, or is the last one.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

/// A requested file operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    MakeDir(PathBuf),
    Create(PathBuf),
    Open(PathBuf),
    OpenAppend(PathBuf),
    OpenLock(PathBuf),
    Look(PathBuf),
    Read(PathBuf),
    Write(PathBuf, Vec<u8>),
    Truncate(PathBuf, u64),
    Sync(PathBuf),
    SyncDir(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
    SetMode(PathBuf),
    List(PathBuf),
    Lock(PathBuf),
    Give(PathBuf),
}

/// What happens to the operation that the plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails with this error and has no effect. Later operations work.
    Fails(io::ErrorKind),
    /// It fails with this error. If it is a write, half of it is done first.
    FailsHalfway(io::ErrorKind),
    /// Neither it nor any later operation has an effect: the process was killed.
    Stops,
    /// Like [`Fault::Stops`], but if it is a write, half of it is done.
    StopsHalfway,
}

/// What [`run`] has recorded.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Every requested operation, in order.
    pub(crate) operations: Vec<Operation>,
    /// Whether the planned fault has happened.
    pub(crate) has_struck: bool,
}

/// A file system on which nothing can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritable {
    /// There is no room. Existing files can be opened, renamed and removed.
    Full,
    /// It is mounted read-only.
    ReadOnly,
    /// Its directories belong to another user; some files can be written to.
    Directories,
}

impl Unwritable {
    fn refuses(self, operation: &Operation) -> Option<io::ErrorKind> {
        use Operation::*;
        let makes_names = matches!(operation, MakeDir(_) | Create(_) | Link(..));
        let changes_names = makes_names || matches!(operation, Rename(..) | Remove(_));
        match self {
            Self::Full if makes_names => Some(io::ErrorKind::StorageFull),
            Self::Full => matches!(operation, Write(..)).then_some(io::ErrorKind::StorageFull),
            Self::ReadOnly => {
                let writes = matches!(
                    operation,
                    OpenAppend(_) | OpenLock(_) | Write(..) | Truncate(..) | SetMode(_) | Give(_)
                );
                (changes_names || writes).then_some(io::ErrorKind::ReadOnlyFilesystem)
            }
            Self::Directories => changes_names.then_some(io::ErrorKind::PermissionDenied),
        }
    }
}

#[derive(Default)]
struct Plan {
    fault: Option<(usize, Fault)>,
    unwritable: Option<Unwritable>,
    network: Option<&'static str>,
    ignores_modes: bool,
    is_dead: bool,
    report: Report,
}

thread_local! {
    static PLAN: RefCell<Option<Plan>> = const { RefCell::new(None) };
}

/// Does the work with this fault at the operation of this number, counted from 0. Does not affect work on other
/// threads.
pub(crate) fn run<T>(fault: Option<(usize, Fault)>, work: impl FnOnce() -> T) -> (T, Report) {
    with_plan(Plan { fault, ..Plan::default() }, work)
}

/// Does the work on a file system on which nothing can be changed.
pub(crate) fn on_unwritable<T>(how: Unwritable, work: impl FnOnce() -> T) -> (T, Report) {
    with_plan(Plan { unwritable: Some(how), ..Plan::default() }, work)
}

/// Does the work as if every directory were on a network file system.
pub(crate) fn on_network<T>(name: &'static str, work: impl FnOnce() -> T) -> T {
    with_plan(Plan { network: Some(name), ..Plan::default() }, work).0
}

/// Does the work as if no mode could be set.
#[cfg(unix)]
pub(crate) fn without_modes<T>(work: impl FnOnce() -> T) -> T {
    with_plan(Plan { ignores_modes: true, ..Plan::default() }, work).0
}

pub(super) fn ignores_modes() -> bool {
    PLAN.with_borrow(|plan| plan.as_ref().is_some_and(|plan| plan.ignores_modes))
}

fn with_plan<T>(plan: Plan, work: impl FnOnce() -> T) -> (T, Report) {
    PLAN.with_borrow_mut(|slot| *slot = Some(plan));
    let result = work();
    let plan = PLAN.with_borrow_mut(Option::take).unwrap_or_default();
    (result, plan.report)
}

pub(super) fn network_file_system() -> Option<&'static str> {
    PLAN.with_borrow(|plan| plan.as_ref()?.network)
}

/// Called before an operation is done.
pub(super) fn step(operation: Operation) -> io::Result<()> {
    match PLAN.with_borrow_mut(|plan| Some(plan.as_mut()?.next(operation))) {
        Some(Some((_, error))) => Err(error),
        _ => Ok(()),
    }
}

/// Called before a write. If not all of it should be done, returns how much, and the error.
pub(super) fn step_write(path: &Path, bytes: &[u8]) -> io::Result<Option<(usize, io::Error)>> {
    let operation = Operation::Write(path.to_owned(), bytes.to_vec());
    match PLAN.with_borrow_mut(|plan| Some(plan.as_mut()?.next(operation))) {
        Some(Some((true, error))) => Ok(Some((bytes.len() / 2, error))),
        Some(Some((false, error))) => Err(error),
        _ => Ok(None),
    }
}

impl Plan {
    /// Returns the error of the operation, if it should have one, and whether half of it is done.
    fn next(&mut self, operation: Operation) -> Option<(bool, io::Error)> {
        let stopped = || io::Error::other("stopped by the test");
        if self.is_dead {
            return Some((false, stopped()));
        }
        if let Some(kind) = self.unwritable.and_then(|how| how.refuses(&operation)) {
            self.report.has_struck = true;
            self.report.operations.push(operation);
            return Some((false, kind.into()));
        }
        let number = self.report.operations.len();
        self.report.operations.push(operation);
        let (_, fault) = self.fault.filter(|(at, _)| *at == number)?;
        self.report.has_struck = true;
        self.is_dead = matches!(fault, Fault::Stops | Fault::StopsHalfway);
        Some(match fault {
            Fault::Fails(kind) => (false, kind.into()),
            Fault::FailsHalfway(kind) => (true, kind.into()),
            Fault::Stops => (false, stopped()),
            Fault::StopsHalfway => (true, stopped()),
        })
    }
}
