//! The threads that serve connections. Each has a runtime of its own, so that a connection, its requests and their connections
//! of HTTP/1.1 to the upstreams stay on one thread, and no thread has to wake another for a request.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::failure::Failure;

/// The most threads. Each has its own connections of HTTP/1.1 to the upstreams.
const MOST: usize = 8;

/// How often each is woken.
const TICK: Duration = Duration::from_secs(1);

thread_local! {
    /// Which of the threads this is. Any other thread takes what the first one has.
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// Returns how many there are: one for each processor.
fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MOST)
}

/// Threads that serve connections.
#[derive(Clone, Debug)]
pub(crate) struct Threads(Arc<[Thread]>);

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    /// Each connection has a clone.
    connections: Arc<()>,
}

/// A connection of a thread, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _counted: Arc<()>,
}

impl Threads {
    /// Starts one for each processor.
    pub(crate) fn start() -> Result<Self, Failure> {
        Self::of(count())
    }

    /// Starts a single one.
    pub(crate) fn start_one() -> Result<Self, Failure> {
        Self::of(1)
    }

    fn of(count: usize) -> Result<Self, Failure> {
        let threads: io::Result<_> = (0..count).map(Thread::start).collect();
        threads.map(Self).map_err(|error| {
            Failure::failed("could not start the threads that serve connections").because(error)
        })
    }

    /// Ends all threads that were started. Each waits so long for work that blocks, such as a write to the vault.
    pub(crate) fn end(timeout: Duration) {
        let threads = std::mem::take(&mut *running());
        let mut ending = Vec::new();
        for Running { end, thread } in threads {
            // It may have panicked.
            let _ = end.send(timeout);
            ending.push(thread);
        }
        for thread in ending {
            let _ = thread.join();
        }
    }

    /// Returns the thread with the fewest connections, and a place there. If several have as few, it is always the same one:
    /// its connections to the upstreams are the most likely to be open.
    pub(super) fn place(&self) -> Option<(&Handle, Place)> {
        let thread = &self.0[self.least_busy()?];
        Some((&thread.runtime, Place { _counted: thread.connections.clone() }))
    }

    fn least_busy(&self) -> Option<usize> {
        (0..self.0.len()).min_by_key(|at| Arc::strong_count(&self.0[*at].connections))
    }
}

/// A thread that runs until it is told how long its end may take.
struct Running {
    end: oneshot::Sender<Duration>,
    thread: JoinHandle<()>,
}

/// All that run. They do so until the program ends: a renewal that a request has begun must not end with the gateway.
fn running() -> MutexGuard<'static, Vec<Running>> {
    static RUNNING: Mutex<Vec<Running>> = Mutex::new(Vec::new());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Thread {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = Self { runtime: runtime.handle().clone(), connections: Arc::default() };
        let (end, ended) = oneshot::channel();
        let run = move || {
            NUMBER.set(number);
            let timeout = runtime.block_on(with_ticks(ended));
            runtime.shutdown_timeout(timeout.unwrap_or_default());
        };
        let running_thread = std::thread::Builder::new().name(format!("gateway {number}")).spawn(run)?;
        running().push(Running { end, thread: running_thread });
        Ok(thread)
    }
}

/// Waits, with a timer that is always the next one. If a timer is set that comes before all others, tokio wakes the thread
/// through the system, even if the thread has set it itself. Each request sets some, and all are later than this one.
async fn with_ticks<T>(waiting: impl Future<Output = T>) -> T {
    let mut waiting = pin!(waiting);
    loop {
        if let Ok(done) = tokio::time::timeout(TICK, &mut waiting).await {
            return done;
        }
    }
}

/// Something of which each thread has its own.
#[derive(Debug)]
pub(super) struct PerThread<T>(Arc<Each<T>>);

#[derive(Debug)]
struct Each<T> {
    first: T,
    others: Vec<T>,
}

impl<T> PerThread<T> {
    /// `other` makes those of the other threads from that of the first one.
    pub(super) fn new(first: T, other: impl Fn(&T) -> T) -> Self {
        let others = (1..count()).map(|_| other(&first)).collect();
        Self(Arc::new(Each { first, others }))
    }

    /// Makes something else of each.
    pub(super) fn map(&self, change: impl Fn(&T) -> T) -> Self {
        let Each { first, others } = &*self.0;
        Self(Arc::new(Each { first: change(first), others: others.iter().map(change).collect() }))
    }

    /// Returns that of this thread.
    pub(super) fn get(&self) -> &T {
        let other = NUMBER.get().checked_sub(1).and_then(|at| self.0.others.get(at));
        other.unwrap_or(&self.0.first)
    }
}

impl<T> Clone for PerThread<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_to_the_thread_with_the_fewest_and_to_the_first_of_several() {
        let threads = Threads::of(2).unwrap();
        let [first, second, third] = [(); 3].map(|()| {
            let at = threads.least_busy().unwrap();
            (at, threads.place().unwrap().1)
        });
        assert_eq!([first.0, second.0, third.0], [0, 1, 0]);
        drop((first, third));
        assert_eq!(threads.least_busy(), Some(0));
        drop(second);
        assert_eq!(threads.least_busy(), Some(0));
    }

    #[test]
    fn each_thread_has_its_own_and_any_other_thread_has_that_of_the_first() {
        let threads = Threads::of(1).unwrap();
        let each = PerThread(Arc::new(Each { first: 0, others: vec![1, 2] }));
        assert_eq!(*each.get(), 0);
        NUMBER.set(2);
        assert_eq!((*each.get(), *each.map(|one| one + 10).get()), (2, 12));
        NUMBER.set(3);
        assert_eq!(*each.get(), 0);
        NUMBER.set(0);
        let (sender, receiver) = std::sync::mpsc::channel();
        threads.place().unwrap().0.spawn(async move { sender.send(NUMBER.get()) });
        assert_eq!(receiver.recv(), Ok(0));
    }
}
