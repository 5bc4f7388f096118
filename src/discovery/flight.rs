//! One piece of work for all who ask for it while it is done.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// Work that is under way once at most. It goes on whoever stops waiting for it.
pub(super) struct Flight<T>(Mutex<Option<watch::Receiver<Option<T>>>>);

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// What comes of the work that is under way, or else of this. `None` where it came to no end: it has
    /// panicked, or its runtime is gone.
    pub(super) async fn join<F>(&self, start: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut result = self.result(start);
        result.wait_for(Option::is_some).await.ok()?.clone()
    }

    fn result<F>(&self, start: impl FnOnce() -> F) -> watch::Receiver<Option<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = &*under_way
            && result.has_changed().is_ok()
            && result.borrow().is_none()
        {
            return result.clone();
        }
        let (sender, result) = watch::channel(None);
        let work = start();
        tokio::spawn(async move { sender.send_replace(Some(work.await)) });
        *under_way = Some(result.clone());
        result
    }
}
