//! A list that a test can wait for.

use std::sync::Arc;

use tokio::sync::watch;
use tower_credentials::events::Event;

use super::seconds;

/// A growing list. A test can wait for its entries.
#[derive(Clone)]
pub(crate) struct Journal<T>(Arc<watch::Sender<Vec<T>>>);

impl<T: Clone> Journal<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }

    pub(crate) fn push(&self, item: T) {
        self.0.send_modify(|items| items.push(item));
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.borrow().clone()
    }

    pub(crate) async fn until(&self, done: impl Fn(&[T]) -> bool) {
        let mut items = self.0.subscribe();
        let waited = tokio::time::timeout(seconds(60), items.wait_for(|items| done(items))).await;
        waited.expect("the expected entries did not come").unwrap();
    }

    pub(crate) async fn reaches(&self, length: usize) {
        self.until(|items| items.len() >= length).await;
    }
}

impl Journal<String> {
    /// Counts the entries with this prefix. For events, how often the one of this name happened.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.0.borrow().iter().filter(|entry| entry.starts_with(name)).count()
    }

    pub(crate) async fn has(&self, name: &str) {
        self.until(|entries| entries.iter().any(|entry| entry.starts_with(name))).await;
    }

    pub(crate) fn observer(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let journal = self.clone();
        move |event| journal.push(format!("{:?}", event.kind))
    }
}
