//! The span of a caller's request.

use std::sync::Arc;

use http::{Request, Response};
use tracing::field::Empty;
use tracing::span::Entered;
use tracing::{Level, Span};

use super::history::Sent;
use crate::BoxError;
use crate::error::Error;
use crate::origin;
use crate::pool::Pool;

/// The target of the spans.
const TARGET: &str = "tower_credentials::request";

/// The span of a caller's request with all of its attempts, if somebody collects it. Its fields have the names of
/// OpenTelemetry's conventions for HTTP, as far as they have one.
#[derive(Clone)]
pub(super) struct RequestSpan(Option<Arc<Span>>);

impl RequestSpan {
    pub(super) const NONE: Self = Self(None);

    /// Begins the span of a request.
    #[inline]
    pub(super) fn begin<B>(pool: &Pool, request: &Request<B>) -> Self {
        if tracing::enabled!(target: TARGET, Level::DEBUG) {
            Self::new(pool, request)
        } else {
            Self::NONE
        }
    }

    #[cold]
    fn new<B>(pool: &Pool, request: &Request<B>) -> Self {
        let uri = request.uri();
        let span = tracing::debug_span!(
            target: TARGET,
            "credentials.request",
            provider = pool.key().provider(),
            namespace = pool.key().namespace(),
            http.request.method = request.method().as_str(),
            server.address = uri.host(),
            server.port = origin::port(uri),
            credential.id = Empty,
            http.request.resend_count = Empty,
            http.response.status_code = Empty,
            error.type = Empty,
        );
        Self(Some(Arc::new(span)))
    }

    /// Enters the span, so that what happens meanwhile is a part of it.
    #[inline]
    pub(super) fn enter(&self) -> Option<Entered<'_>> {
        self.0.as_deref().map(Span::enter)
    }

    #[inline]
    pub(super) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Records how the request has ended, and the last attempt.
    #[cold]
    pub(super) fn end<R>(&self, result: &Result<Response<R>, BoxError>, last: Option<&Sent>) {
        let Some(span) = &self.0 else { return };
        if let Some(Sent { lease, number, .. }) = last {
            // Short, and no label: labels are often email addresses.
            span.record("credential.id", lease.credential().id.short());
            if *number > 1 {
                span.record("http.request.resend_count", number - 1);
            }
        }
        match result {
            Ok(response) => {
                let status = response.status();
                span.record("http.response.status_code", status.as_u16());
                if status.is_client_error() || status.is_server_error() {
                    span.record("error.type", status.as_str());
                }
            }
            Err(error) => {
                let kind = error.downcast_ref::<Error>().map_or("_OTHER", Error::kind);
                span.record("error.type", kind);
            }
        }
    }
}
