//! The bodies of requests to reqwest, and of responses from it.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Uri;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use reqwest::Url;

use crate::{BoxError, TryCloneBody};

/// The body of a reqwest request. If it is in memory, it can be sent again, and is never copied.
///
/// reqwest's own body can't be cloned outside of reqwest without copying the bytes.
#[derive(Debug, Default)]
pub struct RequestBody {
    inner: Inner,
    /// The URL of the caller's request. It is with the body, since in the extensions it would cost each request and each
    /// copy a map.
    known: Option<Arc<KnownUrl>>,
}

/// A URL as reqwest has parsed it, and the URI that was made from it.
#[derive(Debug)]
pub(super) struct KnownUrl {
    pub(super) url: Url,
    uri: Uri,
}

impl KnownUrl {
    pub(super) fn new(url: Url, uri: Uri) -> Self {
        Self { url, uri }
    }

    /// Whether this URI is the one that was made from the URL, and not just an equal one. Comparing the addresses of the
    /// texts takes a tenth of comparing the texts.
    fn is_source_of(&self, uri: &Uri) -> bool {
        let path = |uri: &Uri| uri.path_and_query().map(|path| std::ptr::from_ref(path.as_str()));
        let authority = |uri: &Uri| uri.authority().map(|name| std::ptr::from_ref(name.as_str()));
        path(&self.uri) == path(uri)
            && authority(&self.uri) == authority(uri)
            && self.uri.scheme() == uri.scheme()
    }
}

#[derive(Debug)]
enum Inner {
    Whole(Bytes),
    Stream(reqwest::Body),
}

impl Default for Inner {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl From<Inner> for RequestBody {
    fn from(inner: Inner) -> Self {
        Self { inner, known: None }
    }
}

impl RequestBody {
    /// Adds the URL of the body's request.
    pub(super) fn of_request(mut self, known: Arc<KnownUrl>) -> Self {
        self.known = Some(known);
        self
    }

    /// Takes the URL, unless the request goes elsewhere by now.
    pub(super) fn take_known(&mut self, uri: &Uri) -> Option<Arc<KnownUrl>> {
        self.known.take().filter(|known| known.is_source_of(uri))
    }

    /// Makes it a body that streams, of which reqwest has no copy to send after a redirect.
    pub(super) fn sent_once(self) -> Self {
        match self.inner {
            Inner::Whole(bytes) if !bytes.is_empty() => {
                let inner = Inner::Stream(reqwest::Body::wrap(Full::new(bytes)));
                Self { inner, known: self.known }
            }
            _ => self,
        }
    }

    /// Wraps any body. Bodies that are known to be in memory remain so.
    pub(super) fn of<B>(body: B) -> Self
    where
        B: Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
    {
        let mut body = Some(body);
        if let Some(own) = take::<Self>(&mut body) {
            return own;
        }
        if let Some(body) = take::<reqwest::Body>(&mut body) {
            return body.into();
        }
        if let Some(mut full) = take::<Full<Bytes>>(&mut body) {
            return Inner::Whole(whole(&mut full)).into();
        }
        if let Some(text) = take::<String>(&mut body) {
            return Inner::Whole(text.into()).into();
        }
        body.map(|body| Inner::Stream(reqwest::Body::wrap(body)).into()).unwrap_or_default()
    }
}

/// Takes the value, if it is of this type.
pub(super) fn take<T: 'static>(value: &mut Option<impl Any>) -> Option<T> {
    (value as &mut dyn Any).downcast_mut::<Option<T>>()?.take()
}

/// Takes the bytes of a body in memory, without a copy: its first frame is ready, and has all of them.
fn whole(body: &mut (impl Body<Data = Bytes> + Unpin)) -> Bytes {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        _ => Bytes::new(),
    }
}

impl From<reqwest::Body> for RequestBody {
    fn from(mut body: reqwest::Body) -> Self {
        match body.as_bytes() {
            Some(_) => Inner::Whole(whole(&mut body)).into(),
            None => Inner::Stream(body).into(),
        }
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Inner::Whole(bytes).into()
    }
}

impl From<RequestBody> for reqwest::Body {
    fn from(body: RequestBody) -> Self {
        match body.inner {
            Inner::Whole(bytes) => bytes.into(),
            Inner::Stream(body) => body,
        }
    }
}

impl TryCloneBody for RequestBody {
    #[inline]
    fn try_clone(&self) -> Option<Self> {
        match &self.inner {
            Inner::Whole(bytes) => {
                Some(Self { inner: Inner::Whole(bytes.clone()), known: self.known.clone() })
            }
            Inner::Stream(_) => None,
        }
    }
}

/// Copies the bytes, since reqwest doesn't share them. [`RequestBody`] makes no copy.
impl TryCloneBody for reqwest::Body {
    fn try_clone(&self) -> Option<Self> {
        self.as_bytes().map(|bytes| Bytes::copy_from_slice(bytes).into())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        match &mut self.inner {
            Inner::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Whole(bytes) => bytes.is_empty(),
            Inner::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream(body) => body.size_hint(),
        }
    }
}

/// The body of a reqwest response.
#[derive(Debug)]
pub struct ResponseBody {
    /// The response that it came in, without headers and extensions. If no layer reads any of the body, the response is
    /// returned unchanged.
    unread: Option<reqwest::Response>,
    body: reqwest::Body,
}

impl ResponseBody {
    pub(super) fn new(response: reqwest::Response) -> Self {
        Self { unread: Some(response), body: reqwest::Body::default() }
    }

    /// Returns the response that the body came in, or the rest of the body.
    pub(super) fn into_response(self) -> Result<reqwest::Response, reqwest::Body> {
        self.unread.ok_or(self.body)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        if let Some(response) = self.unread.take() {
            self.body = response.into();
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        match &self.unread {
            Some(response) => response.content_length() == Some(0),
            None => self.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.unread {
            Some(response) => response.content_length().map(SizeHint::with_exact).unwrap_or_default(),
            None => self.body.size_hint(),
        }
    }
}
