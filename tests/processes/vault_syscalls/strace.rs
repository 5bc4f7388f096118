//! Running a child under strace, which lists the calls of a deed, or kills the child at one of them.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::MARKER;
use super::before::{Before, COMPACTED_FROM};
use super::deed::Deed;
use crate::children::Job;
use crate::thorough::is_thorough;

/// The calls that change files, and those between them. Not every machine has all of them; `?` skips missing ones.
const CALLS: &str = "?open,openat,read,write,?pwrite64,fsync,fdatasync,?rename,?renameat,renameat2,?link,linkat,\
                     ?unlink,unlinkat,ftruncate,flock,?chmod,fchmod,fchmodat,?mkdir,mkdirat,statx,\
                     ?newfstatat,?stat,?lstat,?fstat,lseek,close,?getdents,getdents64";

impl Before {
    fn job(&self, place: &Path) -> Job {
        let job =
            super::job(&format!("{:?}", self.deed)).key("KEY", &self.key).key("NEW", &self.new_key);
        job.set("PLACE", place).set("ID", self.id.to_string())
    }

    /// Returns the calls that the deed makes, each with its number among the calls of its kind.
    pub(super) fn calls(&self) -> Vec<(String, usize)> {
        let place = self.copy();
        let log = place.path().join("strace.log");
        let under = strace(&log).into_iter().chain([format!("--trace={CALLS}")]);
        let heard = self.job(place.path()).under(under).start().succeed();
        assert_eq!(heard, ["acknowledged"]);
        if self.deed == Deed::Compaction {
            let log = place.path().join("vault/pools/example+default.log");
            assert!(fs::metadata(log).unwrap().len() < COMPACTED_FROM / 2, "it was compacted");
        }
        let log = fs::read_to_string(log).unwrap();
        let marker = log.lines().find(|line| line.contains(MARKER)).expect("it has begun");
        let thread = marker.split(' ').next().unwrap();
        let (mut counts, mut others) = (HashMap::<_, usize>::new(), HashMap::<_, usize>::new());
        let mut calls = Vec::new();
        let mut has_begun = false;
        for line in log.lines() {
            let Some((of, call)) = line.split_once(' ') else { continue };
            // Skip the second half of a call that another thread's call has interrupted.
            let Some((call, _)) = call.trim().split_once('(').filter(|(call, _)| !call.starts_with('<'))
            else {
                continue;
            };
            if of != thread {
                *others.entry((of, call)).or_default() += 1;
                continue;
            }
            let count = counts.entry(call).or_default();
            *count += 1;
            if has_begun {
                calls.push((call.to_owned(), *count));
            }
            has_begun |= line.contains(MARKER);
        }
        for (call, number) in &calls {
            let most =
                others.iter().filter(|((_, other), _)| other == call).map(|(_, count)| *count).max();
            assert!(most.unwrap_or(0) < *number, "another thread may come first to {number} of {call}");
        }
        calls
    }

    /// Runs the deed with a kill at this call. Returns whether it was killed, and what is wrong then.
    pub(super) fn kill_at(&self, call: &str, number: usize) -> (bool, Result<(), String>) {
        let place = self.copy();
        let inject = format!("--inject={call}:signal=KILL:when={number}");
        let under =
            strace(Path::new("/dev/null")).into_iter().chain([format!("--trace={call}"), inject]);
        let (heard, status) = self.job(place.path()).under(under).start().end();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let is_acknowledged = heard.iter().any(|line| line == "acknowledged");
        (!status.success(), runtime.block_on(self.check(place.path(), is_acknowledged)))
    }
}

fn strace(log: &Path) -> Vec<String> {
    let log = log.display().to_string();
    ["strace", "--follow-forks", "--quiet=all", "-o", &log].map(str::to_owned).to_vec()
}

/// Whether strace can be used. If it must be and cannot, that is an error.
pub(super) fn has_strace() -> bool {
    let mut command = Command::new("strace");
    command.args(&strace(Path::new("/dev/null"))[1..]).args(["--trace=close", "true"]);
    let works = command.stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    assert!(works || !is_thorough(), "the tests are to be thorough, and strace does not work");
    if !works {
        // Not with a macro: what a passing test prints that way is not shown.
        let _ = std::io::stderr().write_all(
            b"NOT RUN: no process was killed at its system calls; strace isn't installed, or can't trace\n",
        );
    }
    works
}
