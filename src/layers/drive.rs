//! The one state machine that every layer runs, each with its own duties.
//!
//! Four machines of their own would each need to send again, wait, drain and save, and would have to
//! agree on what the others do. One machine of which a layer does a part makes the agreement a matter
//! of reading one function, [`Progress::decide`]. `specs/provider-auth-v2.md` has the rules.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use super::answer::Answer;
use super::chain::{Chain, Survey, is_ours};
use super::context::{Handover, Joint, Roles};
use super::duty::{Bodies, sealed};
use super::progress::{Before, Decision, Later, Progress, Rotation};
use super::refresh_on_401::RefreshOptions;
use super::rotate_on_429::RotateOptions;
use crate::BoxError;
use crate::error::Error;
use crate::pool::{KnownHead, Lease, Pool, Refreshing, Saving};

/// What all clones of a service share.
pub(super) struct Shared<S, D: sealed::Duty> {
    pub(super) pool: Pool,
    pub(super) options: D::Options,
    /// What a request is sent again with. Cloned then, so that a request that goes well clones none.
    pub(super) again: Mutex<S>,
    /// The chain that this layer drives, once it is known.
    pub(super) chain: OnceLock<Chain>,
}

impl<S, D: sealed::Duty> Shared<S, D> {
    pub(super) fn rotate(&self) -> Option<&RotateOptions> {
        D::rotate(&self.options).or_else(|| self.chain.get()?.rotate.as_ref())
    }

    pub(super) fn refresh(&self) -> Option<&RefreshOptions> {
        D::refresh(&self.options).or_else(|| self.chain.get()?.refresh.as_ref())
    }
}

/// The part that all services have in common.
pub(crate) struct Core<S, D: sealed::Duty> {
    pub(crate) inner: S,
    shared: Arc<Shared<S, D>>,
    known: KnownHead,
}

impl<S: Clone, D: sealed::Duty> Core<S, D> {
    pub(crate) fn new(inner: S, pool: Pool, options: D::Options) -> Self {
        if D::ROLES.has(Roles::PERSIST) {
            pool.set_saves();
        }
        let again = Mutex::new(inner.clone());
        let chain = OnceLock::new();
        let shared = Arc::new(Shared { pool, options, again, chain });
        Self { inner, shared, known: KnownHead::default() }
    }
}

impl<S: Clone, D: sealed::Duty> Clone for Core<S, D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: self.shared.clone(), known: self.known.clone() }
    }
}

impl<S: fmt::Debug, D: sealed::Duty> fmt::Debug for Core<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("inner", &self.inner).field("pool", self.shared.pool.key()).finish()
    }
}

