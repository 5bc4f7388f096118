//! A handle that tells when a pool changes.

use std::fmt;
use std::future::{Future, poll_fn};
use std::task::{Context, Poll, ready};

use tokio::sync::watch;

type PollChanged = dyn FnMut(&mut Context<'_>) -> Poll<Option<()>> + Send;

/// Tells when a pool changes, until it is dropped.
///
/// Each notice says only that something may have changed since the last one; [`Changes`](super::VaultRequest::Changes) says
/// what. Nothing is missed between the response that this handle came with and its first notice.
pub struct Watch(Box<PollChanged>);

impl Watch {
    /// Creates a watch from a function that is ready with `Some` after a change, and with `None` once it tells nothing more. As
    /// with a [future](std::future::Future::poll), the task that called it last is woken.
    pub fn from_fn(poll: impl FnMut(&mut Context<'_>) -> Poll<Option<()>> + Send + 'static) -> Self {
        Self(Box::new(poll))
    }

    /// Creates a watch that tells of each value that is sent.
    pub(crate) fn of<T: Send + Sync + 'static>(receiver: watch::Receiver<T>) -> Self {
        let wait = |mut receiver: watch::Receiver<T>| async move {
            let is_changed = receiver.changed().await.is_ok();
            is_changed.then_some(receiver)
        };
        // Boxed once for each notice: the receiver's future borrows it.
        let mut waiting = Box::pin(wait(receiver));
        Self::from_fn(move |cx| {
            let receiver = ready!(waiting.as_mut().poll(cx));
            Poll::Ready(receiver.map(|receiver| waiting = Box::pin(wait(receiver))))
        })
    }

    /// Waits until the pool may have changed. Returns `false` if this handle tells nothing more, such as after a lost
    /// connection: ask for another one, and look for changes then.
    ///
    /// No notice is lost if the future is dropped.
    pub async fn changed(&mut self) -> bool {
        poll_fn(|cx| (self.0)(cx)).await.is_some()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
