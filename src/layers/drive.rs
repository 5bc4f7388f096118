//! The one state machine that every layer runs, each with its own duties.
//!
//! Four machines of their own would each need to send again, wait, drain and save, and would have to
//! agree on what the others do. One machine of which a layer does a part makes the agreement a matter
//! of reading one function, [`Progress::decide`]. `specs/provider-auth-v2.md` has the rules.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};
use tower::retry::backoff::{Backoff, ExponentialBackoff};
use tower_service::Service;

use super::apply::apply;
use super::context::{Observed, Part, PartsCopy, Roles, State, Verdict};
use super::drain::DrainBound;
use super::refresh_on_401::RefreshOptions;
use super::rotate_on_429::RotateOptions;
use crate::BoxError;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::events::{Event, Tally};
use crate::pool::{Lease, Picked, Pool, Refreshing, Saving};

/// Set on the last response of a pool that is used up: when to ask again. Read it from the response's
/// extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextReady {
    at: Timestamp,
}

impl NextReady {
    /// When the next credential of the pool is ready.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// What a layer does. Not to be implemented outside of this crate.
pub trait Duty: sealed::Duty {}

pub(crate) mod sealed {
    use super::{DrainBound, RefreshOptions, Roles, RotateOptions};

    /// The jobs of a layer, and its settings for them.
    pub trait Duty: Send + Sync + 'static {
        type Options: Send + Sync + 'static;
        const ROLES: Roles;

        fn rotate(_: &Self::Options) -> Option<&RotateOptions> {
            None
        }

        fn refresh(_: &Self::Options) -> Option<&RefreshOptions> {
            None
        }

        fn drain(_: &Self::Options) -> DrainBound {
            DrainBound::default()
        }
    }

    /// What a layer needs of bodies: one that never sends again needs nothing.
    pub trait Bodies<B, R>: Duty {
        type Drain: Future<Output = ()>;

        fn try_clone(body: &B) -> Option<B>;

        fn drain_body(body: R, bound: DrainBound) -> Self::Drain;
    }
}

pub(crate) use sealed::Bodies;

/// Implements [`Bodies`] for a layer that never sends a request again.
macro_rules! sends_once {
    ($duty:ty) => {
        impl<B, R> $crate::layers::drive::Bodies<B, R> for $duty {
            type Drain = std::future::Ready<()>;

            fn try_clone(_: &B) -> Option<B> {
                None
            }

            fn drain_body(_: R, _: $crate::layers::drain::DrainBound) -> Self::Drain {
                std::future::ready(())
            }
        }
    };
}
pub(crate) use sends_once;

/// Implements [`Bodies`] for a layer that may send a request again.
macro_rules! sends_again {
    ($duty:ty) => {
        impl<B, R> $crate::layers::drive::Bodies<B, R> for $duty
        where
            B: $crate::body::TryCloneBody,
            R: http_body::Body,
        {
            type Drain = $crate::layers::drain::Drain<R>;

            fn try_clone(body: &B) -> Option<B> {
                body.try_clone()
            }

            fn drain_body(body: R, bound: $crate::layers::drain::DrainBound) -> Self::Drain {
                $crate::layers::drain::Drain::new(body, bound)
            }
        }
    };
}
pub(crate) use sends_again;

/// What all clones of a service share.
pub(crate) struct Shared<S, D: sealed::Duty> {
    pub(crate) pool: Pool,
    pub(crate) options: D::Options,
    /// What a request is sent again with. Cloned then, so that a request that goes well clones none.
    again: Mutex<S>,
}

/// The part that all services have in common.
pub(crate) struct Core<S, D: sealed::Duty> {
    pub(crate) inner: S,
    pub(crate) shared: Arc<Shared<S, D>>,
}

impl<S: Clone, D: sealed::Duty> Core<S, D> {
    pub(crate) fn new(inner: S, pool: Pool, options: D::Options) -> Self {
        let again = Mutex::new(inner.clone());
        Self { inner, shared: Arc::new(Shared { pool, options, again }) }
    }
}

