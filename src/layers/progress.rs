//! One layer's part of one request: what it has picked, kept, seen and decided.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response};
use tokio::sync::oneshot;
use tokio::time::Sleep;
use tower::retry::backoff::{Backoff, ExponentialBackoff};
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
use crate::BoxError;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::events::{Event, Tally};
use crate::pool::{KnownHead, Lease, Picked, Pool, Refresher, Refreshing, Saving, SlotIndex};
use crate::provider::Verdict;

/// Set on the last response of a pool that is used up: when to ask again. Read it from the response's
/// extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextReady {
    at: Timestamp,
    wait: Duration,
}

impl NextReady {
    /// When the next credential of the pool is ready.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// How long that was from when the response came; zero where another one was ready, as after a request
    /// that can't be sent again.
    pub fn wait(&self) -> Duration {
        self.wait
    }
}

/// What to do about an answer.
pub(super) enum Decision {
    Return,
    /// Renew this lease's secret, and send again with it.
    Refresh(Lease, Refresher),
    /// Send again with another credential.
    Rotate,
    /// Send again with the same one, after a while.
    Wait(Lease, Duration),
}

/// What came of looking for another credential.
pub(super) enum Rotation {
    Send,
    Later(Later),
    UsedUp,
}

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

    /// The lease that the answer is about. Where a layer further in may have sent again, the context
    /// has the latest; else it is the one that this layer sent.
    fn answered_by(&self, state: &State) -> Option<Lease> {
        let resends = Roles::ROTATE.with(Roles::REFRESH);
        let inside = self.part.context.roles().without(self.part.outside).without(self.roles);
        let carried = self.part.carried.as_ref().filter(|_| !inside.intersects(resends));
        carried.or(state.lease.as_ref()).cloned()
    }

    /// What to do about an answer: this layer's part of the rules that all share.
    pub(super) fn decide(&self, answer: Answer) -> Decision {
        if !answer.needs_action() {
            return Decision::Return;
        }
        let mut state = self.part.context.state();
        let Some(lease) = self.answered_by(&state) else { return Decision::Return };
        let slot = lease.slot();
        let is_refused = answer.is_refusal();
        let has_failed = state.failed.contains(&slot);
        if self.roles.has(Roles::REFRESH) && is_refused && !has_failed {
            if let Some(refresh) = self.shared.refresh()
                && answer != Answer::Insufficient
                && !state.refreshed.contains(&slot)
                && (lease.is_refreshable() || self.pool().has_newer(&lease))
                && !(answer == Answer::Forbidden && self.pool().is_forbidden(&lease))
            {
                state.refreshed.push(slot);
                return Decision::Refresh(lease, refresh.refresher.clone());
            }
            return self.fail(&mut state, &lease, answer);
        }
        if !self.roles.has(Roles::ROTATE) {
            return Decision::Return;
        }
        if is_refused && !has_failed {
            // A refresh layer outside takes it.
            let is_taken = self.part.context.roles().has(Roles::REFRESH);
            return if is_taken { Decision::Return } else { self.fail(&mut state, &lease, answer) };
        }
        if answer == Answer::Limited
            && let Some(pause) = self.worth_waiting(&lease, &state)
        {
            return Decision::Wait(lease, pause);
        }
        Decision::Rotate
    }

    /// The credential has failed for good, as far as this request goes.
    pub(super) fn give_up(&self, lease: &Lease) -> Decision {
        self.fail(&mut self.part.context.state(), lease, Answer::Refused)
    }

    fn fail(&self, state: &mut State, lease: &Lease, answer: Answer) -> Decision {
        state.failed.push(lease.slot());
        if answer == Answer::Forbidden && state.refreshed.contains(&lease.slot()) {
            self.pool().set_forbidden(lease);
        }
        if answer != Answer::Insufficient {
            self.part.context.set_taught();
            self.pool().refused(lease, state.began);
        }
        let rotate_is_inside =
            self.part.context.roles().has(Roles::ROTATE) && !self.part.outside.has(Roles::ROTATE);
        if rotate_is_inside { Decision::Rotate } else { Decision::Return }
    }

    /// How long to wait for the limit to end, where that is worth it.
    fn worth_waiting(&self, lease: &Lease, state: &State) -> Option<Duration> {
        let rare = self.rare.as_deref();
        if rare.is_some_and(|rare| rare.waited_for.contains(&lease.slot())) {
            return None;
        }
        let waited = rare.map_or(Duration::ZERO, |rare| rare.waited);
        let bound = self.shared.rotate()?.wait_up_to?.checked_sub(waited)?;
        let pause = self.pool().cooling_for(lease, state.wish.scope.as_ref());
        // A deadline that has passed is no reason to ask the same account at once again.
        (pause > Duration::ZERO && pause <= bound).then_some(pause)
    }

    /// Looks for another credential, and takes it.
    pub(super) fn rotate<B, R>(&mut self) -> Rotation
    where
        D: Bodies<B, R, Kept = K>,
    {
        let pool = &self.shared.pool;
        let mut guard = self.part.context.state();
        let state = &mut *guard;
        let budget = state.budget.unwrap_or_else(|| pool.size());
        if state.tried.len() >= usize::try_from(budget).unwrap_or(usize::MAX) {
            return Rotation::UsedUp;
        }
        // Before another one is waited for.
        state.permit = None;
        let tick = pool.tick();
        match pool.pick_next(&state.tried, &state.wish) {
            (Picked::None, _) => Rotation::UsedUp,
            (Picked::Later { until, change }, _) => Rotation::Later(Later { until, change }),
            // Only now: what is still being sent of the body may be cut short by it, and a response that
            // is returned may end with that.
            (Picked::Lease { .. }, _) if !D::take_over(&self.body) => Rotation::UsedUp,
            (Picked::Lease { lease, .. }, permit) => {
                let before = state.lease.clone();
                state.permit = permit;
                drop(guard);
                self.take(lease.clone(), tick);
                Tally::add(&self.pool().tally().rotations);
                if let Some(before) = before {
                    let (from, to) = (before.credential(), lease.credential());
                    self.pool().emit(&Event::Rotated { from, to });
                }
                Rotation::Send
            }
        }
    }

    /// Marks the last response of a pool that is used up.
    pub(super) fn mark_used_up<R>(&self, response: &mut Response<R>) {
        let state = self.part.context.state();
        if let Some(at) = self.pool().next_ready(state.wish.scope.as_ref()) {
            let wait = at.since(self.pool().now());
            response.extensions_mut().insert(NextReady { at, wait });
        }
    }

    /// How long to wait before sending again after a network error, where that is to be done.
    pub(super) fn repeat<B, R>(&mut self, error: &BoxError) -> Option<Sleep>
    where
        D: Bodies<B, R, Kept = K>,
    {
        // One that has only just learnt whom it could drive leaves it to them.
        if !self.roles.has(Roles::ROTATE) {
            return None;
        }
        let network = &self.shared.rotate()?.network;
        if !D::is_kept(&self.body) || !network.is_worth(error) {
            return None;
        }
        let rare = self.rare.get_or_insert_default();
        if rare.repeats >= network.allows() || !D::take_over(&self.body) {
            return None;
        }
        rare.repeats += 1;
        let pause = rare.backoff.get_or_insert_with(|| network.start()).next_backoff();
        let lease = {
            let mut state = self.part.context.state();
            state.attempt += 1;
            state.started = self.shared.pool.is_observed().then(Instant::now);
            self.part.attempt = state.attempt;
            self.part.carried.clone().or_else(|| state.lease.clone())
        };
        Tally::add(&self.pool().tally().repeats);
        self.pool().emit(&Event::Repeated { credential: lease.as_ref().map(Lease::credential) });
        Some(pause)
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
