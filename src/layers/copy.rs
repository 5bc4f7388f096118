//! A copy of a request, kept for another attempt.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::attempt::Attempt;
use super::spares::{self, Spares};
use crate::pool::CredentialHeaderNames;

/// A copy of a request without its body. Its memory is reused for the next copy.
#[derive(Default)]
pub(super) struct PartsCopy {
    line: Option<(Method, Uri, Version)>,
    /// A list, since a map costs two allocations and a hash for each name.
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: Extensions,
    /// Whether a header may hold a credential.
    pub(super) may_carry: bool,
}

thread_local! {
    static COPIES: Spares<Box<PartsCopy>> = const { Spares::new(Vec::new()) };
}

impl PartsCopy {
    /// Copies a request's parts, without our own extension.
    #[inline]
    pub(super) fn of<B>(request: &mut Request<B>, credentials: &CredentialHeaderNames) -> Box<Self> {
        let mut copy: Box<Self> = spares::take(&COPIES);
        copy.line = Some((request.method().clone(), request.uri().clone(), request.version()));
        let headers = request.headers();
        copy.headers.reserve(headers.len());
        for (name, value) in headers {
            copy.may_carry |= credentials.contains(name);
            copy.headers.push((name.clone(), value.clone()));
        }
        copy.extensions = Attempt::clone_others(request.extensions_mut());
        copy
    }

    /// Makes another request of the same parts.
    pub(super) fn restore<B>(&self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        if let Some((method, uri, version)) = &self.line {
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            *request.version_mut() = *version;
        }
        // Room for the headers that a credential adds.
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 2);
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        *request.headers_mut() = headers;
        if !self.extensions.is_empty() {
            *request.extensions_mut() = self.extensions.clone();
        }
        request
    }

    /// Keeps the memory for another request.
    pub(super) fn recycle(mut self: Box<Self>) {
        self.line = None;
        self.headers.clear();
        self.may_carry = false;
        if !self.extensions.is_empty() {
            self.extensions = Extensions::new();
        }
        spares::keep(&COPIES, self);
    }
}
