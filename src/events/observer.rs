//! Where a pool's events go.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tokio::sync::broadcast;

use super::{Event, EventKind, EventStream, Numbers, log};
use crate::clock::{Clock, Timestamp};

type Observe = dyn Fn(&Event) + Send + Sync;

/// Makes of an event the one that a stream gets, if it gets one.
type Sieve = dyn Fn(&Event) -> Option<Event> + Send + Sync;

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
    /// The senders of the streams with a sieve.
    sieved: RwLock<Vec<(Box<Sieve>, broadcast::Sender<Event>)>>,
    requests: AtomicU64,
}

impl Default for Observer {
    fn default() -> Self {
        Self {
            observe: None,
            streams: Arc::default(),
            kept: const { NonZeroU32::new(1024).unwrap() },
            sender: OnceLock::new(),
            sieved: RwLock::default(),
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
        let sender = self.sender.get_or_init(|| self.sender());
        EventStream::new(sender.subscribe(), self.streams.clone(), clock)
    }

    /// Begins a stream of what a sieve makes of the events from now on. The sieve runs where an event happens, so that the
    /// reader is not woken for one that it does not get: each request has some.
    pub(crate) fn sieved(
        &self,
        clock: Clock,
        sieve: impl Fn(&Event) -> Option<Event> + Send + Sync + 'static,
    ) -> EventStream {
        let sender = self.sender();
        let stream = EventStream::new(sender.subscribe(), self.streams.clone(), clock);
        let mut sieved = self.sieved.write().unwrap_or_else(PoisonError::into_inner);
        sieved.retain(|(_, sender)| sender.receiver_count() > 0);
        sieved.push((Box::new(sieve), sender));
        stream
    }

    fn sender(&self) -> broadcast::Sender<Event> {
        let kept = usize::try_from(self.kept.get()).unwrap_or(MOST_KEPT).min(MOST_KEPT);
        broadcast::Sender::new(kept)
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
        if self.streams.load(Ordering::Relaxed) == 0 {
            return;
        }
        for (sieve, sender) in &*self.sieved.read().unwrap_or_else(PoisonError::into_inner) {
            if sender.receiver_count() > 0
                && let Some(event) = sieve(&event)
            {
                // Fails only if the stream has just ended.
                let _ = sender.send(event);
            }
        }
        if let Some(sender) = self.sender.get() {
            // Fails if no stream is left.
            let _ = sender.send(event);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.observe.is_some() { "Observer(set)" } else { "Observer(none)" })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicBool;
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_reader_with_a_sieve_is_woken_by_what_it_gets_alone() {
        let observer = Observer::default();
        let is_lost = |event: &Event| matches!(event.kind, EventKind::Lost { .. });
        let mut stream =
            observer.sieved(Clock::system(), move |event| is_lost(event).then(|| event.clone()));
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let mut next = pin!(stream.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let now = Clock::system().now();
        observer.emit(now, Numbers::NONE, EventKind::Saved { outcomes: 1 });
        assert!(!woken.0.load(Ordering::Relaxed));
        observer.emit(now, Numbers::NONE, EventKind::Lost { events: 2 });
        assert!(woken.0.load(Ordering::Relaxed));
        let event = next.poll(&mut Context::from_waker(&waker));
        assert!(matches!(event, std::task::Poll::Ready(Some(event)) if is_lost(&event)));
    }
}
