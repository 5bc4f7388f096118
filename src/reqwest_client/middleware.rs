//! The shared part of both middlewares: the way in, the way out, and errors.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Extensions;
use http_body::Body;
use reqwest::{Request, Response};
use reqwest_middleware::Result;

use super::body::{KnownUrl, RequestBody};
use super::convert::{Sent, http_request, reqwest_request, reqwest_response};
use crate::layers::Attempt;
use crate::{BoxError, Error};

/// The part of the caller's request that is kept while the layers have it.
pub(super) struct Caller {
    known: Arc<KnownUrl>,
    /// The attempt of layers further out.
    outer: Option<Attempt>,
}

/// Marks the [`Attempt`] in the extensions that a caller gets back: it has ended, and belongs to no layer further out.
#[derive(Clone)]
struct Ended;

/// The part of the caller's request that each attempt needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    /// Kept out of the extensions, which the caller gets back, since it is for this request alone.
    timeout: Option<Duration>,
    /// Whether the request had extensions of its own, besides those that middleware share. reqwest must get them. It need
    /// not get the shared ones, which would cost each request a copy.
    has_extensions: bool,
}

impl Caller {
    /// Takes a request in, at the top of the layers.
    #[inline]
    pub(super) fn enter(
        mut request: Request,
        extensions: &Extensions,
    ) -> Result<(Self, Own, http::Request<RequestBody>)> {
        let timeout = request.timeout().is_some().then(|| request.timeout_mut().take()).flatten();
        let (mut request, known) = http_request(request)?;
        let mut own = Own { timeout, has_extensions: !request.extensions().is_empty() };
        if timeout.is_some() && request.extensions().len() == 1 {
            // It is the place of the timeout, which is empty now.
            request.extensions_mut().clear();
            own.has_extensions = false;
        }
        if !extensions.is_empty() {
            let above = std::mem::replace(request.extensions_mut(), extensions.clone());
            request.extensions_mut().extend(above);
        }
        let is_ended = request.extensions_mut().remove::<Ended>().is_some();
        let outer = extensions.get::<Attempt>().filter(|_| !is_ended).cloned();
        Ok((Self { known, outer }, own, request))
    }

    /// Passes a result out. `latest` are the extensions with which the latest response came back.
    #[inline]
    pub(super) fn leave<R, E>(
        self,
        response: std::result::Result<http::Response<R>, E>,
        latest: Option<Extensions>,
        extensions: &mut Extensions,
    ) -> Result<Response>
    where
        R: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
        E: Into<BoxError>,
    {
        if let Some(latest) = latest {
            *extensions = latest;
            if let Some(outer) = self.outer {
                extensions.insert(outer);
            } else if let Some(attempt) = extensions.get::<Attempt>().map(Attempt::ended) {
                extensions.insert(attempt);
                extensions.insert(Ended);
            }
        }
        match response {
            Ok(response) => Ok(reqwest_response(response, &self.known)),
            Err(error) => Err(middleware_error(error.into())),
        }
    }
}

impl Own {
    /// Makes an attempt for the rest of the chain, at the bottom of the layers, and the extensions for it.
    #[inline]
    pub(super) fn attempt<B>(
        &self,
        mut request: http::Request<B>,
    ) -> std::result::Result<(Sent, Extensions), reqwest::Error>
    where
        B: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
    {
        let extensions = match self.has_extensions {
            true => request.extensions().clone(),
            false => std::mem::take(request.extensions_mut()),
        };
        let mut sent = reqwest_request(request)?;
        if self.timeout.is_some() {
            *sent.request.timeout_mut() = self.timeout;
        }
        Ok((sent, extensions))
    }
}

/// The error of another crate's layer.
#[derive(Debug)]
pub struct LayerError(BoxError);

impl LayerError {
    /// Returns the layer's error.
    pub fn get_ref(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.0
    }

    /// Unwraps the layer's error.
    pub fn into_inner(self) -> BoxError {
        self.0
    }
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for LayerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Makes a stack's error a middleware's.
fn middleware_error(error: BoxError) -> reqwest_middleware::Error {
    let error = match error.downcast::<reqwest_middleware::Error>() {
        Ok(error) => return *error,
        Err(error) => error,
    };
    let error = match error.downcast::<reqwest::Error>() {
        Ok(error) => return (*error).into(),
        Err(error) => error,
    };
    match error.downcast::<Error>() {
        Ok(error) => reqwest_middleware::Error::middleware(*error),
        Err(error) => reqwest_middleware::Error::middleware(LayerError(error)),
    }
}
