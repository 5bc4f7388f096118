//! The part that the services of all layers have in common.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::driver::{Driver, Shared};
use super::future::ResponseFuture;
use super::jobs::{Jobs, LayerOptions};
use super::run::{Duty, Run};
use super::sends::Sends;
use crate::BoxError;
use crate::pool::{CachedPick, Pool};

/// A layer around an inner service.
pub(super) struct Core<S> {
    pub(super) inner: S,
    shared: Arc<Shared<S>>,
    known: CachedPick,
}

impl<S: Clone> Core<S> {
    pub(super) fn new(inner: S, pool: Pool, options: LayerOptions) -> Self {
        if options.jobs.has(Jobs::PERSIST) {
            pool.set_saves();
        }
        if let Some(refresh) = &options.refresh {
            pool.remember_refresher(&refresh.refresher);
        }
        let (run, again) = Run::around(&inner, pool.address(), options);
        let shared = Arc::new(Shared { pool, run, again: Mutex::new(again) });
        Self { inner, shared, known: CachedPick::default() }
    }

    /// Clones it for the clone of a service of this type.
    pub(super) fn clone_for<Service>(&self) -> Self {
        self.shared.run.answer::<Service>();
        Self { inner: self.inner.clone(), shared: self.shared.clone(), known: self.known.clone() }
    }
}

impl<S: fmt::Debug> fmt::Debug for Core<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("inner", &self.inner).field("pool", self.shared.pool.key()).finish()
    }
}

impl<S> Core<S> {
    #[inline]
    pub(super) fn poll_ready<B>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>
    where
        S: Service<Request<B>, Error: Into<BoxError>>,
    {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    pub(super) fn call<B, R, M>(&mut self, mut request: Request<B>) -> ResponseFuture<S, M, B, R>
    where
        S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
        M: Sends<B, R>,
    {
        let jobs = match self.shared.run.duty() {
            Duty::Drive(jobs) => jobs,
            Duty::PassOn(handover) => {
                self.shared.run.hand_over(handover);
                return ResponseFuture::passed_on(self.inner.call(request));
            }
        };
        let mut driver = Driver::join(&self.shared, jobs, &request);
        let span = driver.span.clone();
        let _entered = span.enter();
        match driver.prepare(&mut request, &mut self.known) {
            Ok(None) => {
                driver.send(&mut request);
                ResponseFuture::sent(driver, self.inner.call(request))
            }
            Ok(Some(blocked)) => {
                // A service that is ready may hold a permit, which others need while this request waits.
                self.inner = driver.service();
                ResponseFuture::blocked(driver, blocked, request)
            }
            Err(error) => {
                self.inner = driver.service();
                ResponseFuture::failed(driver, error.into())
            }
        }
    }
}
