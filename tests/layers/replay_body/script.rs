//! A body that follows a script, and counts the bytes of it that are held.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing until the test wakes it.
    Pending,
    /// Nothing, but it wakes itself at once.
    Yield,
    Data(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Clean,
    Trailers,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    Exact,
    Lower,
    Nothing,
}

#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    pub(crate) end: End,
    pub(crate) hint: Hint,
    /// Whether it announces its end with its last frame.
    pub(crate) tells_end: bool,
}

/// What a body yields, with lengths in place of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Data(usize),
    Trailers,
}

impl Script {
    pub(crate) fn of(lengths: &[usize]) -> Self {
        let steps = lengths.iter().map(|length| Step::Data(*length)).collect();
        Self { steps, end: End::Clean, hint: Hint::Nothing, tells_end: false }
    }

    pub(crate) fn items(&self) -> Vec<Item> {
        let data = |step: &Step| match step {
            Step::Data(length) => Some(Item::Data(*length)),
            Step::Pending | Step::Yield => None,
        };
        let trailers = (self.end == End::Trailers).then_some(Item::Trailers);
        self.steps.iter().filter_map(data).chain(trailers).collect()
    }
}

pub(crate) fn length(items: &[Item]) -> usize {
    items.iter().map(|item| if let Item::Data(length) = item { *length } else { 0 }).sum()
}

pub(crate) fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("checksum"), HeaderValue::from_static("42"))])
}

/// A test's view of the body.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    /// The bytes of its frames that are in memory.
    pub(crate) held: Arc<AtomicUsize>,
    pub(crate) peak: Arc<AtomicUsize>,
    waker: Arc<Mutex<Option<Waker>>>,
    alive: Arc<()>,
}

impl Watch {
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Wakes the body if it waits for that.
    pub(crate) fn wake(&self) -> bool {
        let waker = self.waker.lock().unwrap().take();
        waker.map(Waker::wake).is_some()
    }

    pub(crate) fn is_alive(&self) -> bool {
        Arc::strong_count(&self.alive) > 1
    }

    /// Bytes that count as held until the last copy is dropped.
    pub(crate) fn bytes(&self, bytes: Vec<u8>) -> Bytes {
        let held = self.held.fetch_add(bytes.len(), Ordering::SeqCst) + bytes.len();
        self.peak.fetch_max(held, Ordering::SeqCst);
        Bytes::from_owner(Held { bytes, held: self.held.clone() })
    }
}

struct Held {
    bytes: Vec<u8>,
    held: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len(), Ordering::SeqCst);
    }
}

pub(crate) struct Scripted {
    script: Script,
    step: usize,
    sent: usize,
    /// How many items.
    count: usize,
    is_waiting: bool,
    is_called: bool,
    watch: Watch,
    _alive: Arc<()>,
}

impl Scripted {
    pub(crate) fn new(script: Script) -> (Self, Watch) {
        let watch = Watch::default();
        let _alive = watch.alive.clone();
        let of_body = Watch { alive: Arc::default(), ..watch.clone() };
        let body = Self {
            script,
            step: 0,
            sent: 0,
            count: 0,
            is_waiting: false,
            is_called: false,
            watch: of_body,
            _alive,
        };
        (body, watch)
    }

    fn left(&self) -> usize {
        length(&self.script.items()) - self.sent
    }
}

/// The bytes of the frame with this number.
pub(crate) fn content(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((number * 31 + at * 7) % 251).unwrap()).collect()
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        loop {
            match self.script.steps.get(self.step).copied() {
                Some(Step::Pending) => {
                    let mut waker = self.watch.waker.lock().unwrap();
                    // Goes on once the test has woken it since the first `Pending` of this step.
                    if self.is_waiting && waker.is_none() {
                        drop(waker);
                        self.is_waiting = false;
                        self.step += 1;
                        continue;
                    }
                    *waker = Some(cx.waker().clone());
                    drop(waker);
                    self.is_waiting = true;
                    return Poll::Pending;
                }
                Some(Step::Yield) => {
                    self.is_called = !self.is_called;
                    if self.is_called {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    self.step += 1;
                }
                Some(Step::Data(length)) => {
                    let data = self.watch.bytes(content(self.count, length));
                    self.step += 1;
                    self.count += 1;
                    self.sent += length;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                None => {
                    self.step += 1;
                    let is_first = self.step == self.script.steps.len() + 1;
                    return Poll::Ready(match self.script.end {
                        End::Trailers if is_first => Some(Ok(Frame::trailers(trailers()))),
                        End::Error if is_first => Some(Err(std::io::Error::other("as written"))),
                        _ => None,
                    });
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let last = self.script.steps.len() + usize::from(self.script.end != End::Clean);
        self.script.tells_end && self.step >= last
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.left() as u64;
        match self.script.hint {
            Hint::Exact => SizeHint::with_exact(left),
            Hint::Lower => {
                let mut hint = SizeHint::new();
                hint.set_lower(left / 2);
                hint
            }
            Hint::Nothing => SizeHint::new(),
        }
    }
}
