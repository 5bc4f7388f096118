//! The operating system's queues for locks. A thread waits in each of them, for all requests of this process that need
//! that lock: it blocks in `flock`. `specs/explanation/vault.md` says why.
//!
//! The thread that gets the lock begins the request's work at once, even if nobody polls its future: other processes must
//! not wait for a task that is not polled. If the request was given up, the thread unlocks the file at once. It is not a
//! tokio thread, since a runtime waits for those when it shuts down. While it works, a tokio thread waits for it, so that the
//! work is finished then.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::vault::disk::lock::{self, Granted};

/// Whether a thread may wait in the operating system's queue.
///
/// Linux gives no lock to a process that is stopped: the lock is not handed over, and a signal takes the process out of the
/// queue. Elsewhere a stopped process may be given the lock, which all others then wait for until it goes on. Nobody has
/// tried that, so there each request tries again from time to time.
const CAN_WAIT: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// For how many locks a thread waits at a time. Whoever waits for another one tries again from time to time.
const MOST_THREADS: usize = 64;

/// Who waits for which lock. An entry lasts as long as its thread.
#[derive(Clone, Default)]
pub(super) struct LockQueues(Arc<Mutex<Queues>>);

type Queues = HashMap<PathBuf, VecDeque<Arc<dyn Waiter>>>;

/// A request that waits, as the thread sees it.
trait Waiter: Send + Sync {
    /// Whether the request was not given up.
    fn is_waiting(&self) -> bool;

    /// Does the request's work. Returns the lock if the request was given up.
    fn work(&self, granted: Granted) -> Option<Granted>;
}

impl LockQueues {
    /// Queues for the lock of the file at `path`. Once this process has it, `work` is called with `request` on another
    /// thread, in the context of this runtime. Returns the request if no thread can wait.
    pub(super) fn wait<T: Send + 'static, R: Send + 'static>(
        &self,
        path: &Path,
        request: T,
        work: impl FnOnce(T, Granted) -> R + Send + 'static,
    ) -> Result<Ticket<T, R>, T> {
        let (sender, result) = oneshot::channel();
        let job = Job { request, work: Box::new(work), runtime: Handle::current(), sender };
        let place = Arc::new(Place(Mutex::new(Some(job))));
        let ticket = Ticket { place: place.clone(), result };
        let mut queues = self.lock();
        if let Some(queue) = queues.get_mut(path) {
            queue.retain(|waiter| waiter.is_waiting());
            queue.push_back(place);
            return Ok(ticket);
        }
        let (this, owned) = (self.clone(), path.to_owned());
        let thread = thread::Builder::new().name("vault-lock".to_owned());
        let can_wait = CAN_WAIT && queues.len() < MOST_THREADS;
        if can_wait && thread.spawn(move || this.serve(&owned)).is_ok() {
            // The thread blocks on this mutex until the entry is there.
            queues.insert(path.to_owned(), VecDeque::from([place as Arc<dyn Waiter>]));
            return Ok(ticket);
        }
        drop(queues);
        match ticket.withdraw() {
            Ok(request) => Err(request),
            // Nobody else has its place.
            Err(ticket) => Ok(ticket),
        }
    }

    /// Waits for the lock and does the work of those who wait for it, until nobody does.
    fn serve(&self, path: &Path) {
        while self.is_waited_for(path) {
            let Ok(mut granted) = lock::wait(path) else {
                // The requests try again soon, and report the error if it is still there.
                self.lock().remove(path);
                return;
            };
            while let Some(waiter) = self.next(path) {
                match waiter.work(granted) {
                    Some(unused) => granted = unused,
                    None => break,
                }
            }
        }
    }

    /// Whether a request waits. If not, the queue is removed.
    fn is_waited_for(&self, path: &Path) -> bool {
        let mut queues = self.lock();
        let is_waited_for =
            queues.get(path).is_some_and(|queue| queue.iter().any(|waiter| waiter.is_waiting()));
        if !is_waited_for {
            queues.remove(path);
        }
        is_waited_for
    }

    fn next(&self, path: &Path) -> Option<Arc<dyn Waiter>> {
        self.lock().get_mut(path)?.pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be done for a request.
struct Job<T, R> {
    request: T,
    work: Box<dyn FnOnce(T, Granted) -> R + Send>,
    runtime: Handle,
    sender: oneshot::Sender<thread::Result<R>>,
}

/// A place in a queue; empty once the work has begun or the request was given up.
struct Place<T, R>(Mutex<Option<Job<T, R>>>);

impl<T, R> Place<T, R> {
    fn job(&self) -> MutexGuard<'_, Option<Job<T, R>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send, R: Send> Waiter for Place<T, R> {
    fn is_waiting(&self) -> bool {
        self.job().is_some()
    }

    fn work(&self, granted: Granted) -> Option<Granted> {
        let job = self.job().take();
        let Some(Job { request, work, runtime, sender }) = job else { return Some(granted) };
        let working = AssertUnwindSafe(move || {
            let _context = runtime.enter();
            let (_ends, ended) = channel::<()>();
            // It ends with the work, and the runtime waits for it. If all its threads are busy, the work does not wait for it.
            runtime.spawn_blocking(move || ended.recv());
            work(request, granted)
        });
        let done = catch_unwind(working);
        // Nobody may wait for the result any more.
        let _ = sender.send(done);
        None
    }
}

/// A request's place in a queue. Dropping it gives the request up, unless its work has begun.
pub(super) struct Ticket<T, R> {
    place: Arc<Place<T, R>>,
    result: oneshot::Receiver<thread::Result<R>>,
}

impl<T, R> Ticket<T, R> {
    /// Gives up the place. Returns the request, or the ticket if the work has begun.
    pub(super) fn withdraw(self) -> Result<T, Self> {
        let job = self.place.job().take();
        job.map(|job| job.request).ok_or(self)
    }

    /// Waits for the result of the work.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<thread::Result<R>> {
        // The sender is dropped only after it has sent: this ticket has not withdrawn the work.
        Pin::new(&mut self.result).poll(cx).map(|sent| sent.unwrap_or_else(|error| Err(Box::new(error))))
    }
}

impl<T, R> Drop for Ticket<T, R> {
    fn drop(&mut self) {
        let job = self.place.job().take();
        drop(job);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
