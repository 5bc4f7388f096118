//! What differs from one provider to the next.

mod generic;
#[cfg(feature = "providers")]
mod model;
mod models;
mod response_view;
#[cfg(feature = "providers")]
pub(crate) mod responses;
mod value;
#[cfg(feature = "providers")]
pub(crate) mod vendor;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, Uri};

use crate::credential::{Credential, Kind};

pub use crate::endpoint::Endpoint;
pub use crate::origin::{InvalidOrigin, Origin};
pub use generic::GenericProvider;
pub use models::{ModelsEndpoint, ModelsShape};
pub use response_view::{Assessment, LimitOf, ResponseView, Verdict};
#[cfg(feature = "providers")]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub use responses::{IntoPatterns, ResponseRule};
#[cfg(feature = "providers")]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub use vendor::{Anthropic, Copilot, Cursor, Google, OpenAi, Qwen};

#[cfg(feature = "providers")]
pub(crate) use models::ModelsUrl;
#[cfg(feature = "providers")]
pub(crate) use responses::Means;
#[cfg(feature = "discovery")]
pub(crate) use responses::values as error_fields;

/// The headers that one credential puts on a request, in the order they are set.
pub type CredentialHeaders = Vec<(HeaderName, HeaderValue)>;

/// A service that credentials are for: where they may be sent, and how.
///
/// Asked when a pool is opened and when a credential is loaded or renewed, not for each request, but for
/// [`trusts`]; and when an answer tells of trouble, but for that [`read`].
///
/// A credential goes into headers, and nowhere else: a provider can't put a key into the query, and can't sign a request
/// (AWS's SigV4, say), since its headers are made once for a secret and not for each request. For such an API leave
/// [`AuthHeaderLayer`](crate::AuthHeaderLayer) out, and apply the credential by a service of your own under the other
/// layers: the [`Attempt`](crate::Attempt) in a request's extensions has the lease, whose
/// headers hold the secret.
///
/// [`trusts`]: Provider::trusts
/// [`read`]: Provider::read
pub trait Provider: Send + Sync + 'static {
    /// The provider's name, as in [`PoolKey::provider`](crate::PoolKey::provider).
    fn name(&self) -> &str;

    /// Whether a credential may be sent to this URI. A request to any other is refused.
    fn trusts(&self, uri: &Uri) -> bool;

    /// The origin of a request that names none, where there is one: the first of those that it trusts.
    fn origin(&self) -> Option<&Origin> {
        None
    }

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

    /// Other names that this provider goes by: their pools are this provider's.
    fn aliases(&self) -> &[&str] {
        &[]
    }

    /// Where this credential's requests go, whatever trusted origin the caller has named, where its
    /// secret says so. Read it from what the vendor's token endpoint has answered, or from what the user
    /// has set, and nothing else, and let no host through that isn't the vendor's or the user's: this
    /// origin is trusted for this credential.
    fn endpoint(&self, credential: &Credential) -> Option<Endpoint> {
        let _ = credential;
        None
    }

    /// Headers that requests need and that aren't credentials. They are set where the caller has set none
    /// of the name.
    fn default_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &[]
    }

    /// Elements that certain credentials add to lists of the caller's.
    fn list_elements(&self) -> &[ListElement] {
        &[]
    }

    /// How many bytes of the body of an answer with this status [`read`](Provider::read) wants to see, at
    /// most. Not more than 64 KiB are read.
    fn body_prefix(&self, status: StatusCode) -> usize {
        let _ = status;
        0
    }

    /// What an answer that isn't a success says of the account: when to ask again, and whether there is
    /// any use in it.
    fn read(&self, answer: &ResponseView<'_>) -> Assessment {
        Assessment::in_headers(answer)
    }

    /// The rules by which [`read`](Provider::read) reads, first to last, to be shown to people. A provider that reads
    /// by code of its own has none.
    #[cfg(feature = "providers")]
    #[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
    fn responses(&self) -> &[ResponseRule] {
        &[]
    }

    /// Which model a request is for, by its URI or by the beginning of its body, where that can be told: what
    /// [`ModelScopeLayer`](crate::ModelScopeLayer) asks. Unless written, it is the name in a path such as
    /// `/models/NAME:METHOD`, `/deployments/NAME/…` or `/model/NAME/…`, else the field `model` of a JSON body.
    #[cfg(feature = "providers")]
    #[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
    fn model(&self, uri: &Uri, body: &[u8]) -> Option<String> {
        model::in_path(uri.path()).or_else(|| model::in_json(body))
    }

    /// Where accounts of this kind are told which models there are, if anywhere. Nobody is asked for them but
    /// by the `discovery` module.
    fn models(&self, kind: Kind) -> Option<ModelsEndpoint> {
        let _ = kind;
        None
    }

    /// How its accounts are signed in and their tokens renewed, where that is by OAuth.
    #[cfg(feature = "oauth")]
    #[cfg_attr(docsrs, doc(cfg(feature = "oauth")))]
    fn oauth(&self) -> Option<&crate::oauth::OAuthConfig> {
        None
    }
}

