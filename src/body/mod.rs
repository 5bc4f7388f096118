//! Bodies that can be sent again.

mod recording;
mod replay;
mod replay_error;
mod send_once;
mod waiting;

use bytes::Bytes;
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{Either, Empty, Full, Limited, StreamBody};

pub(crate) use replay::BOUND;
pub use replay::ReplayBody;
pub use replay_error::ReplayError;
pub use send_once::SendOnce;

/// A request body that may be cloned, so that a request can be sent again with another credential.
///
/// A clone must be cheap, and must not take anything from what the body itself is going to send. Bytes in
/// memory qualify, a stream doesn't. [`Clone`] promises neither: two clones of a channel's receiver share
/// what comes in.
///
/// If a body's type has no implementation, wrap the body in [`SendOnce`] to send it once, or in
/// [`ReplayBody`] to record it as it is sent.
///
/// ```
/// use http_body_util::Full;
/// use tower_credentials::{SendOnce, TryCloneBody};
///
/// let body = Full::new(bytes::Bytes::from("again and again"));
/// assert!(body.try_clone().is_some());
/// assert!(SendOnce::new(body).try_clone().is_none());
/// ```
#[diagnostic::on_unimplemented(
    message = "it isn't known whether the body `{Self}` can be sent again",
    note = "implement `TryCloneBody` for it, or wrap it in `tower_credentials::SendOnce` to have it sent at most once, or put `tower_credentials::ReplayLayer` over the layers to have it recorded as it is sent"
)]
pub trait TryCloneBody: Sized {
    /// Returns a body that sends what this one would send from here on, or `None` if there can't be a
    /// second one.
    fn try_clone(&self) -> Option<Self>;

    /// Returns whether [`try_clone`](Self::try_clone) would return a body now. That may change: a body that
    /// is recorded up to a bound can be sent again until another copy has passed the bound.
    ///
    /// Defaults to trying. Implement it if it is cheaper to tell than to clone.
    fn is_repeatable(&self) -> bool {
        self.try_clone().is_some()
    }

    /// Called on a retained copy just before a clone of it replaces the copies sent so far, which are no
    /// longer needed: the body that this copy was cloned from, and earlier clones of this copy.
    ///
    /// Returns whether this copy [is repeatable](Self::is_repeatable) and stays so while none of its clones
    /// is read. Defaults to [`is_repeatable`](Self::is_repeatable).
    fn take_over(&self) -> bool {
        self.is_repeatable()
    }
}

/// The rest of [`TryCloneBody`] for types whose bodies can all be sent again, or none of them.
macro_rules! always {
    ($is:literal) => {
        #[inline]
        fn is_repeatable(&self) -> bool {
            $is
        }
    };
}

/// Implements [`TryCloneBody`] by `Clone`.
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

/// Implements [`TryCloneBody`] for bodies that can't be cloned.
macro_rules! never {
    ($([$($generics:tt)*] $body:ty),+ $(,)?) => {$(
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

// The body in a `Limited` can't be reached, so only bodies whose `Clone` is known to be enough are here.
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
    /// `None` can always be sent again.
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
