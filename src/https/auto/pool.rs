//! The connections of HTTP/2, by origin, and how a request is sent on one of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::uri::Authority;
use http::{Request, Response};
use http_body::Body;

use super::connection::Opener;
use super::error::AutoError;
use super::origin::{Answer, Origin};
use super::{AutoBody, without_connection};
use crate::BoxError;
use crate::https::HttpsClient;
use crate::https::connector::Connector;

/// The origins that were asked.
pub(super) struct Pool<B> {
    opener: Arc<Opener>,
    origins: Mutex<HashMap<Authority, Arc<Origin<B>>>>,
}

impl<B> Pool<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    pub(super) fn new(connector: Connector, ping: Duration) -> Self {
        Self { opener: Arc::new(Opener::new(connector, ping)), origins: Mutex::default() }
    }

    /// Sends a request: by HTTP/2, or by this client if its origin does not speak that.
    pub(super) async fn send(
        self: Arc<Self>,
        mut request: Request<B>,
        http1: HttpsClient<B>,
    ) -> Result<Response<AutoBody>, AutoError> {
        let by_http1 = async |request| {
            let response = http1.client.request(request).await.map_err(AutoError::http1)?;
            Ok(response.map(AutoBody::http1))
        };
        let Some(origin) = request.uri().authority().map(|authority| self.origin(authority)) else {
            // That client says what is wrong.
            return by_http1(request).await;
        };
        loop {
            let place = match origin.place().await {
                Answer::Place(place) => place,
                Answer::Http1 => return by_http1(request).await,
                Answer::Failed(error) => return Err(AutoError::connect(error)),
            };
            without_connection(request.headers_mut());
            let mut sender = place.sender;
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response.map(|body| AutoBody::http2(body, place.stream))),
                Err(mut error) => match error.take_message() {
                    // The connection has ended, and the request has not begun. A server that ends each at once is no server.
                    Some(unsent) if !place.is_first => request = unsent,
                    _ => return Err(AutoError::http2(error.into_error())),
                },
            }
        }
    }

    fn origin(&self, authority: &Authority) -> Arc<Origin<B>> {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = origins.get(authority) {
            return origin.clone();
        }
        origins.retain(|_, origin| origin.is_in_use());
        let origin = Arc::new(Origin::new(authority, self.opener.clone()));
        origins.insert(authority.clone(), origin.clone());
        origin
    }
}
