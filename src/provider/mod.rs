//! Providers: the services that credentials are for, and the ways in which they differ.
//!
//! A [`GenericProvider`] is configured; the vendors' adapters, such as `Anthropic` and `OpenAi`, know a vendor's headers
//! and errors. The `registry` module (with the feature `providers`) has them all by name, with their settings.

mod generic;
#[cfg(feature = "providers")]
mod model;
mod models;
mod response_view;
#[cfg(feature = "providers")]
pub(crate) mod responses;
#[cfg(feature = "providers")]
mod stream_event;
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
pub(crate) use stream_event::is_servers_own;
#[cfg(feature = "providers")]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub use stream_event::{EventMeaning, StreamEvent};
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
/// Its methods are called when a pool is opened and when a credential is loaded or renewed, not for each request. The
/// exceptions are [`trusts`]; [`read`], which is called for responses that are not a success; and `event`, which is called
/// for the first events of streams.
///
/// A credential goes into headers, and nowhere else: a provider can't put a key into the query, and can't sign a request
/// (as AWS's SigV4 does), since its headers are made once for a secret and not for each request. For such an API, leave
/// [`AuthHeaderLayer`](crate::AuthHeaderLayer) out, and apply the credential in a service of your own under the other
/// layers: the [`Attempt`](crate::Attempt) in a request's extensions has the lease, whose headers hold the secret.
///
/// [`trusts`]: Provider::trusts
/// [`read`]: Provider::read
pub trait Provider: Send + Sync + 'static {
    /// Returns the provider's name, as in [`PoolKey::provider`](crate::PoolKey::provider).
    fn name(&self) -> &str;

    /// Returns whether a credential may be sent to this URI. A request to any other is refused.
    fn trusts(&self, uri: &Uri) -> bool;

    /// Returns the origin for requests that name none: the first of those that it trusts.
    fn origin(&self) -> Option<&Origin> {
        None
    }

    /// Returns all origins that it trusts, by which a proxy knows whose requests are its own. Defaults to
    /// [`origin`](Self::origin) alone.
    fn origins(&self) -> Vec<Origin> {
        self.origin().cloned().into_iter().collect()
    }

    /// Returns the headers that apply a credential. The pool marks those sensitive that contain the token verbatim; mark one
    /// that contains it in another form, such as base64, yourself.
    ///
    /// # Errors
    /// If the secret can't be a header's value.
    fn headers(&self, credential: &Credential) -> Result<CredentialHeaders, UnusableSecret>;

    /// Returns the names of all headers that a credential of this provider may set. They are removed from a
    /// caller's request, and so are `authorization`, `x-api-key`, `api-key` and `x-goog-api-key`.
    fn header_names(&self) -> &[HeaderName];

    /// Returns the names of query parameters that would carry a credential of the caller's. They are removed
    /// from a caller's request.
    fn query_names(&self) -> &[String] {
        &[]
    }

    /// Returns other names of this provider. They name the same pools.
    fn aliases(&self) -> &[&str] {
        &[]
    }

    /// Returns the endpoint that this credential's requests must use instead of the caller's origin, if its secret names
    /// one. Take it only from the response of the vendor's token endpoint or from the user's settings, and allow no host but
    /// the vendor's or the user's: this origin is trusted for this credential.
    fn endpoint(&self, credential: &Credential) -> Option<Endpoint> {
        let _ = credential;
        None
    }

    /// Returns the names of response headers that together say which quota an API key takes from, such as the id of its
    /// organization. The first must be there; the others tell more precisely, if they are. Keys with the same values
    /// [share a quota](crate::standing::Standing::shared_quota). Of other kinds of credentials they are not read: the seats
    /// of one organization have limits of their own. Called when a pool is opened.
    fn quota_headers(&self) -> &[HeaderName] {
        &[]
    }

    /// Returns headers that requests need and that aren't credentials. Each is set if the caller has set none of the name.
    fn default_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &[]
    }

    /// Returns elements that certain credentials add to the caller's list headers.
    fn list_elements(&self) -> &[ListElement] {
        &[]
    }

    /// Returns the maximum number of bytes of the body that [`read`](Provider::read) wants from a response with this status.
    /// At most 64 KiB are read.
    fn body_prefix(&self, status: StatusCode) -> usize {
        let _ = status;
        0
    }

    /// Assesses what a response that isn't a success says about the account: when to try again, and whether trying again
    /// makes sense.
    fn read(&self, view: &ResponseView<'_>) -> Assessment {
        Assessment::in_headers(view)
    }

    /// Returns the rules that [`read`](Provider::read) follows, first to last, to show to people. A provider with code of
    /// its own has none.
    #[cfg(feature = "providers")]
    #[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
    fn responses(&self) -> &[ResponseRule] {
        &[]
    }

    /// Returns the meaning of an event at the beginning of a response that streams;
    /// [`FirstEventLayer`](crate::FirstEventLayer) asks for it, event by event, until one means more than
    /// [`Nothing`](EventMeaning::Nothing). Defaults to [`EventMeaning::of`], which knows the usual formats.
    #[cfg(feature = "providers")]
    #[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
    fn event(&self, event: &StreamEvent<'_>) -> EventMeaning {
        EventMeaning::of(event)
    }

    /// Returns the model that a request is for, if its URI or the beginning of its body says;
    /// [`ModelScopeLayer`](crate::ModelScopeLayer) uses it. Defaults to the name in a path such as `/models/NAME:METHOD`,
    /// `/deployments/NAME/…` or `/model/NAME/…`, or else to the field `model` of a JSON body, or else to the parameter `model`
    /// or `deployment` of the query, as realtime APIs have it.
    #[cfg(feature = "providers")]
    #[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
    fn model(&self, uri: &Uri, body: &[u8]) -> Option<String> {
        let in_query = || uri.query().and_then(model::in_query);
        model::in_path(uri.path()).or_else(|| model::in_json(body)).or_else(in_query)
    }

    /// Returns the endpoint that lists models to accounts of this kind, if there is one. Only the `discovery` module sends
    /// requests to it.
    fn models(&self, kind: Kind) -> Option<ModelsEndpoint> {
        let _ = kind;
        None
    }

    /// Returns the configuration by which its accounts sign in and their tokens are renewed, if that is by OAuth.
    #[cfg(feature = "oauth")]
    #[cfg_attr(docsrs, doc(cfg(feature = "oauth")))]
    fn oauth(&self) -> Option<&crate::oauth::OAuthConfig> {
        None
    }
}

