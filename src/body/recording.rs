//! What several copies of a body share: the body itself, and what one has read and another hasn't.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::replay_error::ReplayError;
use super::waiting::Waiting;
use crate::BoxError;

/// Up to this many frames, only their data is counted as memory.
const UNCOUNTED: usize = 1024;

/// A frame to send again.
enum RecordedFrame {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

impl RecordedFrame {
    fn of(frame: &Frame<Bytes>) -> Option<Self> {
        let data = frame.data_ref().map(|data| Self::Data(data.clone()));
        data.or_else(|| frame.trailers_ref().map(|trailers| Self::Trailers(Box::new(trailers.clone()))))
    }

    fn frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(trailers) => Frame::trailers((**trailers).clone()),
        }
    }

    /// The length of its data, in bytes.
    fn length(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Trailers(_) => 0,
        }
    }
}

/// A position in the body: the frames and the bytes of data before it.
#[derive(Clone, Copy, Default)]
struct Position {
    frames: u64,
    bytes: u64,
}

impl Position {
    fn advance(&mut self, length: u64) {
        self.frames += 1;
        self.bytes += length;
    }
}

struct Reader {
    /// The copy that this one was cloned from. The first copy is its own origin.
    origin: usize,
    /// Where it reads, or why it has stopped. A copy that was dropped is never asked.
    position: Result<Position, ReplayError>,
}

pub(super) struct Recording<B> {
    /// `None` once it has ended or failed.
    inner: Option<Pin<Box<B>>>,
    /// The frames that a reader still needs.
    frames: VecDeque<RecordedFrame>,
    /// The positions of the first of these frames, and of the body.
    start: Position,
    end: Position,
    /// The most that is recorded, in bytes.
    bound: u64,
    is_repeatable: bool,
    /// The upper bound that the body gave for its length at the start.
    declared: Option<u64>,
    /// By the copy's number. Copies are numbered in the order in which they were made.
    readers: Vec<Reader>,
    /// A body that has ended, to be dropped while no lock is held.
    ended: Option<Pin<Box<B>>>,
}

impl<B> Recording<B> {
    pub(super) fn new(inner: B, bound: u64) -> Self
    where
        B: Body,
    {
        let hint = inner.size_hint();
        Self {
            inner: Some(Box::pin(inner)),
            frames: VecDeque::new(),
            start: Position::default(),
            end: Position::default(),
            bound,
            is_repeatable: hint.lower() <= bound,
            declared: hint.upper(),
            readers: vec![Reader { origin: 0, position: Ok(Position::default()) }],
            ended: None,
        }
    }

    /// Makes a copy that reads on from where this one is.
    pub(super) fn copy(&mut self, origin: usize) -> Option<usize> {
        let position = self.readers.get(origin)?.position.ok().filter(|_| self.is_repeatable)?;
        self.readers.push(Reader { origin, position: Ok(position) });
        Some(self.readers.len() - 1)
    }

    pub(super) fn is_repeatable(&self, copy: usize) -> bool {
        self.is_repeatable && self.position(copy).is_ok()
    }

    /// Cuts off the copy that this one was cloned from, and all that were cloned from the two since. Copies
    /// that were made before belong to someone else, for example if a request is hedged.
    pub(super) fn take_over(&mut self, copy: usize) -> bool {
        if !self.is_repeatable(copy) {
            return false;
        }
        let origin = self.readers[copy].origin;
        for other in (0..self.readers.len()).filter(|other| *other != copy) {
            let mut ancestor = other;
            while ancestor > copy {
                ancestor = self.readers[ancestor].origin;
            }
            if ancestor == copy || ancestor == origin {
                self.cut_off(other, ReplayError::Replaced);
            }
        }
        self.forget();
        true
    }

    /// Removes a copy that was dropped.
    pub(super) fn remove(&mut self, copy: usize) {
        self.cut_off(copy, ReplayError::Replaced);
        self.forget();
    }

    /// Ends all copies: the body is of no use to anyone.
    pub(super) fn fail(&mut self) {
        self.is_repeatable = false;
        for copy in 0..self.readers.len() {
            self.cut_off(copy, ReplayError::Failed);
        }
        self.forget();
    }

    pub(super) fn take_ended(&mut self) -> Option<Pin<Box<B>>> {
        self.ended.take()
    }

    fn position(&self, copy: usize) -> Result<Position, ReplayError> {
        self.readers.get(copy).map_or(Err(ReplayError::Failed), |reader| reader.position)
    }

    /// Ends a copy, unless it has ended.
    fn cut_off(&mut self, copy: usize, why: ReplayError) {
        if let Some(reader) = self.readers.get_mut(copy)
            && reader.position.is_ok()
        {
            reader.position = Err(why);
        }
    }

