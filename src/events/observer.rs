//! Where a pool's events go.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::broadcast;

use super::{Event, EventKind, EventStream, Numbers, log};
use crate::clock::{Clock, Timestamp};

type Observe = dyn Fn(&Event) + Send + Sync;

/// The most events that are kept for slow readers, whatever the setting: some fifteen megabytes.
const MOST_KEPT: usize = 1 << 16;

/// Where a pool's events go: to its observer, to the readers of its streams, and to the log.
pub(crate) struct Observer {
    observe: Option<Arc<Observe>>,
    /// How many streams there are. If none, nothing but this is read.
    streams: Arc<AtomicUsize>,
    kept: NonZeroU32,
    /// Created with the first stream.
    sender: OnceLock<broadcast::Sender<Event>>,
    requests: AtomicU64,
}

impl Default for Observer {
    fn default() -> Self {
        Self {
            observe: None,
            streams: Arc::default(),
            kept: const { NonZeroU32::new(1024).unwrap() },
            sender: OnceLock::new(),
            requests: AtomicU64::new(0),
        }
    }
}

impl Observer {
    pub(crate) fn observe(&mut self, observe: impl Fn(&Event) + Send + Sync + 'static) {
        self.observe = Some(Arc::new(observe));
    }

    /// Sets how many events are kept for a reader that is slow.
    pub(crate) fn keep(&mut self, events: NonZeroU32) {
        self.kept = events;
    }

    /// Begins a stream of the events from now on.
    pub(crate) fn stream(&self, clock: Clock) -> EventStream {
        let kept = usize::try_from(self.kept.get()).unwrap_or(MOST_KEPT).min(MOST_KEPT);
        let sender = self.sender.get_or_init(|| broadcast::Sender::new(kept));
        EventStream::new(sender.subscribe(), self.streams.clone(), clock)
    }

    #[inline]
    fn has_readers(&self) -> bool {
        self.observe.is_some() || self.streams.load(Ordering::Relaxed) > 0
    }

    /// Whether each attempt is observed. If not, what only that event needs is not computed.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.has_readers() || tracing::enabled!(target: log::TARGET, tracing::Level::DEBUG)
    }

    /// Whether anybody sees the events that the log has as information, or as something worse.
    #[inline]
    pub(crate) fn sees_changes(&self) -> bool {
        self.has_readers() || tracing::enabled!(target: log::TARGET, tracing::Level::INFO)
    }

    /// Returns the number of a request that begins, if any event of it is observed.
    #[inline]
    pub(crate) fn number_request(&self) -> Option<NonZeroU64> {
        if !self.sees_changes() {
            return None;
        }
        NonZeroU64::new(self.requests.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn emit(&self, at: Timestamp, numbers: Numbers, kind: EventKind) {
        let Numbers { request, attempt } = numbers;
        let event = Event { at, request, attempt, kind };
        event.log();
        self.tell(event);
    }

    /// Emits an event of trouble that the log has already.
    pub(crate) fn emit_logged(&self, at: Timestamp, kind: EventKind) {
        let event = Event { at, request: None, attempt: None, kind };
        event.log_for_debugging();
        self.tell(event);
    }

    fn tell(&self, event: Event) {
        if let Some(observe) = &self.observe {
            observe(&event);
        }
        if self.streams.load(Ordering::Relaxed) > 0
            && let Some(sender) = self.sender.get()
        {
            // Fails only if the last stream has just ended.
            let _ = sender.send(event);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.observe.is_some() { "Observer(set)" } else { "Observer(none)" })
    }
}
