//! The extension by which a request carries its attempt from one run to the next.

use std::fmt;
use std::sync::Arc;

use http::Extensions;

use super::context::Context;
use super::history::Sent;
use super::jobs::Jobs;
use crate::pool::Lease;

/// A request extension that names the attempt and its credential.
///
/// It is added between layers that are not adjacent, so a service of yours in between or below can see which
/// credential the attempt uses. If a [`CredentialsLayer`](crate::CredentialsLayer) or adjacent layers do all four
/// jobs, it is added only if [`expose_attempts`](crate::PoolBuilder::expose_attempts) is set.
#[derive(Clone)]
pub struct Attempt {
    pub(super) context: Arc<Context>,
    pub(super) sent: Option<Sent>,
    /// The jobs of the layers that the request has passed.
    pub(super) outside: Jobs,
    /// Whether the request carries its credential's headers.
    pub(super) written: bool,
}

impl Attempt {
    /// Returns the credential that the attempt uses, once a layer has picked one.
    pub fn lease(&self) -> Option<&Lease> {
        self.sent.as_ref().map(|sent| &sent.lease)
    }

    /// Returns the number of this attempt of the caller's request, from 1. It is 0 before a credential is picked.
    pub fn number(&self) -> u32 {
        self.sent.as_ref().map_or(0, |sent| sent.number)
    }

    /// Returns how often the request had been sent before this attempt: the value of OpenTelemetry's attribute
    /// `http.request.resend_count`, which its conventions leave out at 0. Whatever the reason was, a limit, a new token or
    /// a network error, each repetition counts.
    ///
    /// ```
    /// use http::Request;
    /// use tower_credentials::Attempt;
    ///
    /// /// Makes the span of one attempt, in a layer below.
    /// fn span<B>(request: &Request<B>) -> tracing::Span {
    ///     let span = tracing::info_span!(
    ///         "HTTP request",
    ///         http.request.method = %request.method(),
    ///         http.request.resend_count = tracing::field::Empty,
    ///     );
    ///     let resends = request.extensions().get::<Attempt>().map_or(0, Attempt::resend_count);
    ///     if resends > 0 {
    ///         span.record("http.request.resend_count", resends);
    ///     }
    ///     span
    /// }
    /// # span(&Request::new(()));
    /// ```
    ///
    /// The example `resend_count` is a whole program, with tower-http's `TraceLayer`.
    pub fn resend_count(&self) -> u32 {
        self.number().saturating_sub(1)
    }

    /// Returns it as it is shown once the request has ended: no layer joins it.
    #[cfg(feature = "reqwest-middleware")]
    pub(crate) fn ended(&self) -> Self {
        Self { context: Arc::default(), ..self.clone() }
    }

    /// Returns this pool's attempt in these extensions, if there is one.
    #[inline]
    pub(super) fn of(extensions: &Extensions, pool: usize) -> Option<&Self> {
        extensions.get::<Self>().filter(|attempt| attempt.context.is_of(pool))
    }

    /// Puts an attempt into these extensions, or updates the one there.
    pub(super) fn insert(
        extensions: &mut Extensions,
        context: &Arc<Context>,
        sent: Option<&Sent>,
        outside: Jobs,
        written: bool,
    ) {
        if let Some(attempt) = extensions.get_mut::<Self>()
            && Arc::ptr_eq(&attempt.context, context)
        {
            attempt.outside = outside;
            attempt.written = written;
            if !sent.zip(attempt.sent.as_ref()).is_some_and(|(sent, before)| sent.is_same_as(before)) {
                attempt.sent = sent.cloned();
            }
            return;
        }
        let (context, sent) = (context.clone(), sent.cloned());
        extensions.insert(Self { context, sent, outside, written });
    }

    /// Clones a request's extensions without the attempt.
    #[inline]
    pub(super) fn clone_others(extensions: &mut Extensions) -> Extensions {
        let ours = usize::from(extensions.get::<Self>().is_some());
        if extensions.len() == ours {
            return Extensions::new();
        }
        let ours = extensions.remove::<Self>();
        let others = extensions.clone();
        ours.into_iter().for_each(|ours| drop(extensions.insert(ours)));
        others
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("number", &self.number()).field("lease", &self.lease()).finish()
    }
}
