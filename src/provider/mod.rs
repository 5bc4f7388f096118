//! What differs from one provider to the next.

mod generic;
mod origin;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::clock::Timestamp;
use crate::credential::Credential;
use crate::rate_limit;

pub use generic::GenericProvider;
pub use origin::{InvalidOrigin, Origin};

/// The headers that one credential puts on a request, in the order they are set.
pub type CredentialHeaders = Vec<(HeaderName, HeaderValue)>;

/// A service that credentials are for: where they may be sent, and how.
///
/// Asked when a credential is loaded or renewed, not for each request, but for [`trusts`] and
/// [`retry_at`].
///
/// [`trusts`]: Provider::trusts
/// [`retry_at`]: Provider::retry_at
pub trait Provider: Send + Sync + 'static {
    /// The provider's name, as in [`PoolKey::provider`](crate::PoolKey::provider).
    fn name(&self) -> &str;

    /// Whether a credential may be sent to this URI. A request to any other is refused.
    fn trusts(&self, uri: &Uri) -> bool;

    /// The headers that apply a credential. The pool marks those sensitive that hold the token as it is;
    /// one that holds it in another form, such as base64, is yours to mark.
    ///
    /// # Errors
    /// Where the secret can't be a header's value.
    fn headers(&self, credential: &Credential) -> Result<CredentialHeaders, UnusableSecret>;

    /// The names of all headers that a credential of this provider may set. They are removed from a
    /// caller's request, and so are `authorization`, `x-api-key`, `api-key` and `x-goog-api-key`.
    fn header_names(&self) -> &[HeaderName];

    /// The names of query parameters that would carry a credential of the caller's. They are removed
    /// from a caller's request.
    fn query_names(&self) -> &[String] {
        &[]
    }

    /// When an account that answered with these headers may be asked again, where they say.
    fn retry_at(&self, headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
        rate_limit::retry_at(headers, now)
    }
}

/// A secret can't be sent in a header: it holds a line break, say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnusableSecret;

impl std::fmt::Display for UnusableSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the secret can't be sent in a header; store it anew, without line breaks")
    }
}

impl std::error::Error for UnusableSecret {}
