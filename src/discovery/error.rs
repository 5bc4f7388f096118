//! Errors of a discovery.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, Uri};

/// The reason why there is no new list of models. It names the provider and the URL, and contains no secrets.
#[derive(Clone, Debug)]
pub struct DiscoveryError {
    provider: Arc<str>,
    url: Arc<str>,
    kind: DiscoveryErrorKind,
}

/// The kind of a [`DiscoveryError`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DiscoveryErrorKind {
    /// There is no response: the client failed, or a layer did (with an [`Error`](crate::Error) of this crate).
    Failed(Arc<dyn Error + Send + Sync>),
    /// No complete list arrived within this time.
    TimedOut(Duration),
    /// The response is not a success.
    Status {
        /// The status.
        status: StatusCode,
        /// The upstream's own words, shortened.
        message: Option<String>,
    },
    /// The response is not a list of models.
    Malformed {
        /// Why.
        reason: String,
    },
    /// A page has more bytes than this.
    PageTooLong(usize),
    /// All pages together have more bytes than this.
    TooLong(usize),
    /// There are more pages than this.
    TooManyPages(usize),
    /// There are more models than this.
    TooManyModels(usize),
    /// A page names an earlier page as the next one.
    RepeatedPage,
    /// The task of the request ended early: the client panicked, or the runtime was shut down.
    Interrupted,
}

impl DiscoveryError {
    pub(super) fn new(provider: &str, uri: &Uri, kind: DiscoveryErrorKind) -> Self {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let url = format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path());
        Self { provider: provider.into(), url: url.into(), kind }
    }

    /// Returns the provider's name.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Returns the URL of the list, without a query. If the account has its own host, this is not that one.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the kind of error.
    pub fn kind(&self) -> &DiscoveryErrorKind {
        &self.kind
    }

    /// Returns the response's status, if it is not a success.
    pub fn status(&self) -> Option<StatusCode> {
        match self.kind {
            DiscoveryErrorKind::Status { status, .. } => Some(status),
            _ => None,
        }
    }
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use DiscoveryErrorKind as Kind;
        let Self { provider, url, kind } = self;
        write!(f, "no list of {provider}'s models from {url}: ")?;
        match kind {
            Kind::Failed(error) => write!(f, "{error}"),
            Kind::TimedOut(after) => write!(f, "no list within {} s", after.as_secs_f64()),
            Kind::Status { status, message } => {
                write!(f, "it answered {status}")?;
                if let Some(message) = message {
                    write!(f, ": \"{message}\"")?;
                }
                if status.is_redirection() || matches!(status.as_u16(), 400 | 404 | 405 | 410) {
                    f.write_str("; if the list is elsewhere, set `models_url`")?;
                }
                Ok(())
            }
            Kind::Malformed { reason } => {
                write!(f, "{reason}; if it is in another shape, set `models_shape`")
            }
            Kind::PageTooLong(most) => write!(f, "a page has more than {most} bytes"),
            Kind::TooLong(most) => write!(f, "its pages have more than {most} bytes"),
            Kind::TooManyPages(most) => write!(f, "it has more than {most} pages"),
            Kind::TooManyModels(most) => write!(f, "it has more than {most} models"),
            Kind::RepeatedPage => f.write_str("its pages refer to each other in a circle"),
            Kind::Interrupted => f.write_str("the task of the request ended early"),
        }
    }
}

impl Error for DiscoveryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            // This error's text includes it, so its own source follows.
            DiscoveryErrorKind::Failed(error) => error.source(),
            _ => None,
        }
    }
}
