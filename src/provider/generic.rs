//! A provider by configuration.

use http::{HeaderName, HeaderValue, Uri, header};
use zeroize::Zeroizing;

use super::{CredentialHeaders, InvalidOrigin, Origin, Provider, UnusableSecret};
use crate::credential::Credential;

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
    header: HeaderName,
    prefix: &'static str,
    origins: Vec<Origin>,
    relative: bool,
    extra: CredentialHeaders,
    header_names: Vec<HeaderName>,
    query_names: Vec<String>,
}

impl GenericProvider {
    /// A provider that takes `authorization: Bearer TOKEN` (RFC 6750, section 2.1).
    pub fn bearer(name: impl Into<String>) -> Self {
        Self::new(name.into(), header::AUTHORIZATION, "Bearer ")
    }

    /// A provider that takes the token, and nothing else, in the header of this name.
    pub fn header(name: impl Into<String>, header: HeaderName) -> Self {
        Self::new(name.into(), header, "")
    }

    fn new(name: String, header: HeaderName, prefix: &'static str) -> Self {
        Self {
            name,
            header_names: vec![header.clone()],
            header,
            prefix,
            origins: Vec::new(),
            relative: false,
            extra: Vec::new(),
            // `access_token` is RFC 6750's, section 2.3; the others are what API keys go by.
            query_names: ["access_token", "api_key", "api-key"].map(Into::into).into(),
        }
    }

    /// Lets credentials go to this origin, too: `https://HOST` or `https://HOST:PORT`, or plain
    /// `http` with a loopback host. With no origin at all they go nowhere.
    ///
    /// # Errors
    /// Where the text is no such origin.
    pub fn origin(mut self, origin: &str) -> Result<Self, InvalidOrigin> {
        self.origins.push(origin.parse()?);
        Ok(self)
    }

    /// Lets credentials go with requests whose URI has no host, as on one HTTP/1.1 connection that
    /// the caller has opened. It is then the caller who says where they go.
    #[must_use]
    pub fn relative_uris(mut self) -> Self {
        self.relative = true;
        self
    }

    /// Sets one more header beside each credential's own, and removes the caller's of that name.
    #[must_use]
    pub fn extra_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header_names.push(name.clone());
        self.extra.push((name, value));
        self
    }

    /// The query parameters to remove from a caller's request since they would carry a credential of
    /// the caller's: `access_token`, `api_key` and `api-key` unless set.
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

    fn headers(&self, credential: &Credential) -> Result<CredentialHeaders, UnusableSecret> {
        let token = credential.secret.token().expose();
        let mut text = Zeroizing::new(Vec::with_capacity(self.prefix.len() + token.len()));
        text.extend_from_slice(self.prefix.as_bytes());
        text.extend_from_slice(token.as_bytes());
        // The bytes are wiped when the last copy of the header's value is gone.
        let text = bytes::Bytes::from_owner(text);
        let mut value = HeaderValue::from_maybe_shared(text).map_err(|_| UnusableSecret)?;
        value.set_sensitive(true);
        let mut headers = Vec::with_capacity(1 + self.extra.len());
        headers.push((self.header.clone(), value));
        headers.extend(self.extra.iter().cloned());
        Ok(headers)
    }

    fn header_names(&self) -> &[HeaderName] {
        &self.header_names
    }

    fn query_names(&self) -> &[String] {
        &self.query_names
    }
}
