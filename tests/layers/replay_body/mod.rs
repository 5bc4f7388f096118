//! Bodies that are recorded as they are sent, and their copies.

mod model;
pub(crate) mod script;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Channel, Full};
use model::{Model, Operation};
use proptest::prelude::*;
use script::{End, Hint, Script, Scripted, Step, content, trailers};
use tokio::sync::Barrier;
use tower_credentials::{BoxError, ReplayBody, ReplayError, SendOnce, TryCloneBody};

fn scripts() -> impl Strategy<Value = Script> {
    let step = prop_oneof![
        1 => Just(Step::Pending),
        1 => Just(Step::Yield),
        4 => (0_usize..8).prop_map(Step::Data),
    ];
    let end = prop_oneof![Just(End::Clean), Just(End::Trailers), Just(End::Error)];
    let hint = prop_oneof![Just(Hint::Exact), Just(Hint::Lower), Just(Hint::Nothing)];
    let parts = (prop::collection::vec(step, 0..12), end, hint, any::<bool>());
    parts.prop_map(|(mut steps, end, hint, tells_end)| {
        // A body that announces its end does so with its last frame.
        while end == End::Clean && matches!(steps.last(), Some(Step::Pending | Step::Yield)) {
            steps.pop();
        }
        Script { steps, end, hint, tells_end }
    })
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        8 => any::<usize>().prop_map(Operation::Poll),
        3 => any::<usize>().prop_map(Operation::Copy),
        1 => any::<usize>().prop_map(Operation::Drop),
        1 => any::<usize>().prop_map(Operation::TakeOver),
        2 => Just(Operation::Wake),
    ];
    prop::collection::vec(operation, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, failure_persistence: None, ..Default::default() })]

    #[test]
    fn copies_in_any_order_send_the_whole_body_or_fail(
        script in scripts(),
        bound in 0_usize..48,
        operations in operations(),
    ) {
        Model::new(script, bound).run(&operations)?;
    }
}

type Polled<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

/// Polls a body once.
fn poll<B: Body + Unpin>(body: &mut B) -> Polled<B> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

fn data<B: Body<Data = Bytes, Error: std::fmt::Debug> + Unpin>(body: &mut B) -> Bytes {
    match poll(body) {
        Poll::Ready(Some(frame)) => frame.unwrap().into_data().unwrap(),
        _ => panic!("there is no data"),
    }
}

fn why(error: &BoxError) -> ReplayError {
    *error.downcast_ref().expect("it isn't an error of ours")
}

async fn failure(body: ReplayBody<impl Body<Data: Buf, Error: Into<BoxError>>>) -> ReplayError {
    why(&body.collect().await.map(|_| ()).expect_err("it has sent it all"))
}

#[tokio::test]
async fn the_bound_holds_to_the_byte() {
    let lengths = [3, 0, 4, 5];
    for hint in [Hint::Nothing, Hint::Lower, Hint::Exact] {
        for bound in 0..=13_u64 {
            let (body, watch) = Scripted::new(Script { hint, ..Script::of(&lengths) });
            let mut first = ReplayBody::with_bound(body, bound);
            let Some(kept) = first.try_clone() else {
                let least = if hint == Hint::Exact { 12 } else { 6 };
                assert!(hint != Hint::Nothing && bound < least, "{hint:?}, {bound}");
                assert_eq!(first.collect().await.unwrap().to_bytes().len(), 12);
                assert_eq!(watch.peak.load(std::sync::atomic::Ordering::SeqCst), 12, "collected");
                continue;
            };
            let mut sent = 0;
            for (number, length) in lengths.into_iter().enumerate() {
                assert_eq!(data(&mut first), content(number, length));
                sent += length;
                let is_within = sent as u64 <= bound;
                assert_eq!(kept.is_repeatable(), is_within, "{sent} of {bound}");
                assert_eq!(kept.try_clone().is_some(), is_within);
                assert_eq!(first.try_clone().is_some(), is_within);
                assert_eq!(watch.held(), if is_within { sent } else { 0 });
            }
            assert!(first.frame().await.is_none());
            if bound < 12 {
                assert_eq!(failure(kept).await, ReplayError::PastBound { bound });
            } else {
                assert_eq!(kept.size_hint().exact(), Some(12));
                assert_eq!(kept.collect().await.unwrap().to_bytes().len(), 12);
            }
        }
    }
}

