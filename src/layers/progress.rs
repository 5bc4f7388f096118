//! One layer's part of one request: what it has picked, kept, sent and seen.

mod decide;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use tokio::sync::oneshot;
use tower::retry::backoff::ExponentialBackoff;
use tower_service::Service;

use super::answer::{Answer, read};
use super::apply::apply;
use super::chain::{Survey, is_ours};
use super::context::{Handover, Joint, Observed, Part, PartsCopy, Roles, State};
use super::drain::DrainBound;
use super::drive::Shared;
use super::duty::{Bodies, sealed};
use super::refresh_on_401::RefreshOptions;
use super::rotate_on_429::RotateOptions;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::events::{Event, Tally};
use crate::pool::{KnownHead, Lease, Picked, Pool, Refresher, Refreshing, Saving, SlotIndex};
use crate::provider::Verdict;

pub(super) use decide::{Decision, Rotation};

/// What a request waits for before its first attempt.
pub(super) enum Before {
    /// A credential.
    Credential(Later),
    /// A new secret in place of one that has expired.
    Secret(Refreshing),
}

/// When to ask for a credential again.
pub(super) struct Later {
    pub(super) until: Option<Timestamp>,
    pub(super) change: oneshot::Receiver<()>,
}

/// One layer's part of one request. `K` is what it keeps of the body.
pub(super) struct Progress<S, D: sealed::Duty, K> {
    shared: Arc<Shared<S, D>>,
    part: Part,
    /// Whether this layer does the jobs of the others in its chain, too.
    drives: bool,
    /// What this layer does: its own job, or those of the chain.
    roles: Roles,
    pub(super) body: K,
    rare: Option<Box<Rare>>,
    /// Whether the caller has been answered.
    pub(super) ended: bool,
}

/// What few requests need.
#[derive(Default)]
struct Rare {
    /// The request but for its body, where the copy in the context is another layer's.
    copy: Option<PartsCopy>,
    /// Until when the request may wait for its first credential.
    patience: Option<Timestamp>,
    repeats: u32,
    backoff: Option<ExponentialBackoff>,
    /// How long this request has waited for limits to end.
    waited: Duration,
    /// For whose: each credential's limit is waited out once, so that attempts stay bounded.
    waited_for: Vec<SlotIndex>,
}

