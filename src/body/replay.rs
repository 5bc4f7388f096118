//! Any body, made one that can be sent again.

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

/// How much is recorded unless set, in bytes.
pub(crate) const BOUND: u64 = 2 * 1024 * 1024;

/// Any body, made one that can be sent again: it streams, and records as it does.
///
/// What one copy has sent is recorded for the others, up to a bound, which is 2 MiB unless
/// [set](Self::with_bound). A copy replays what was recorded and goes on with the body from there,
/// whether the first one has ended, was dropped halfway or still sends. Data that is [`Bytes`] is
/// shared, never copied; other data is copied once. Trailers are replayed too.
///
/// - *What is recorded.* Only what a living copy has still to send: a body that was never copied takes
///   no memory, however long it is. Otherwise it is the bound and one frame at most. Past 1,024 frames
///   the list of them is counted, too.
/// - *Past the bound* the recording is let go of at once. The copy that got there streams on alone; all
///   others end in [`ReplayError::PastBound`], whether they had begun or not, and
///   [`try_clone`](TryCloneBody::try_clone) gives no more. A body that is known to be longer than the
///   bound from the start is never recorded, and gives no copies.
/// - *Several at once.* Copies may be sent side by side, as where a request is hedged: whichever is
///   polled first reads the body on, and wakes the others, which read the same frames.
/// - *Errors.* The body's error goes to the copy that met it; the others end in
///   [`ReplayError::Failed`]. No copy ever ends early as if it were whole.
///
/// Its errors are the body's own, or a [`ReplayError`].
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
/// use tower_credentials::{SendOnce, ReplayBody, TryCloneBody};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_credentials::BoxError> {
/// let body = ReplayBody::new(Once::new(Full::new(Bytes::from("a question"))));
/// let kept = body.try_clone().ok_or("it is short")?;
/// assert_eq!(body.collect().await?.to_bytes(), "a question");
/// assert_eq!(kept.collect().await?.to_bytes(), "a question");
/// # Ok(())
/// # }
/// ```
pub struct ReplayBody<B> {
    shared: Arc<Shared<B>>,
    /// Which of the copies this is.
    copy: usize,
}

struct Shared<B> {
    recording: Mutex<Recording<B>>,
    waiting: Arc<Waiting>,
    /// Wakes all that wait.
    waker: Waker,
}

impl<B> Shared<B> {
    fn with<T>(&self, act: impl FnOnce(&mut Recording<B>) -> T) -> T {
        let mut recording = self.recording.lock().unwrap_or_else(|poisoned| {
            // The body has panicked as it was polled: nobody knows what it would send now.
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
    /// Records up to 2 MiB.
    pub fn new(inner: B) -> Self {
        Self::with_bound(inner, BOUND)
    }

    /// Records up to this many bytes.
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
    /// `None` past the bound, after an error, and for one that was replaced.
    fn try_clone(&self) -> Option<Self> {
        let copy = self.shared.with(|recording| recording.copy(self.copy))?;
        Some(Self { shared: self.shared.clone(), copy })
    }

    fn is_repeatable(&self) -> bool {
        self.shared.with(|recording| recording.is_repeatable(self.copy))
    }

    /// The copies that were sent before end in [`ReplayError::Replaced`] unless they have ended, so that
    /// none of them can read the body on past the bound.
    fn take_over(&self) -> bool {
        let is_taken = self.shared.with(|recording| recording.take_over(self.copy));
        // This one may wait as well.
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
        self.shared.with(|recording| recording.leave(self.copy));
        // Those that wait have to be told only where this one goes because the body has panicked.
        self.shared.waiting.wake_others(self.copy);
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("copy", &self.copy).finish_non_exhaustive()
    }
}

/// Why a copy of a [`ReplayBody`] can't be sent to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// More of the body has been sent than is recorded, and another copy sent it.
    PastBound {
        /// How much is recorded, in bytes.
        bound: u64,
    },
    /// The body failed as another copy of it was being sent, which has the error.
    Failed,
    /// The request is being sent again, with another copy.
    Replaced,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PastBound { bound } => write!(
                f,
                "the body is longer than the {bound} bytes that are recorded of it, so that it can be \
                 sent once only; set a higher bound if it is to be sent again"
            ),
            Self::Failed => f.write_str("the body failed as another copy of it was being sent"),
            Self::Replaced => {
                f.write_str("the request is being sent again with another copy of its body")
            }
        }
    }
}

impl std::error::Error for ReplayError {}