/// Delegates to the shared provider.
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

    fn origins(&self) -> Vec<Origin> {
        (**self).origins()
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

    fn quota_headers(&self) -> &[HeaderName] {
        (**self).quota_headers()
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

    fn read(&self, view: &ResponseView<'_>) -> Assessment {
        (**self).read(view)
    }

    #[cfg(feature = "providers")]
    fn responses(&self) -> &[ResponseRule] {
        (**self).responses()
    }

    #[cfg(feature = "providers")]
    fn event(&self, event: &StreamEvent<'_>) -> EventMeaning {
        (**self).event(event)
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

/// One element of a header whose value is a comma-separated list (RFC 9110, section 5.6.1), such as a feature to enable. It
/// is added to the caller's list for credentials of these kinds, and removed from it for all others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListElement {
    /// The header.
    pub name: HeaderName,
    /// The element.
    pub value: HeaderValue,
    /// The kinds of credentials that it is for.
    pub kinds: &'static [Kind],
}

impl ListElement {
    /// Creates an element of this header for credentials of these kinds.
    pub fn new(name: HeaderName, value: HeaderValue, kinds: &'static [Kind]) -> Self {
        Self { name, value, kinds }
    }
}

/// The error of a secret, or of a header's text beside it, that can't be sent in a header: it contains a line break, for
/// example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnusableSecret;

impl std::fmt::Display for UnusableSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "the secret, or the text beside it, can't be sent in a header; store it again, without line breaks and \
             control characters",
        )
    }
}

impl std::error::Error for UnusableSecret {}
