//! The vendors' adapters: each one's origins, its headers, and the meaning of its responses.
//!
//! The facts are from the vendors' documentation and public code. Whatever a vendor may change can be overridden with the
//! adapter's methods, or with the [settings](crate::settings) of the [registry](crate::registry).

mod anthropic;
mod copilot;
mod cursor;
mod endpoints;
mod google;
mod openai;
mod qwen;

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, Uri};

use super::response_view::is_html;
use super::responses::{self, BODY_PREFIX, ResponseRule};
use super::value::secret_value;
use super::{
    Assessment, CredentialHeaders, Endpoint, InvalidOrigin, LimitOf, ListElement, ModelsEndpoint,
    ModelsShape, Origin, Provider, ResponseView, UnusableSecret, Verdict,
};
use crate::credential::{Credential, Kind as SecretKind};
#[cfg(feature = "oauth")]
use crate::oauth::OAuthConfig;
use crate::rate_limit;
use crate::standing::Stated;
use endpoints::Endpoints;

pub use anthropic::Anthropic;
pub use copilot::Copilot;
pub use cursor::Cursor;
pub use google::Google;
pub use openai::OpenAi;
pub use qwen::Qwen;

/// A vendor's adapter by the name that settings use.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// The usual environment variable of the vendor's API key.
    pub(crate) api_key_variable: Option<&'static str>,
    /// Whether the vendor gives out API keys.
    pub(crate) has_api_keys: bool,
    pub(crate) make: Make,
}

/// Makes an adapter, and applies a change to it.
type Make = fn(&mut dyn FnMut(&mut Vendor)) -> Arc<dyn Provider>;

pub(crate) const KINDS: &[Kind] = &[
    Kind::new("anthropic", Some("ANTHROPIC_API_KEY"), Anthropic::changed),
    Kind::new("openai", Some("OPENAI_API_KEY"), OpenAi::changed),
    Kind::new("google", Some("GEMINI_API_KEY"), Google::changed),
    // GitHub gives out none for Copilot.
    Kind { has_api_keys: false, ..Kind::new("github-copilot", None, Copilot::changed) },
    Kind::new("qwen", Some("DASHSCOPE_API_KEY"), Qwen::changed),
    Kind::new("cursor", None, Cursor::changed),
];

impl Kind {
    const fn new(name: &'static str, api_key_variable: Option<&'static str>, make: Make) -> Self {
        Self { name, api_key_variable, has_api_keys: true, make }
    }
}

