//! The state of one run for one request. What the run does is in [`steps`](super::steps).

use std::num::NonZeroU64;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use http::Request;
use tower::retry::backoff::ExponentialBackoff;

use super::attempt::Attempt;
use super::context::{HistoryCell, HistoryGuard};
use super::copy::PartsCopy;
use super::history::Sent;
use super::jobs::{Jobs, LayerOptions, RefreshOptions, RotateOptions};
use super::run::Run;
use super::sends::Sends;
use super::span::RequestSpan;
use super::stopwatch::Stopwatch;
use crate::clock::Timestamp;
use crate::counters::Outcome;
use crate::events::{EventKind, RotationReason};
use crate::pool::{Lease, LogicalTime, Pool, RequestOptions, SlotIndex};

/// The state that all clones of a layer's service share.
pub(super) struct Shared<S> {
    pub(super) pool: Pool,
    pub(super) run: Run,
    /// A clone of the inner service, which is cloned again for each attempt after the first. So a request that
    /// goes well clones nothing.
    pub(super) again: std::sync::Mutex<S>,
}

impl<S> Shared<S> {
    /// Begins an attempt.
    #[inline]
    pub(super) fn attempt(
        &self,
        (request, number): (Option<NonZeroU64>, u32),
        lease: Lease,
        began: LogicalTime,
        is_expired: bool,
    ) -> Sent {
        let request = request.or_else(|| self.pool.number_request());
        let is_timed = self.pool.times_attempts() || self.pool.is_observed();
        let started = is_timed.then(Instant::now);
        let others_in_flight = lease.in_flight().count().saturating_sub(1);
        Sent { lease, number, request, began, others_in_flight, started, is_expired }
    }
}

/// One run's work on one request.
pub(super) struct Driver<S, B, R, M: Sends<B, R>> {
    pub(super) shared: Arc<Shared<S>>,
    /// The jobs of the run.
    pub(super) jobs: Jobs,
    /// The jobs of the runs outside.
    pub(super) outside: Jobs,
    pub(super) is_outermost: bool,
    pub(super) history: HistoryCell,
    /// The attempt that is under way, once a credential is picked.
    pub(super) sent: Option<Sent>,
    /// Whether this run counts the attempt as a use of its credential. If there is a history, its permit counts.
    pub(super) is_use: bool,
    /// Whether the request carries its credential's headers.
    pub(super) written: bool,
    /// Kept for another attempt: the body, and everything else.
    pub(super) body: M::Kept,
    pub(super) copy: Option<Box<PartsCopy>>,
    pub(super) retries: Option<Box<RetryState>>,
    /// Whether this run has begun the attempt, and has not sent it yet.
    pub(super) is_unsent: bool,
    /// The last attempt of which this run has counted what became of it. If there is a context, it decides.
    pub(super) counted: u32,
    /// Why the next rotation happens.
    pub(super) rotation_reason: RotationReason,
    /// The span of the request, if this is the outermost run.
    pub(super) span: RequestSpan,
    /// Whether this run has returned its response.
    pub(super) ended: bool,
}

/// State that few requests need. It is on the heap.
#[derive(Default)]
pub(super) struct RetryState {
    /// Until when the request may wait for its first credential.
    pub(super) patience: Option<Timestamp>,
    /// How often it was sent again after a network error.
    pub(super) repeats: u32,
    pub(super) backoff: Option<ExponentialBackoff>,
    /// How long it has waited for limits to end, and for which credentials. Each credential's limit is waited
    /// out once, so that attempts stay bounded.
    pub(super) waited: Duration,
    pub(super) waited_for: Vec<SlotIndex>,
}

impl<S, B, R, M: Sends<B, R>> Driver<S, B, R, M> {
    /// Joins the context that the request carries, or opens one.
    #[inline]
    pub(super) fn join(shared: &Arc<Shared<S>>, jobs: Jobs, request: &Request<B>) -> Self {
        let (pool, extensions) = (&shared.pool, request.extensions());
        let mut driver = Self {
            shared: shared.clone(),
            jobs,
            outside: Jobs::NONE,
            is_outermost: true,
            history: HistoryCell::Own(None),
            sent: None,
            is_use: false,
            written: false,
            body: M::Kept::default(),
            copy: None,
            retries: None,
            is_unsent: false,
            counted: 0,
            rotation_reason: RotationReason::Limited,
            span: RequestSpan::NONE,
            ended: false,
        };
        if let Some(Attempt { context, sent, outside, written }) =
            Attempt::of(extensions, pool.address())
        {
            context.join(jobs);
            driver.history = HistoryCell::Shared(context.clone());
            driver.is_outermost = false;
            driver.outside = *outside;
            driver.sent = sent.clone();
            driver.written = *written;
            return driver;
        }
        driver.span = RequestSpan::begin(pool, request);
        // A run with all four jobs has nobody to share it with.
        if jobs != Jobs::ALL || pool.exposes_attempts() {
            driver.history = HistoryCell::open(pool.address(), jobs);
        }
        if let Some(options) = RequestOptions::of(extensions) {
            driver.history().options = options;
        }
        driver
    }

