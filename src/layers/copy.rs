//! The copy of a request that is kept for another attempt.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::attempt::Attempt;
use super::spares::{self, Spares};
use crate::pool::CredentialHeaderNames;

/// A request without its body. The next request's copy uses its memory again.
#[derive(Default)]
pub(super) struct PartsCopy {
    line: Option<(Method, Uri, Version)>,
    /// A list, since a map costs two allocations, and a hash for each name.
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: Extensions,
    /// Whether a header may hold a credential.
    pub(super) may_carry: bool,
}

thread_local! {
    static COPIES: Spares<Box<PartsCopy>> = const { Spares::new(Vec::new()) };
}

impl PartsCopy {
    /// Copies a request's parts. What is ours in the extensions is left out.
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
        copy.extensions = Attempt::others(request.extensions_mut());
        copy
    }

    /// Another request of the same parts.
    pub(super) fn restore<B>(&self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        if let Some((method, uri, version)) = &self.line {
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            *request.version_mut() = *version;
        }
        // Room for what a credential adds.
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

    /// Keeps its memory for another request.
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
