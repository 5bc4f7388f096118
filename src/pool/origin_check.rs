//! Refusing requests that would leak a credential.

use http::{HeaderMap, Uri};

use super::state::Slot;
use super::{CredentialHeaderNames, Lease, Pool};
use crate::error::Error;

impl Pool {
    /// Returns the names of the headers that may hold a credential.
    #[inline]
    pub(crate) fn credential_header_names(&self) -> &CredentialHeaderNames {
        &self.0.credential_headers
    }

    /// Removes every credential from a request, the caller's or the pool's.
    pub(crate) fn remove_credentials(&self, headers: &mut HeaderMap) {
        self.0.credential_headers.remove_from(headers);
    }

    /// Refuses a request without a context that carries a credential of this pool: it has lost its context on the way.
    pub(crate) fn check_unmarked(&self, headers: &HeaderMap) -> Result<(), Error> {
        for value in self.0.credential_headers.sensitive(headers) {
            let carries = |slot: &Slot| slot.lease.headers().iter().any(|(_, ours)| ours == value);
            if self.with_state(|state, _| state.slots.iter().any(carries)) {
                return Err(Error::LostContext { pool: self.key().clone() });
            }
        }
        Ok(())
    }

    /// Refuses a request that may not carry any credential of this pool. Returns whether the provider trusts its
    /// origin; if not, it is some credential's endpoint.
    #[inline]
    pub(crate) fn check_origin(&self, uri: &Uri) -> Result<bool, Error> {
        if self.0.provider.trusts(uri) {
            return Ok(true);
        }
        if self.is_an_endpoint(uri) { Ok(false) } else { Err(self.untrusted(uri)) }
    }

    #[cold]
    fn is_an_endpoint(&self, uri: &Uri) -> bool {
        let goes_there = |slot: &Slot| {
            slot.live && slot.lease.endpoint().is_some_and(|endpoint| endpoint.contains(uri))
        };
        self.with_state(|state, _| state.slots.iter().any(goes_there))
    }

    /// Refuses a request that may not carry this credential.
    pub(crate) fn check_carries(&self, lease: &Lease, uri: &Uri) -> Result<(), Error> {
        let is_own = lease.endpoint().is_some_and(|endpoint| endpoint.contains(uri));
        if is_own || self.0.provider.trusts(uri) { Ok(()) } else { Err(self.untrusted(uri)) }
    }

    fn untrusted(&self, uri: &Uri) -> Error {
        let origin = match (uri.scheme_str(), uri.authority()) {
            (Some(scheme), Some(authority)) => {
                // Without a user name and password, which an error must not show.
                let authority = authority.as_str().rsplit('@').next().unwrap_or_default();
                format!("{scheme}://{authority}")
            }
            _ => "a URI without a host".to_owned(),
        };
        Error::UntrustedOrigin { origin, provider: self.0.provider.name().to_owned() }
    }
}
