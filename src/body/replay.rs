//! Any body, recorded so that it can be sent again.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::TryCloneBody;
use super::recording::Recording;
use super::waiting::Waiting;
use crate::BoxError;

/// The default of the most that is recorded, in bytes.
pub(crate) const BOUND: u64 = 2 * 1024 * 1024;

/// Any body, recorded while it streams, so that it can be sent again.
///
/// What one copy has sent is recorded for the others, up to a bound. The bound defaults to 2 MiB; see
/// [`with_bound`](Self::with_bound). A copy replays what was recorded and goes on with the body from there,
/// whether the first copy has ended, was dropped halfway or still sends. Data of the type [`Bytes`] is
/// shared, never copied; other data is copied once. Trailers are replayed too.
///
/// - *What is recorded.* Only what a living copy still has to send. A body that was never copied takes no
///   memory, however long it is. Otherwise a recording takes at most the bound and one frame. Past 1,024
///   frames their list counts, too.
/// - *Past the bound* the recording is dropped at once. The copy that got there streams on alone; all
///   others end in [`ReplayError::PastBound`](crate::ReplayError::PastBound), whether they had begun or not, and
///   [`try_clone`](TryCloneBody::try_clone) returns `None`. A body that says at the start that it is longer
///   than the bound is never recorded, and can't be cloned.
/// - *Several at once.* Copies may be sent at the same time, for example if a request is hedged. The copy
///   that is polled first reads the body on, and wakes the others, which read the same frames.
/// - *Errors.* The body's error goes to the copy that met it; the others end in
///   [`ReplayError::Failed`](crate::ReplayError::Failed). No copy ends early as if it were complete.
///
/// An error is the body's own, or a [`ReplayError`](crate::ReplayError).
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
/// use tower_credentials::{ReplayBody, SendOnce, TryCloneBody};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_credentials::BoxError> {
/// let body = ReplayBody::new(SendOnce::new(Full::new(Bytes::from("a question"))));
/// let kept = body.try_clone().ok_or("it is short")?;
/// assert_eq!(body.collect().await?.to_bytes(), "a question");
/// assert_eq!(kept.collect().await?.to_bytes(), "a question");
/// # Ok(())
/// # }
/// ```
pub struct ReplayBody<B> {
    shared: Arc<Shared<B>>,
    /// This copy's number.
    copy: usize,
}

struct Shared<B> {
    recording: Mutex<Recording<B>>,
    waiting: Arc<Waiting>,
    /// Wakes all copies that wait.
    waker: Waker,
}

impl<B> Shared<B> {
    fn with<T>(&self, act: impl FnOnce(&mut Recording<B>) -> T) -> T {
        let mut recording = self.recording.lock().unwrap_or_else(|poisoned| {
            // The body has panicked while it was polled: nobody knows what it would send now.
            let mut recording = PoisonError::into_inner(poisoned);
            recording.fail();
            recording
        });
        let value = act(&mut recording);
        let ended = recording.take_ended();
        drop(recording);
        drop(ended);
        value
    }
}

impl<B: Body> ReplayBody<B> {
    /// Wraps a body, of which up to 2 MiB are recorded.
    pub fn new(inner: B) -> Self {
        Self::with_bound(inner, BOUND)
    }

    /// Wraps a body, of which up to this many bytes are recorded.
    pub fn with_bound(inner: B, bound: u64) -> Self {
        let waiting = Arc::new(Waiting::default());
        let waker = Waker::from(waiting.clone());
        let recording = Mutex::new(Recording::new(inner, bound));
        Self { shared: Arc::new(Shared { recording, waiting, waker }), copy: 0 }
    }
}

impl<B: Body> From<B> for ReplayBody<B> {
    fn from(inner: B) -> Self {
        Self::new(inner)
    }
}

impl<B> TryCloneBody for ReplayBody<B> {
    /// Returns `None` past the bound, after an error, and for a copy that was replaced.
    fn try_clone(&self) -> Option<Self> {
        let copy = self.shared.with(|recording| recording.copy(self.copy))?;
        Some(Self { shared: self.shared.clone(), copy })
    }

    fn is_repeatable(&self) -> bool {
        self.shared.with(|recording| recording.is_repeatable(self.copy))
    }

    /// Copies that were sent before end in [`ReplayError::Replaced`](crate::ReplayError::Replaced), unless they have ended already. So
    /// none of them can read the body on past the bound.
    fn take_over(&self) -> bool {
        let is_taken = self.shared.with(|recording| recording.take_over(self.copy));
        // This copy may wait as well.
        self.shared.waker.wake_by_ref();
        is_taken
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Shared { waiting, waker, .. } = &*self.shared;
        let polled = self.shared.with(|recording| recording.poll_frame(self.copy, waiting, waker, cx));
        if polled.is_ready() {
            waiting.wake_others(self.copy);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.shared.with(|recording| recording.is_end_stream(self.copy))
    }

    fn size_hint(&self) -> SizeHint {
        self.shared.with(|recording| recording.size_hint(self.copy))
    }
}

impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        self.shared.with(|recording| recording.remove(self.copy));
        // The others wait for nothing of this copy, unless it is dropped because the body has panicked.
        self.shared.waiting.wake_others(self.copy);
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("copy", &self.copy).finish_non_exhaustive()
    }
}
