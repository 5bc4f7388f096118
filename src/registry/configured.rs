//! A provider with the additions of its settings.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, Uri, header};

use crate::credential::{Credential, Kind};
#[cfg(feature = "oauth")]
use crate::oauth::OAuthConfig;
use crate::provider::responses::{self, BODY_PREFIX, ResponseRule};
use crate::provider::{
    Assessment, CredentialHeaders, Endpoint, EventMeaning, GenericProvider, ListElement, ModelsEndpoint,
    ModelsShape, ModelsUrl, Origin, Provider, ResponseView, StreamEvent, UnusableSecret,
};
use crate::settings::ProviderSettings;

/// Any provider, with more origins, other default headers, more rules and another way to sign in.
pub(super) struct Configured {
    inner: Arc<dyn Provider>,
    origins: Vec<Origin>,
    quota_headers: Option<Vec<HeaderName>>,
    default_headers: Vec<(HeaderName, HeaderValue)>,
    /// The user's rules, and then the provider's.
    responses: Vec<ResponseRule>,
    /// The number of the user's.
    own_responses: usize,
    models_url: Option<ModelsUrl>,
    models_shape: Option<ModelsShape>,
    #[cfg(feature = "oauth")]
    oauth: Option<OAuthConfig>,
}

impl Configured {
    pub(super) fn over(inner: Arc<dyn Provider>, settings: &ProviderSettings) -> Arc<dyn Provider> {
        let mut default_headers = settings.headers().clone();
        for (name, value) in inner.default_headers() {
            if settings.headers().iter().all(|(known, _)| known != name) {
                default_headers.push((name.clone(), value.clone()));
            }
        }
        let mut responses = settings.values().responses.clone().unwrap_or_default();
        let own_responses = responses.len();
        responses.extend_from_slice(inner.responses());
        Arc::new(Self {
            responses,
            own_responses,
            origins: settings.origins().cloned().collect(),
            quota_headers: settings.values().quota_headers.clone(),
            default_headers,
            models_url: settings.values().models_url.clone(),
            models_shape: settings.values().models_shape,
            #[cfg(feature = "oauth")]
            oauth: settings.oauth(inner.oauth()),
            inner,
        })
    }
}

/// The provider that settings of the type `generic` describe. [`Configured`] adds what all types have, such as origins.
pub(super) fn generic(name: &str, settings: &ProviderSettings) -> Arc<dyn Provider> {
    let values = settings.values();
    let mut provider = match &values.header {
        Some(name_of_header) if *name_of_header != header::AUTHORIZATION => {
            GenericProvider::header(name, name_of_header.clone())
        }
        _ => GenericProvider::bearer(name),
    };
    if let Some(prefix) = &values.prefix {
        provider = provider.prefix(prefix.clone());
    }
    if values.oauth_header.is_some() || values.oauth_prefix.is_some() {
        let header = values.oauth_header.clone().unwrap_or(header::AUTHORIZATION);
        let usual = if header == header::AUTHORIZATION { "Bearer " } else { "" };
        let prefix = values.oauth_prefix.clone().unwrap_or_else(|| usual.to_owned());
        provider = provider.oauth_header(header, prefix);
    }
    for (name, value) in settings.extra_headers() {
        provider = provider.extra_header(name.clone(), value.clone());
    }
    if let Some(names) = &values.query_names {
        provider = provider.query_names(names.iter().cloned());
    }
    Arc::new(provider)
}

impl Provider for Configured {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn trusts(&self, uri: &Uri) -> bool {
        self.inner.trusts(uri) || self.origins.iter().any(|origin| origin.contains(uri))
    }

    fn origin(&self) -> Option<&Origin> {
        // The user's origins come before the vendor's.
        self.origins.first().or_else(|| self.inner.origin())
    }

    fn origins(&self) -> Vec<Origin> {
        self.origins.iter().cloned().chain(self.inner.origins()).collect()
    }

    fn headers(&self, credential: &Credential) -> Result<CredentialHeaders, UnusableSecret> {
        self.inner.headers(credential)
    }

    fn header_names(&self) -> &[HeaderName] {
        self.inner.header_names()
    }

    fn query_names(&self) -> &[String] {
        self.inner.query_names()
    }

    fn aliases(&self) -> &[&str] {
        self.inner.aliases()
    }

    fn endpoint(&self, credential: &Credential) -> Option<Endpoint> {
        self.inner.endpoint(credential)
    }

    fn quota_headers(&self) -> &[HeaderName] {
        self.quota_headers.as_deref().unwrap_or_else(|| self.inner.quota_headers())
    }

    fn default_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.default_headers
    }

    fn list_elements(&self) -> &[ListElement] {
        self.inner.list_elements()
    }

    fn body_prefix(&self, status: StatusCode) -> usize {
        let own = responses::wants_body(&self.responses[..self.own_responses], status);
        self.inner.body_prefix(status).max(if own { BODY_PREFIX } else { 0 })
    }

    fn read(&self, view: &ResponseView<'_>) -> Assessment {
        let own = &self.responses[..self.own_responses];
        if own.is_empty() {
            return self.inner.read(view);
        }
        let in_headers = Assessment::in_headers(view);
        responses::read(own, self.inner.name(), view, &in_headers)
            .unwrap_or_else(|| self.inner.read(view))
    }

    fn responses(&self) -> &[ResponseRule] {
        &self.responses
    }

    fn event(&self, event: &StreamEvent<'_>) -> EventMeaning {
        self.inner.event(event)
    }

    fn model(&self, uri: &Uri, body: &[u8]) -> Option<String> {
        self.inner.model(uri, body)
    }

    fn models(&self, kind: Kind) -> Option<ModelsEndpoint> {
        let own = self.inner.models(kind);
        let own_shape = own.as_ref().map(ModelsEndpoint::shape);
        let Some(shape) = self.models_shape.or(own_shape) else {
            // Most other servers list models as OpenAI does.
            return Some(ModelsEndpoint::at(ModelsShape::OpenAi, self.models_url.clone()?));
        };
        match &self.models_url {
            Some(url) => Some(ModelsEndpoint::at(shape, url.clone())),
            None if own_shape == Some(shape) => own,
            None => ModelsEndpoint::new(shape, shape.default_path()).ok(),
        }
    }

    #[cfg(feature = "oauth")]
    fn oauth(&self) -> Option<&OAuthConfig> {
        self.oauth.as_ref().or(self.inner.oauth())
    }
}
