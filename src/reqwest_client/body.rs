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

/// The body of a request of reqwest's. In memory, it can be sent again, and is never copied.
///
/// reqwest's own can't be cloned by others without copying it.
#[derive(Debug, Default)]
pub struct RequestBody {
    inner: Inner,
    /// The URL of the caller's request. Beside the body, since in the extensions it would cost each request a
    /// map, and each copy of one another.
    known: Option<Arc<KnownUrl>>,
}

/// A URL as reqwest has parsed it, and the URI that was made of it.
#[derive(Debug)]
pub(super) struct KnownUrl {
    pub(super) url: Url,
    uri: Uri,
}

impl KnownUrl {
    pub(super) fn new(url: Url, uri: Uri) -> Self {
        Self { url, uri }
    }

    /// Whether this URI is the one that was made of the URL. One that was made anew is not, whatever it says: to
    /// compare where their texts are takes a tenth of comparing these.
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
    /// With the URL of the request that it belongs to.
    pub(super) fn of_request(mut self, known: Arc<KnownUrl>) -> Self {
        self.known = Some(known);
        self
    }

    /// The URL, unless the request goes elsewhere by now.
    pub(super) fn take_known(&mut self, uri: &Uri) -> Option<Arc<KnownUrl>> {
        self.known.take().filter(|known| known.is_source_of(uri))
    }

    /// The body as one that streams: reqwest has no copy of such a one to send after a redirect.
    pub(super) fn sent_once(self) -> Self {
        match self.inner {
            Inner::Whole(bytes) if !bytes.is_empty() => {
                let inner = Inner::Stream(reqwest::Body::wrap(Full::new(bytes)));
                Self { inner, known: self.known }
            }
            _ => self,
        }
    }

    /// Any body. Those that are known to be in memory remain so.
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

/// The value, where it is of this type.
pub(super) fn take<T: 'static>(value: &mut Option<impl Any>) -> Option<T> {
    (value as &mut dyn Any).downcast_mut::<Option<T>>()?.take()
}

/// What a body that is in memory holds, uncopied: it gives all in its first frame, at once.
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

/// By a copy of the bytes, since reqwest doesn't share them. [`RequestBody`] does without.
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

/// The body of a response of reqwest's.
#[derive(Debug)]
pub struct ResponseBody {
    /// The response it came in, less headers and extensions: where no layer reads any of it, it leaves
    /// as it came.
    unread: Option<reqwest::Response>,
    body: reqwest::Body,
}

impl ResponseBody {
    pub(super) fn new(response: reqwest::Response) -> Self {
        Self { unread: Some(response), body: reqwest::Body::default() }
    }

    /// The response that the body came in, or what is left of the body.
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
