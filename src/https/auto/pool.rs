//! The connections of HTTP/2, by origin, and how a request is sent on one of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::uri::Authority;
use http::{Request, Response};
use http_body::Body;

use super::body::Sent;
use super::connection::Opener;
use super::error::AutoError;
use super::origin::{Answer, Origin, Stream};
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
            let (sent, kept) = Kept::of(request, &place.stream);
            match sender.try_send_request(sent).await {
                Ok(response) => return Ok(response.map(|body| AutoBody::http2(body, place.stream))),
                Err(mut error) => {
                    let unsent = error.take_message();
                    let error = AutoError::http2(error.into_error());
                    match kept.unprocessed(unsent, &error) {
                        // A server that ends each connection at once is no server.
                        Some(again) if !place.is_first => request = again,
                        _ => return Err(error),
                    }
                }
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

/// What is kept of a request on its way: all of one whose body has ended.
struct Kept<B>(Option<Request<B>>);

impl<B: Body> Kept<B> {
    /// Returns what is sent, and what is kept of it.
    fn of(request: Request<B>, stream: &Arc<Stream>) -> (Request<Sent<B>>, Self) {
        if !request.body().is_end_stream() {
            return (request.map(|body| Sent::whole(body, stream.clone())), Self(None));
        }
        let (head, body) = request.into_parts();
        let sent = Request::from_parts(head.clone(), Sent::ended(&body));
        (sent, Self(Some(Request::from_parts(head, body))))
    }

    /// Returns the whole request if the connection has ended before the server has processed it. `unsent` is what was not
    /// sent at all.
    fn unprocessed(self, unsent: Option<Request<Sent<B>>>, error: &AutoError) -> Option<Request<B>> {
        match unsent {
            Some(unsent) => self.0.or_else(|| {
                let (head, body) = unsent.into_parts();
                Some(Request::from_parts(head, body.into_inner()?))
            }),
            None => self.0.filter(|_| error.is_unprocessed()),
        }
    }
}
