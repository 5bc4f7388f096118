//! Waiting for a credential.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use crate::clock::Timestamp;
use crate::pool::Wakeup;

/// A wait for a credential: until a moment, or until something changes.
pub(super) struct Wait {
    timer: Option<Pin<Box<Sleep>>>,
    change: oneshot::Receiver<()>,
}

impl Wait {
    pub(super) fn new(wakeup: Wakeup, now: Timestamp) -> Self {
        let Wakeup { until, change } = wakeup;
        Self { timer: until.map(|until| Box::pin(sleep(until.since(now)))), change }
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
