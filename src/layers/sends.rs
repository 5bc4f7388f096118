//! Whether a layer sends a request again, and what it needs from bodies to do so.

use super::drain::{Drain, DrainBound};
use crate::body::TryCloneBody;

/// Whether a layer sends a request again. Implemented by [`SendsOnce`] and [`SendsAgain`].
pub trait Sends<B, R>: Send + Sync + 'static {
    /// What is kept of a request's body for another attempt.
    type Kept: Default;
    /// Reads what is left of a response's body.
    type Drain: Future<Output = ()>;

    /// Keeps what it can of a body.
    fn keep(body: &B) -> Self::Kept;

    /// Whether there is a body for another attempt, as far as is known before it is taken.
    fn is_kept(kept: &Self::Kept) -> bool;

    /// Called when another attempt is certain. Returns whether there is a body for it, which then remains.
    fn take_over(kept: &Self::Kept) -> bool;

    /// Returns a body for another attempt.
    fn another(kept: &Self::Kept) -> Option<B>;

    /// Reads a body that is discarded.
    fn drain(body: R, bound: DrainBound) -> Self::Drain;
}

/// Marks the services of layers that send a request once: [`AuthHeaderLayer`](crate::AuthHeaderLayer) and
/// [`CooldownPersistLayer`](crate::CooldownPersistLayer). They take bodies of any type.
#[derive(Clone, Copy, Debug)]
pub struct SendsOnce;

/// Marks the services of layers that may send a request again: [`RotateOn429Layer`](crate::RotateOn429Layer),
/// [`RefreshOn401Layer`](crate::RefreshOn401Layer) and [`CredentialsLayer`](crate::CredentialsLayer). They
/// take request bodies that are [`TryCloneBody`].
#[derive(Clone, Copy, Debug)]
pub struct SendsAgain;

impl<B, R> Sends<B, R> for SendsOnce {
    type Kept = ();
    type Drain = std::future::Ready<()>;

    fn keep(_: &B) {}

    fn is_kept((): &()) -> bool {
        false
    }

    fn take_over((): &()) -> bool {
        false
    }

    fn another((): &()) -> Option<B> {
        None
    }

    fn drain(_: R, _: DrainBound) -> Self::Drain {
        std::future::ready(())
    }
}

impl<B: TryCloneBody, R: http_body::Body> Sends<B, R> for SendsAgain {
    type Kept = Option<B>;
    type Drain = Drain<R>;

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

    fn drain(body: R, bound: DrainBound) -> Drain<R> {
        Drain::new(body, bound)
    }
}