impl<S, D: sealed::Duty, K> Progress<S, D, K> {
    #[inline]
    pub(super) fn join<B>(shared: &Arc<Shared<S, D>>, joint: Option<Joint>, request: &Request<B>) -> Self
    where
        K: Default,
    {
        let chain = shared.chain.get();
        let roles = chain.map_or(D::ROLES, |chain| chain.roles);
        Self {
            shared: shared.clone(),
            drives: chain.is_some(),
            part: Part::join(joint, shared.pool.address(), roles, request.extensions()),
            roles,
            body: K::default(),
            rare: None,
            ended: false,
        }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    pub(super) fn drain_bound(&self) -> DrainBound {
        self.shared.rotate().map(|rotate| rotate.drain).unwrap_or_default()
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Makes a request ready for its first attempt, or tells what it has to wait for.
    #[inline]
    pub(super) fn begin<B, R>(
        &mut self,
        request: &mut Request<B>,
        known: &mut KnownHead,
    ) -> Result<Option<Before>, Error>
    where
        D: Bodies<B, R, Kept = K>,
    {
        if let Some(later) = self.prepare::<B, R>(request, known)? {
            return Ok(Some(Before::Credential(later)));
        }
        if self.roles.has(Roles::REFRESH) && self.part.context.take_expired() {
            return Ok(self.refresh_first().map(Before::Secret));
        }
        Ok(None)
    }

    /// Begins to renew a token that has expired before it is sent: to be refused costs an attempt, and a
    /// request that can't be sent again its answer.
    fn refresh_first(&self) -> Option<Refreshing> {
        let mut state = self.part.context.state();
        let lease = self.part.carried.as_ref().or(state.lease.as_ref())?.clone();
        let refresher = self.shared.refresh()?.refresher.clone();
        state.refreshed.push(lease.slot());
        drop(state);
        Some(self.refresh(&lease, &refresher))
    }

    /// The wait for a new secret is over. Where there is none, the old one is sent: the clock may be wrong.
    pub(super) fn renewed<B>(
        &mut self,
        lease: Option<Lease>,
        request: &mut Request<B>,
    ) -> Result<(), Error> {
        let Some(lease) = lease else { return Ok(()) };
        let Self { shared, part, .. } = self;
        let mut state = part.context.state();
        if part.by_extensions || part.carried.is_some() {
            part.carried = Some(lease.clone());
        }
        if part.written {
            apply(&shared.pool, &lease, request, &mut state.home, false)?;
        }
        state.lease = Some(lease);
        Ok(())
    }

    /// Gives a request a lease, a copy where it may be sent again, and the lease's headers where that is
    /// this layer's job. Or tells when to ask again.
    #[inline]
    fn prepare<B, R>(
        &mut self,
        request: &mut Request<B>,
        known: &mut KnownHead,
    ) -> Result<Option<Later>, Error>
    where
        D: Bodies<B, R, Kept = K>,
    {
        const PICKS: Roles = Roles::AUTH_HEADER.with(Roles::ROTATE).with(Roles::REFRESH);
        let Self { shared, part, .. } = self;
        let (pool, roles) = (&shared.pool, self.roles);
        // One that this layer is about to apply takes the place of any other.
        if part.is_outermost && !roles.has(Roles::AUTH_HEADER) {
            pool.check_unmarked(request.headers())?;
        }
        if part.by_extensions
            && part.written
            && let Some(lease) = &part.carried
        {
            // Whatever stands in between may have sent it elsewhere.
            pool.check_carries(lease, request.uri())?;
        }
        let mut is_trusted = false;
        if roles.has(Roles::AUTH_HEADER)
            // A redirect to another origin may have dropped all that would tell it from a new request.
            || (part.is_outermost && request.uri().authority().is_some())
        {
            is_trusted = pool.check_origin(request.uri())?;
        }
        if !roles.intersects(PICKS) {
            if part.is_outermost && !request.extensions().is_empty() {
                part.context.state().wish.read(request.extensions());
            }
            return Ok(None);
        }
        if part.copied && !roles.has(Roles::AUTH_HEADER) {
            // The layer outside has picked, and has copied all but the body.
            self.body = D::keep(request.body());
            if let Some(attempts) = shared.rotate().and_then(|rotate| rotate.max_attempts) {
                part.context.state().budget = Some(attempts.into());
            }
            return Ok(None);
        }
        let mut guard = part.context.state();
        let state = &mut *guard;
        if part.is_outermost && state.attempt == 0 {
            state.wish.read(request.extensions());
        }
        if part.carried.is_none() && state.lease.is_none() {
            let patience = self.rare.as_ref().and_then(|rare| rare.patience);
            // Read before the pick: a cooldown that is set between the two came while it was under way.
            let tick = pool.tick();
            match pool.pick_first(&state.wish, known, patience)? {
                (Picked::Lease { lease, expired, .. }, permit) => {
                    Tally::add(&pool.tally().requests);
                    if expired {
                        part.context.set_expired();
                    }
                    state.permit = permit;
                    state.begin_attempt(lease, tick, pool.is_observed());
                }
                (Picked::Later { until, change }, _) => {
                    let patience = patience.or_else(|| pool.patience());
                    drop(guard);
                    self.rare().patience = patience;
                    return Ok(Some(Later { until, change }));
                }
                (Picked::None, _) => {}
            }
        }
        if part.carried.is_none() {
            part.attempt = part.attempt.max(state.attempt);
        }
        let State { lease, home, budget, wish, copy, copy_taken, .. } = state;
        let Some(lease) = part.carried.as_ref().or(lease.as_ref()) else { return Ok(None) };
        part.slot = Some(lease.slot());
        if let Some(rotate) = shared.rotate() {
            *budget = rotate.max_attempts.map(Into::into);
        }
        let may_rotate = pool.size() > 1 && *budget != Some(1) && wish.pin.is_none();
        let rotates = |rotate: &RotateOptions| may_rotate || rotate.repeats_itself();
        let refreshes = |_: &RefreshOptions| may_rotate || lease.is_refreshable();
        if shared.rotate().is_some_and(rotates) || shared.refresh().is_some_and(refreshes) {
            self.body = D::keep(request.body());
            if D::is_kept(&self.body) && !part.copied {
                if *copy_taken {
                    let rare = self.rare.get_or_insert_default();
                    rare.copy.get_or_insert_default().take(request);
                } else {
                    copy.take(request);
                    *copy_taken = true;
                    part.copied = true;
                }
            }
        }
        if roles.has(Roles::AUTH_HEADER) {
            part.written = true;
            apply(pool, lease, request, home, is_trusted)?;
        }
        Ok(None)
    }

    /// Sends a request, with what the layers further in must know.
    #[inline]
    pub(super) fn send<B>(
        &mut self,
        service: &mut S,
        mut request: Request<B>,
        survey: Option<Survey>,
    ) -> S::Future
    where
        S: Service<Request<B>>,
    {
        let part = &self.part;
        let is_direct = is_ours::<S>();
        if is_direct && !self.drives {
            if part.by_extensions {
                request.extensions_mut().remove::<super::Attempt>();
            }
            Handover::Join(part.joint(self.roles, survey)).pass();
        } else {
            let is_complete = part.outside.with(self.roles) == Roles::ALL;
            if !is_complete || part.by_extensions || self.pool().exposes_attempts() {
                let lease = part.carried.clone().or_else(|| part.context.state().lease.clone());
                part.travel(self.roles, lease, request.extensions_mut());
            }
            if is_direct {
                Handover::Driven(self.pool().address()).pass();
            }
        }
        let future = service.call(request);
        if is_direct {
            Handover::end();
        }
        future
    }

    /// The same request once more, with the latest lease.
    pub(super) fn again<B, R>(&mut self) -> Result<Request<B>, Error>
    where
        D: Bodies<B, R, Kept = K>,
    {
        let body = D::another(&self.body).ok_or(Error::LostBody)?;
        let mut state = self.part.context.state();
        let own = self.rare.as_ref().and_then(|rare| rare.copy.as_ref());
        let mut request = own.unwrap_or(&state.copy).restore(body);
        if self.part.written {
            let State { lease, home, .. } = &mut *state;
            if let Some(lease) = self.part.carried.as_ref().or(lease.as_ref()) {
                apply(self.pool(), lease, &mut request, home, false)?;
            }
        }
        Ok(request)
    }

    /// Another attempt begins, with this lease.
    pub(super) fn take(&mut self, lease: Lease, tick: u64) {
        let Self { shared, part, .. } = self;
        let pool = &shared.pool;
        let mut state = part.context.state();
        part.slot = Some(lease.slot());
        if part.by_extensions || part.carried.is_some() {
            part.carried = Some(lease.clone());
        }
        state.begin_attempt(lease, tick, pool.is_observed());
        part.attempt = state.attempt;
        Tally::add(&pool.tally().repeats);
    }

    /// Another attempt begins, with the lease that has waited for its limit to end.
    pub(super) fn pause(&mut self, lease: Lease, pause: Duration) {
        let rare = self.rare();
        rare.waited += pause;
        rare.waited_for.push(lease.slot());
        self.pool().emit(&Event::Waiting { credential: lease.credential(), wait: pause });
        let tick = self.pool().tick();
        self.take(lease, tick);
    }

    /// A service to send a request again with.
    pub(super) fn service(&self) -> S
    where
        S: Clone,
    {
        self.shared.again.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records what an answer taught, unless a layer further in has.
    #[inline]
    pub(super) fn observe<R>(&mut self, response: &Response<R>) -> Answer {
        let answer = Answer::of(self.pool(), response);
        let observed = self.part.context.observe(self.part.attempt, answer.taught());
        if observed == Observed::First
            && let Some(slot) = self.part.slot
        {
            self.pool().answered(slot, response.status());
        }
        if observed != Observed::Known
            && (answer != Answer::Good || self.pool().learns_from_good(response.headers()))
        {
            self.learn(response, answer, observed);
        }
        answer
    }

    fn learn<R>(&mut self, response: &Response<R>, answer: Answer, observed: Observed) {
        let finding =
            matches!(answer, Answer::Limited | Answer::Stopped).then(|| read(self.pool(), response));
        let Self { shared, part, .. } = self;
        let (pool, status, headers) = (&shared.pool, response.status(), response.headers());
        let mut state = part.context.state();
        // The use ends with the head of the response, but for one after which this credential may be
        // sent again.
        let permit = if answer.needs_action() { None } else { state.permit.take() };
        let State { lease, wish, began, started, .. } = &*state;
        let Some(lease) = part.carried.as_ref().or(lease.as_ref()) else { return };
        if observed == Observed::First
            && let Some(started) = started
        {
            let (credential, elapsed) = (lease.credential(), started.elapsed());
            pool.emit(&Event::Attempt { credential, status, elapsed });
        }
        let scope = wish.scope.as_ref();
        match answer {
            Answer::Limited => {
                part.context.set_taught();
                let stated = finding.and_then(|finding| finding.retry_at);
                pool.limited(lease, *began, scope, stated);
            }
            Answer::Stopped => {
                part.context.set_taught();
                if let Some(Verdict::Stopped { reason }) = finding.and_then(|finding| finding.verdict) {
                    pool.stopped(lease, &reason);
                }
            }
            Answer::Good => pool.succeeded(lease, *began, scope, headers),
            Answer::Refused | Answer::Forbidden | Answer::Insufficient | Answer::Other => {}
        }
        drop(state);
        drop(permit);
    }

    /// Whether something is to be saved before this layer lets the answer go.
    #[inline]
    pub(super) fn must_save(&self) -> bool {
        let saves_last = self.saves_last();
        (saves_last && self.part.context.has_taught())
            || (saves_last || self.roles.has(Roles::PERSIST)) && self.pool().has_unsaved()
    }

    /// Whether this layer saves what the others have learnt last.
    fn saves_last(&self) -> bool {
        self.part.is_outermost && self.part.context.roles().has(Roles::PERSIST)
    }

    /// Begins to renew this lease's secret.
    pub(super) fn refresh(&self, lease: &Lease, refresher: &Refresher) -> Refreshing {
        let saves = self.part.context.roles().has(Roles::PERSIST);
        self.pool().refresh(lease, refresher, saves)
    }

    /// Begins to save where that is this layer's job.
    pub(super) fn start_saving(&self) -> Option<Saving> {
        if self.roles.has(Roles::PERSIST) { self.pool().start_saving() } else { None }
    }

    /// The caller is about to be answered. What is still to be saved is saved first.
    pub(super) fn finish(&mut self) -> Option<Saving> {
        self.ended = true;
        if self.part.is_outermost {
            self.part.context.state().permit = None;
        }
        if !self.saves_last() {
            return None;
        }
        if self.part.context.has_taught() {
            // Whatever has come after what was worth a write goes along, whichever layer saved that.
            self.pool().hurry_saving();
        }
        self.pool().start_saving()
    }
}

impl<S, D: sealed::Duty, K> Drop for Progress<S, D, K> {
    /// A request that is dropped on the way loses nothing that was learnt.
    fn drop(&mut self) {
        if self.part.is_outermost {
            if !self.ended && self.saves_last() {
                let _ = self.pool().start_saving();
            }
            self.part.context.recycle();
        }
    }
}
