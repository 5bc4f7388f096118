//! A provider that is configured rather than written.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, Uri, header};

use super::value::secret_value;
use super::{CredentialHeaders, InvalidOrigin, Origin, Provider, UnusableSecret};
use crate::credential::{Credential, Kind};

/// Any provider whose credentials go into one header: `authorization: Bearer …` or a named one.
///
/// ```
/// use tower_credentials::provider::GenericProvider;
///
/// let provider = GenericProvider::bearer("example").origin("https://api.example.com")?;
/// # Ok::<(), tower_credentials::provider::InvalidOrigin>(())
/// ```
#[derive(Clone, Debug)]
pub struct GenericProvider {
    name: String,
    token: TokenHeader,
    /// The header of OAuth accounts' tokens, if it is a different one.
    oauth_token: Option<TokenHeader>,
    origins: Vec<Origin>,
    relative: bool,
    extra: CredentialHeaders,
    header_names: Vec<HeaderName>,
    query_names: Vec<String>,
    quota_headers: Vec<HeaderName>,
    default_headers: Vec<(HeaderName, HeaderValue)>,
    #[cfg(feature = "providers")]
    responses: Vec<super::ResponseRule>,
}

/// The header that a token goes into, and the prefix before it.
#[derive(Clone, Debug)]
struct TokenHeader {
    name: HeaderName,
    prefix: Cow<'static, str>,
}

impl GenericProvider {
    /// Creates a provider that takes `authorization: Bearer TOKEN` (RFC 6750, section 2.1).
    pub fn bearer(name: impl Into<String>) -> Self {
        Self::new(name.into(), header::AUTHORIZATION, "Bearer ")
    }

    /// Creates a provider that takes the token, and nothing else, in the header of this name.
    pub fn header(name: impl Into<String>, header: HeaderName) -> Self {
        Self::new(name.into(), header, "")
    }

    fn new(name: String, header: HeaderName, prefix: &'static str) -> Self {
        Self {
            name,
            header_names: vec![header.clone()],
            token: TokenHeader { name: header, prefix: prefix.into() },
            oauth_token: None,
            origins: Vec::new(),
            relative: false,
            extra: Vec::new(),
            // `access_token` is from RFC 6750, section 2.3; the others are common names for API keys.
            query_names: ["access_token", "api_key", "api-key"].map(Into::into).into(),
            quota_headers: Vec::new(),
            default_headers: Vec::new(),
            #[cfg(feature = "providers")]
            responses: Vec::new(),
        }
    }

