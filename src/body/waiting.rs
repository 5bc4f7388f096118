//! The copies that wait for the same body.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// The copies of a body that wait for its next frame. The body is polled with this as its waker, so it wakes
/// all of them. The first to be polled reads, so no copy depends on another being polled again.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Wakers>);

#[derive(Default)]
struct Wakers {
    /// Whether the body has called since [`Waiting::begin`].
    is_woken: bool,
    wakers: Vec<(usize, Waker)>,
}

impl Waiting {
    /// Must be called before the body is polled.
    pub(super) fn begin(&self) {
        self.lock().is_woken = false;
    }

    /// Keeps this copy's waker, as the body has nothing yet. Wakes at once if the body called while it was polled.
    pub(super) fn wait(&self, copy: usize, waker: &Waker) {
        let mut waiting = self.lock();
        if waiting.is_woken {
            drop(waiting);
            waker.wake_by_ref();
            return;
        }
        match waiting.wakers.iter_mut().find(|(other, _)| *other == copy) {
            Some((_, known)) => known.clone_from(waker),
            None => waiting.wakers.push((copy, waker.clone())),
        }
    }

    /// Wakes all but this copy, which has read, has changed what the others will see, or is gone.
    pub(super) fn wake_others(&self, than: usize) {
        self.wake_but(Some(than));
    }

    fn wake_but(&self, spared: Option<usize>) {
        let mut waiting = self.lock();
        waiting.is_woken = true;
        let wakers = mem::take(&mut waiting.wakers);
        // What they call may come back here.
        drop(waiting);
        for (copy, waker) in wakers {
            if Some(copy) != spared {
                waker.wake();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Wakers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_but(None);
    }
}