/// The data in which adapters differ.
#[derive(Clone, Debug)]
pub(crate) struct Vendor {
    name: Cow<'static, str>,
    aliases: &'static [&'static str],
    origins: Vec<Origin>,
    headers: fn(&Credential) -> Result<CredentialHeaders, UnusableSecret>,
    header_names: Vec<HeaderName>,
    query_names: Vec<String>,
    /// The headers of its responses that say which quota an API key takes from.
    quota_headers: &'static [HeaderName],
    default_headers: Vec<(HeaderName, HeaderValue)>,
    list_elements: Vec<ListElement>,
    endpoints: Endpoints,
    /// The name for people.
    title: &'static str,
    /// The meaning of its responses.
    responses: Vec<ResponseRule>,
    /// The end of a limit by the vendor's own headers, for bodies that don't say.
    window: fn(&ResponseView<'_>) -> Option<Stated>,
    /// The shape and the path of the list of models for accounts of this kind.
    models: fn(&Vendor, SecretKind) -> Option<(ModelsShape, &'static str)>,
    #[cfg(feature = "oauth")]
    oauth: OAuthConfig,
}

impl Vendor {
    /// A vendor that takes `authorization: Bearer TOKEN` (RFC 6750, section 2.1) and whose responses have no meaning of their
    /// own.
    fn new(
        name: &'static str,
        title: &'static str,
        aliases: &'static [&'static str],
        hosts: &[&str],
    ) -> Self {
        Self {
            name: name.into(),
            aliases,
            origins: hosts.iter().map(|host| Origin::https(host)).collect(),
            headers: bearer,
            header_names: vec![http::header::AUTHORIZATION],
            // The same as in `GenericProvider`.
            query_names: ["access_token", "api_key", "api-key"].map(Into::into).into(),
            quota_headers: &[],
            default_headers: Vec::new(),
            list_elements: Vec::new(),
            endpoints: Endpoints::None,
            title,
            responses: Vec::new(),
            window: |_| None,
            models: |_, _| None,
            #[cfg(feature = "oauth")]
            oauth: OAuthConfig::default(),
        }
    }

    fn set_default_header(&mut self, name: HeaderName, value: HeaderValue) {
        self.default_headers.retain(|(known, _)| *known != name);
        self.default_headers.push((name, value));
    }

    /// Makes it the adapter of another pool, whose server isn't the vendor's.
    pub(crate) fn rename(&mut self, name: &str) {
        self.name = name.to_owned().into();
        self.aliases = &[];
        self.origins.clear();
    }

    /// Lets accounts name these origins. Returns whether this vendor's accounts may name any.
    pub(crate) fn allow_endpoints(&mut self, origins: &[Origin]) -> bool {
        origins.iter().for_each(|origin| self.endpoints.allow(origin.clone()));
        matches!(self.endpoints, Endpoints::Named(_))
    }

    /// Sets the endpoint of OAuth accounts. Returns whether this vendor has such a setting.
    pub(crate) fn set_subscription_endpoint(&mut self, endpoint: Option<&Endpoint>) -> bool {
        let Endpoints::OfOAuth(of_oauth) = &mut self.endpoints else { return false };
        *of_oauth = endpoint.cloned();
        true
    }

    fn models(&self, kind: SecretKind) -> Option<ModelsEndpoint> {
        let (shape, path) = (self.models)(self, kind)?;
        ModelsEndpoint::new(shape, path).ok()
    }

    fn trusts(&self, uri: &Uri) -> bool {
        self.origins.iter().any(|origin| origin.contains(uri))
    }

    fn body_prefix(&self, status: StatusCode) -> usize {
        if responses::wants_body(&self.responses, status) { BODY_PREFIX } else { 0 }
    }

    fn read(&self, view: &ResponseView<'_>) -> Assessment {
        let in_headers = Assessment::in_headers(view);
        let Some(mut assessment) = responses::read(&self.responses, self.title, view, &in_headers)
        else {
            return in_headers;
        };
        if assessment.retry_at == in_headers.retry_at {
            assessment.prolong((self.window)(view));
        }
        // The API sends JSON and states its limits, so an HTML page is a proxy's.
        let is_429 = assessment.verdict.is_none() && view.status == StatusCode::TOO_MANY_REQUESTS;
        if is_429 && is_html(view.headers) && !rate_limit::has_limits(view.headers) {
            return assessment.verdict(Verdict::NotTheAccount);
        }
        assessment
    }
}

use LimitOf::{Account, Concurrency, Scope};
use ResponseRule as Rule;

/// A rule for these statuses.
fn on(statuses: impl Into<Vec<u16>>) -> Rule {
    Rule::on(statuses)
}

fn bearer(credential: &Credential) -> Result<CredentialHeaders, UnusableSecret> {
    let value = secret_value("Bearer ", credential.secret.token())?;
    Ok(vec![(http::header::AUTHORIZATION, value)])
}

/// Whether the credential is an account's sign-in rather than a key.
fn is_oauth(credential: &Credential) -> bool {
    matches!(credential.secret.kind(), SecretKind::OAuth | SecretKind::Mcp)
}

/// A header whose value is an attribute of the credential. A person or a sign-in has set it.
fn attribute(
    credential: &Credential,
    attribute: &str,
    header: HeaderName,
) -> Result<Option<(HeaderName, HeaderValue)>, UnusableSecret> {
    let Some(text) = credential.metadata.attributes.get(attribute) else { return Ok(None) };
    Ok(Some((header, HeaderValue::from_str(text).map_err(|_| UnusableSecret)?)))
}

