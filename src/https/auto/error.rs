//! Why a request has no response.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hyper_util::client::legacy;

/// Why a request of an [`AutoClient`](super::AutoClient) has no response.
#[derive(Debug)]
pub struct AutoError(Kind);

#[derive(Debug)]
enum Kind {
    Http1(legacy::Error),
    /// All requests that have waited for the connection get the same.
    Connect(ConnectError),
    Http2(hyper::Error),
}

/// Why there is no connection.
pub(super) type ConnectError = Arc<dyn Error + Send + Sync>;

impl AutoError {
    pub(super) fn http1(error: legacy::Error) -> Self {
        Self(Kind::Http1(error))
    }

    pub(super) fn connect(error: ConnectError) -> Self {
        Self(Kind::Connect(error))
    }

    pub(super) fn http2(error: hyper::Error) -> Self {
        Self(Kind::Http2(error))
    }

    /// Whether there was no connection, so that nothing was sent.
    pub fn is_connect(&self) -> bool {
        match &self.0 {
            Kind::Http1(error) => error.is_connect(),
            Kind::Connect(_) => true,
            Kind::Http2(_) => false,
        }
    }

    /// Whether the server has said that it ends the connection without this request (GOAWAY, RFC 9113, section 6.8).
    pub(super) fn is_unprocessed(&self) -> bool {
        let sources = std::iter::successors(self.source(), |&error| error.source());
        let mut of_h2 = sources.filter_map(|error| error.downcast_ref::<h2::Error>());
        of_h2.any(|error| error.is_remote() && error.is_go_away())
    }
}

impl fmt::Display for AutoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Http1(error) => error.fmt(f),
            Kind::Connect(_) => f.write_str("could not connect"),
            Kind::Http2(_) => f.write_str("the request failed"),
        }
    }
}

impl Error for AutoError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Http1(error) => error.source(),
            Kind::Connect(error) => Some(&**error),
            Kind::Http2(error) => Some(error),
        }
    }
}
