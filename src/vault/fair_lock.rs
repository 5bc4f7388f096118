//! A lock that is taken in the order of asking: one holder for each key at a time.
//!
//! Waiting is a future with a name, unlike with tokio's semaphore, so no service here boxes one.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

/// Who waits for each key that is held; a key that no one holds has no entry.
type Queues<K> = HashMap<K, VecDeque<oneshot::Sender<()>>>;

pub(crate) struct FairLock<K> {
    queues: Arc<Mutex<Queues<K>>>,
}

impl<K: Clone + Eq + Hash> FairLock<K> {
    pub(crate) fn new() -> Self {
        Self { queues: Arc::default() }
    }

    /// Waits in line for `key`. The place in line is taken now, not at the first poll.
    pub(crate) fn take(&self, key: K) -> Wait<K> {
        let mut queues = lock(&self.queues);
        let called = match queues.get_mut(&key) {
            None => {
                queues.insert(key.clone(), VecDeque::new());
                Called::Already
            }
            Some(queue) => {
                let (caller, called) = oneshot::channel();
                queue.push_back(caller);
                Called::By(called)
            }
        };
        Wait { place: Some(Place { locks: self.clone(), key, called }) }
    }

    /// The turn of `key` if nobody has it.
    #[cfg(feature = "file")]
    pub(crate) fn take_free(&self, key: K) -> Option<FairLockGuard<K>> {
        let mut queues = lock(&self.queues);
        if queues.contains_key(&key) {
            return None;
        }
        queues.insert(key.clone(), VecDeque::new());
        Some(FairLockGuard { locks: self.clone(), key })
    }

    fn pass_on(&self, key: &K) {
        let mut queues = lock(&self.queues);
        let Some(queue) = queues.get_mut(key) else { return };
        while let Some(next) = queue.pop_front() {
            if next.send(()).is_ok() {
                return;
            }
        }
        queues.remove(key);
    }
}

impl<K> Clone for FairLock<K> {
    fn clone(&self) -> Self {
        Self { queues: self.queues.clone() }
    }
}

fn lock<K>(queues: &Mutex<Queues<K>>) -> MutexGuard<'_, Queues<K>> {
    // Nothing panics while it is held, and a queue is whole between any two statements.
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Called {
    Already,
    By(oneshot::Receiver<()>),
}

struct Place<K> {
    locks: FairLock<K>,
    key: K,
    called: Called,
}

/// Ends with the [`FairLockGuard`]. Dropped before, it leaves the line.
pub(crate) struct Wait<K: Clone + Eq + Hash> {
    place: Option<Place<K>>,
}

impl<K: Clone + Eq + Hash> Unpin for Wait<K> {}

impl<K: Clone + Eq + Hash> Future for Wait<K> {
    type Output = FairLockGuard<K>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FairLockGuard<K>> {
        if let Some(Place { called: Called::By(receiver), .. }) = &mut self.place {
            // The sender waits in the queue until it sends, and the queue lives as long as this place.
            let _ = ready!(Pin::new(receiver).poll(cx));
        }
        match self.place.take() {
            Some(Place { locks, key, .. }) => Poll::Ready(FairLockGuard { locks, key }),
            None => Poll::Pending,
        }
    }
}

impl<K: Clone + Eq + Hash> Drop for Wait<K> {
    fn drop(&mut self) {
        let Some(Place { locks, key, mut called }) = self.place.take() else { return };
        let was_called = match &mut called {
            Called::Already => true,
            Called::By(receiver) => {
                receiver.close();
                receiver.try_recv().is_ok()
            }
        };
        if was_called {
            locks.pass_on(&key);
        }
    }
}

/// Whoever has it is the only one; dropped, it is the next one's turn.
pub(crate) struct FairLockGuard<K: Clone + Eq + Hash> {
    locks: FairLock<K>,
    key: K,
}

impl<K: Clone + Eq + Hash> Drop for FairLockGuard<K> {
    fn drop(&mut self) {
        self.locks.pass_on(&self.key);
    }
}
