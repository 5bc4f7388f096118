//! Runs: layers of one pool that stand directly one on the other.
//!
//! Nothing can happen between two of them, so it does not matter which of them does a job. One of them, the
//! *driver*, does the jobs of all: the outermost that can send a request again, or else the outermost. The
//! others only pass the request on.
//!
//! The layers of a run are known when the stack is built. A layer clones its inner service then. Just
//! before that, it leaves a question in a thread-local cell: are you of exactly this type, and of my pool?
//! Only our own services answer, in `clone`, and each only for its own type. So a wrapper is never taken for
//! the layer inside, even if it adds no byte.

use std::any::TypeId;
use std::cell::Cell;

use super::jobs::{Jobs, LayerOptions};

/// What a layer knows about its run.
#[derive(Debug)]
pub(super) struct Run {
    /// Identifies the pool while the pool lives.
    pool: usize,
    /// The jobs of this layer and of those of its run that are further in.
    pub(super) options: LayerOptions,
    /// The jobs of this layer alone.
    own: Jobs,
    /// Whether the service directly inside belongs to the run.
    goes_on: bool,
    /// Whether a layer further in is the driver, unless one further out is.
    driver_is_inside: bool,
}

/// What a layer does with a request.
pub(super) enum Duty {
    /// Do these jobs.
    Drive(Jobs),
    /// Pass it on, and hand this over.
    PassOn(Handover),
}

/// What a layer hands over to the one directly inside when it calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handover {
    /// The jobs of the layers outside that only pass the request on.
    Outside(Jobs),
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
    static ANSWER: Cell<Option<LayerOptions>> = const { Cell::new(None) };
    /// For the next layer of this pool, which takes it before it does anything else.
    static HANDOVER: Cell<Option<(usize, Handover)>> = const { Cell::new(None) };
}

impl Run {
    /// Returns the run of a layer that is put around this service, and a clone of the service.
    pub(super) fn around<S: Clone>(inner: &S, pool: usize, own: LayerOptions) -> (Self, S) {
        ANSWER.set(None);
        QUESTION.set(Some(Question { service: typeid::of::<S>(), pool }));
        let clone = inner.clone();
        QUESTION.set(None);
        let inside = ANSWER.take();
        let jobs = own.jobs;
        let run = Self {
            pool,
            own: jobs,
            goes_on: inside.is_some(),
            driver_is_inside: !own.sends_again()
                && inside.as_ref().is_some_and(LayerOptions::sends_again),
            options: match inside {
                Some(inside) => own.over(inside),
                None => own,
            },
        };
        (run, clone)
    }

    /// Answers the layer that is put around a service of this type, if it has asked.
    #[inline]
    pub(super) fn answer<Service>(&self) {
        let Some(asked) = QUESTION.get() else { return };
        // Only the service that is cloned first may answer, and none further in.
        QUESTION.set(None);
        if asked == (Question { service: typeid::of::<Service>(), pool: self.pool }) {
            ANSWER.set(Some(self.options.clone()));
        }
    }

    /// Returns what this layer does with the request of the current call.
    #[inline]
    pub(super) fn duty(&self) -> Duty {
        let outside = match HANDOVER.take() {
            Some((pool, Handover::Driven)) if pool == self.pool => {
                return Duty::PassOn(Handover::Driven);
            }
            Some((pool, Handover::Outside(jobs))) if pool == self.pool => jobs,
            _ => Jobs::NONE,
        };
        if self.driver_is_inside {
            Duty::PassOn(Handover::Outside(outside.with(self.own)))
        } else {
            Duty::Drive(outside.with(self.options.jobs))
        }
    }

    /// Hands this over to the layer directly inside, which is called next, if it belongs to the run.
    #[inline]
    pub(super) fn hand_over(&self, handover: Handover) {
        if self.goes_on {
            HANDOVER.set(Some((self.pool, handover)));
        }
    }
}
