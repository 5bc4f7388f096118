//! A single flight: one piece of work, shared by all callers that want its result.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// Work that runs at most once at a time. It goes on even if callers stop waiting.
pub(super) struct Flight<T>(Mutex<Option<watch::Receiver<Option<T>>>>);

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Waits for the work in progress, or else starts this. `None` if it didn't finish: it panicked, or its runtime was shut
    /// down.
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
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = &*current
            && result.has_changed().is_ok()
            && result.borrow().is_none()
        {
            return result.clone();
        }
        let (sender, result) = watch::channel(None);
        let work = start();
        tokio::spawn(async move { sender.send_replace(Some(work.await)) });
        *current = Some(result.clone());
        result
    }
}
