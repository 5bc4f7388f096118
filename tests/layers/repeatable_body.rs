//! Which bodies can be sent again, and what is sent then.

use std::convert::Infallible;
use std::future::poll_fn;
use std::marker::{PhantomData, PhantomPinned};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Either, Empty, Full, Limited, StreamBody};
use tower_credentials::{ReplayBody, SendOnce, TryCloneBody};

async fn text<B: Body>(body: B) -> Vec<u8> {
    let Ok(collected) = body.collect().await else { panic!("the body failed") };
    collected.to_bytes().to_vec()
}

/// A body of the same frame again and again, which is not `Unpin`.
#[derive(Default)]
struct Pinned(PhantomPinned);

impl Body for Pinned {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"one")))))
    }
}

/// Three frames: data, data, trailers.
#[derive(Default)]
struct Script {
    sent: u8,
}

impl Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.sent += 1;
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", HeaderValue::from_static("42"));
        Poll::Ready(match self.sent {
            1 => Some(Ok(Frame::data(Bytes::from_static(b"one")))),
            2 => Some(Ok(Frame::data(Bytes::from_static(b"two")))),
            3 => Some(Ok(Frame::trailers(trailers))),
            _ => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.sent >= 3
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(2);
        hint.set_upper(6);
        hint
    }
}

#[tokio::test]
async fn bytes_in_memory_are_sent_again_whole() {
    let full = Full::new(Bytes::from_static(b"again"));
    let second = full.try_clone().unwrap();
    let third = second.try_clone().unwrap();
    assert_eq!(text(full).await, b"again");
    assert_eq!(text(second).await, b"again");
    assert_eq!(third.size_hint().exact(), Some(5));
    assert_eq!(text(third).await, b"again");

    let body = String::from("again");
    assert_eq!(text(body.try_clone().unwrap()).await, b"again");
    assert_eq!(text(Box::new(body).try_clone().unwrap()).await, b"again");

    let limited = Limited::new(Full::new(Bytes::from_static(b"again")), 5);
    assert_eq!(text(limited.try_clone().unwrap()).await, b"again");
    let limited = Limited::new(Full::new(Bytes::from_static(b"again")), 4);
    assert!(limited.try_clone().unwrap().collect().await.is_err());
}

#[test]
fn a_second_body_shares_the_bytes() {
    let bytes = Bytes::from(vec![7; 1024]);
    let second = bytes.try_clone().unwrap();
    assert_eq!(second.as_ptr(), bytes.as_ptr());
}

#[test]
fn bodies_in_memory_can_be_sent_again() {
    assert_eq!(().try_clone(), Some(()));
    assert_eq!("text".try_clone(), Some("text"));
    let bytes: &'static [u8] = b"bytes";
    assert_eq!(bytes.try_clone(), Some(bytes));
    assert_eq!(vec![1_u8, 2].try_clone(), Some(vec![1, 2]));
    assert_eq!(Bytes::from_static(b"bytes").try_clone(), Some(Bytes::from_static(b"bytes")));
    assert!(Empty::<Bytes>::new().try_clone().is_some());
    assert!(Limited::new(Empty::<Bytes>::new(), 1).try_clone().is_some());
    assert!(Limited::new(String::new(), 1).try_clone().is_some());
}

#[tokio::test]
async fn the_rest_of_a_body_is_sent_again() {
    let mut body = Full::new(Bytes::from_static(b"again"));
    body.frame().await.unwrap().unwrap();
    assert!(body.try_clone().unwrap().is_end_stream());
}

#[test]
fn streams_and_boxes_cannot_be_sent_again() {
    let boxed: BoxBody<Bytes, Infallible> = Full::default().boxed();
    assert!(boxed.try_clone().is_none());
    assert!(Limited::new(boxed, 1).try_clone().is_none());
    let boxed: UnsyncBoxBody<Bytes, Infallible> = Full::default().boxed_unsync();
    assert!(boxed.try_clone().is_none());
    assert!(Limited::new(boxed, 1).try_clone().is_none());
    // Even if the stream could be cloned.
    assert!(StreamBody::new(PhantomData::<Bytes>).try_clone().is_none());
    assert!(Limited::new(StreamBody::new(()), 1).try_clone().is_none());
}

