//! The steps of one run for one request: check, pick, keep, write and send it; classify the response; then save,
//! refresh, rotate or wait, and drain what is discarded. The [future](super::future) takes the steps, and waits
//! between them.

use std::time::Duration;

use http::{Request, Response};
use tokio::time::Sleep;
use tower::retry::backoff::Backoff;

use super::answered_by::AnsweredBy;
use super::apply;
use super::attempt::Attempt;
use super::context::{HistoryCell, Recorded};
use super::copy::PartsCopy;
use super::driver::Driver;
use super::history::Sent;
use super::jobs::Jobs;
use super::next_ready::NextReady;
use super::record::{Reading, record_outcome};
use super::response_class::ResponseClass;
use super::run::Handover;
use super::sends::Sends;
use super::stopwatch::Stopwatch;
use super::wait::{Blocked, Wait};
use crate::BoxError;
use crate::error::Error;
use crate::events::EventKind;
use crate::pool::{CachedPick, Lease, LogicalTime, Picked, Refresher, Refreshing, Saving};

/// The result of looking for another credential.
pub(super) enum Rotation {
    Send,
    /// The request has to wait for a credential, or for its token.
    Blocked(Blocked),
    /// There is none, or the request can't be sent again.
    UsedUp,
}

impl<S, B, R, M: Sends<B, R>> Driver<S, B, R, M> {
    /// Makes a request ready to be sent, or returns what it has to wait for.
    #[inline]
    pub(super) fn prepare(
        &mut self,
        request: &mut Request<B>,
        known: &mut CachedPick,
    ) -> Result<Option<Blocked>, Error> {
        let is_trusted = self.check(request)?;
        if self.written {
            // A service in between may have changed the `host` header, too.
            apply::name_host(request);
        }
        if let Some(wait) = self.pick(known)? {
            return Ok(Some(Blocked::OnCredential(wait)));
        }
        if let Some(blocked) = self.ensure_token()? {
            return Ok(Some(blocked));
        }
        let may_carry = self.keep(request);
        if self.jobs.has(Jobs::AUTH_HEADER) {
            self.write(request, is_trusted, may_carry)?;
        }
        Ok(None)
    }

    /// Refuses a request that may not go to its destination. Returns whether the provider is known to trust
    /// the destination.
    #[inline]
    fn check(&self, request: &Request<B>) -> Result<bool, Error> {
        let (pool, uri) = (self.pool(), request.uri());
        let writes = self.jobs.has(Jobs::AUTH_HEADER);
        // A run that writes headers replaces any others.
        if self.is_outermost && !writes {
            pool.check_unmarked(request.headers())?;
        }
        // A service in between may have changed the URI.
        if self.written
            && let Some(sent) = &self.sent
        {
            pool.check_carries(&sent.lease, uri)?;
        }
        // After a redirect to another origin it may look like a new request.
        if writes || (self.is_outermost && uri.authority().is_some()) {
            return pool.check_origin(uri);
        }
        Ok(false)
    }

    /// Picks a credential, unless the request has one. Returns a wait if none is ready.
    #[inline]
    fn pick(&mut self, known: &mut CachedPick) -> Result<Option<Wait>, Error> {
        if self.sent.is_some() || !self.jobs.intersects(Jobs::PICK) {
            return Ok(None);
        }
        // Read before the pick, so that a cooldown that is set in between counts as one during the attempt.
        let began = self.pool().logical_time();
        if let HistoryCell::Own(None) = self.history
            && let Some(lease) = self.pool().pick_published(known)
        {
            self.begin_first(lease, began);
            return Ok(None);
        }
        self.pick_locked(known, began)
    }

    /// Picks by the caller's options, and by the pool's policy.
    #[inline(never)]
    fn pick_locked(
        &mut self,
        known: &mut CachedPick,
        began: LogicalTime,
    ) -> Result<Option<Wait>, Error> {
        let Self { shared, history, retries, .. } = self;
        let mut history = history.lock(None);
        if let Some(latest) = &history.latest {
            // Another copy of the request has picked already.
            self.sent = Some(latest.clone());
            return Ok(None);
        }
        let patience = retries.as_ref().and_then(|retries| retries.patience);
        match shared.pool.pick_first(&history.options, known, patience)? {
            (Picked::Lease { lease, expired, .. }, permit) => {
                history.permit = permit;
                let mut sent = shared.attempt((None, 1), lease, began, expired);
                history.begin(&mut sent);
                self.sent = Some(sent);
                self.is_unsent = true;
            }
            (Picked::Pending(wakeup), _) => {
                drop(history);
                self.retry_state().patience = patience.or_else(|| self.pool().patience());
                return Ok(Some(Wait::new(wakeup, self.pool())));
            }
            (Picked::None, _) => {}
        }
        Ok(None)
    }