impl<S: Clone, D: sealed::Duty> Clone for Core<S, D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: self.shared.clone() }
    }
}

impl<S: fmt::Debug, D: sealed::Duty> fmt::Debug for Core<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("inner", &self.inner).field("pool", self.shared.pool.key()).finish()
    }
}

/// Whether a service is one of our layers, by the name of its type: then its `call` is ours, and what
/// it must know can be handed over without a place in the request. A wrong no only costs time.
fn is_ours<S>() -> bool {
    let name = std::any::type_name::<S>();
    [
        concat!(env!("CARGO_CRATE_NAME"), "::layers::auth_header::AuthHeader<"),
        concat!(env!("CARGO_CRATE_NAME"), "::layers::rotate_on_429::RotateOn429<"),
        concat!(env!("CARGO_CRATE_NAME"), "::layers::refresh_on_401::RefreshOn401<"),
        concat!(env!("CARGO_CRATE_NAME"), "::layers::cooldown_persist::CooldownPersist<"),
        concat!(env!("CARGO_CRATE_NAME"), "::layers::credentials::Credentials<"),
    ]
    .iter()
    .any(|ours| name.starts_with(ours))
}

impl<S, D: sealed::Duty> Core<S, D> {
    pub(crate) fn poll_ready<B>(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>>
    where
        S: Service<Request<B>, Error: Into<BoxError>>,
    {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    pub(crate) fn call<B, R>(&mut self, mut request: Request<B>) -> ResponseFuture<S, D, B, R>
    where
        S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
        D: Bodies<B, R>,
    {
        let mut progress = Progress::join(&self.shared, &request);
        let stage = match progress.begin::<R>(&mut request) {
            Ok(None) => Stage::Call { future: progress.send(&mut self.inner, request) },
            Ok(Some(later)) => Stage::First { wait: progress.wait(later), request: Box::new(request) },
            Err(error) => Stage::Failed { error: Some(error.into()) },
        };
        ResponseFuture { stage, progress }
    }
}

/// A wait for a credential: until a moment, or until something changes.
struct Wait {
    timer: Option<Pin<Box<Sleep>>>,
    change: oneshot::Receiver<()>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        Pin::new(&mut self.change).poll(cx).map(|_| ())
    }
}

/// When to ask for a credential again.
struct Later {
    until: Option<Timestamp>,
    change: oneshot::Receiver<()>,
}

pin_project! {
    /// The response of any of the layers.
    pub struct ResponseFuture<S, D, B, R>
    where
        S: Service<Request<B>>,
        D: sealed::Duty,
        D: Bodies<B, R>,
    {
        // Before the progress, so that what is inside lets go of the context first.
        #[pin]
        stage: Stage<S, S::Future, D::Drain, B, R>,
        progress: Progress<S, D, B>,
    }
}

pin_project! {
    #[project = StageProj]
    #[project_replace = StageOwned]
    enum Stage<S, F, W, B, R> {
        // Waiting for the first credential.
        First { wait: Wait, request: Box<Request<B>> },
        // Waiting for the service to be ready: for the first request, or for one from the copy.
        Ready { service: S, request: Option<Box<Request<B>>> },
        // Waiting for an answer.
        Call { #[pin] future: F },
        // Saving what the answer taught, before anything else is done.
        Save { saving: Saving, response: Response<R>, then: Then },
        // Waiting for a new secret.
        Refresh { refreshing: Refreshing, lease: Lease, response: Response<R> },
        // Waiting for another credential.
        Next { wait: Wait, response: Response<R> },
        // Reading what is left of an answer that is thrown away, then waiting where that is set.
        Drain { #[pin] drain: W, pause: Duration },
        Pause { #[pin] sleep: Sleep },
        // About to be returned; never waited in.
        Return { response: Response<R> },
        Failed { error: Option<BoxError> },
        Done,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Decide,
    Return,
}

/// What to do about an answer.
enum Decision {
    Return,
    /// Renew this lease's secret, and send again with it.
    Refresh(Lease),
    /// Send again with another credential.
    Rotate,
    /// Send again with the same one, after a while.
    Wait(Lease, Duration),
}

/// What came of looking for another credential.
enum Rotation {
    Send,
    Later(Later),
    UsedUp,
}

/// One layer's part of one request.
struct Progress<S, D: sealed::Duty, B> {
    shared: Arc<Shared<S, D>>,
    part: Part,
    /// The body for another attempt, where the request can be sent again.
    body: Option<B>,
    /// The rest of the request, where the copy in the context is another layer's.
    copy: Option<Box<PartsCopy>>,
    patience: Option<Timestamp>,
    repeats: u32,
    backoff: Option<Box<ExponentialBackoff>>,
    /// How long this request has waited for limits to end.
    waited: Duration,
    ended: bool,
}

impl<S, D: sealed::Duty, B> Progress<S, D, B> {
    fn join(shared: &Arc<Shared<S, D>>, request: &Request<B>) -> Self {
        Self {
            shared: shared.clone(),
            part: Part::join(shared.pool.address(), D::ROLES, request.extensions()),
            body: None,
            copy: None,
            patience: None,
            repeats: 0,
            backoff: None,
            waited: Duration::ZERO,
            ended: false,
        }
    }

    fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// Makes a request ready for its first attempt: it has a lease, a copy where it may be sent again,
    /// and the lease's headers where that is this layer's job. Or tells when to ask again.
    fn begin<R>(&mut self, request: &mut Request<B>) -> Result<Option<Later>, Error>
    where
        D: Bodies<B, R>,
    {
        const PICKS: Roles = Roles::AUTH_HEADER.with(Roles::ROTATE).with(Roles::REFRESH);
        let Self { shared, part, .. } = self;
        let (pool, options) = (&shared.pool, &shared.options);
        if part.is_outermost {
            pool.check_unmarked(request.headers())?;
        } else if part.by_extensions && part.written {
            // Whatever stands in between may have sent it elsewhere.
            pool.check_origin(request.uri())?;
        }
        if !D::ROLES.intersects(PICKS) {
            if part.is_outermost {
                part.context.state().wish.read(request.extensions());
            }
            return Ok(None);
        }
        if part.copied && !D::ROLES.has(Roles::AUTH_HEADER) {
            // The layer outside has picked, and has copied all but the body.
            self.body = D::try_clone(request.body());
            if let Some(attempts) = D::rotate(options).and_then(|rotate| rotate.max_attempts) {
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
            if self.patience.is_none() {
                self.patience = pool.patience();
            }
            match pool.pick_first(&state.wish, self.patience)? {
                (Picked::Lease { lease, .. }, permit) => {
                    Tally::add(&pool.tally().requests);
                    state.permit = permit;
                    state.begin_attempt(lease, pool.tick(), pool.is_observed());
                }
                (Picked::Later { until, change }, _) => return Ok(Some(Later { until, change })),
                (Picked::None, _) => {}
            }
        }
        part.attempt = part.attempt.max(u32::from(part.carried.is_none()) * state.attempt);
        let Some(lease) = part.carried.as_ref().or(state.lease.as_ref()) else { return Ok(None) };
        if let Some(rotate) = D::rotate(options) {
            state.budget = rotate.max_attempts.map(Into::into);
        }
        let may_rotate = pool.size() > 1 && state.wish.pin.is_none();
        let rotates = |rotate: &RotateOptions| may_rotate || rotate.repeats_itself();
        let refreshes = |_: &RefreshOptions| lease.is_refreshable() || may_rotate;
        if D::rotate(options).is_some_and(rotates) || D::refresh(options).is_some_and(refreshes) {
            self.body = D::try_clone(request.body());
            if self.body.is_some() && !part.copied {
                if state.copy_taken {
                    self.copy.insert(Box::default()).take(request);
                } else {
                    state.copy.take(request);
                    state.copy_taken = true;
                    part.copied = true;
                }
            }
        }
        if D::ROLES.has(Roles::AUTH_HEADER) {
            part.written = true;
            apply(pool, lease, request)?;
        }
        Ok(None)
    }

    /// Sends a request, with what the layers further in must know.
    fn send(&mut self, service: &mut S, mut request: Request<B>) -> S::Future
    where
        S: Service<Request<B>>,
    {
        let part = &self.part;
        if is_ours::<S>() {
            if part.by_extensions {
                request.extensions_mut().remove::<super::Attempt>();
            }
            return part.call_ours(D::ROLES, || service.call(request));
        }
        let is_complete = part.outside.with(D::ROLES) == Roles::ALL;
        if !is_complete || part.by_extensions || self.pool().exposes_attempts() {
            let lease = part.carried.clone().or_else(|| part.context.state().lease.clone());
            part.travel(D::ROLES, lease, request.extensions_mut());
        }
        service.call(request)
    }

    /// The same request once more, with the latest lease.
    fn again<R>(&mut self) -> Result<Option<Request<B>>, Error>
    where
        D: Bodies<B, R>,
    {
        let Some(body) = self.body.as_ref().and_then(D::try_clone) else { return Ok(None) };
        let state = self.part.context.state();
        let copy = self.copy.as_deref().unwrap_or(&state.copy);
        let mut request = copy.restore(body);
        if self.part.written
            && let Some(lease) = self.part.carried.as_ref().or(state.lease.as_ref())
        {
            apply(self.pool(), lease, &mut request)?;
        }
        Ok(Some(request))
    }

    /// Another attempt begins, with this lease.
    fn take(&mut self, lease: Lease) {
        let Self { shared, part, .. } = self;
        let pool = &shared.pool;
        let mut state = part.context.state();
        if part.carried.is_some() || part.by_extensions {
            part.carried = Some(lease.clone());
        }
        state.begin_attempt(lease, pool.tick(), pool.is_observed());
        part.attempt = state.attempt;
        Tally::add(&pool.tally().repeats);
    }

    fn wait(&self, later: Later) -> Wait {
        let timer = later.until.map(|until| Box::pin(sleep(until.since(self.pool().now()))));
        Wait { timer, change: later.change }
    }

    /// A service to send a request again with.
    fn service(&self) -> S
    where
        S: Clone,
    {
        self.shared.again.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records what an answer taught, unless a layer further in has.
    fn observe<R>(&mut self, response: &Response<R>) {
        let Self { shared, part, .. } = self;
        let (pool, status) = (&shared.pool, response.status());
        let verdict = match status {
            status if pool.is_limited(status) => Verdict::Limited,
            status if status.is_success() => Verdict::Good,
            _ => Verdict::Other,
        };
        let observed = part.context.observe(part.attempt, verdict);
        if observed == Observed::Known {
            return;
        }
        let mut state = part.context.state();
        // The use ends with the head of the response.
        let permit = state.permit.take();
        let State { lease, wish, began, started, .. } = &*state;
        let Some(lease) = part.carried.as_ref().or(lease.as_ref()) else { return };
        if observed == Observed::First
            && let Some(started) = started
        {
            let (credential, elapsed) = (lease.credential(), started.elapsed());
            pool.emit(&Event::Attempt { credential, status, elapsed });
        }
        let scope = wish.scope.as_ref();
        match verdict {
            Verdict::Limited => pool.limited(lease, *began, scope, response.headers()),
            Verdict::Good => pool.succeeded(lease, *began, scope, response.headers()),
            Verdict::Other => {}
        }
        drop(state);
        drop(permit);
    }

    /// Begins to save where that is due.
    fn save(&self, is_due: bool) -> Option<Saving> {
        if is_due { self.pool().start_saving() } else { None }
    }

    /// The lease that the answer is about. Where a layer further in may have sent again, the context
    /// has the latest; else it is the one that this layer sent.
    fn answered(&self, state: &State) -> Option<Lease> {
        let resends = Roles::ROTATE.with(Roles::REFRESH);
        let inside = self.part.context.roles().without(self.part.outside).without(D::ROLES);
        let carried = self.part.carried.as_ref().filter(|_| !inside.intersects(resends));
        carried.or(state.lease.as_ref()).cloned()
    }

    /// What to do about an answer: this layer's part of the rules that all share.
    fn decide(&self, status: StatusCode) -> Decision {
        let is_refused = is_refusal(status);
        let is_limited = self.pool().is_limited(status);
        if !is_refused && !is_limited {
            return Decision::Return;
        }
        let mut state = self.part.context.state();
        let Some(lease) = self.answered(&state) else { return Decision::Return };
        let slot = lease.slot();
        let refreshes = D::ROLES.has(Roles::REFRESH);
        if refreshes && is_refused && !state.failed.contains(&slot) {
            let may_help = D::refresh(&self.shared.options).is_some()
                && (lease.is_refreshable() || self.pool().has_newer(&lease));
            if may_help && !state.refreshed.contains(&slot) {
                state.refreshed.push(slot);
                return Decision::Refresh(lease);
            }
            return self.fail(&mut state, &lease);
        }
        if !D::ROLES.has(Roles::ROTATE) {
            return Decision::Return;
        }
        if is_refused && !state.failed.contains(&slot) {
            // A refresh layer outside takes it.
            let is_taken = self.part.context.roles().has(Roles::REFRESH) && !refreshes;
            return if is_taken { Decision::Return } else { self.fail(&mut state, &lease) };
        }
        if is_limited && let Some(pause) = self.worth_waiting(&lease, &state) {
            return Decision::Wait(lease, pause);
        }
        Decision::Rotate
    }

    /// The credential has failed for good, as far as this request goes.
    fn fail(&self, state: &mut State, lease: &Lease) -> Decision {
        state.failed.push(lease.slot());
        self.pool().refused(lease, state.began);
        let rotate_is_inside =
            self.part.context.roles().has(Roles::ROTATE) && !self.part.outside.has(Roles::ROTATE);
        if rotate_is_inside { Decision::Rotate } else { Decision::Return }
    }

    /// How long to wait for the limit to end, where that is worth it.
    fn worth_waiting(&self, lease: &Lease, state: &State) -> Option<Duration> {
        let bound = D::rotate(&self.shared.options)?.wait_up_to?.checked_sub(self.waited)?;
        let pause = self.pool().cooling_for(lease, state.wish.scope.as_ref());
        // A deadline that has passed is no reason to ask the same account at once again.
        (pause > Duration::ZERO && pause <= bound).then_some(pause)
    }

    /// Looks for another credential, and takes it.
    fn rotate(&mut self) -> Rotation {
        let pool = &self.shared.pool;
        let mut guard = self.part.context.state();
        let state = &mut *guard;
        let budget = state.budget.unwrap_or_else(|| pool.size());
        if state.tried.len() >= usize::try_from(budget).unwrap_or(usize::MAX) {
            return Rotation::UsedUp;
        }
        match pool.pick_next(&state.tried, &state.wish) {
            (Picked::None, _) => Rotation::UsedUp,
            (Picked::Later { until, change }, _) => Rotation::Later(Later { until, change }),
            (Picked::Lease { lease, .. }, permit) => {
                let before = state.lease.clone();
                state.permit = permit;
                drop(guard);
                self.take(lease.clone());
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
    fn mark_used_up<R>(&self, response: &mut Response<R>) {
        let state = self.part.context.state();
        if let Some(at) = self.pool().next_ready(state.wish.scope.as_ref()) {
            response.extensions_mut().insert(NextReady { at });
        }
    }

    /// How long to wait before sending again after a network error, where that is to be done.
    fn repeat(&mut self, error: &BoxError) -> Option<Sleep> {
        let network = &D::rotate(&self.shared.options)?.network;
        if self.body.is_none() || self.repeats >= network.allows() || !network.is_worth(error) {
            return None;
        }
        self.repeats += 1;
        let pause = self.backoff.get_or_insert_with(|| Box::new(network.start())).next_backoff();
        let lease = {
            let mut state = self.part.context.state();
            state.attempt += 1;
            self.part.attempt = state.attempt;
            self.part.carried.clone().or_else(|| state.lease.clone())
        };
        Tally::add(&self.pool().tally().repeats);
        self.pool().emit(&Event::Repeated { credential: lease.as_ref().map(Lease::credential) });
        Some(pause)
    }
}

/// A status by which the upstream refuses a credential.
fn is_refusal(status: StatusCode) -> bool {
    status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN
}

impl<S, D: sealed::Duty, B> Drop for Progress<S, D, B> {
    /// A request that is dropped on the way loses nothing that was learnt.
    fn drop(&mut self) {
        let is_saver = self.part.is_outermost && self.part.context.roles().has(Roles::PERSIST);
        if is_saver && !self.ended {
            let _ = self.pool().start_saving();
        }
    }
}

impl<S, D, B, R> Future for ResponseFuture<S, D, B, R>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    D: Bodies<B, R>,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let progress = this.progress;
        loop {
            let next = match this.stage.as_mut().project() {
                StageProj::First { wait, request } => {
                    ready!(Pin::new(&mut *wait).poll(cx));
                    match progress.begin::<R>(request) {
                        Ok(None) => {
                            let StageOwned::First { request, .. } =
                                this.stage.as_mut().project_replace(Stage::Done)
                            else {
                                continue;
                            };
                            Stage::Ready { service: progress.service(), request: Some(request) }
                        }
                        Ok(Some(later)) => {
                            *wait = progress.wait(later);
                            continue;
                        }
                        Err(error) => Stage::Failed { error: Some(error.into()) },
                    }
                }
                StageProj::Ready { service, request } => match ready!(service.poll_ready(cx)) {
                    Err(error) => Stage::Failed { error: Some(error.into()) },
                    Ok(()) => {
                        let request = match request.take() {
                            Some(request) => Ok(Some(*request)),
                            None => progress.again::<R>(),
                        };
                        match request {
                            Ok(Some(request)) => Stage::Call { future: progress.send(service, request) },
                            Ok(None) => Stage::Failed { error: None },
                            Err(error) => Stage::Failed { error: Some(error.into()) },
                        }
                    }
                },
                StageProj::Call { future } => match ready!(future.poll(cx)) {
                    Err(error) => {
                        let error = error.into();
                        match progress.repeat(&error) {
                            Some(sleep) => Stage::Pause { sleep },
                            None => Stage::Failed { error: Some(error) },
                        }
                    }
                    Ok(response) => {
                        progress.observe(&response);
                        match progress.save(D::ROLES.has(Roles::PERSIST)) {
                            Some(saving) => Stage::Save { saving, response, then: Then::Decide },
                            None => progress.react(response),
                        }
                    }
                },
                StageProj::Save { saving, .. } => {
                    ready!(Pin::new(saving).poll(cx));
                    match this.stage.as_mut().project_replace(Stage::Done) {
                        StageOwned::Save { response, then: Then::Decide, .. } => {
                            progress.react(response)
                        }
                        StageOwned::Save { response, then: Then::Return, .. } => {
                            return Poll::Ready(Ok(response));
                        }
                        _ => continue,
                    }
                }
                StageProj::Refresh { refreshing, .. } => {
                    let lease = ready!(Pin::new(refreshing).poll(cx));
                    match this.stage.as_mut().project_replace(Stage::Done) {
                        StageOwned::Refresh { response, lease: before, .. } => {
                            progress.after_refresh(response, &before, lease)
                        }
                        _ => continue,
                    }
                }
                StageProj::Next { wait, .. } => {
                    ready!(Pin::new(wait).poll(cx));
                    match this.stage.as_mut().project_replace(Stage::Done) {
                        StageOwned::Next { response, .. } => progress.send_next(response),
                        _ => continue,
                    }
                }
                StageProj::Drain { drain, pause } => {
                    ready!(drain.poll(cx));
                    match *pause {
                        Duration::ZERO => Stage::Ready { service: progress.service(), request: None },
                        pause => Stage::Pause { sleep: sleep(pause) },
                    }
                }
                StageProj::Pause { sleep } => {
                    ready!(sleep.poll(cx));
                    Stage::Ready { service: progress.service(), request: None }
                }
                StageProj::Failed { error } => {
                    progress.ended = error.is_some();
                    let error = error.take().unwrap_or_else(|| Error::Polled.into());
                    this.stage.set(Stage::Done);
                    return Poll::Ready(Err(error));
                }
                StageProj::Return { .. } | StageProj::Done => {
                    return Poll::Ready(Err(Error::Polled.into()));
                }
            };
            // A response that is to be returned may have to be saved first, once.
            match next {
                Stage::Return { response } => match progress.finish() {
                    Some(saving) => {
                        this.stage.set(Stage::Save { saving, response, then: Then::Return });
                    }
                    None => {
                        this.stage.set(Stage::Done);
                        return Poll::Ready(Ok(response));
                    }
                },
                next => this.stage.set(next),
            }
        }
    }
}

impl<S, D: sealed::Duty, B> Progress<S, D, B> {
    /// What this layer has learnt last is saved before its response goes out, where that is its job.
    fn finish(&mut self) -> Option<Saving> {
        self.ended = true;
        let is_saver = self.part.is_outermost && self.part.context.roles().has(Roles::PERSIST);
        self.save(is_saver)
    }

    /// What follows an answer.
    fn react<F, R>(&mut self, mut response: Response<R>) -> Stage<S, F, D::Drain, B, R>
    where
        D: Bodies<B, R>,
    {
        match self.decide(response.status()) {
            Decision::Return => Stage::Return { response },
            Decision::Refresh(lease) => match D::refresh(&self.shared.options) {
                Some(options) => Stage::Refresh {
                    refreshing: self.pool().refresh(&lease, &options.refresher),
                    lease,
                    response,
                },
                None => Stage::Return { response },
            },
            Decision::Rotate => self.send_next(response),
            Decision::Wait(lease, pause) if self.body.is_some() => {
                self.waited += pause;
                self.pool().emit(&Event::Waiting { credential: lease.credential(), wait: pause });
                self.take(lease);
                self.drain(response, pause)
            }
            Decision::Wait(..) => {
                self.mark_used_up(&mut response);
                Stage::Return { response }
            }
        }
    }

    fn after_refresh<F, R>(
        &mut self,
        response: Response<R>,
        before: &Lease,
        renewed: Option<Lease>,
    ) -> Stage<S, F, D::Drain, B, R>
    where
        D: Bodies<B, R>,
    {
        match renewed {
            Some(lease) if self.body.is_some() => {
                self.take(lease);
                self.drain(response, Duration::ZERO)
            }
            // The next request has the new secret.
            Some(_) => Stage::Return { response },
            None => {
                let decision = self.fail(&mut self.part.context.state(), before);
                match decision {
                    Decision::Rotate => self.send_next(response),
                    _ => Stage::Return { response },
                }
            }
        }
    }

    /// Sends again with another credential, where there is one and the request can be.
    fn send_next<F, R>(&mut self, mut response: Response<R>) -> Stage<S, F, D::Drain, B, R>
    where
        D: Bodies<B, R>,
    {
        let rotation = if self.body.is_some() { self.rotate() } else { Rotation::UsedUp };
        match rotation {
            Rotation::Send => self.drain(response, Duration::ZERO),
            Rotation::Later(later) => Stage::Next { wait: self.wait(later), response },
            Rotation::UsedUp => {
                self.mark_used_up(&mut response);
                Stage::Return { response }
            }
        }
    }

    fn drain<F, R>(&self, response: Response<R>, pause: Duration) -> Stage<S, F, D::Drain, B, R>
    where
        D: Bodies<B, R>,
    {
        let drain = D::drain_body(response.into_body(), D::drain(&self.shared.options));
        Stage::Drain { drain, pause }
    }
}

impl<S, D, B, R> fmt::Debug for ResponseFuture<S, D, B, R>
where
    S: Service<Request<B>>,
    D: Bodies<B, R>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
