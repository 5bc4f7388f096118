//! What travels in a request's extensions from one run to the next.

use std::fmt;
use std::sync::Arc;

use http::Extensions;

use super::context::Context;
use super::history::Sent;
use super::jobs::Roles;
use crate::pool::Lease;

/// An attempt of one of the layers, in the extensions of its request: a service of yours under the layers
/// reads there which credential the attempt uses.
///
/// It is there unless layers that stand directly one on the other, or a
/// [`CredentialsLayer`](crate::CredentialsLayer), do all four jobs. Under those it is there only if
/// [`expose_attempts`](crate::PoolBuilder::expose_attempts) is set.
#[derive(Clone)]
pub struct Attempt {
    pub(super) context: Arc<Context>,
    pub(super) sent: Option<Sent>,
    /// The jobs of the layers that it has passed.
    pub(super) outside: Roles,
    /// Whether the request carries its credential's headers.
    pub(super) written: bool,
}

impl Attempt {
    /// The credential that the attempt uses, once a layer has picked one.
    pub fn lease(&self) -> Option<&Lease> {
        self.sent.as_ref().map(|sent| &sent.lease)
    }

    /// Which attempt of the caller's request this is, from 1; 0 before a credential is picked.
    pub fn number(&self) -> u32 {
        self.sent.as_ref().map_or(0, |sent| sent.number)
    }

    /// What is told of it once the request is over: no layer joins it.
    #[cfg(feature = "reqwest-middleware")]
    pub(crate) fn ended(&self) -> Self {
        Self { context: Arc::default(), ..self.clone() }
    }

    /// This pool's attempt in these extensions, if there is one.
    #[inline]
    pub(super) fn of(extensions: &Extensions, pool: usize) -> Option<&Self> {
        extensions.get::<Self>().filter(|attempt| attempt.context.is_of(pool))
    }

    /// Lets an attempt travel in these extensions from now on.
    pub(super) fn travel(
        extensions: &mut Extensions,
        context: &Arc<Context>,
        sent: Option<&Sent>,
        outside: Roles,
        written: bool,
    ) {
        if let Some(attempt) = extensions.get_mut::<Self>()
            && Arc::ptr_eq(&attempt.context, context)
        {
            attempt.outside = outside;
            attempt.written = written;
            if !sent.zip(attempt.sent.as_ref()).is_some_and(|(sent, before)| sent.is(before)) {
                attempt.sent = sent.cloned();
            }
            return;
        }
        let (context, sent) = (context.clone(), sent.cloned());
        extensions.insert(Self { context, sent, outside, written });
    }

    /// Clones a request's extensions without the attempt.
    #[inline]
    pub(super) fn others(extensions: &mut Extensions) -> Extensions {
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
