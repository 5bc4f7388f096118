//! What several copies of a body share: the body itself, and what one has read of it and another hasn't.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::replay::ReplayError;
use super::waiting::Waiting;
use crate::BoxError;

/// As many frames are recorded without counting more than their data.
const UNCOUNTED: usize = 1024;

/// A frame, to be sent again.
enum Recorded {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

impl Recorded {
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

    /// Of its data, in bytes.
    fn length(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Trailers(_) => 0,
        }
    }
}

/// How many frames, and how many bytes of data, come before a place in the body.
#[derive(Clone, Copy, Default)]
struct Place {
    frames: u64,
    bytes: u64,
}

impl Place {
    fn pass(&mut self, length: u64) {
        self.frames += 1;
        self.bytes += length;
    }
}

struct Reader {
    /// The copy that this one was made from; the first is its own.
    origin: usize,
    /// Where it reads, or why it doesn't any more. One that was dropped is never asked.
    place: Result<Place, ReplayError>,
}

pub(super) struct Recording<B> {
    /// `None` once there is nothing more to be had of it.
    inner: Option<Pin<Box<B>>>,
    /// What some reader still needs.
    frames: VecDeque<Recorded>,
    /// Where the first of these frames is, and where the body is.
    start: Place,
    end: Place,
    /// In bytes.
    bound: u64,
    is_repeatable: bool,
    /// How long the body said at first that it would be at most.
    declared: Option<u64>,
    /// By number. Their numbers stand for the order in which they were made.
    readers: Vec<Reader>,
    /// A body that is over, to be dropped where no lock is held.
    over: Option<Pin<Box<B>>>,
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
            start: Place::default(),
            end: Place::default(),
            bound,
            is_repeatable: hint.lower() <= bound,
            declared: hint.upper(),
            readers: vec![Reader { origin: 0, place: Ok(Place::default()) }],
            over: None,
        }
    }

    /// A copy that reads on from where this one is.
    pub(super) fn copy(&mut self, origin: usize) -> Option<usize> {
        let place = self.readers.get(origin)?.place.ok().filter(|_| self.is_repeatable)?;
        self.readers.push(Reader { origin, place: Ok(place) });
        Some(self.readers.len() - 1)
    }

    pub(super) fn is_repeatable(&self, copy: usize) -> bool {
        self.is_repeatable && self.place(copy).is_ok()
    }

    /// Cuts off the copy that this one was made from, and all that were made of the two since. Those that
    /// were made before are someone else's, as where a request is hedged.
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
                self.lose(other, ReplayError::Replaced);
            }
        }
        self.forget();
        true
    }

    /// A copy is gone.
    pub(super) fn leave(&mut self, copy: usize) {
        self.lose(copy, ReplayError::Replaced);
        self.forget();
    }

    /// The body is of no use to anyone.
    pub(super) fn fail(&mut self) {
        self.is_repeatable = false;
        for copy in 0..self.readers.len() {
            self.lose(copy, ReplayError::Failed);
        }
        self.forget();
    }

    pub(super) fn take_ended(&mut self) -> Option<Pin<Box<B>>> {
        self.over.take()
    }

    fn place(&self, copy: usize) -> Result<Place, ReplayError> {
        self.readers.get(copy).map_or(Err(ReplayError::Failed), |reader| reader.place)
    }

    fn lose(&mut self, copy: usize, why: ReplayError) {
        if let Some(reader) = self.readers.get_mut(copy)
            && reader.place.is_ok()
        {
            reader.place = Err(why);
        }
    }

    fn end(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.over = Some(inner);
        }
    }

    /// Lets go of what no copy will read.
    fn forget(&mut self) {
        let places = self.readers.iter().filter_map(|reader| reader.place.ok());
        let Some(needed) = places.map(|place| place.frames).min() else {
            self.frames = VecDeque::new();
            self.start = self.end;
            self.end();
            return;
        };
        while self.start.frames < needed
            && let Some(frame) = self.frames.pop_front()
        {
            self.start.pass(frame.length());
        }
        if self.frames.is_empty() && self.frames.capacity() > UNCOUNTED {
            self.frames = VecDeque::new();
        }
    }

    /// The memory that the recording takes, in bytes. That of the list counts only once it is long, so
    /// that what is counted of usual bodies is their data and nothing else.
    fn size(&self) -> u64 {
        let counted = self.frames.len().saturating_sub(UNCOUNTED);
        // A list that has just grown is twice as long as it has to be.
        let list = counted * 2 * mem::size_of::<Recorded>();
        (self.end.bytes - self.start.bytes).saturating_add(list as u64)
    }

    /// A frame has been read by this copy.
    fn record(&mut self, copy: usize, frame: &Frame<Bytes>) {
        let recorded = Recorded::of(frame);
        // A kind of frame that isn't known can't be sent again.
        let mut is_within = recorded.is_some();
        let recorded = recorded.unwrap_or(Recorded::Data(Bytes::new()));
        self.end.pass(recorded.length());
        self.frames.push_back(recorded);
        self.readers[copy].place = Ok(self.end);
        self.forget();
        is_within &= self.size() <= self.bound;
        if !is_within {
            self.is_repeatable = false;
            for other in (0..self.readers.len()).filter(|other| *other != copy) {
                self.lose(other, ReplayError::PastBound { bound: self.bound });
            }
            self.forget();
        }
    }

    /// The next frame that has been recorded for this copy.
    fn replay(&mut self, copy: usize, place: Place) -> Option<Frame<Bytes>> {
        let index = usize::try_from(place.frames - self.start.frames).ok()?;
        let recorded = self.frames.get(index)?;
        let (frame, length) = (recorded.frame(), recorded.length());
        let mut place = place;
        place.pass(length);
        self.readers[copy].place = Ok(place);
        self.forget();
        Some(frame)
    }
}

impl<B> Recording<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// What this copy sends next. `all` wakes every copy that waits, and `cx` is this one's.
    pub(super) fn poll_frame(
        &mut self,
        copy: usize,
        waiting: &Waiting,
        all: &Waker,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let place = match self.place(copy) {
            Ok(place) => place,
            Err(lost) => return Poll::Ready(Some(Err(lost.into()))),
        };
        if let Some(frame) = self.replay(copy, place) {
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
                // There may be no further poll.
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
        self.place(copy).is_ok_and(|place| place.frames == self.end.frames)
            && self.inner.as_ref().is_none_or(|inner| inner.is_end_stream())
    }

    pub(super) fn size_hint(&self, copy: usize) -> SizeHint {
        // One that will fail has no size.
        let Ok(place) = self.place(copy) else { return SizeHint::new() };
        let recorded = self.end.bytes - place.bytes;
        let inner = self.inner.as_ref().map_or(SizeHint::with_exact(0), |inner| inner.size_hint());
        let lower = recorded.saturating_add(inner.lower());
        let mut upper = inner.upper().and_then(|upper| recorded.checked_add(upper));
        let has_trailers =
            place.frames < self.end.frames && matches!(self.frames.back(), Some(Recorded::Trailers(_)));
        if has_trailers {
            // In HTTP/1.1 a body of known size can't have trailers (RFC 9112, section 7.1.2): that the
            // size is known by now must not cost them.
            upper = self.declared.map(|declared| declared.saturating_sub(place.bytes).max(lower));
        }
        let mut hint = SizeHint::new();
        hint.set_lower(lower);
        if let Some(upper) = upper {
            hint.set_upper(upper.max(lower));
        }
        hint
    }
}
