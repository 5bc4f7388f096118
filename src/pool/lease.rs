//! A credential at one generation, as an attempt uses it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::{HeaderName, HeaderValue};

use super::in_flight::InFlight;
use super::mode::Mode;
use super::pick_index::SlotIndex;
use super::samples::Samples;
use crate::clock::Timestamp;
use crate::counters::Stats;
use crate::credential::{Credential, Metadata, Record, Secret};
use crate::provider::{CredentialHeaders, Endpoint, Provider, UnusableSecret};

/// One credential at one generation, with the headers that apply it. Built once and shared by every request that uses
/// it. Cheap to clone. `Debug` shows the metadata only.
///
/// An attempt's request carries its lease to the services under the layers in the
/// [`Attempt`](crate::Attempt) extension.
#[derive(Clone)]
pub struct Lease(Arc<Inner>);

struct Inner {
    slot: SlotIndex,
    metadata: Metadata,
    headers: CredentialHeaders,
    endpoint: Option<Endpoint>,
    /// If it can be renewed, it may be newer than the vault's.
    secret: Secret,
    /// Whether the secret has nothing that a request could carry.
    is_blank: bool,
    mints: Mints,
    penalty: Penalty,
    shared: Arc<Shared>,
}

/// What all generations of a credential share, and each request changes.
#[derive(Debug, Default)]
struct Shared {
    in_flight: InFlight,
    stats: Stats,
    samples: Samples,
}

/// Whether the pool or one of its layers has a refresher that [mints](crate::Refresher::mints). Shared by all leases
/// of the pool, since a layer may bring one after they were made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mints(Arc<AtomicBool>);

impl Mints {
    /// Returns whether it was not set before.
    pub(super) fn set(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Whether a credential has a cooldown or a failure that a success would clear. Shared by all of its generations, so
/// that a success without one takes no lock.
#[derive(Clone, Debug)]
pub(crate) struct Penalty {
    own: Arc<AtomicBool>,
    count: PenaltyCount,
}

/// How many credentials of a pool have a penalty.
#[derive(Clone, Debug, Default)]
pub(crate) struct PenaltyCount(Arc<AtomicUsize>);

impl PenaltyCount {
    /// Returns the penalty of a new credential, which is not set.
    pub(crate) fn new_penalty(&self) -> Penalty {
        Penalty { own: Arc::default(), count: self.clone() }
    }

    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

impl Penalty {
    pub(crate) fn set(&self, penalized: bool) {
        if self.own.swap(penalized, Ordering::AcqRel) != penalized {
            let count = &self.count.0;
            let change = if penalized { AtomicUsize::fetch_add } else { AtomicUsize::fetch_sub };
            change(count, 1, Ordering::AcqRel);
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.own.load(Ordering::Acquire)
    }
}

impl Lease {
    pub(crate) fn new(
        slot: SlotIndex,
        credential: Credential,
        provider: &dyn Provider,
        penalty: Penalty,
        mints: Mints,
    ) -> Result<Self, UnusableSecret> {
        Self::of(slot, credential, provider, (penalty, mints, Arc::default()))
    }

    /// Creates the lease of another generation of this credential.
    pub(super) fn succeeded_by(
        &self,
        credential: Credential,
        provider: &dyn Provider,
    ) -> Result<Self, UnusableSecret> {
        let Inner { slot, mints, penalty, shared, .. } = &*self.0;
        Self::of(*slot, credential, provider, (penalty.clone(), mints.clone(), shared.clone()))
    }

    fn of(
        slot: SlotIndex,
        credential: Credential,
        provider: &dyn Provider,
        (penalty, mints, shared): (Penalty, Mints, Arc<Shared>),
    ) -> Result<Self, UnusableSecret> {
        // A sign-in without a token has nothing for a header. It is renewed before it is sent.
        let is_blank = credential.secret.is_blank();
        let is_missing = is_blank && Mode::is_oauth(credential.secret.kind());
        let mut headers = if is_missing { Vec::new() } else { provider.headers(&credential)? };
        for (_, value) in &mut headers {
            if credential.secret.is_in(value.as_bytes()) {
                value.set_sensitive(true);
            }
        }
        let endpoint = provider.endpoint(&credential);
        let Record { metadata, secret } = credential;
        let inner =
            Inner { slot, metadata, headers, endpoint, secret, is_blank, mints, penalty, shared };
        Ok(Self(Arc::new(inner)))
    }

    /// Returns the credential's metadata.
    pub fn credential(&self) -> &Metadata {
        &self.0.metadata
    }

    /// Returns the headers that apply the credential. Those that hold the secret are marked sensitive.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }

    /// Returns the endpoint that this credential's requests must use instead of the caller's origin, if it has one.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.0.endpoint.as_ref()
    }

    /// Returns when the access token expires, if that is known.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.0.secret.expires_at()
    }

    /// Removes this lease's secrets from a text: upstreams quote tokens, and their messages are shown.
    pub(crate) fn redact(&self, text: &str) -> String {
        let secret = self.0.headers.iter().filter(|(_, value)| value.is_sensitive());
        // A scheme such as `Bearer` is not secret.
        let words = secret.filter_map(|(_, value)| value.to_str().ok()?.split(' ').next_back());
        words.filter(|word| !word.is_empty()).fold(text.to_owned(), |text, word| text.replace(word, "…"))
    }

    pub(crate) fn slot(&self) -> SlotIndex {
        self.0.slot
    }

    pub(crate) fn has_refresh_token(&self) -> bool {
        self.0.secret.refresh_token().is_some()
    }

    /// Returns whether the pool or one of its layers has a refresher that may renew it.
    pub(crate) fn is_refreshable(&self) -> bool {
        self.has_refresh_token() || self.0.mints.is_set()
    }

    /// Returns whether the response to its latest renewal could not be read, so that its token is as old as before.
    pub(crate) fn has_unread_response(&self) -> bool {
        self.0.secret.has_unread_response()
    }

    /// Returns whether it has no token yet, so that it can't be sent. An empty key is sent unless a refresher mints:
    /// the provider may need none.
    #[inline]
    pub(crate) fn lacks_token(&self) -> bool {
        let Inner { secret, is_blank, mints, .. } = &*self.0;
        *is_blank && (Mode::is_oauth(secret.kind()) || mints.is_set())
    }

    /// Returns the whole secret, if it can be renewed.
    pub(super) fn secret(&self) -> Option<&Secret> {
        self.is_refreshable().then_some(&self.0.secret)
    }

    pub(crate) fn penalty(&self) -> &Penalty {
        &self.0.penalty
    }

    /// Counts the requests that are under way with the credential.
    #[inline]
    pub(crate) fn in_flight(&self) -> &InFlight {
        &self.0.shared.in_flight
    }

    /// Counts what happens with the credential.
    #[inline]
    pub(crate) fn stats(&self) -> &Stats {
        &self.0.shared.stats
    }

    /// Says of which responses the limit headers are read.
    #[inline]
    pub(crate) fn samples(&self) -> &Samples {
        &self.0.shared.samples
    }

    pub(crate) fn ptr_eq(&self, other: &Lease) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.0.metadata).finish()
    }
}