#[tokio::test]
async fn by_default_two_mebibytes_are_recorded() {
    let most = 2 * 1024 * 1024;
    for (length, is_repeatable) in [(most, true), (most + 1, false)] {
        let body = ReplayBody::from(SendOnce::new(Full::new(Bytes::from(vec![7; length]))));
        assert_eq!(body.is_repeatable(), is_repeatable);
        assert_eq!(body.size_hint().exact(), Some(length as u64));
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), length);
    }
}

#[tokio::test]
async fn a_body_that_was_never_copied_takes_no_memory_and_can_be_copied_on_the_way() {
    let (body, watch) = Scripted::new(Script::of(&[10; 100]));
    let mut body = ReplayBody::with_bound(body, 30);
    for _ in 0..97 {
        drop(data(&mut body));
        assert_eq!(watch.held(), 0);
    }
    // It sends the rest, as every copy does.
    let rest = body.try_clone().unwrap();
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), 30);
    assert_eq!(rest.collect().await.unwrap().to_bytes().len(), 30);
}

#[tokio::test]
async fn the_bound_is_about_what_is_still_needed() {
    let (body, watch) = Scripted::new(Script::of(&[10; 100]));
    let mut one = ReplayBody::with_bound(body, 20);
    let mut other = one.try_clone().unwrap();
    for number in 0..100 {
        assert_eq!(data(&mut one), content(number, 10));
        assert_eq!(data(&mut other), content(number, 10));
        assert_eq!(watch.held(), 0);
    }
    assert!(one.frame().await.is_none() && other.frame().await.is_none());
}

#[tokio::test]
async fn many_tiny_frames_count_for_more_than_their_data() {
    let bound = 64 * 1024;
    let frames = |count: usize| Scripted::new(Script::of(&vec![1; count])).0;
    let mut body = ReplayBody::with_bound(frames(bound), bound as u64);
    let kept = body.try_clone().unwrap();
    let mut count = 0;
    while kept.is_repeatable() {
        drop(data(&mut body));
        count += 1;
    }
    assert!((1025..3000).contains(&count), "{count}");
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), bound - count);
    // A short list does not count.
    let mut body = ReplayBody::with_bound(frames(1024), 1024);
    let kept = body.try_clone().unwrap();
    while body.frame().await.is_some() {}
    assert_eq!(kept.collect().await.unwrap().to_bytes().len(), 1024);
}

#[tokio::test]
async fn trailers_are_replayed_and_keep_the_size_open() {
    let script = Script { end: End::Trailers, ..Script::of(&[3]) };
    let mut first = ReplayBody::new(Scripted::new(script).0);
    let kept = first.try_clone().unwrap();
    while first.frame().await.is_some() {}
    assert_eq!((kept.size_hint().lower(), kept.size_hint().upper()), (3, None));
    let whole = kept.collect().await.unwrap();
    assert_eq!(whole.trailers(), Some(&trailers()));
    assert_eq!(whole.to_bytes().len(), 3);
}

/// A body whose data is a buffer of several pieces.
struct Pieces(Vec<VecDeque<u8>>);

impl Body for Pieces {
    type Data = VecDeque<u8>;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<VecDeque<u8>>, Infallible>>> {
        Poll::Ready(self.0.pop().map(|data| Ok(Frame::data(data))))
    }
}

#[tokio::test]
async fn data_of_any_kind_is_recorded() {
    let mut pieces = VecDeque::from([2, 3]);
    pieces.push_front(1);
    let mut first = ReplayBody::new(Pieces(vec![pieces]));
    let mut kept = first.try_clone().unwrap();
    let (data, again) = (data(&mut first), data(&mut kept));
    assert_eq!(data[..], [1, 2, 3]);
    assert_eq!(again.as_ptr(), data.as_ptr(), "once copied, it is shared");
}

struct Panics(bool);

impl Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        assert!(!std::mem::replace(&mut self.0, true), "as planned");
        Poll::Pending
    }
}

