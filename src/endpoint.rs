//! An endpoint that only one account's requests use.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::origin::{InvalidOrigin, Origin};

/// An origin and a prefix of paths under it: `https://api.individual.example.com`,
/// `https://portal.example.com/v1`.
///
/// ```
/// use tower_credentials::provider::Endpoint;
///
/// let endpoint: Endpoint = "https://portal.example.com/v1/".parse()?;
/// assert_eq!(endpoint.to_string(), "https://portal.example.com/v1");
/// assert!(endpoint.contains(&"https://portal.example.com/v1/models".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    origin: Origin,
    scheme: Scheme,
    authority: Authority,
    /// Empty, or a path that begins with a slash and does not end with one.
    prefix: String,
}

impl Endpoint {
    /// Returns the origin.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the host, in lower case, without the port.
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// Returns the prefix of every path: empty, or with a slash at its beginning and none at its end.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns whether a URI has this endpoint's origin. See [`Origin::contains`].
    pub fn contains(&self, uri: &Uri) -> bool {
        self.origin.contains(uri)
    }
}

impl FromStr for Endpoint {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = |reason| InvalidOrigin::new(text, reason);
        let after_scheme = text.find("://").map_or(0, |at| at + 3);
        let path_at = text[after_scheme..].find('/').map_or(text.len(), |at| after_scheme + at);
        let (origin, path) = text.split_at(path_at);
        let origin: Origin = origin.parse()?;
        let prefix = path.trim_end_matches('/');
        if prefix.contains(['?', '#']) {
            return Err(invalid("it must have no query and no fragment"));
        }
        if prefix.contains('\\') {
            // Some clients read it as a slash.
            return Err(invalid("its path must have no backslash"));
        }
        // Also in the equivalent form of RFC 3986, section 6.2.2.2.
        let is_dots =
            |segment: &str| matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | "..");
        if prefix.split('/').any(is_dots) {
            return Err(invalid("its path must have no dot segments"));
        }
        let normal: Uri = format!("{origin}{prefix}").parse().map_err(|_| invalid("it is no URL"))?;
        let parts = normal.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(invalid("it is no URL"));
        };
        Ok(Self { origin, scheme, authority, prefix: prefix.to_owned() })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.prefix)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