    /// Keeps a copy of a request that may be sent again. Returns whether one of its headers may hold a credential.
    #[inline]
    fn keep(&mut self, request: &mut Request<B>) -> bool {
        if !self.may_send_again() {
            return true;
        }
        self.body = M::keep(request.body());
        if !M::is_kept(&self.body) {
            return true;
        }
        let copy = PartsCopy::of(request, self.pool().credential_header_names());
        self.copy.insert(copy).may_carry
    }

    /// Puts the credential's headers on a request, and directs it to the credential's endpoint.
    #[inline]
    pub(super) fn write(
        &mut self,
        request: &mut Request<B>,
        is_trusted: bool,
        may_carry: bool,
    ) -> Result<(), Error> {
        let Self { shared, history, sent: Some(sent), .. } = self else { return Ok(()) };
        let (pool, lease) = (&shared.pool, &sent.lease);
        if lease.endpoint().is_some() || self.written {
            apply::direct(pool, lease, request, &mut history.lock(Some(sent)).home)?;
        } else if !is_trusted {
            pool.check_carries(lease, request.uri())?;
        }
        if may_carry {
            pool.remove_credentials(request.headers_mut());
        }
        apply::write(pool, lease, request);
        self.written = true;
        Ok(())
    }

    /// Prepares for the layers further in what they must know. The service must be called next.
    #[inline]
    pub(super) fn send(&mut self, request: &mut Request<B>) {
        self.count_attempt();
        if let HistoryCell::Shared(context) = &self.history {
            let (outside, sent) = (self.outside.with(self.jobs), self.sent.as_ref());
            Attempt::insert(request.extensions_mut(), context, sent, outside, self.written);
        }
        self.shared.run.hand_over(Handover::Driven);
    }

    /// Classifies a response, and records it, unless a run further in has.
    #[inline]
    pub(super) fn classify(&mut self, response: &mut Response<R>) -> ResponseClass {
        let (class, assessment) = ResponseClass::of(self.pool(), response);
        let took = Stopwatch::of(self.sent.as_ref());
        self.count_outcome(class.outcome(), &took);
        // The use ends with the head of the response, unless the credential may be used again.
        if !class.needs_action() {
            self.end_own_use();
        }
        let Self { shared, history, sent, .. } = self;
        let pool = &shared.pool;
        let number = sent.as_ref().map_or(0, |sent| sent.number);
        let recorded = history.record(number, class.recorded_as());
        if let Some(sent) = sent
            && recorded != Recorded::Already
        {
            let mut allowance = None;
            if recorded == Recorded::Never {
                pool.record_status(sent.lease.slot(), response.status());
                allowance = pool.record_allowance(&sent.lease, response.headers(), sent.numbers());
            }
            AnsweredBy::mark(response, pool, sent);
            let is_second = sent.number > 1;
            if class != ResponseClass::Good || is_second || pool.must_record_success(response.headers())
            {
                let reading = Reading { class, assessment, recorded, took: &took, allowance };
                record_outcome(pool, sent, history, response, reading);
            }
        }
        class
    }

    /// Whether something must be saved before this run returns a response.
    #[inline]
    pub(super) fn must_save(&self) -> bool {
        (self.jobs.has(Jobs::PERSIST) || self.saves_last()) && self.pool().has_unsaved()
    }

    /// Begins to save what was recorded about a response, if that is this run's job.
    pub(super) fn save(&self) -> Option<Saving> {
        if self.jobs.has(Jobs::PERSIST) { self.pool().start_saving() } else { None }
    }

    /// Begins to renew this lease's secret.
    pub(super) fn refresh(&mut self, lease: &Lease, refresher: &Refresher) -> Refreshing {
        let has_expired = self.pool().has_expired(lease);
        self.history().record_refresh(lease, has_expired);
        self.sent.iter_mut().for_each(|sent| sent.is_expired = false);
        self.pool().refresh(lease, refresher, self.stack_jobs().has(Jobs::PERSIST))
    }

    /// Begins another attempt with this lease of the same credential. Returns whether that is possible.
    pub(super) fn send_again(&mut self, lease: &Lease) -> bool {
        let is_possible = M::take_over(&self.body);
        if is_possible {
            let began = self.pool().logical_time();
            self.begin_again(lease.clone(), began);
        }
        is_possible
    }

