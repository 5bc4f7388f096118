//! What a body and its copies must yield, worked out again from the script after each operation.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use http_body::Body;
use proptest::prelude::*;
use tower_credentials::{BoxError, ReplayBody, ReplayError, TryCloneBody};

use super::script::{End, Hint, Item, Script, Scripted, Watch, content, length, trailers};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Poll(usize),
    Copy(usize),
    Drop(usize),
    TakeOver(usize),
    Wake,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Copy {
    body: Option<ReplayBody<Scripted>>,
    origin: usize,
    /// How many items it has sent.
    at: usize,
    lost: Option<ReplayError>,
    has_ended: bool,
    is_waiting: bool,
    flag: Arc<Flag>,
}

impl Copy {
    fn new(body: ReplayBody<Scripted>, origin: usize, at: usize) -> Self {
        let flag = Arc::default();
        let body = Some(body);
        Self { body, origin, at, lost: None, has_ended: false, is_waiting: false, flag }
    }

    fn reads(&self) -> bool {
        self.body.is_some() && self.lost.is_none()
    }
}

pub(crate) struct Model {
    script: Script,
    items: Vec<Item>,
    bound: usize,
    watch: Watch,
    copies: Vec<Copy>,
    /// How many items the body itself has sent.
    front: usize,
    is_over: bool,
    is_repeatable: bool,
    /// Where the data of each item was seen.
    places: HashMap<usize, *const u8>,
}

type Checked = Result<(), TestCaseError>;

impl Model {
    pub(crate) fn new(script: Script, bound: usize) -> Self {
        let (body, watch) = Scripted::new(script.clone());
        let is_repeatable = body.size_hint().lower() <= bound as u64;
        let items = script.items();
        let copies = vec![Copy::new(ReplayBody::with_bound(body, bound as u64), 0, 0)];
        let places = HashMap::new();
        let (front, is_over) = (0, false);
        Self { script, items, bound, watch, copies, front, is_over, is_repeatable, places }
    }

    pub(crate) fn run(&mut self, operations: &[Operation]) -> Checked {
        self.check()?;
        for operation in operations {
            let pick = |index: usize| index % self.copies.len();
            match *operation {
                Operation::Poll(index) => self.poll(pick(index))?,
                Operation::Copy(index) => self.copy(pick(index))?,
                Operation::Drop(index) => self.drop(pick(index)),
                Operation::TakeOver(index) => self.take_over(pick(index))?,
                Operation::Wake => drop(self.watch.wake()),
            }
            self.check()?;
        }
        self.finish()
    }

    /// Polls only what was woken, so that a missing wake-up shows.
    fn finish(&mut self) -> Checked {
        for index in 0..self.copies.len() {
            if !self.copies[index].is_waiting {
                self.copies[index].flag.0.store(true, Ordering::SeqCst);
            }
        }
        loop {
            let mut has_moved = false;
            for index in 0..self.copies.len() {
                let copy = &self.copies[index];
                let is_done = copy.has_ended || copy.body.is_none();
                if !is_done && copy.flag.0.swap(false, Ordering::SeqCst) {
                    has_moved = true;
                    self.poll(index)?;
                    self.check()?;
                    let copy = &self.copies[index];
                    if !copy.is_waiting {
                        copy.flag.0.store(true, Ordering::SeqCst);
                    }
                }
            }
            if !has_moved && !self.watch.wake() {
                break;
            }
        }
        for (index, copy) in self.copies.iter().enumerate() {
            prop_assert!(copy.has_ended || copy.body.is_none(), "copy {} was forgotten", index);
        }
        Ok(())
    }

