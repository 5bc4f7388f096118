//! Why there is no list of models.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, Uri};

/// Why there is no new list of models. It names the provider and the URL, and nothing that is secret.
#[derive(Clone, Debug)]
pub struct DiscoveryError {
    provider: Arc<str>,
    url: Arc<str>,
    kind: DiscoveryErrorKind,
}

/// What has happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DiscoveryErrorKind {
    /// There is no answer: the client has failed, or a layer (an [`Error`](crate::Error) of this crate's).
    Failed(Arc<dyn Error + Send + Sync>),
    /// There was no whole answer within this time.
    TimedOut(Duration),
    /// The upstream has refused.
    Status {
        /// How.
        status: StatusCode,
        /// Its own words, cut short.
        message: Option<String>,
    },
    /// What came is no list of models.
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
    /// The page that is to come next was there before.
    RepeatedPage,
    /// The task that was asking has ended too soon: the client has panicked, or the runtime is gone.
    Interrupted,
}

impl DiscoveryError {
    pub(super) fn new(provider: &str, uri: &Uri, kind: DiscoveryErrorKind) -> Self {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let url = format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path());
        Self { provider: provider.into(), url: url.into(), kind }
    }

    /// Whose models were asked for.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Where, without a query. An account may have its own host, which this isn't.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What has happened.
    pub fn kind(&self) -> &DiscoveryErrorKind {
        &self.kind
    }

    /// The status, where the upstream has refused.
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
            Kind::TimedOut(after) => write!(f, "no answer within {} s", after.as_secs_f64()),
            Kind::Status { status, message } => {
                write!(f, "it answered {status}")?;
                if let Some(message) = message {
                    write!(f, ": {message}")?;
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
            Kind::RepeatedPage => f.write_str("its pages go round in a circle"),
            Kind::Interrupted => f.write_str("the task that asked has ended too soon"),
        }
    }
}

impl Error for DiscoveryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            // It is told as a part of this error, so what lies behind it follows.
            DiscoveryErrorKind::Failed(error) => error.source(),
            _ => None,
        }
    }
}
