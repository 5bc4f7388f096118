//! What a request waits for before it is sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use crate::pool::{Pool, Refreshing, Wakeup};

/// What a request waits for before it is sent.
pub(super) enum Blocked {
    /// A credential.
    OnCredential(Wait),
    /// A new secret in place of one that has expired.
    OnRefresh(Refreshing),
}

/// A wait for a credential, until a given time or until something changes.
pub(super) struct Wait {
    timer: Option<Pin<Box<Sleep>>>,
    change: oneshot::Receiver<()>,
}

impl Wait {
    pub(super) fn new(wakeup: Wakeup, pool: &Pool) -> Self {
        let Wakeup { until, change } = wakeup;
        Self { timer: until.map(|until| Box::pin(sleep(until.since(pool.now())))), change }
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        Pin::new(&mut self.change).poll(cx).map(|_| ())
    }
}
