//! The future of a key service's response.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use super::vault_key::VaultKey;
use crate::vault::VaultError;

/// A running command. Dropping it kills the command, but not the processes that the command has started.
#[derive(Default)]
pub(super) struct RunningCommand(pub(super) Arc<Mutex<Option<Child>>>);

impl Drop for RunningCommand {
    fn drop(&mut self) {
        // If the lock is held, the command has closed its output and is about to end.
        if let Ok(mut child) = self.0.try_lock()
            && let Some(child) = &mut *child
        {
            let _ = child.kill();
        }
    }
}

/// The future of a key service's response.
pub struct KeyFuture {
    state: State,
}

type Loaded = Result<Option<VaultKey>, VaultError>;

enum State {
    Known(Option<Loaded>),
    Working(JoinHandle<Loaded>),
    Running { receiver: oneshot::Receiver<Loaded>, _command: RunningCommand },
}

impl KeyFuture {
    pub(super) fn known(key: Loaded) -> Self {
        Self { state: State::Known(Some(key)) }
    }

    pub(super) fn running(receiver: oneshot::Receiver<Loaded>, command: RunningCommand) -> Self {
        Self { state: State::Running { receiver, _command: command } }
    }

    pub(super) fn working(work: JoinHandle<Loaded>) -> Self {
        Self { state: State::Working(work) }
    }
}

/// Returns the result of work on another thread. A panic there goes on here.
pub(super) fn joined<T>(done: Result<Result<T, VaultError>, JoinError>) -> Result<T, VaultError> {
    done.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(stopped) => Err(VaultError::Key(format!("the runtime has stopped: {stopped}"))),
    })
}

impl Future for KeyFuture {
    type Output = Result<Option<VaultKey>, VaultError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Known(key) => key.take().map_or(Poll::Pending, Poll::Ready),
            State::Working(work) => Pin::new(work).poll(cx).map(joined),
            State::Running { receiver, .. } => Pin::new(receiver).poll(cx).map(|received| {
                received
                    .unwrap_or_else(|_| Err(VaultError::Key("the command's thread is gone".to_owned())))
            }),
        }
    }
}

impl fmt::Debug for KeyFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFuture").finish_non_exhaustive()
    }
}
