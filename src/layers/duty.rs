//! What each layer does, and what it needs of bodies to do it.

use super::context::Roles;
use super::drain::DrainBound;
use super::refresh_on_401::RefreshOptions;
use super::rotate_on_429::RotateOptions;

/// What a layer does. Not to be implemented outside of this crate.
pub trait Duty: sealed::Duty {}

pub(crate) mod sealed {
    use super::{DrainBound, RefreshOptions, Roles, RotateOptions};

    /// The jobs of a layer, and its settings for them.
    pub trait Duty: Send + Sync + 'static {
        type Options: Send + Sync + 'static;
        const ROLES: Roles;

        fn rotate(_: &Self::Options) -> Option<&RotateOptions> {
            None
        }

        fn refresh(_: &Self::Options) -> Option<&RefreshOptions> {
            None
        }
    }

    /// What a layer does with bodies: one that never sends again keeps and reads none.
    pub trait Bodies<B, R>: Duty {
        /// What is kept of a request's body for another attempt.
        type Kept: Default;
        type Drain: Future<Output = ()>;

        fn keep(body: &B) -> Self::Kept;

        /// Whether there is a body for another attempt, as far as can be told before it is taken.
        fn is_kept(kept: &Self::Kept) -> bool;

        /// Another attempt is certain. Whether there is a body for it, which is then there to stay.
        fn take_over(kept: &Self::Kept) -> bool;

        fn another(kept: &Self::Kept) -> Option<B>;

        fn drain_body(body: R, bound: DrainBound) -> Self::Drain;
    }
}

pub(crate) use sealed::Bodies;

/// Implements [`Bodies`] for a layer that never sends a request again.
macro_rules! sends_once {
    ($duty:ty) => {
        impl<B, R> $crate::layers::duty::Bodies<B, R> for $duty {
            type Kept = ();
            type Drain = std::future::Ready<()>;

            fn keep(_: &B) {}

            fn is_kept(_: &()) -> bool {
                false
            }

            fn take_over(_: &()) -> bool {
                false
            }

            fn another(_: &()) -> Option<B> {
                None
            }

            fn drain_body(_: R, _: $crate::layers::drain::DrainBound) -> Self::Drain {
                std::future::ready(())
            }
        }
    };
}
pub(crate) use sends_once;

/// Implements [`Bodies`] for a layer that may send a request again.
macro_rules! sends_again {
    ($duty:ty) => {
        impl<B, R> $crate::layers::duty::Bodies<B, R> for $duty
        where
            B: $crate::body::TryCloneBody,
            R: http_body::Body,
        {
            type Kept = Option<B>;
            type Drain = $crate::layers::drain::Drain<R>;

            fn keep(body: &B) -> Option<B> {
                body.try_clone()
            }

            fn is_kept(kept: &Option<B>) -> bool {
                kept.as_ref().is_some_and(B::is_repeatable)
            }

            fn take_over(kept: &Option<B>) -> bool {
                kept.as_ref().is_some_and(B::take_over)
            }

            fn another(kept: &Option<B>) -> Option<B> {
                kept.as_ref()?.try_clone()
            }

            fn drain_body(body: R, bound: $crate::layers::drain::DrainBound) -> Self::Drain {
                $crate::layers::drain::Drain::new(body, bound)
            }
        }
    };
}
pub(crate) use sends_again;
