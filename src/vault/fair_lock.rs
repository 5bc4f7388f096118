//! A fair asynchronous lock for each key: one holder at a time, and waiters get it in the order in which they asked.
//!
//! Like a `tokio::sync::Mutex<()>` for each key, of which `lock_owned` is called. But the future has a name here, so no
//! service has to box it.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

/// The waiters for each key that is locked; a key that is free has no entry.
type Queues<K> = HashMap<K, VecDeque<oneshot::Sender<()>>>;

pub(crate) struct FairLock<K> {
    queues: Arc<Mutex<Queues<K>>>,
}

impl<K: Clone + Eq + Hash> FairLock<K> {
    pub(crate) fn new() -> Self {
        Self { queues: Arc::default() }
    }

    /// Waits until `key` is free and locks it. The place in the queue is taken now, not at the first poll.
    pub(crate) fn lock(&self, key: K) -> FairLockFuture<K> {
        let mut queues = self.queues();
        let grant = match queues.get_mut(&key) {
            None => {
                queues.insert(key.clone(), VecDeque::new());
                Grant::Now
            }
            Some(queue) => {
                let (sender, receiver) = oneshot::channel();
                queue.push_back(sender);
                Grant::Later(receiver)
            }
        };
        FairLockFuture { waiter: Some(Waiter { lock: self.clone(), key, grant }) }
    }

    /// Locks `key` if it is free.
    #[cfg(feature = "file")]
    pub(crate) fn try_lock(&self, key: K) -> Option<FairLockGuard<K>> {
        let mut queues = self.queues();
        if queues.contains_key(&key) {
            return None;
        }
        queues.insert(key.clone(), VecDeque::new());
        Some(FairLockGuard { lock: self.clone(), key })
    }

    /// Hands `key` to the next waiter, or frees it.
    fn unlock(&self, key: &K) {
        let mut queues = self.queues();
        let Some(queue) = queues.get_mut(key) else { return };
        while let Some(next) = queue.pop_front() {
            if next.send(()).is_ok() {
                return;
            }
        }
        queues.remove(key);
    }
}

impl<K> FairLock<K> {
    fn queues(&self) -> MutexGuard<'_, Queues<K>> {
        // Nothing panics while it is held, and a queue is whole between any two statements.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Clone for FairLock<K> {
    fn clone(&self) -> Self {
        Self { queues: self.queues.clone() }
    }
}

enum Grant {
    Now,
    Later(oneshot::Receiver<()>),
}

struct Waiter<K> {
    lock: FairLock<K>,
    key: K,
    grant: Grant,
}

/// Resolves to a [`FairLockGuard`]. If it is dropped earlier, it leaves the queue.
pub(crate) struct FairLockFuture<K: Clone + Eq + Hash> {
    waiter: Option<Waiter<K>>,
}

impl<K: Clone + Eq + Hash> Unpin for FairLockFuture<K> {}

impl<K: Clone + Eq + Hash> Future for FairLockFuture<K> {
    type Output = FairLockGuard<K>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FairLockGuard<K>> {
        if let Some(Waiter { grant: Grant::Later(receiver), .. }) = &mut self.waiter {
            // The sender stays in the queue until it sends, and the queue lives as long as this waiter.
            let _ = ready!(Pin::new(receiver).poll(cx));
        }
        match self.waiter.take() {
            Some(Waiter { lock, key, .. }) => Poll::Ready(FairLockGuard { lock, key }),
            None => Poll::Pending,
        }
    }
}

impl<K: Clone + Eq + Hash> Drop for FairLockFuture<K> {
    fn drop(&mut self) {
        let Some(Waiter { lock, key, mut grant }) = self.waiter.take() else { return };
        let was_granted = match &mut grant {
            Grant::Now => true,
            Grant::Later(receiver) => {
                receiver.close();
                receiver.try_recv().is_ok()
            }
        };
        if was_granted {
            lock.unlock(&key);
        }
    }
}

/// Holds the lock of a key; dropping it lets the next waiter in.
pub(crate) struct FairLockGuard<K: Clone + Eq + Hash> {
    lock: FairLock<K>,
    key: K,
}

impl<K: Clone + Eq + Hash> Drop for FairLockGuard<K> {
    fn drop(&mut self) {
        self.lock.unlock(&self.key);
    }
}