    fn end(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.ended = Some(inner);
        }
    }

    /// Drops the frames that no copy will read.
    fn forget(&mut self) {
        let positions = self.readers.iter().filter_map(|reader| reader.position.ok());
        let Some(needed) = positions.map(|position| position.frames).min() else {
            self.frames = VecDeque::new();
            self.start = self.end;
            self.end();
            return;
        };
        while self.start.frames < needed
            && let Some(frame) = self.frames.pop_front()
        {
            self.start.advance(frame.length());
        }
        if self.frames.is_empty() && self.frames.capacity() > UNCOUNTED {
            self.frames = VecDeque::new();
        }
    }

    /// The memory that the recording takes, in bytes. The list counts only once it is long, so that usual
    /// bodies count as their data and nothing else.
    fn size(&self) -> u64 {
        let counted = self.frames.len().saturating_sub(UNCOUNTED);
        // A list that has just grown has twice the capacity that it needs.
        let list = counted * 2 * mem::size_of::<RecordedFrame>();
        (self.end.bytes - self.start.bytes).saturating_add(list as u64)
    }

    /// Records a frame that this copy has read.
    fn record(&mut self, copy: usize, frame: &Frame<Bytes>) {
        let recorded = RecordedFrame::of(frame);
        // A frame of an unknown kind can't be sent again.
        let mut is_within = recorded.is_some();
        let recorded = recorded.unwrap_or(RecordedFrame::Data(Bytes::new()));
        self.end.advance(recorded.length());
        self.frames.push_back(recorded);
        self.readers[copy].position = Ok(self.end);
        self.forget();
        is_within &= self.size() <= self.bound;
        if !is_within {
            self.is_repeatable = false;
            for other in (0..self.readers.len()).filter(|other| *other != copy) {
                self.cut_off(other, ReplayError::PastBound { bound: self.bound });
            }
            self.forget();
        }
    }

    /// Returns the next frame that has been recorded for this copy.
    fn replay(&mut self, copy: usize, position: Position) -> Option<Frame<Bytes>> {
        let index = usize::try_from(position.frames - self.start.frames).ok()?;
        let recorded = self.frames.get(index)?;
        let (frame, length) = (recorded.frame(), recorded.length());
        let mut position = position;
        position.advance(length);
        self.readers[copy].position = Ok(position);
        self.forget();
        Some(frame)
    }
}

impl<B> Recording<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Polls for what this copy sends next. `all` wakes every copy that waits, `cx` only this one.
    pub(super) fn poll_frame(
        &mut self,
        copy: usize,
        waiting: &Waiting,
        all: &Waker,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let position = match self.position(copy) {
            Ok(position) => position,
            Err(why) => return Poll::Ready(Some(Err(why.into()))),
        };
        if let Some(frame) = self.replay(copy, position) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        waiting.begin();
        let polled = inner.as_mut().poll_frame(&mut Context::from_waker(all));
        if polled.is_pending() {
            waiting.wait(copy, cx.waker());
        }
        let read = ready!(polled);
        let is_last = inner.is_end_stream();
        Poll::Ready(match read {
            Some(Ok(frame)) => {
                let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
                self.record(copy, &frame);
                // There may be no other poll.
                if is_last {
                    self.end();
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                self.fail();
                Some(Err(error.into()))
            }
            None => {
                self.end();
                None
            }
        })
    }
}

impl<B: Body> Recording<B> {
    pub(super) fn is_end_stream(&self, copy: usize) -> bool {
        self.position(copy).is_ok_and(|position| position.frames == self.end.frames)
            && self.inner.as_ref().is_none_or(|inner| inner.is_end_stream())
    }

    pub(super) fn size_hint(&self, copy: usize) -> SizeHint {
        // A copy that will fail has no size.
        let Ok(position) = self.position(copy) else { return SizeHint::new() };
        let recorded = self.end.bytes - position.bytes;
        let inner = self.inner.as_ref().map_or(SizeHint::with_exact(0), |inner| inner.size_hint());
        let lower = recorded.saturating_add(inner.lower());
        let mut upper = inner.upper().and_then(|upper| recorded.checked_add(upper));
        let has_trailers = position.frames < self.end.frames
            && matches!(self.frames.back(), Some(RecordedFrame::Trailers(_)));
        if has_trailers {
            // In HTTP/1.1 a body of known size can't have trailers (RFC 9112, section 7.1.2). They must not
            // be lost because the size is known by now.
            upper = self.declared.map(|declared| declared.saturating_sub(position.bytes).max(lower));
        }
        let mut hint = SizeHint::new();
        hint.set_lower(lower);
        if let Some(upper) = upper {
            hint.set_upper(upper.max(lower));
        }
        hint
    }
}
