//! The link between a stack that lives as long as its client and a `Next` that lives as long as one request.
//!
//! A middleware borrows the rest of its chain. A stack is built only once, so that its services keep their
//! state, and can't hold that borrow. So the bottom of the stack hands each request over to the middleware,
//! which runs it and hands the response back. It takes any number of requests at once, from any task.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Next, Result};
use tokio::sync::oneshot;

/// A request on its way to the rest of the chain.
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) extensions: Extensions,
    pub(super) reply: oneshot::Sender<Result<Response>>,
}

/// The link by which the bottom of a stack reaches the middleware of its request. It travels in the request's
/// extensions.
#[derive(Clone, Default)]
pub(super) struct Exchange(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    waiting: Vec<Call>,
    waker: Option<Waker>,
    is_over: bool,
}

impl Exchange {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a request over. If the caller has gone, the request is dropped, and its reply with it.
    pub(super) fn send(&self, call: Call) {
        let mut calls = self.lock();
        if calls.is_over {
            return;
        }
        calls.waiting.push(call);
        let waker = calls.waker.take();
        drop(calls);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the requests that were handed over since the last time. The task is woken for more.
    fn take(&self, cx: &Context<'_>) -> Vec<Call> {
        let mut calls = self.lock();
        match &mut calls.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        std::mem::take(&mut calls.waiting)
    }

    /// Waits for the stack's result, and runs the requests that it hands over meanwhile. Also returns the extensions
    /// with which the last of them came back.
    pub(super) async fn drive<T>(
        &self,
        stack: impl Future<Output = T>,
        next: Next<'_>,
    ) -> (T, Option<Extensions>) {
        let _open = Open(self);
        let mut stack = pin!(stack);
        let mut running = Vec::new();
        let mut latest = None;
        let result = std::future::poll_fn(|cx| {
            loop {
                if let Poll::Ready(result) = stack.as_mut().poll(cx) {
                    return Poll::Ready(result);
                }
                for Call { request, mut extensions, reply } in self.take(cx) {
                    let next = next.clone();
                    let run = async move {
                        let response = next.run(request, &mut extensions).await;
                        (response, extensions)
                    };
                    running.push(Running { run: Box::pin(run), reply: Some(reply) });
                }
                let mut has_response = false;
                running.retain_mut(|call| match call.poll(cx) {
                    Poll::Pending => true,
                    Poll::Ready(None) => false,
                    Poll::Ready(Some(extensions)) => {
                        latest = Some(extensions);
                        has_response = true;
                        false
                    }
                });
                if !has_response {
                    return Poll::Pending;
                }
            }
        });
        let result = result.await;
        (result, latest)
    }
}

/// Closes the exchange when it is dropped.
struct Open<'a>(&'a Exchange);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut calls = self.0.lock();
        calls.is_over = true;
        let waiting = std::mem::take(&mut calls.waiting);
        drop(calls);
        drop(waiting);
    }
}

/// A request under way.
struct Running<F> {
    run: Pin<Box<F>>,
    reply: Option<oneshot::Sender<Result<Response>>>,
}

impl<F: Future<Output = (Result<Response>, Extensions)>> Running<F> {
    /// Polls the request. Returns the extensions after the response, or `None` if nobody waits for it any more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Extensions>> {
        let is_wanted = |reply: &mut oneshot::Sender<_>| reply.poll_closed(cx).is_pending();
        if !self.reply.as_mut().is_some_and(is_wanted) {
            return Poll::Ready(None);
        }
        let Poll::Ready((response, extensions)) = self.run.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        let is_sent = self.reply.take().is_some_and(|reply| reply.send(response).is_ok());
        Poll::Ready(is_sent.then_some(extensions))
    }
}
