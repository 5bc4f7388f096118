//! Runs: layers of one pool that stand directly one on the other.
//!
//! Nothing can happen between two of them, so it does not matter which of them does a job. One does the
//! jobs of all, the *driver*: the outermost that can send a request again, or else the outermost. The
//! others only pass the request on.
//!
//! Which layers a run has is settled when the stack is built. A layer clones its inner service then. Just
//! before, it leaves a question in a thread-local cell: are you of exactly this type and of my pool? Only
//! our own services answer, in `clone`, and each only for its own type. So a wrapper, even one that adds no
//! byte, is never taken for the layer inside.

use std::any::TypeId;
use std::cell::Cell;

use super::jobs::{Jobs, Roles};

/// What a layer knows of its run.
#[derive(Debug)]
pub(super) struct Run {
    /// Identifies the pool while the pool lives.
    pool: usize,
    /// The jobs of this layer and of those of its run that are further in.
    pub(super) jobs: Jobs,
    /// The jobs of this layer alone.
    own: Roles,
    /// Whether the service directly inside is one of the run's.
    goes_on: bool,
    /// Whether a layer further in drives, if none further out does.
    driver_is_inside: bool,
}

/// What a layer does with a request.
pub(super) enum Duty {
    /// These jobs.
    Drive(Roles),
    /// Pass it on, with this word.
    PassOn(Word),
}

/// What a layer tells the one directly inside as it calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The jobs of the layers outside that only pass the request on.
    Outside(Roles),
    /// The driver is outside.
    Driven,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Question {
    service: TypeId,
    pool: usize,
}

thread_local! {
    /// What a layer asks the service that it is applied to.
    static QUESTION: Cell<Option<Question>> = const { Cell::new(None) };
    static ANSWER: Cell<Option<Jobs>> = const { Cell::new(None) };
    /// A word for the next layer of this pool, which takes it before it does anything else.
    static WORD: Cell<Option<(usize, Word)>> = const { Cell::new(None) };
}

impl Run {
    /// The run of a layer that is being put around this service, and a clone of the service.
    pub(super) fn around<S: Clone>(inner: &S, pool: usize, own: Jobs) -> (Self, S) {
        ANSWER.set(None);
        QUESTION.set(Some(Question { service: typeid::of::<S>(), pool }));
        let clone = inner.clone();
        QUESTION.set(None);
        let inside = ANSWER.take();
        let roles = own.roles;
        let run = Self {
            pool,
            own: roles,
            goes_on: inside.is_some(),
            driver_is_inside: !own.send_again() && inside.as_ref().is_some_and(Jobs::send_again),
            jobs: match inside {
                Some(inside) => own.over(inside),
                None => own,
            },
        };
        (run, clone)
    }

    /// Answers the layer that is being put around a service of this type, if that has asked.
    #[inline]
    pub(super) fn answer<Service>(&self) {
        let Some(asked) = QUESTION.get() else { return };
        // It is for the service that is cloned first, and for none that is further in.
        QUESTION.set(None);
        if asked == (Question { service: typeid::of::<Service>(), pool: self.pool }) {
            ANSWER.set(Some(self.jobs.clone()));
        }
    }

    /// What this layer does with the request that it is called with now.
    #[inline]
    pub(super) fn duty(&self) -> Duty {
        let outside = match WORD.take() {
            Some((pool, Word::Driven)) if pool == self.pool => return Duty::PassOn(Word::Driven),
            Some((pool, Word::Outside(roles))) if pool == self.pool => roles,
            _ => Roles::NONE,
        };
        if self.driver_is_inside {
            Duty::PassOn(Word::Outside(outside.with(self.own)))
        } else {
            Duty::Drive(outside.with(self.jobs.roles))
        }
    }

    /// Tells the layer directly inside, which is called next, if it is one of the run's.
    #[inline]
    pub(super) fn tell(&self, word: Word) {
        if self.goes_on {
            WORD.set(Some((self.pool, word)));
        }
    }
}
