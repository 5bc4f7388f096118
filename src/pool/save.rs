//! Saving outcomes: outside of the request's task, in batches, with retries until it succeeds.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::Pool;
use crate::events::{EventKind, Numbers};
use crate::patience::within;
use crate::standing::Outcome;
use crate::vault::{self, BatchId, VaultError};

/// How long a response waits until its outcome is saved. If the vault takes longer, the wait continues in the
/// background.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait after a failed save: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The state of the saving task, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Saver {
    stage: Stage,
    waiters: Waiters,
    /// Ends the pause after a failure.
    hurry: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Waiters {
    /// Responses, which continue if it takes too long.
    responses: Vec<oneshot::Sender<()>>,
    /// Callers of [`Pool::save`], which get the result.
    callers: Vec<oneshot::Sender<Result<(), VaultError>>>,
}

impl Waiters {
    fn is_empty(&self) -> bool {
        self.responses.is_empty() && self.callers.is_empty()
    }

    /// Lets these wait on.
    fn append(&mut self, mut others: Self) {
        self.responses.append(&mut others.responses);
        self.callers.append(&mut others.callers);
    }

    fn finish(self, result: &Result<(), VaultError>) {
        for caller in self.callers {
            let _ = caller.send(result.as_ref().copied().map_err(VaultError::copy));
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    Saving,
    /// The vault fails or hangs: no response waits for it.
    Overdue,
}

/// Resolves when the outcomes so far are saved, or if that takes too long.
#[derive(Debug)]
pub(crate) struct Saving(oneshot::Receiver<()>);

impl Future for Saving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}

impl Pool {
    /// Returns whether an outcome is not in the vault that is worth a write of its own.
    pub(crate) fn has_unsaved(&self) -> bool {
        self.0.unsaved.load(Ordering::Acquire)
    }

    /// Saves all outcomes, such as cooldowns, in the vault. Returns immediately if there is nothing to save.
    ///
    /// [`CooldownPersistLayer`](crate::CooldownPersistLayer) saves after each request. A program without that layer
    /// must call this before it ends.
    ///
    /// # Errors
    /// The vault's error. The outcomes still apply in this process, and the pool retries in the background. There is no
    /// timeout here for a vault that does not answer; put one around it.
    pub async fn save(&self) -> Result<(), VaultError> {
        self.hurry_saving();
        if !self.has_unsaved() && !self.has_unsaved_responses() {
            return Ok(());
        }
        let runtime = Handle::try_current().map_err(|error| VaultError::Layer(error.into()))?;
        let result = self.request_save(&runtime).await;
        result.unwrap_or_else(|_| Err(VaultError::Layer("the runtime is shutting down".into())))
    }

    fn request_save(&self, runtime: &Handle) -> oneshot::Receiver<Result<(), VaultError>> {
        let (sender, receiver) = oneshot::channel();
        let mut saver = self.saver();
        saver.waiters.callers.push(sender);
        saver.hurry.notify_one();
        if saver.stage == Stage::Idle {
            saver.stage = Stage::Saving;
            runtime.spawn(Task::of(self).run());
        }
        receiver
    }

    /// Makes all outcomes that are not in the vault worth a write of their own.
    pub(crate) fn hurry_saving(&self) {
        self.with_state(|state, _| state.journal.hurry());
    }

    /// Saves outcomes that were not worth a write of their own, if a layer saves for the pool. Does not wait for it.
    pub(super) fn save_pending(&self) {
        if self.0.saves.load(Ordering::Relaxed) {
            self.hurry_saving();
            drop(self.start_saving());
        }
    }

    /// Declares that a layer saves for this pool.
    pub(crate) fn set_saves(&self) {
        self.0.saves.store(true, Ordering::Relaxed);
    }

    /// Returns whether a last response is later than the vault's.
    pub(super) fn has_unsaved_responses(&self) -> bool {
        let now = self.now();
        self.with_state(|state, _| state.has_unsaved_responses(&self.0.last_responses, now))
    }

    /// Saves the last responses, if a layer saves for the pool. Does not wait for it.
    pub(super) fn save_last_responses(&self) {
        if self.0.saves.load(Ordering::Relaxed) && self.has_unsaved_responses() {
            drop(self.run_saver());
        }
    }

    /// Starts a save. If the vault responds immediately, it is done on return; else it continues in a task of its own,
    /// so that a caller that is dropped does not abort it. Returns `None` if there is nothing to wait for, or no
    /// runtime.
    pub(crate) fn start_saving(&self) -> Option<Saving> {
        if self.has_unsaved() { self.run_saver() } else { None }
    }

    /// Starts a save even if no outcome is worth a write of its own.
    pub(super) fn run_saver(&self) -> Option<Saving> {
        let runtime = Handle::try_current().ok()?;
        let mut saver = self.saver();
        if saver.stage == Stage::Overdue {
            return None;
        }
        if saver.stage == Stage::Idle {
            saver.stage = Stage::Saving;
            drop(saver);
            let mut task = Box::pin(Task::of(self).run());
            // The task registers its own waker when it is polled next.
            if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                return None;
            }
            runtime.spawn(task);
            saver = self.saver();
            if saver.stage != Stage::Saving {
                return None;
            }
        }
        let (sender, receiver) = oneshot::channel();
        saver.waiters.responses.push(sender);
        Some(Saving(receiver))
    }

