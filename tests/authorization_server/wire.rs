//! Sockets: the server's, and those of a plain client.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{Shared, endpoints};

/// A body that may break off.
pub(crate) struct Canned {
    data: Option<Bytes>,
    breaks_off: bool,
}

impl Canned {
    pub(super) fn whole(text: String) -> Self {
        Self { data: Some(text.into()), breaks_off: false }
    }

    pub(super) fn cut(text: String) -> Self {
        Self { data: Some(text.into()), breaks_off: true }
    }
}

impl Body for Canned {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(match self.data.take() {
            Some(data) => Some(Ok(Frame::data(data))),
            None if self.breaks_off => Some(Err(io::ErrorKind::ConnectionReset.into())),
            None => None,
        })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.data {
            // More is announced than comes.
            Some(data) if self.breaks_off => SizeHint::with_exact(2 * data.len() as u64 + 1),
            Some(data) => SizeHint::with_exact(data.len() as u64),
            None => SizeHint::default(),
        }
    }
}

/// Serves until told to stop.
#[tokio::main(flavor = "current_thread")]
pub(super) async fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    mut stopped: oneshot::Receiver<()>,
) {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            Some(ended) = connections.join_next() => ended.expect("an endpoint did not panic"),
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let shared = shared.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let shared = shared.clone();
                        async move { Ok::<_, io::Error>(endpoints::handle(&shared, request).await) }
                    });
                    // Clients come and go as they like.
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }
    }
}

/// An HTTP client that follows no redirect.
pub(crate) fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Fetched {
    /// The redirect's target.
    pub(crate) fn location(&self) -> String {
        let location = self.headers.get("location");
        let location =
            location.unwrap_or_else(|| panic!("a redirect, not {} {}", self.status, self.body));
        location.to_str().unwrap().to_owned()
    }
}

/// Requests a page as a browser does.
pub(crate) async fn get(url: &str) -> Fetched {
    fetch(Request::get(url).body(Full::default()).unwrap()).await
}

/// Sends a request on a connection of its own.
pub(crate) async fn fetch(request: Request<Full<Bytes>>) -> Fetched {
    let response: Response<Incoming> = client().request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Fetched {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.into()).unwrap(),
    }
}

/// The same request with another method.
pub(crate) fn with_method(method: Method, url: &str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(url).body(Full::default()).unwrap()
}