    /// Looks for another credential, and takes it.
    pub(super) fn rotate(&mut self) -> Rotation {
        if !M::is_kept(&self.body) {
            self.emit_sent_once();
            return Rotation::UsedUp;
        }
        // Before the request waits for another one.
        self.end_use();
        let Self { shared, history, sent, body, .. } = self;
        let pool = &shared.pool;
        let mut history = history.lock(sent.as_ref());
        let began = pool.logical_time();
        let may_take = history.may_take(shared.run.options.rotate.as_ref(), pool.size());
        let (lease, permit) = match pool.pick_next(may_take, &history.options) {
            (Picked::None, _) => return Rotation::UsedUp,
            (Picked::Pending(wakeup), _) => {
                return Rotation::Blocked(Blocked::OnCredential(Wait::new(wakeup, pool)));
            }
            (Picked::Lease { lease, .. }, permit) if lease.lacks_token() => {
                drop((history, permit));
                return self.rotate_to_missing(&lease);
            }
            // As late as possible: this may cut off a body that is still being sent, and with it the
            // response that is returned.
            (Picked::Lease { .. }, _) if !M::take_over(body) => return Rotation::UsedUp,
            (Picked::Lease { lease, .. }, permit) => (lease, permit),
        };
        history.permit = permit;
        let before = history.latest.as_ref().or(sent.as_ref()).map(|sent| sent.lease.clone());
        drop(history);
        self.begin_again(lease.clone(), began);
        if let Some(before) = before {
            let reason = self.rotation_reason;
            before.stats().rotation(reason);
            self.emit_begun(|| EventKind::Rotated {
                from: before.credential().into(),
                to: lease.credential().into(),
                reason,
            });
        }
        Rotation::Send
    }

    /// Begins another attempt, to be sent once this lease's limit has ended. Returns whether that is possible.
    pub(super) fn wait(&mut self, lease: &Lease, pause: Duration) -> bool {
        let is_possible = self.send_again(lease);
        if is_possible {
            let retries = self.retry_state();
            retries.waited += pause;
            retries.waited_for.push(lease.slot());
            self.emit_begun(|| EventKind::Waiting { account: lease.credential().into(), wait: pause });
        }
        is_possible
    }

    /// Returns the wait before the request is sent again after a network error, or `None` if it is not sent again.
    pub(super) fn repeat(&mut self, error: &BoxError) -> Option<Sleep> {
        let Self { shared, body, retries, .. } = self;
        let network = &shared.run.options.rotate.as_ref()?.network;
        if !M::is_kept(body) || !network.is_retryable(error) {
            return None;
        }
        let retries = retries.get_or_insert_default();
        if retries.repeats >= network.max_repeats() || !M::take_over(body) {
            return None;
        }
        retries.repeats += 1;
        let pause = retries.backoff.get_or_insert_with(|| network.start()).next_backoff();
        let mut account = None;
        if let Some(Sent { lease, began, .. }) = self.latest() {
            account = Some(lease.credential().into());
            self.begin_again(lease, began);
        }
        self.emit_begun(|| EventKind::Repeated { account });
        Some(pause)
    }

    /// Reads the rest of a response that is discarded.
    pub(super) fn drain(&self, response: Response<R>) -> M::Drain {
        let bound = self.rotate_options().map(|rotate| rotate.drain).unwrap_or_default();
        M::drain(response.into_body(), bound)
    }

    /// Makes the same request again, for the attempt that has begun.
    pub(super) fn again(&mut self) -> Result<Request<B>, Error> {
        let body = M::another(&self.body).ok_or(Error::LostBody)?;
        let copy = self.copy.as_ref().ok_or(Error::LostBody)?;
        let (mut request, may_carry) = (copy.restore(body), copy.may_carry);
        if self.written {
            self.write(&mut request, false, may_carry)?;
        }
        Ok(request)
    }

    /// Marks the last response of a used-up pool with the time at which to ask again.
    pub(super) fn mark_used_up(&mut self, response: &mut Response<R>) {
        let scope = self.history.scope();
        NextReady::mark(response, self.pool(), scope.as_ref());
    }

    /// Ends this run's work on the request. Begins to save what is still unsaved, before the response is returned.
    pub(super) fn finish(&mut self) -> Option<Saving> {
        self.ended = true;
        self.leave_suspects();
        if self.is_outermost {
            self.end_use();
        }
        if self.saves_last() { self.pool().start_saving() } else { None }
    }
}
