//! The future of a response: the stages in which it waits, and the step that follows each.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use super::decide::Decision;
use super::driver::Driver;
use super::response_class::ResponseClass;
use super::sends::Sends;
use super::steps::Rotation;
use super::stopwatch::Stopwatch;
use super::wait::Blocked;
use crate::BoxError;
use crate::counters::Outcome;
use crate::error::Error;
use crate::events::RotationReason;
use crate::pool::{CachedPick, Lease, Refreshed, Refreshing, Saving};

pin_project! {
    /// The future of a layer that applies, rotates, refreshes or saves credentials.
    pub struct ResponseFuture<S, M, B, R>
    where
        S: Service<Request<B>>,
        M: Sends<B, R>,
    {
        #[pin]
        part: Part<S, S::Future, M::Drain, B, R, Driver<S, B, R, M>>,
    }
}

pin_project! {
    #[project = PartProj]
    enum Part<S, F, D, B, R, P> {
        // Another layer of the run does this layer's job.
        PassedOn { #[pin] future: F },
        // The stage is dropped before the driver, so that the runs inside drop the history first.
        Driven { #[pin] stage: Stage<S, F, D, B, R>, driver: P },
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, F, D, B, R> {
        // Waiting for the first credential, or for its new secret.
        Blocked { on: Blocked, request: Option<Box<Request<B>>> },
        // Waiting until the service is ready, for the first request or for one from the copy.
        Ready { service: S, first: Option<Box<Request<B>>> },
        // Waiting for a response.
        Call { #[pin] future: F },
        // Saving before anything is done about a response, or before it is returned.
        Save { saving: Saving, then: Then, response: Option<Response<R>> },
        // Waiting for a new secret in place of this lease's.
        Refresh {
            refreshing: Refreshing,
            lease: Lease,
            class: ResponseClass,
            response: Option<Response<R>>,
        },
        // Waiting for another credential.
        Next { on: Blocked, response: Option<Response<R>> },
        // Reading the rest of a response that is discarded, and then waiting, if that is set.
        Drain { #[pin] drain: D, pause: Duration },
        Pause { #[pin] sleep: Sleep },
        Failed { error: Option<BoxError> },
        Done,
    }
}

#[derive(Clone, Copy)]
enum Then {
    Decide(ResponseClass),
    Return,
}

/// The step that follows a stage.
enum Next<S, F, D, B, R> {
    Stage(Stage<S, F, D, B, R>),
    Return(Response<R>),
}

type NextOf<S, M, B, R> = Next<S, <S as Service<Request<B>>>::Future, <M as Sends<B, R>>::Drain, B, R>;

type StageOf<S, M, B, R> = Stage<S, <S as Service<Request<B>>>::Future, <M as Sends<B, R>>::Drain, B, R>;

impl<S, M, B, R> ResponseFuture<S, M, B, R>
where
    S: Service<Request<B>>,
    M: Sends<B, R>,
{
    /// The future of a request that another layer of the run drives.
    #[inline]
    pub(super) fn passed_on(future: S::Future) -> Self {
        Self { part: Part::PassedOn { future } }
    }

    /// The future of a request that has been sent.
    #[inline]
    pub(super) fn sent(driver: Driver<S, B, R, M>, future: S::Future) -> Self {
        Self { part: Part::Driven { stage: Stage::Call { future }, driver } }
    }

    /// The future of a request that has to wait first.
    #[cold]
    pub(super) fn blocked(driver: Driver<S, B, R, M>, on: Blocked, request: Request<B>) -> Self {
        let stage = Stage::Blocked { on, request: Some(Box::new(request)) };
        Self { part: Part::Driven { stage, driver } }
    }

    /// The future of a request that is not sent.
    #[cold]
    pub(super) fn failed(driver: Driver<S, B, R, M>, error: BoxError) -> Self {
        Self { part: Part::Driven { stage: Stage::Failed { error: Some(error) }, driver } }
    }
}

impl<S, M, B, R> Future for ResponseFuture<S, M, B, R>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    M: Sends<B, R>,
{
    type Output = Result<Response<R>, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().part.project() {
            PartProj::PassedOn { future } => future.poll(cx).map_err(Into::into),
            PartProj::Driven { stage, driver } if driver.span.is_some() => {
                Self::poll_in_span(stage, driver, cx)
            }
            PartProj::Driven { stage, driver } => Self::poll_driven(stage, driver, cx),
        }
    }
}

/// The steps between two stages.
impl<S, M, B, R> ResponseFuture<S, M, B, R>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    M: Sends<B, R>,
{
    /// Polls the stages in the request's span.
    #[cold]
    fn poll_in_span(
        stage: Pin<&mut StageOf<S, M, B, R>>,
        driver: &mut Driver<S, B, R, M>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<R>, BoxError>> {
        let span = driver.span.clone();
        let _entered = span.enter();
        let result = ready!(Self::poll_driven(stage, driver, cx));
        span.end(&result, driver.latest().as_ref());
        Poll::Ready(result)
    }

    #[inline]
    fn poll_driven(
        mut stage: Pin<&mut StageOf<S, M, B, R>>,
        driver: &mut Driver<S, B, R, M>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<R>, BoxError>> {
        loop {
            let next = match stage.as_mut().project() {
                StageProj::Call { future } if !driver.ended => match ready!(future.poll(cx)) {
                    Ok(mut response) => {
                        let class = driver.classify(&mut response);
                        // Nearly every request ends here.
                        if !class.needs_action() && !driver.is_repeated() && !driver.must_save() {
                            driver.ended = true;
                            return Poll::Ready(Ok(response));
                        }
                        Ok(Self::save(driver, response, class))
                    }
                    Err(error) => {
                        let took = Stopwatch::of(driver.sent.as_ref());
                        driver.count_outcome(Outcome::Failed, &took);
                        Self::repeat(driver, error.into())
                    }
                },
                _ => ready!(Self::poll_stage(stage.as_mut(), driver, cx)),
            };
            match next {
                Ok(Next::Stage(next)) => stage.set(next),
                Ok(Next::Return(response)) => {
                    stage.set(Stage::Done);
                    return Poll::Ready(Ok(response));
                }
                Err(error) => {
                    stage.set(Stage::Done);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Polls a stage other than `Call`, and takes the step that follows.
    #[cold]
    fn poll_stage(
        stage: Pin<&mut StageOf<S, M, B, R>>,
        driver: &mut Driver<S, B, R, M>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<NextOf<S, M, B, R>, BoxError>> {
        let next = match stage.project() {
            StageProj::Blocked { on, request } => {
                let first = request.as_deref_mut().ok_or(Error::Polled)?;
                match on {
                    Blocked::OnCredential(wait) => ready!(Pin::new(wait).poll(cx)),
                    Blocked::OnRefresh(refreshing) => {
                        let renewed = ready!(Pin::new(refreshing).poll(cx));
                        driver.renewed(renewed, first)?;
                    }
                }
                let blocked = driver.prepare(first, &mut CachedPick::default())?;
                let request = request.take();
                Next::Stage(match blocked {
                    Some(on) => Stage::Blocked { on, request },
                    None => Stage::Ready { service: driver.service(), first: request },
                })
            }
            StageProj::Ready { service, first } => {
                ready!(service.poll_ready(cx)).map_err(Into::into)?;
                let mut request = match first.take() {
                    Some(first) => *first,
                    None => driver.again()?,
                };
                driver.send(&mut request);
                Next::Stage(Stage::Call { future: service.call(request) })
            }
            StageProj::Save { saving, then, response } => {
                ready!(Pin::new(saving).poll(cx));
                let response = response.take().ok_or(Error::Polled)?;
                match *then {
                    Then::Decide(class) => Self::decide(driver, response, class),
                    Then::Return => Next::Return(response),
                }
            }
            StageProj::Refresh { refreshing, lease, class, response } => {
                let refreshed = ready!(Pin::new(refreshing).poll(cx));
                let response = response.take().ok_or(Error::Polled)?;
                match refreshed {
                    // If the request can't be sent again, the next one has the new secret.
                    Refreshed::New(renewed) if driver.send_again(&renewed) => {
                        Self::drain(driver, response, Duration::ZERO)
                    }
                    Refreshed::NoHelp if driver.fail(lease, *class, response.status()) => {
                        Self::rotate(driver, response)
                    }
                    Refreshed::Unavailable if driver.pass_over(lease) => {
                        driver.rotation_reason = RotationReason::NoToken;
                        Self::rotate(driver, response)
                    }
                    _ => Self::finish(driver, response),
                }
            }
            StageProj::Next { on, response } => {
                match on {
                    Blocked::OnCredential(wait) => ready!(Pin::new(wait).poll(cx)),
                    // The pool has the result, whatever it is.
                    Blocked::OnRefresh(refreshing) => drop(ready!(Pin::new(refreshing).poll(cx))),
                }
                Self::rotate(driver, response.take().ok_or(Error::Polled)?)
            }
            StageProj::Drain { drain, pause } => {
                ready!(drain.poll(cx));
                Next::Stage(match *pause {
                    Duration::ZERO => Stage::Ready { service: driver.service(), first: None },
                    pause => Stage::Pause { sleep: sleep(pause) },
                })
            }
            StageProj::Pause { sleep } => {
                ready!(sleep.poll(cx));
                Next::Stage(Stage::Ready { service: driver.service(), first: None })
            }
            StageProj::Failed { error } => {
                return Poll::Ready(Err(error.take().ok_or(Error::Polled)?));
            }
            StageProj::Call { .. } | StageProj::Done => return Poll::Ready(Err(Error::Polled.into())),
        };
        Poll::Ready(Ok(next))
    }

    /// Saves what was recorded about a response, before anything else is done about it.
    #[cold]
    fn save(
        driver: &mut Driver<S, B, R, M>,
        response: Response<R>,
        class: ResponseClass,
    ) -> NextOf<S, M, B, R> {
        match driver.save() {
            Some(saving) => {
                let (then, response) = (Then::Decide(class), Some(response));
                Next::Stage(Stage::Save { saving, then, response })
            }
            None => Self::decide(driver, response, class),
        }
    }

    fn decide(
        driver: &mut Driver<S, B, R, M>,
        response: Response<R>,
        class: ResponseClass,
    ) -> NextOf<S, M, B, R> {
        match driver.decide(class, response.status()) {
            Decision::Return => Self::finish(driver, response),
            Decision::Refresh(lease, refresher) => {
                let refreshing = driver.refresh(&lease, &refresher);
                Next::Stage(Stage::Refresh { refreshing, lease, class, response: Some(response) })
            }
            Decision::Rotate => Self::rotate(driver, response),
            Decision::Wait(lease, pause) if driver.wait(&lease, pause) => {
                Self::drain(driver, response, pause)
            }
            Decision::Wait(..) => Self::used_up(driver, response),
        }
    }

    /// Sends again with another credential, if there is one and the request can be sent again.
    fn rotate(driver: &mut Driver<S, B, R, M>, response: Response<R>) -> NextOf<S, M, B, R> {
        match driver.rotate() {
            Rotation::Send => Self::drain(driver, response, Duration::ZERO),
            Rotation::Blocked(on) => Next::Stage(Stage::Next { on, response: Some(response) }),
            Rotation::UsedUp => Self::used_up(driver, response),
        }
    }

    /// Sends again after a network error, if the options allow that.
    #[cold]
    fn repeat(driver: &mut Driver<S, B, R, M>, error: BoxError) -> Result<NextOf<S, M, B, R>, BoxError> {
        let sleep = driver.repeat(&error).ok_or(error)?;
        Ok(Next::Stage(Stage::Pause { sleep }))
    }

    fn drain(driver: &Driver<S, B, R, M>, response: Response<R>, pause: Duration) -> NextOf<S, M, B, R> {
        Next::Stage(Stage::Drain { drain: driver.drain(response), pause })
    }

    fn used_up(driver: &mut Driver<S, B, R, M>, mut response: Response<R>) -> NextOf<S, M, B, R> {
        driver.mark_used_up(&mut response);
        Self::finish(driver, response)
    }

    /// Returns a response, once everything that is still unsaved is saved.
    fn finish(driver: &mut Driver<S, B, R, M>, response: Response<R>) -> NextOf<S, M, B, R> {
        match driver.finish() {
            Some(saving) => {
                let (then, response) = (Then::Return, Some(response));
                Next::Stage(Stage::Save { saving, then, response })
            }
            None => Next::Return(response),
        }
    }
}

impl<S, M, B, R> fmt::Debug for ResponseFuture<S, M, B, R>
where
    S: Service<Request<B>>,
    M: Sends<B, R>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