    /// Sets the prefix before the token. Defaults to `Bearer ` for [`bearer`](Self::bearer) and to nothing for
    /// [`header`](Self::header).
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<Cow<'static, str>>) -> Self {
        self.token.prefix = prefix.into();
        self
    }

    /// Puts the tokens of OAuth accounts (the kinds `oauth` and `mcp`) into this header after this prefix, instead of the
    /// header of API keys.
    #[must_use]
    pub fn oauth_header(mut self, name: HeaderName, prefix: impl Into<Cow<'static, str>>) -> Self {
        self.header_names.push(name.clone());
        self.oauth_token = Some(TokenHeader { name, prefix: prefix.into() });
        self
    }

    /// Sets this header on requests for which the caller has set none of the name.
    #[must_use]
    pub fn default_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.default_headers.push((name, value));
        self
    }

    /// Sets the response headers that together say which quota an API key takes from; see
    /// [`Provider::quota_headers`]. Defaults to none.
    ///
    /// ```
    /// use http::HeaderName;
    /// use tower_credentials::provider::GenericProvider;
    ///
    /// let team = HeaderName::from_static("x-team-id");
    /// let provider = GenericProvider::bearer("example").quota_headers([team]);
    /// ```
    #[must_use]
    pub fn quota_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.quota_headers = names.into_iter().collect();
        self
    }

    /// Allows credentials to go to this origin, too: `https://HOST` or `https://HOST:PORT`, or plain
    /// `http` with a loopback host. Without any origin they go nowhere.
    ///
    /// # Errors
    /// If the text is not such an origin.
    pub fn origin(mut self, origin: &str) -> Result<Self, InvalidOrigin> {
        self.origins.push(origin.parse()?);
        Ok(self)
    }

    /// Allows credentials to go to this origin over plain HTTP: one in a network of your own, where nobody listens in. See
    /// [`Origin::plain_http`].
    ///
    /// ```
    /// use tower_credentials::provider::GenericProvider;
    ///
    /// let provider = GenericProvider::bearer("llm").plain_http_origin("http://llm.tools.svc.cluster.local:4000")?;
    /// assert!(GenericProvider::bearer("llm").plain_http_origin("http://api.example.com").is_err());
    /// # Ok::<(), tower_credentials::provider::InvalidOrigin>(())
    /// ```
    ///
    /// # Errors
    /// If the text is not such an origin.
    pub fn plain_http_origin(mut self, origin: &str) -> Result<Self, InvalidOrigin> {
        self.origins.push(Origin::plain_http(origin)?);
        Ok(self)
    }

    /// Allows credentials on requests whose URI has no host, as on an HTTP/1.1 connection that the caller has opened. The
    /// caller is then responsible for where they go.
    #[must_use]
    pub fn relative_uris(mut self) -> Self {
        self.relative = true;
        self
    }

    /// Sets one more header beside each credential's own, and removes the caller's header of that name.
    #[must_use]
    pub fn extra_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header_names.push(name.clone());
        self.extra.push((name, value));
        self
    }

    /// Adds a rule for certain responses, besides what [every response may say](super::Assessment::in_headers). The first
    /// rule that matches counts.
    #[cfg(feature = "providers")]
    #[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
    #[must_use]
    pub fn response(mut self, rule: super::ResponseRule) -> Self {
        self.responses.push(rule);
        self
    }

    /// Sets the query parameters to remove from a request because they would carry a credential of the caller's. Defaults to
    /// `access_token`, `api_key` and `api-key`.
    #[must_use]
    pub fn query_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.query_names = names.into_iter().map(Into::into).collect();
        self
    }
}

impl Provider for GenericProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn trusts(&self, uri: &Uri) -> bool {
        self.origins.iter().any(|origin| origin.contains(uri))
            || (self.relative && uri.scheme().is_none() && uri.authority().is_none())
    }

    fn origin(&self) -> Option<&Origin> {
        self.origins.first()
    }

    fn origins(&self) -> Vec<Origin> {
        self.origins.clone()
    }

    fn headers(&self, credential: &Credential) -> Result<CredentialHeaders, UnusableSecret> {
        let header = match (&self.oauth_token, credential.secret.kind()) {
            (Some(header), Kind::OAuth | Kind::Mcp) => header,
            _ => &self.token,
        };
        let value = secret_value(&header.prefix, credential.secret.token())?;
        let mut headers = Vec::with_capacity(1 + self.extra.len());
        headers.push((header.name.clone(), value));
        headers.extend(self.extra.iter().cloned());
        Ok(headers)
    }

    fn header_names(&self) -> &[HeaderName] {
        &self.header_names
    }

    fn query_names(&self) -> &[String] {
        &self.query_names
    }

    fn quota_headers(&self) -> &[HeaderName] {
        &self.quota_headers
    }

    fn default_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.default_headers
    }

    #[cfg(feature = "providers")]
    fn body_prefix(&self, status: http::StatusCode) -> usize {
        if super::responses::wants_body(&self.responses, status) {
            super::responses::BODY_PREFIX
        } else {
            0
        }
    }

    #[cfg(feature = "providers")]
    fn read(&self, view: &super::ResponseView<'_>) -> super::Assessment {
        let in_headers = super::Assessment::in_headers(view);
        let by_rule = super::responses::read(&self.responses, &self.name, view, &in_headers);
        by_rule.unwrap_or(in_headers)
    }

    #[cfg(feature = "providers")]
    fn responses(&self) -> &[super::ResponseRule] {
        &self.responses
    }
}