    fn poll(&mut self, index: usize) -> Checked {
        let copy = &mut self.copies[index];
        let Some(body) = &mut copy.body else { return Ok(()) };
        let waker = Waker::from(copy.flag.clone());
        copy.is_waiting = false;
        copy.flag.0.store(false, Ordering::SeqCst);
        match Pin::new(body).poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                copy.is_waiting = true;
                prop_assert!(copy.lost.is_none() && copy.at == self.front && !self.is_over);
            }
            Poll::Ready(None) => {
                copy.has_ended = true;
                prop_assert!(copy.lost.is_none(), "a body that fails ended as if it were whole");
                prop_assert_eq!(copy.at, self.items.len(), "it ended early");
                prop_assert!(self.script.end != End::Error);
                self.is_over = true;
            }
            Poll::Ready(Some(Err(error))) => {
                copy.has_ended = true;
                self.failed(index, &error)?;
            }
            Poll::Ready(Some(Ok(frame))) => {
                prop_assert_eq!(copy.lost, None);
                let at = copy.at;
                prop_assert!(at < self.items.len(), "there is more of it than there was");
                match (self.items[at], frame.into_data()) {
                    (Item::Data(length), Ok(data)) => {
                        prop_assert_eq!(&data[..], &content(at, length)[..]);
                        let seen = *self.places.entry(at).or_insert(data.as_ptr());
                        prop_assert!(length == 0 || seen == data.as_ptr(), "the data was copied");
                    }
                    (Item::Trailers, Err(frame)) => {
                        prop_assert_eq!(frame.into_trailers().unwrap(), trailers());
                    }
                    (expected, _) => prop_assert!(false, "another frame in place of {:?}", expected),
                }
                self.copies[index].at += 1;
                if at == self.front {
                    self.front += 1;
                    let is_last = self.front == self.items.len() && self.script.end != End::Error;
                    self.is_over |= is_last && self.script.tells_end;
                    if self.needed() > self.bound {
                        self.is_repeatable = false;
                        let why = ReplayError::PastBound { bound: self.bound as u64 };
                        self.lose(why, |other| other != index);
                    }
                }
            }
        }
        Ok(())
    }

    fn failed(&mut self, index: usize, error: &BoxError) -> Checked {
        match (self.copies[index].lost, error.downcast_ref::<ReplayError>()) {
            (Some(expected), Some(why)) => prop_assert_eq!(expected, *why),
            (None, None) => {
                prop_assert_eq!(error.to_string(), "as written");
                prop_assert_eq!(self.script.end, End::Error);
                prop_assert_eq!(self.copies[index].at, self.items.len());
                self.is_over = true;
                self.is_repeatable = false;
                self.lose(ReplayError::Failed, |_| true);
            }
            (expected, _) => prop_assert!(false, "{} in place of {:?}", error, expected),
        }
        Ok(())
    }

    fn lose(&mut self, why: ReplayError, which: impl Fn(usize) -> bool) {
        for (other, copy) in self.copies.iter_mut().enumerate() {
            if which(other) && copy.reads() {
                copy.lost = Some(why);
            }
        }
    }

    fn copy(&mut self, origin: usize) -> Checked {
        let copy = &self.copies[origin];
        let Some(body) = &copy.body else { return Ok(()) };
        let made = body.try_clone();
        prop_assert_eq!(made.is_some(), body.is_repeatable());
        prop_assert_eq!(made.is_some(), self.is_repeatable && copy.reads());
        let at = copy.at;
        self.copies.extend(made.map(|body| Copy::new(body, origin, at)));
        Ok(())
    }

    fn drop(&mut self, index: usize) {
        self.copies[index].body = None;
        self.copies[index].is_waiting = false;
    }

    fn take_over(&mut self, index: usize) -> Checked {
        let copy = &self.copies[index];
        let Some(body) = &copy.body else { return Ok(()) };
        let is_taken = body.take_over();
        prop_assert_eq!(is_taken, self.is_repeatable && copy.reads());
        if is_taken {
            let mut related = vec![copy.origin, index];
            for later in index + 1..self.copies.len() {
                if related.contains(&self.copies[later].origin) {
                    related.push(later);
                }
            }
            self.lose(ReplayError::Replaced, |other| other != index && related.contains(&other));
        }
        Ok(())
    }

    /// The bytes of the body that some copy has still to send.
    fn needed(&self) -> usize {
        let first = self.copies.iter().filter(|copy| copy.reads()).map(|copy| copy.at).min();
        first.map_or(0, |first| length(&self.items[first..self.front]))
    }

    fn check(&self) -> Checked {
        prop_assert_eq!(self.watch.held(), self.needed(), "of what is held in memory");
        prop_assert!(self.needed() <= self.bound);
        let is_read = self.copies.iter().any(Copy::reads);
        prop_assert_eq!(self.watch.is_alive(), is_read && !self.is_over);
        for copy in &self.copies {
            let Some(body) = &copy.body else { continue };
            prop_assert_eq!(body.is_repeatable(), self.is_repeatable && copy.reads());
            // A copy that waits must have been woken if anything has changed for it.
            let has_news = copy.lost.is_some() || copy.at < self.front || self.is_over;
            let is_told = copy.flag.0.load(Ordering::SeqCst);
            prop_assert!(!copy.is_waiting || !has_news || is_told, "a wakeup is lost");
            let hint = body.size_hint();
            if copy.lost.is_some() {
                prop_assert!(!body.is_end_stream());
                continue;
            }
            let left = &self.items[copy.at..];
            let bytes = length(left) as u64;
            prop_assert!(hint.lower() <= bytes && hint.upper().is_none_or(|upper| bytes <= upper));
            let has_trailers = left.contains(&Item::Trailers);
            if self.script.hint == Hint::Exact || self.is_over && !has_trailers {
                prop_assert_eq!(hint.exact(), Some(bytes));
            } else if has_trailers {
                prop_assert_eq!(hint.exact(), None, "the size is known, so that trailers are lost");
            }
            let ends = left.is_empty() && self.script.end != End::Error;
            prop_assert!(!body.is_end_stream() || ends, "it says that it has ended");
            prop_assert!(!(ends && self.is_over) || body.is_end_stream());
        }
        Ok(())
    }
}