/// Defines an adapter around a [`Vendor`].
macro_rules! adapter {
    ($(#[$doc:meta])* $adapter:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $adapter(super::Vendor);

        impl Default for $adapter {
            fn default() -> Self {
                Self::new()
            }
        }

        impl $adapter {
            /// Makes it the adapter of another pool, for a compatible server: without aliases, and without the vendor's
            /// origins.
            #[must_use]
            pub fn named(mut self, name: &str) -> Self {
                self.0.rename(name);
                self
            }

            pub(crate) fn changed(
                change: &mut dyn FnMut(&mut super::Vendor),
            ) -> std::sync::Arc<dyn crate::provider::Provider> {
                let mut adapter = Self::new();
                change(&mut adapter.0);
                std::sync::Arc::new(adapter)
            }

            /// Allows credentials to go to this origin, too: `https://HOST` or `https://HOST:PORT`, or plain
            /// `http` with a loopback host.
            ///
            /// # Errors
            /// If the text is not such an origin.
            pub fn origin(mut self, origin: &str) -> Result<Self, crate::provider::InvalidOrigin> {
                self.0.origins.push(origin.parse()?);
                Ok(self)
            }

            /// Removes all origins added so far, including the vendor's own.
            #[must_use]
            pub fn without_origins(mut self) -> Self {
                self.0.origins.clear();
                self
            }

            /// Sets this header on requests for which the caller has set none of the name. It replaces the adapter's own
            /// default.
            #[must_use]
            pub fn default_header(
                mut self,
                name: http::HeaderName,
                value: http::HeaderValue,
            ) -> Self {
                self.0.set_default_header(name, value);
                self
            }

            /// Sets the configuration by which its accounts sign in and their tokens are renewed. Defaults to the vendor's own.
            #[cfg(feature = "oauth")]
            #[cfg_attr(docsrs, doc(cfg(feature = "oauth")))]
            #[must_use]
            pub fn oauth_config(mut self, config: crate::oauth::OAuthConfig) -> Self {
                self.0.oauth = config;
                self
            }
        }

        impl crate::provider::Provider for $adapter {
            fn name(&self) -> &str {
                &self.0.name
            }

            fn trusts(&self, uri: &http::Uri) -> bool {
                self.0.trusts(uri)
            }

            fn origin(&self) -> Option<&crate::provider::Origin> {
                self.0.origins.first()
            }
            fn origins(&self) -> Vec<crate::provider::Origin> { self.0.origins.clone() }

            fn headers(
                &self,
                credential: &crate::Credential,
            ) -> Result<crate::provider::CredentialHeaders, crate::provider::UnusableSecret> {
                (self.0.headers)(credential)
            }

            fn header_names(&self) -> &[http::HeaderName] {
                &self.0.header_names
            }

            fn query_names(&self) -> &[String] {
                &self.0.query_names
            }

            fn aliases(&self) -> &[&str] {
                self.0.aliases
            }

            fn endpoint(&self, credential: &crate::Credential) -> Option<crate::provider::Endpoint> {
                self.0.endpoints.of(credential)
            }

            fn quota_headers(&self) -> &[http::HeaderName] {
                self.0.quota_headers
            }

            fn default_headers(&self) -> &[(http::HeaderName, http::HeaderValue)] {
                &self.0.default_headers
            }

            fn list_elements(&self) -> &[crate::provider::ListElement] {
                &self.0.list_elements
            }

            fn body_prefix(&self, status: http::StatusCode) -> usize {
                self.0.body_prefix(status)
            }

            fn read(&self, view: &crate::provider::ResponseView<'_>) -> crate::provider::Assessment {
                self.0.read(view)
            }

            fn responses(&self) -> &[crate::provider::ResponseRule] {
                &self.0.responses
            }

            fn models(&self, kind: crate::Kind) -> Option<crate::provider::ModelsEndpoint> {
                self.0.models(kind)
            }

            #[cfg(feature = "oauth")]
            fn oauth(&self) -> Option<&crate::oauth::OAuthConfig> {
                Some(&self.0.oauth)
            }
        }
    };
}
use adapter;