#[tokio::test]
async fn a_body_that_panics_fails_for_all_its_copies() {
    let mut first = ReplayBody::new(Panics(false));
    let second = first.try_clone().unwrap();
    let third = second.try_clone().unwrap();
    // This copy waits.
    let mut waiting = pin!(failure(second));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let panicked = catch_unwind(AssertUnwindSafe(|| poll(&mut first).is_pending()));
    assert!(panicked.is_err());
    drop(first);
    assert_eq!(waiting.await, ReplayError::Failed);
    assert!(third.try_clone().is_none() && !third.is_end_stream());
    assert_eq!(failure(third).await, ReplayError::Failed);
}

#[tokio::test]
async fn a_copy_goes_on_from_where_a_dropped_one_was() {
    let (mut sender, channel) = Channel::<Bytes, Infallible>::new(1);
    let mut first = ReplayBody::new(channel);
    let kept = first.try_clone().unwrap();
    sender.send_data(Bytes::from_static(b"one")).await.unwrap();
    assert_eq!(data(&mut first), "one");
    assert!(poll(&mut first).is_pending());
    drop(first);
    let rest = tokio::spawn(kept.collect());
    sender.send_data(Bytes::from_static(b"two")).await.unwrap();
    sender.send_trailers(trailers()).await.unwrap();
    drop(sender);
    let whole = rest.await.unwrap().unwrap();
    assert_eq!(whole.trailers(), Some(&trailers()));
    assert_eq!(whole.to_bytes(), "onetwo");
}

#[tokio::test]
async fn the_sender_sees_that_nobody_will_read() {
    let (mut sender, channel) = Channel::<Bytes, Infallible>::new(1);
    let mut first = ReplayBody::with_bound(channel, 3);
    let kept = first.try_clone().unwrap();
    sender.send_data(Bytes::from_static(b"too long")).await.unwrap();
    assert_eq!(data(&mut first), "too long");
    drop(first);
    assert!(sender.send_data(Bytes::new()).await.is_err());
    assert_eq!(failure(kept).await, ReplayError::PastBound { bound: 3 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn copies_on_several_threads_all_get_the_whole_body() {
    const FRAMES: usize = 5_000;
    for tasks in [2, 4] {
        let (mut sender, channel) = Channel::<Bytes, Infallible>::new(2);
        let first = ReplayBody::with_bound(channel, 64 * 1024 * 1024);
        let copies: Vec<_> = (0..tasks).map(|_| first.try_clone().unwrap()).collect();
        // Never waits, and so never reads for the others.
        let (start, kept) = (Arc::new(Barrier::new(tasks)), first);
        let readers: Vec<_> = copies
            .into_iter()
            .map(|copy| {
                let start = start.clone();
                tokio::spawn(async move {
                    start.wait().await;
                    copy.collect().await.unwrap().to_bytes()
                })
            })
            .collect();
        let mut expected = Vec::new();
        for number in 0..FRAMES {
            let frame = content(number, number % 7);
            expected.extend_from_slice(&frame);
            sender.send_data(Bytes::from(frame)).await.unwrap();
        }
        drop(sender);
        for reader in readers {
            assert!(reader.await.unwrap() == expected);
        }
        assert!(kept.collect().await.unwrap().to_bytes() == expected);
    }
}

#[test]
fn a_body_that_only_one_thread_may_touch_is_recorded_for_several() {
    fn is_shared<T: Send + Sync + Unpin>(_: T) {}
    is_shared(ReplayBody::new(Full::<Bytes>::default().boxed_unsync()));
}

#[test]
fn the_data_of_a_body_is_not_in_its_debug() {
    let mut body = ReplayBody::new(Full::new(Bytes::from_static(b"a secret")));
    let _kept = body.try_clone();
    drop(data(&mut body));
    assert_eq!(format!("{body:?}"), "ReplayBody { copy: 0, .. }");
}

#[test]
fn errors_say_what_to_do() {
    let text = ReplayError::PastBound { bound: 7 }.to_string();
    assert!(text.contains("7 bytes") && text.contains("set a higher bound"), "{text}");
}
