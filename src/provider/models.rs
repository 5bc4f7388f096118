//! The endpoint at which a provider lists its models.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;

use super::{InvalidOrigin, Origin};

/// The shape of a list of models, and the way to request its next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelsShape {
    /// OpenAI's, and that of the many servers like it: `{"data": [{"id": …}]}`, complete in one response.
    OpenAi,
    /// Anthropic's: `data`, with `has_more` and `last_id`; `after_id` requests the next page.
    Anthropic,
    /// Google's: `models`, with `nextPageToken`; `pageToken` requests the next page.
    Google,
}

impl ModelsShape {
    /// Returns the shape's name in settings: `openai`, `anthropic` or `google`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Google => "google",
        }
    }

    /// The default path of a list in this shape.
    #[cfg(feature = "providers")]
    pub(crate) fn default_path(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Anthropic => "/v1/models",
            Self::Google => "/v1beta/models",
        }
    }

    /// The query parameter for the number of models on a page.
    pub(crate) fn size_parameter(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => None,
            Self::Anthropic => Some("limit"),
            Self::Google => Some("pageSize"),
        }
    }
}

impl fmt::Display for ModelsShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The endpoint at which a provider lists its models, and the list's shape. The endpoint is a whole URL, or a path at the
/// provider's [origin](super::Provider::origin).
///
/// ```
/// use tower_credentials::provider::{ModelsEndpoint, ModelsShape, Origin};
///
/// let endpoint = ModelsEndpoint::new(ModelsShape::Anthropic, "/v1/models")?;
/// let origin: Origin = "https://api.example.com".parse()?;
/// assert_eq!(endpoint.uri(Some(&origin)).unwrap(), "https://api.example.com/v1/models");
/// # Ok::<(), tower_credentials::provider::InvalidOrigin>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelsEndpoint {
    shape: ModelsShape,
    url: ModelsUrl,
}

impl ModelsEndpoint {
    /// Creates an endpoint for a list in this shape, at this URL or at this path of the provider's origin. It may have a
    /// query, but no fragment.
    ///
    /// # Errors
    /// If the text is neither an absolute path, nor an HTTPS URL, nor a plain HTTP URL with a loopback host.
    pub fn new(shape: ModelsShape, url: &str) -> Result<Self, InvalidOrigin> {
        Ok(Self { shape, url: ModelsUrl::parse(url)? })
    }

    #[cfg(feature = "providers")]
    pub(crate) fn at(shape: ModelsShape, url: ModelsUrl) -> Self {
        Self { shape, url }
    }

    /// Returns the shape.
    pub fn shape(&self) -> ModelsShape {
        self.shape
    }

    /// Returns the whole URL; a path alone is at this origin. `None` if it is a path and there is no origin.
    pub fn uri(&self, origin: Option<&Origin>) -> Option<Uri> {
        let origin = self.url.origin.as_ref().or(origin)?;
        format!("{origin}{}", self.url.path).parse().ok()
    }

    /// Returns the URL of a page with one model, if the shape has pages, or else of the whole list. It is the cheapest
    /// request that any account can make.
    pub fn smallest(&self, origin: Option<&Origin>) -> Option<Uri> {
        let uri = self.uri(origin)?;
        let Some(parameter) = self.shape.size_parameter() else { return Some(uri) };
        let separator = if uri.query().is_some() { '&' } else { '?' };
        format!("{uri}{separator}{parameter}=1").parse().ok()
    }
}

/// A URL, or the path of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelsUrl {
    origin: Option<Origin>,
    path: PathAndQuery,
}

impl ModelsUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = |reason| InvalidOrigin::new(text, reason);
        let path_at = match text.find("://") {
            None if text.starts_with('/') && !text.starts_with("//") => 0,
            None => return Err(invalid("it must begin with https://, or be a path that begins with /")),
            Some(at) => text[at + 3..].find(['/', '?']).map_or(text.len(), |path| at + 3 + path),
        };
        let (origin, path) = text.split_at(path_at);
        let origin = if origin.is_empty() { None } else { Some(origin.parse()?) };
        if path.contains('#') {
            return Err(invalid("it must have no fragment"));
        }
        let path = if path.is_empty() { "/" } else { path };
        let path = path.parse().map_err(|_| invalid("it is not a URL"))?;
        Ok(Self { origin, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(shape: ModelsShape, url: &str) -> Option<String> {
        let origin: Origin = "https://api.test".parse().unwrap();
        Some(ModelsEndpoint::new(shape, url).unwrap().smallest(Some(&origin))?.to_string())
    }

    #[test]
    fn a_url_is_whole_or_a_path_and_keeps_its_query() {
        use ModelsShape::{Anthropic, Google, OpenAi};
        for (shape, url, expected) in [
            (OpenAi, "/v1/models", "https://api.test/v1/models"),
            (Google, "/v1beta/models", "https://api.test/v1beta/models?pageSize=1"),
            (Anthropic, "https://a.test/m?x=y", "https://a.test/m?x=y&limit=1"),
            (OpenAi, "https://a.test", "https://a.test/"),
            (OpenAi, "http://127.0.0.1:8080/m", "http://127.0.0.1:8080/m"),
        ] {
            assert_eq!(uri(shape, url).unwrap(), expected);
        }
        let endpoint = ModelsEndpoint::new(OpenAi, "/v1/models").unwrap();
        assert_eq!(endpoint.uri(None), None);
    }

    #[test]
    fn an_invalid_url_is_refused_without_quoting_its_password() {
        for text in [
            "",
            "v1/models",
            "//a.test/models",
            "http://a.test/models",
            "ftp://a.test/models",
            "https://a.test/models#x",
            "https://a.test/a b",
            "https://user:hunter2@a.test/models",
        ] {
            let error = ModelsEndpoint::new(ModelsShape::OpenAi, text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