impl<S, D: sealed::Duty> Core<S, D> {
    #[inline]
    pub(crate) fn poll_ready<B>(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>>
    where
        S: Service<Request<B>, Error: Into<BoxError>>,
    {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    pub(crate) fn call<B, R>(&mut self, mut request: Request<B>) -> ResponseFuture<S, D, B, R>
    where
        S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
        D: Bodies<B, R>,
    {
        let joint = match Handover::take(self.shared.pool.address()) {
            Some(Handover::Driven(owner)) => return self.pass_through(request, owner),
            Some(Handover::Join(joint)) => Some(joint),
            None => None,
        };
        let survey = self.survey(joint.as_ref());
        let asks = joint.as_ref().is_none_or(|joint| joint.survey.is_none());
        let mut progress = Progress::join(&self.shared, joint, &request);
        let stage = match progress.begin::<B, R>(&mut request, &mut self.known) {
            Ok(None) => {
                let future = progress.send(&mut self.inner, request, survey.clone());
                self.learn_chain(survey, asks);
                Stage::Call { future }
            }
            Ok(Some(before)) => {
                // Being ready may mean to hold a permit, which others need while this one waits.
                self.inner = progress.service();
                Stage::First { wait: progress.wait_first(before), request: Box::new(request) }
            }
            Err(error) => Stage::Failed { error: Some(error.into()) },
        };
        ResponseFuture { stage, progress: Some(progress) }
    }

    /// The layer outside does this one's job as well.
    #[inline]
    fn pass_through<B, R>(&mut self, request: Request<B>, owner: usize) -> ResponseFuture<S, D, B, R>
    where
        S: Service<Request<B>>,
        D: Bodies<B, R>,
    {
        if is_ours::<S>() {
            Handover::Driven(owner).pass();
        }
        let future = self.inner.call(request);
        if is_ours::<S>() {
            Handover::end();
        }
        ResponseFuture { stage: Stage::Call { future }, progress: None }
    }

    /// Where the layers further in are to put what they do: where a layer outside asks, or where this
    /// one could drive them and does not know them yet.
    #[inline]
    fn survey(&self, joint: Option<&Joint>) -> Option<Survey> {
        const SENDS_AGAIN: Roles = Roles::ROTATE.with(Roles::REFRESH);
        let asked = joint.and_then(|joint| joint.survey.clone());
        if let Some(survey) = &asked {
            survey.add::<D>(&self.shared.options);
            if let Some(chain) = self.shared.chain.get() {
                survey.add_chain(chain);
            }
        } else if is_ours::<S>() && D::ROLES.intersects(SENDS_AGAIN) && self.shared.chain.get().is_none()
        {
            return Some(Survey::begin::<D>(&self.shared.options));
        }
        asked
    }

    /// After a request for which this layer has asked.
    #[inline]
    fn learn_chain(&self, survey: Option<Survey>, asks: bool) {
        if let Some(survey) = survey.filter(|_| asks) {
            let _ = self.shared.chain.set(survey.end());
        }
    }
}

/// What a request waits for before its first attempt.
enum First {
    Credential(Wait),
    Secret(Refreshing),
}

/// A wait for a credential: until a moment, or until something changes.
pub(super) struct Wait {
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
        // None where the layer outside does this one's job.
        progress: Option<Progress<S, D, D::Kept>>,
    }
}

pin_project! {
    #[project = StageProj]
    #[project_replace = StageOwned]
    enum Stage<S, F, W, B, R> {
        // Waiting for the first credential, or for its new secret.
        First { wait: First, request: Box<Request<B>> },
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
    Decide(Answer),
    Return,
}

impl<S, D, B, R> Future for ResponseFuture<S, D, B, R>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    D: Bodies<B, R>,
{
    type Output = Result<Response<R>, BoxError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.as_mut().project();
        let Some(progress) = this.progress else {
            return match this.stage.project() {
                StageProj::Call { future } => future.poll(cx).map_err(Into::into),
                _ => Poll::Ready(Err(Error::Polled.into())),
            };
        };
        // The way of nearly every request: an answer that asks for nothing more.
        if let StageProj::Call { future } = this.stage.as_mut().project()
            && !progress.ended
        {
            match ready!(future.poll(cx)) {
                Ok(response) => {
                    let answer = progress.observe(&response);
                    if !answer.needs_action() && !progress.must_save() {
                        progress.ended = true;
                        return Poll::Ready(Ok(response));
                    }
                    let stage = progress.answered(response, answer);
                    this.stage.set(stage);
                }
                Err(error) => {
                    let stage = progress.failed(error.into());
                    this.stage.set(stage);
                }
            }
        }
        self.poll_further(cx)
    }
}

impl<S, D, B, R> ResponseFuture<S, D, B, R>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    D: Bodies<B, R>,
{
    /// All that may have to be done besides calling once.
    fn poll_further(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Response<R>, BoxError>> {
        let mut this = self.project();
        let Some(progress) = this.progress else { return Poll::Ready(Err(Error::Polled.into())) };
        loop {
            let next = match this.stage.as_mut().project() {
                StageProj::First { wait, request } => {
                    let begun = match wait {
                        First::Credential(wait) => {
                            ready!(Pin::new(wait).poll(cx));
                            progress.begin::<B, R>(request, &mut KnownHead::default())
                        }
                        First::Secret(refreshing) => {
                            let lease = ready!(Pin::new(refreshing).poll(cx));
                            progress.renewed(lease, request).map(|()| None)
                        }
                    };
                    match begun {
                        Ok(None) => match this.stage.as_mut().project_replace(Stage::Done) {
                            StageOwned::First { request, .. } => {
                                Stage::Ready { service: progress.service(), request: Some(request) }
                            }
                            _ => continue,
                        },
                        Ok(Some(before)) => {
                            *wait = progress.wait_first(before);
                            continue;
                        }
                        Err(error) => Stage::Failed { error: Some(error.into()) },
                    }
                }
                StageProj::Ready { service, request } => match ready!(service.poll_ready(cx)) {
                    Ok(()) => {
                        let request = match request.take() {
                            Some(first) => Ok(*first),
                            None => progress.again::<B, R>(),
                        };
                        match request {
                            Ok(request) => Stage::Call { future: progress.send(service, request, None) },
                            Err(error) => Stage::Failed { error: Some(error.into()) },
                        }
                    }
                    Err(error) => Stage::Failed { error: Some(error.into()) },
                },
                StageProj::Call { .. } if progress.ended => {
                    return Poll::Ready(Err(Error::Polled.into()));
                }
                StageProj::Call { future } => match ready!(future.poll(cx)) {
                    Ok(response) => {
                        let answer = progress.observe(&response);
                        progress.answered(response, answer)
                    }
                    Err(error) => progress.failed(error.into()),
                },
                StageProj::Save { saving, .. } => {
                    ready!(Pin::new(saving).poll(cx));
                    match this.stage.as_mut().project_replace(Stage::Done) {
                        StageOwned::Save { response, then: Then::Decide(answer), .. } => {
                            progress.react(response, answer)
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
                    let error = error.take().unwrap_or_else(|| Error::Polled.into());
                    this.stage.set(Stage::Done);
                    return Poll::Ready(Err(error));
                }
                StageProj::Return { .. } => match this.stage.as_mut().project_replace(Stage::Done) {
                    StageOwned::Return { response } => Stage::Return { response },
                    _ => continue,
                },
                StageProj::Done => return Poll::Ready(Err(Error::Polled.into())),
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

/// What follows an answer, an error or a refresh, as the stage that the future is in next.
impl<S, D: sealed::Duty, K> Progress<S, D, K> {
    fn wait_first(&self, before: Before) -> First {
        match before {
            Before::Credential(later) => First::Credential(self.wait(later)),
            Before::Secret(refreshing) => First::Secret(refreshing),
        }
    }

    fn wait(&self, later: Later) -> Wait {
        let timer = later.until.map(|until| Box::pin(sleep(until.since(self.pool().now()))));
        Wait { timer, change: later.change }
    }

    /// Saves first where that is this layer's job.
    fn answered<F, B, R>(&mut self, response: Response<R>, answer: Answer) -> Stage<S, F, D::Drain, B, R>
    where
        D: Bodies<B, R, Kept = K>,
    {
        match self.start_saving() {
            Some(saving) => Stage::Save { saving, response, then: Then::Decide(answer) },
            None => self.react(response, answer),
        }
    }

    fn failed<F, B, R>(&mut self, error: BoxError) -> Stage<S, F, D::Drain, B, R>
    where
        D: Bodies<B, R, Kept = K>,
    {
        match self.repeat::<B, R>(&error) {
            Some(sleep) => Stage::Pause { sleep },
            None => Stage::Failed { error: Some(error) },
        }
    }

    fn react<F, B, R>(
        &mut self,
        mut response: Response<R>,
        answer: Answer,
    ) -> Stage<S, F, D::Drain, B, R>
    where
        D: Bodies<B, R, Kept = K>,
    {
        match self.decide(answer) {
            Decision::Return => Stage::Return { response },
            Decision::Refresh(lease, refresher) => {
                let refreshing = self.refresh(&lease, &refresher);
                Stage::Refresh { refreshing, lease, response }
            }
            Decision::Rotate => self.send_next(response),
            Decision::Wait(lease, pause) if D::take_over(&self.body) => {
                self.pause(lease, pause);
                self.drain(response, pause)
            }
            Decision::Wait(..) => {
                self.mark_used_up(&mut response);
                Stage::Return { response }
            }
        }
    }

    fn after_refresh<F, B, R>(
        &mut self,
        response: Response<R>,
        before: &Lease,
        renewed: Option<Lease>,
    ) -> Stage<S, F, D::Drain, B, R>
    where
        D: Bodies<B, R, Kept = K>,
    {
        match renewed {
            Some(lease) if D::take_over(&self.body) => {
                let tick = self.pool().tick();
                self.take(lease, tick);
                self.drain(response, Duration::ZERO)
            }
            // The next request has the new secret.
            Some(_) => Stage::Return { response },
            None => match self.give_up(before) {
                Decision::Rotate => self.send_next(response),
                _ => Stage::Return { response },
            },
        }
    }

    /// Sends again with another credential, where there is one and the request can be.
    fn send_next<F, B, R>(&mut self, mut response: Response<R>) -> Stage<S, F, D::Drain, B, R>
    where
        D: Bodies<B, R, Kept = K>,
    {
        let rotation = if D::is_kept(&self.body) { self.rotate::<B, R>() } else { Rotation::UsedUp };
        match rotation {
            Rotation::Send => self.drain(response, Duration::ZERO),
            Rotation::Later(later) => Stage::Next { wait: self.wait(later), response },
            Rotation::UsedUp => {
                self.mark_used_up(&mut response);
                Stage::Return { response }
            }
        }
    }

    fn drain<F, B, R>(&self, response: Response<R>, pause: Duration) -> Stage<S, F, D::Drain, B, R>
    where
        D: Bodies<B, R, Kept = K>,
    {
        let drain = D::drain_body(response.into_body(), self.drain_bound());
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