    fn saver(&self) -> MutexGuard<'_, Saver> {
        self.0.saver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The only task that saves for a pool.
struct Task {
    pool: Pool,
    done: bool,
    /// Whether the log says that the vault refuses. It says it once, and once that it does not any more.
    is_logged: bool,
}

impl Task {
    fn of(pool: &Pool) -> Self {
        Self { pool: pool.clone(), done: false, is_logged: false }
    }
}

/// If its runtime shuts down meanwhile, a task of another runtime can take over.
impl Drop for Task {
    fn drop(&mut self) {
        if !self.done {
            self.keep();
            // To drop the waiters ends their waits.
            *self.pool.saver() = Saver::default();
        }
    }
}

impl Task {
    async fn run(mut self) {
        let mut backoff = BACKOFF.0;
        loop {
            // Taken before the outcomes, so that no save ends a wait that began after it.
            let waiters = std::mem::take(&mut self.pool.saver().waiters);
            if self.save_batch(waiters).await {
                backoff = BACKOFF.0;
                if self.is_done() {
                    return;
                }
            } else {
                let hurry = self.stop_waiting();
                let _ = tokio::time::timeout(backoff, hurry.notified()).await;
                backoff = (backoff * 2).min(BACKOFF.1);
            }
        }
    }

    /// Returns whether there is nothing left to do. If so, another task may start.
    fn is_done(&mut self) -> bool {
        let mut saver = self.pool.saver();
        self.done = saver.waiters.is_empty() && !self.pool.has_unsaved();
        saver.stage = if self.done { Stage::Idle } else { Stage::Saving };
        self.done
    }

    /// Saves the outcomes, and ends the waits for that. Returns whether it succeeded.
    async fn save_batch(&mut self, mut waiters: Waiters) -> bool {
        let pool = self.pool.clone();
        let now = pool.now();
        let (is_again, (outcomes, batch)) = pool.with_state(|state, _| {
            let is_again = state.journal.is_unconfirmed();
            (is_again, state.start_saving(&pool.0.last_responses, now))
        });
        let count = outcomes.len();
        let result =
            if outcomes.is_empty() { Ok(()) } else { self.record(outcomes, batch, &mut waiters).await };
        match result {
            Ok(()) => pool.with_state(|state, _| {
                state.saved();
                state.is_in_doubt |= is_again;
                if !state.journal.is_urgent() {
                    pool.0.unsaved.store(false, Ordering::Release);
                }
            }),
            Err(_) => self.keep(),
        }
        match result {
            Ok(()) if count == 0 => {}
            Ok(()) => {
                if std::mem::take(&mut self.is_logged) {
                    tracing::info!(target: "tower_credentials", "outcomes are saved again");
                }
                pool.emit(Numbers::NONE, EventKind::Saved { outcomes: count });
            }
            Err(ref error) => {
                let unreachable = matches!(error, VaultError::Unreachable(_));
                let failed = EventKind::SaveFailed { error: error.to_string().into(), unreachable };
                // Whoever returns that it is unreachable has logged it, once for all tries.
                match unreachable || std::mem::replace(&mut self.is_logged, true) {
                    true => pool.0.config.observer.emit_logged(now, failed),
                    false => pool.emit(Numbers::NONE, failed),
                }
            }
        }
        if is_again && result.is_ok() {
            // What they wait for is in the next batch.
            pool.saver().waiters.append(waiters);
        } else {
            waiters.finish(&result);
        }
        result.is_ok()
    }

    async fn record(
        &self,
        outcomes: Vec<Outcome>,
        batch: BatchId,
        waiters: &mut Waiters,
    ) -> Result<(), VaultError> {
        let (vault, key) = (self.pool.vault(), self.pool.key().clone());
        let mut recording = std::pin::pin!(vault::record(vault, key, outcomes, batch));
        // A vault that responds immediately needs no timer.
        if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(recording.as_mut().poll(cx))).await {
            return result;
        }
        match within(PATIENCE, &mut recording).await {
            Ok(result) => result,
            Err(_) => {
                let error = "the vault takes more than a second; it is waited for in the background";
                let slow = EventKind::SaveFailed { error: error.into(), unreachable: false };
                self.pool.emit(Numbers::NONE, slow);
                waiters.responses.clear();
                self.stop_waiting();
                recording.await
            }
        }
    }

    /// Lets no response wait until the vault works again. To drop a response's waiter ends its wait. Returns what ends
    /// the pause after a failure.
    fn stop_waiting(&self) -> Arc<Notify> {
        let mut saver = self.pool.saver();
        saver.stage = Stage::Overdue;
        saver.waiters.responses.clear();
        saver.hurry.clone()
    }

    /// Keeps the outcomes that were being saved for another try.
    fn keep(&self) {
        self.pool.with_state(|state, _| state.journal.failed());
    }
}
