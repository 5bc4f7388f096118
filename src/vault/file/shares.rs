//! Work on many records, shared out among threads.

use std::thread::{Builder, ScopedJoinHandle, available_parallelism};

/// How many records are worth a thread of their own. Starting one takes as long as a few records.
const SHARE: usize = 256;

/// The maximum number of threads that work at once.
const MAX_THREADS: usize = 4;

/// Does the work on all of these, on several threads if there are many, and on this thread alone if there are few.
/// Returns each share's result, in order.
pub(super) fn work<T: Sync, R: Send>(all: &[T], work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let processors = available_parallelism().map_or(1, usize::from);
    let threads = (all.len() / SHARE).clamp(1, processors.min(MAX_THREADS));
    let mut shares = all.chunks(all.len().div_ceil(threads).max(1));
    let Some(first) = shares.next() else { return vec![work(all)] };
    let work = &work;
    std::thread::scope(|scope| {
        let begin = |share| (share, Builder::new().spawn_scoped(scope, move || work(share)));
        let others: Vec<_> = shares.map(begin).collect();
        let mut done = vec![work(first)];
        for (share, thread) in others {
            done.push(match thread.map(ScopedJoinHandle::join) {
                Ok(Ok(done)) => done,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // The system has no thread to spare.
                Err(_) => work(share),
            });
        }
        done
    })
}