#[test]
fn either_of_two_bodies_decides_for_itself() {
    type Body = Either<Full<Bytes>, BoxBody<Bytes, Infallible>>;
    let full: Body = Either::Left(Full::default());
    assert!(matches!(full.try_clone(), Some(Either::Left(_))));
    let boxed: Body = Either::Right(Full::default().boxed());
    assert!(boxed.try_clone().is_none());
    let other: Either<BoxBody<Bytes, Infallible>, String> = Either::Right("text".into());
    assert!(matches!(other.try_clone(), Some(Either::Right(text)) if text == "text"));
}

#[test]
fn an_absent_body_can_be_sent_again_whatever_its_type() {
    let none: Option<BoxBody<Bytes, Infallible>> = None;
    assert!(matches!(none.try_clone(), Some(None)));
    assert!(Some(Full::<Bytes>::default().boxed()).try_clone().is_none());
    assert_eq!(Some("text").try_clone(), Some(Some("text")));
}

/// A user's own body, which implements only `try_clone`.
#[derive(Clone)]
struct Plain(bool);

impl TryCloneBody for Plain {
    fn try_clone(&self) -> Option<Self> {
        self.0.then(|| self.clone())
    }
}

#[test]
fn whether_a_body_can_be_sent_again_agrees_with_its_copy() {
    fn check(body: &impl TryCloneBody, expected: bool) {
        assert_eq!(body.try_clone().is_some(), expected);
        assert_eq!(body.is_repeatable(), expected);
        assert_eq!(body.take_over(), expected);
    }
    type Boxed = BoxBody<Bytes, Infallible>;
    for is_repeatable in [true, false] {
        let plain = || Plain(is_repeatable);
        check(&plain(), is_repeatable);
        check(&Box::new(plain()), is_repeatable);
        check(&Some(plain()), is_repeatable);
        check(&Either::<_, String>::Left(plain()), is_repeatable);
        check(&Either::<String, _>::Right(plain()), is_repeatable);
    }
    check(&(), true);
    check(&String::new(), true);
    check(&Full::new(Bytes::new()), true);
    check(&None::<Boxed>, true);
    check(&Full::<Bytes>::default().boxed(), false);
    check(&SendOnce::new(String::new()), false);
}

#[test]
fn wrappers_of_a_recorded_body_take_over_with_it() {
    fn check(first: impl TryCloneBody) {
        let kept = first.try_clone().unwrap();
        assert!(kept.take_over());
        assert!(kept.is_repeatable() && !first.is_repeatable());
    }
    let body = || ReplayBody::new(Full::new(Bytes::from_static(b"again")));
    check(body());
    check(Box::new(body()));
    check(Some(body()));
    check(Either::<_, Full<Bytes>>::Left(body()));
    check(Either::<Full<Bytes>, _>::Right(body()));
}

#[test]
fn send_once_is_never_sent_again() {
    assert!(SendOnce::new("text").try_clone().is_none());
    assert!(SendOnce::new(Full::<Bytes>::default()).try_clone().is_none());
    assert!(SendOnce::new(Script::default()).try_clone().is_none());
}

#[tokio::test]
async fn send_once_passes_on_frames_trailers_hints_and_the_end() {
    let mut body = SendOnce::new(Script::default());
    assert_eq!((body.size_hint().lower(), body.size_hint().upper()), (2, Some(6)));
    assert!(!body.is_end_stream());
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
    assert!(!body.is_end_stream());
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["checksum"], "42");
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn send_once_passes_on_errors() {
    let mut body = SendOnce::new(Limited::new(Full::new(Bytes::from_static(b"too long")), 3));
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn send_once_takes_bodies_that_are_not_unpin() {
    let mut body = pin!(SendOnce::new(Pinned::default()));
    let frame = poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
    assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "one");
}

#[test]
fn send_once_gives_back_what_it_wraps() {
    let mut body = SendOnce::from(String::from("text"));
    assert_eq!(body.get_ref(), "text");
    body.get_mut().push('s');
    assert_eq!(body.into_inner(), "texts");
}
