//! Events that are read at the reader's own pace.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::{Event, EventKind};
use crate::clock::Clock;

/// The events of a pool from [`Pool::events`](crate::Pool::events) on. It does not keep the pool alive.
///
/// No request waits for it. If more events happen than the pool
/// [keeps](crate::PoolBuilder::keep_events) before they are read, the oldest are lost, and
/// [`EventKind::Lost`] comes in their place.
///
/// ```
/// # use tower_credentials::provider::GenericProvider;
/// # use tower_credentials::vault::{MemoryVault, VaultExt};
/// # use tower_credentials::{BoxError, Credential, Pool, PoolKey, Secret};
/// use tower_credentials::events::EventKind;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let vault = MemoryVault::new();
/// # vault.put(Credential::new(PoolKey::new("example"), "work", Secret::api_key("sk-1"))).await?;
/// # let provider = GenericProvider::bearer("example").origin("https://api.example.com")?;
/// # let pool = Pool::builder(provider, vault).open().await?;
/// let mut events = pool.events();
/// let work = pool.status()[0].credential.id;
/// pool.pause(work).await?;
/// let event = events.next().await.unwrap();
/// assert!(matches!(event.kind, EventKind::Paused { account } if &*account.label == "work"));
/// # Ok(())
/// # }
/// ```
pub struct EventStream {
    receiver: broadcast::Receiver<Event>,
    streams: Arc<AtomicUsize>,
    clock: Clock,
}

impl EventStream {
    pub(super) fn new(
        receiver: broadcast::Receiver<Event>,
        streams: Arc<AtomicUsize>,
        clock: Clock,
    ) -> Self {
        streams.fetch_add(1, Ordering::Relaxed);
        Self { receiver, streams, clock }
    }

    /// Returns the next event, and waits for it; `None` once the pool and its clones are dropped and all events are read.
    /// Cancel safe: no event is lost if this is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(events)) => Some(self.lost(events)),
            Err(RecvError::Closed) => None,
        }
    }

    /// Returns the next event if there is one already.
    pub fn try_next(&mut self) -> Option<Event> {
        match self.receiver.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Lagged(events)) => Some(self.lost(events)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    fn lost(&self, events: u64) -> Event {
        Event::new(self.clock.now(), EventKind::Lost { events })
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("unread", &self.receiver.len()).finish_non_exhaustive()
    }
}
