//! Bodies that can be sent again.

mod recording;
mod replay;
mod waiting;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{Either, Empty, Full, Limited, StreamBody};
use pin_project_lite::pin_project;

pub(crate) use replay::BOUND;
pub use replay::{ReplayBody, ReplayError};

/// A body that can perhaps be sent again, as is needed when a request is repeated with another
/// credential.
///
/// Copying must be cheap, and must not touch what the body itself is going to send: bytes in memory
/// qualify, a stream doesn't. [`Clone`] alone says neither, as two copies of a channel's receiver share
/// what comes in.
///
/// A body of a type that has no implementation can be wrapped in [`SendOnce`], to be sent once, or in
/// [`ReplayBody`], to be recorded as it is sent.
///
/// ```
/// use http_body_util::Full;
/// use tower_credentials::{SendOnce, TryCloneBody};
///
/// let body = Full::new(bytes::Bytes::from("again and again"));
/// assert!(body.try_clone().is_some());
/// assert!(Once::new(body).try_clone().is_none());
/// ```
#[diagnostic::on_unimplemented(
    message = "it isn't known whether the body `{Self}` can be sent again",
    note = "implement `TryCloneBody` for it, or wrap it in `tower_credentials::SendOnce` to have it sent at most once, or put `tower_credentials::ReplayLayer` over the layers to have it recorded as it is sent"
)]
pub trait TryCloneBody: Sized {
    /// A body that sends what this one would send from here on; `None` where there can't be a second
    /// one.
    fn try_clone(&self) -> Option<Self>;

    /// Whether [`try_clone`](Self::try_clone) would give a body now. It need not stay so: a body that is
    /// recorded up to a bound can be sent again until another copy has passed it.
    ///
    /// To be implemented where that is cheaper to tell than to do.
    fn is_repeatable(&self) -> bool {
        self.try_clone().is_some()
    }

    /// Called on a copy that was kept, just before a copy of it is sent in place of those sent before:
    /// of the body that this one was made from, and of this one. What is still being sent of those is of
    /// no use any more.
    ///
    /// Whether this one [is repeatable](Self::is_repeatable), and is bound to stay so while none of its
    /// copies is read.
    fn take_over(&self) -> bool {
        self.is_repeatable()
    }
}

/// What else there is to [`TryCloneBody`] where every body can be sent again, or none.
macro_rules! always {
    ($is:literal) => {
        #[inline]
        fn is_repeatable(&self) -> bool {
            $is
        }
    };
}

macro_rules! cloned {
    ($([$($generics:tt)*] $body:ty),+ $(,)?) => {$(
        impl<$($generics)*> TryCloneBody for $body {
            #[inline]
            fn try_clone(&self) -> Option<Self> {
                Some(self.clone())
            }

            always!(true);
        }
    )+};
}

macro_rules! never {
    ($([$($generics:tt)*] $body:ty),+ $(,)?) => {$(
        /// Never.
        impl<$($generics)*> TryCloneBody for $body {
            #[inline]
            fn try_clone(&self) -> Option<Self> {
                None
            }

            always!(false);
        }
    )+};
}

impl TryCloneBody for () {
    #[inline]
    fn try_clone(&self) -> Option<Self> {
        Some(())
    }

    always!(true);
}

// The body in a `Limited` can't be reached, so that only those are here of which it is known that their
// `Clone` is enough.
cloned! {
    [] &'static str,
    [] &'static [u8],
    [] String,
    [] Vec<u8>,
    [] Bytes,
    [D: Clone] Full<D>,
    [D] Empty<D>,
    [] Limited<String>,
    [D: Clone] Limited<Full<D>>,
    [D] Limited<Empty<D>>,
}

never! {
    [S] StreamBody<S>,
    [D, E] BoxBody<D, E>,
    [D, E] UnsyncBoxBody<D, E>,
    [S] Limited<StreamBody<S>>,
    [D, E] Limited<BoxBody<D, E>>,
    [D, E] Limited<UnsyncBoxBody<D, E>>,
    [B] SendOnce<B>,
}

#[cfg(feature = "hyper")]
never! {
    [] hyper::body::Incoming,
}

impl<B: TryCloneBody> TryCloneBody for Option<B> {
    /// No body can always be sent again.
    #[inline]
    fn try_clone(&self) -> Option<Self> {
        match self {
            None => Some(None),
            Some(body) => body.try_clone().map(Some),
        }
    }

    #[inline]
    fn is_repeatable(&self) -> bool {
        self.as_ref().is_none_or(B::is_repeatable)
    }

    #[inline]
    fn take_over(&self) -> bool {
        self.as_ref().is_none_or(B::take_over)
    }
}

impl<L: TryCloneBody, R: TryCloneBody> TryCloneBody for Either<L, R> {
    #[inline]
    fn try_clone(&self) -> Option<Self> {
        match self {
            Either::Left(body) => body.try_clone().map(Either::Left),
            Either::Right(body) => body.try_clone().map(Either::Right),
        }
    }

    #[inline]
    fn is_repeatable(&self) -> bool {
        match self {
            Either::Left(body) => body.is_repeatable(),
            Either::Right(body) => body.is_repeatable(),
        }
    }

    #[inline]
    fn take_over(&self) -> bool {
        match self {
            Either::Left(body) => body.take_over(),
            Either::Right(body) => body.take_over(),
        }
    }
}

impl<B: TryCloneBody> TryCloneBody for Box<B> {
    #[inline]
    fn try_clone(&self) -> Option<Self> {
        B::try_clone(self).map(Box::new)
    }

    #[inline]
    fn is_repeatable(&self) -> bool {
        B::is_repeatable(self)
    }

    #[inline]
    fn take_over(&self) -> bool {
        B::take_over(self)
    }
}

pin_project! {
    /// A body that is sent once and never again, whatever it is.
    ///
    /// For a body whose type doesn't implement [`TryCloneBody`].
    #[derive(Debug, Default)]
    pub struct SendOnce<B> {
        #[pin]
        inner: B,
    }
}

impl<B> SendOnce<B> {
    /// Wraps a body.
    pub fn new(inner: B) -> Self {
        Self { inner }
    }

    /// The body.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }

    /// The body, to be changed.
    pub fn get_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// The body, unwrapped.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B> From<B> for SendOnce<B> {
    fn from(inner: B) -> Self {
        Self::new(inner)
    }
}

impl<B: Body> Body for SendOnce<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