/// A provider that several share is that provider.
impl<P: Provider + ?Sized> Provider for Arc<P> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn trusts(&self, uri: &Uri) -> bool {
        (**self).trusts(uri)
    }

    fn origin(&self) -> Option<&Origin> {
        (**self).origin()
    }

    fn headers(&self, credential: &Credential) -> Result<CredentialHeaders, UnusableSecret> {
        (**self).headers(credential)
    }

    fn header_names(&self) -> &[HeaderName] {
        (**self).header_names()
    }

    fn query_names(&self) -> &[String] {
        (**self).query_names()
    }

    fn aliases(&self) -> &[&str] {
        (**self).aliases()
    }

    fn endpoint(&self, credential: &Credential) -> Option<Endpoint> {
        (**self).endpoint(credential)
    }

    fn default_headers(&self) -> &[(HeaderName, HeaderValue)] {
        (**self).default_headers()
    }

    fn list_elements(&self) -> &[ListElement] {
        (**self).list_elements()
    }

    fn body_prefix(&self, status: StatusCode) -> usize {
        (**self).body_prefix(status)
    }

    fn read(&self, answer: &ResponseView<'_>) -> Assessment {
        (**self).read(answer)
    }

    #[cfg(feature = "providers")]
    fn responses(&self) -> &[ResponseRule] {
        (**self).responses()
    }

    #[cfg(feature = "providers")]
    fn model(&self, uri: &Uri, body: &[u8]) -> Option<String> {
        (**self).model(uri, body)
    }

    fn models(&self, kind: Kind) -> Option<ModelsEndpoint> {
        (**self).models(kind)
    }

    #[cfg(feature = "oauth")]
    fn oauth(&self) -> Option<&crate::oauth::OAuthConfig> {
        (**self).oauth()
    }
}

/// One element of a header whose value is a comma-separated list (RFC 9110, section 5.6.1), such as a
/// feature that must be asked for. It is added to what the caller has there for credentials of these kinds,
/// and taken out for those of others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListElement {
    /// The header.
    pub name: HeaderName,
    /// The element.
    pub value: HeaderValue,
    /// Which credentials it is for.
    pub kinds: &'static [Kind],
}

impl ListElement {
    /// An element of this header for credentials of these kinds.
    pub fn new(name: HeaderName, value: HeaderValue, kinds: &'static [Kind]) -> Self {
        Self { name, value, kinds }
    }
}

/// A secret, or what goes into a header beside it, can't be sent in one: it holds a line break, say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnusableSecret;

impl std::fmt::Display for UnusableSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "the secret, or what goes beside it, can't be sent in a header; store it anew, without line breaks and \
             control characters",
        )
    }
}

impl std::error::Error for UnusableSecret {}