    #[inline]
    pub(super) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    #[inline]
    pub(super) fn layer_options(&self) -> &LayerOptions {
        &self.shared.run.options
    }

    #[inline]
    pub(super) fn rotate_options(&self) -> Option<&RotateOptions> {
        self.layer_options().rotate.as_ref()
    }

    #[inline]
    pub(super) fn refresh_options(&self) -> Option<&RefreshOptions> {
        self.layer_options().refresh.as_ref()
    }

    pub(super) fn history(&mut self) -> HistoryGuard<'_> {
        self.history.lock(self.sent.as_ref())
    }

    pub(super) fn retry_state(&mut self) -> &mut RetryState {
        self.retries.get_or_insert_default()
    }

    /// Returns the jobs of all runs that the request has passed, outside and inside.
    #[inline]
    pub(super) fn stack_jobs(&self) -> Jobs {
        self.history.joined().unwrap_or(self.jobs)
    }

    /// Whether the request was sent more than once.
    #[inline]
    pub(super) fn is_repeated(&self) -> bool {
        self.history.attempts() > 1
    }

    /// Whether this run saves what is still unsaved before it returns the response to the caller.
    #[inline]
    pub(super) fn saves_last(&self) -> bool {
        self.is_outermost && self.stack_jobs().has(Jobs::PERSIST)
    }

    /// Returns the attempt that this response belongs to. If a run further in may send again, that is the latest one.
    pub(super) fn latest(&mut self) -> Option<Sent> {
        let inside = self.stack_jobs().without(self.outside).without(self.jobs);
        let own = self.sent.clone();
        if own.is_some() && !self.is_outermost && !inside.intersects(Jobs::SEND_AGAIN) {
            return own;
        }
        let latest = self.history.lock_if_any().and_then(|history| history.latest.clone());
        latest.or(own)
    }

    /// Begins the first attempt, with this lease, and without a history.
    #[inline]
    pub(super) fn begin_first(&mut self, lease: Lease, began: LogicalTime) {
        lease.in_flight().begin();
        self.is_use = true;
        self.is_unsent = true;
        self.sent = Some(self.shared.attempt((None, 1), lease, began, false));
    }

    /// Counts that the attempt is sent, if this run has begun it.
    #[inline]
    pub(super) fn count_attempt(&mut self) {
        if std::mem::take(&mut self.is_unsent)
            && let Some(sent) = &self.sent
        {
            sent.lease.stats().attempt();
            if sent.number > 1 {
                self.shared.pool.tally().repeat();
            }
        }
    }

    /// Counts what became of the attempt, once for all runs, and how long it took.
    #[inline]
    pub(super) fn count_outcome(&mut self, outcome: Outcome, took: &Stopwatch) {
        let Self { shared, history, sent: Some(sent), is_unsent: false, counted, .. } = self else {
            return;
        };
        if *counted >= sent.number {
            return;
        }
        *counted = sent.number;
        if history.is_first_to_count(sent.number) {
            sent.lease.stats().outcome(outcome);
            if shared.pool.times_attempts()
                && let Some(elapsed) = took.elapsed()
            {
                shared.pool.tally().duration(elapsed);
            }
        }
    }

    /// Ends the attempt's use of its credential, if this run counts it.
    #[inline]
    pub(super) fn end_own_use(&mut self) {
        if std::mem::take(&mut self.is_use)
            && let Some(sent) = &self.sent
        {
            self.shared.pool.give_back(&sent.lease, false);
        }
    }

    /// Ends the attempt's use of its credential.
    pub(super) fn end_use(&mut self) {
        self.end_own_use();
        drop(self.history.end_use());
    }

    /// Begins another attempt, with this lease.
    pub(super) fn begin_again(&mut self, lease: Lease, began: LogicalTime) {
        self.is_unsent = true;
        let known = self.history.lock_if_any().and_then(|history| history.latest.as_ref()?.request);
        let (request, number) =
            self.sent.as_ref().map_or((known, 0), |sent| (known.or(sent.request), sent.number));
        let sent = self.sent.insert(self.shared.attempt((request, number + 1), lease, began, false));
        self.history.begin(sent);
    }

    /// Emits an event of the attempt that has begun.
    pub(super) fn emit_begun(&self, kind: impl FnOnce() -> EventKind) {
        let numbers = self.sent.as_ref().map(Sent::numbers).unwrap_or_default();
        self.pool().emit_seen(numbers, kind);
    }

    /// Returns a service to send the request again with.
    pub(super) fn service(&self) -> S
    where
        S: Clone,
    {
        self.shared.again.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S, B, R, M: Sends<B, R>> Drop for Driver<S, B, R, M> {
    /// Saves what was recorded, if the request is dropped on the way.
    fn drop(&mut self) {
        if !self.ended {
            self.count_outcome(Outcome::Cancelled, &Stopwatch::of(None));
            self.leave_suspects();
            if self.saves_last() {
                let _ = self.pool().start_saving();
            }
        }
        // Only the outermost run counts a use of its own.
        if self.is_outermost {
            self.end_use();
        }
        if let Some(copy) = self.copy.take() {
            copy.recycle();
        }
        self.history.recycle();
    }
}
