//! Saving what was learnt: off the request's task, in batches, tried again until it is done.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::Pool;
use crate::events::Event;
use crate::patience::within;
use crate::standing::Outcome;
use crate::vault::{self, VaultError};

/// How long a response waits for what it taught to be saved. A vault that takes longer is waited for
/// in the background.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long after a failure saving is tried again: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// What the saving task is doing, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Saver {
    stage: Stage,
    waiters: Waiters,
    /// Ends the pause after a failure.
    hurry: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Waiters {
    /// Responses, which go on without if it takes too long.
    responses: Vec<oneshot::Sender<()>>,
    /// Those who want to know what the vault says.
    askers: Vec<oneshot::Sender<Result<(), VaultError>>>,
}

impl Waiters {
    fn is_empty(&self) -> bool {
        self.responses.is_empty() && self.askers.is_empty()
    }

    fn tell(self, result: &Result<(), VaultError>) {
        for asker in self.askers {
            let _ = asker.send(result.as_ref().copied().map_err(VaultError::copy));
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    Saving,
    /// The vault fails or hangs: nobody is made to wait for it.
    Late,
}

/// Ends when what was learnt until now is saved, or is known to take longer.
#[derive(Debug)]
pub(crate) struct Saving(oneshot::Receiver<()>);

impl Future for Saving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}

impl Pool {
    /// Whether something was learnt that no vault has, and that is worth a write.
    pub(crate) fn has_unsaved(&self) -> bool {
        self.0.unsaved.load(Ordering::Acquire)
    }

    /// Waits until everything that was learnt is in the vault, or until the vault says that it can't be; returns
    /// at once if there is nothing to save.
    ///
    /// [`CooldownPersistLayer`](crate::CooldownPersistLayer) saves for each request; call this yourself in a program
    /// without that layer, before the program ends.
    ///
    /// # Errors
    /// What the vault says. What is not saved holds in this process all the same, and is tried again in the
    /// background. A vault that does not answer has no bound here: put a timeout around it.
    pub async fn save(&self) -> Result<(), VaultError> {
        self.hurry_saving();
        if !self.has_unsaved() && !self.has_unsaved_responses() {
            return Ok(());
        }
        let runtime = Handle::try_current().map_err(|error| VaultError::Layer(error.into()))?;
        let answer = self.ask_saver(&runtime).await;
        answer.unwrap_or_else(|_| Err(VaultError::Layer("the runtime is shutting down".into())))
    }

    fn ask_saver(&self, runtime: &Handle) -> oneshot::Receiver<Result<(), VaultError>> {
        let (sender, receiver) = oneshot::channel();
        let mut saver = self.saver();
        saver.waiters.askers.push(sender);
        saver.hurry.notify_one();
        if saver.stage == Stage::Idle {
            saver.stage = Stage::Saving;
            runtime.spawn(Task { pool: self.clone(), done: false }.run());
        }
        receiver
    }

    /// Makes whatever no vault has worth a write.
    pub(crate) fn hurry_saving(&self) {
        self.with_state(|state, _| state.journal.hurry());
    }

    /// Saves what was worth no write of its own when it was learnt, if some layer saves what the pool learns.
    /// Nobody waits for it.
    pub(super) fn save_pending(&self) {
        if self.0.saves.load(Ordering::Relaxed) {
            self.hurry_saving();
            drop(self.start_saving());
        }
    }

    /// Begins to save. A vault that answers at once is done with then; for any other, a task of its own
    /// goes on, so that nobody who goes away can cut it off. `None` where there is nothing to wait for,
    /// or no runtime to do it.
    pub(crate) fn start_saving(&self) -> Option<Saving> {
        if self.has_unsaved() { self.run_saver() } else { None }
    }

    /// Begins to save even what is worth no write of its own.
    pub(super) fn run_saver(&self) -> Option<Saving> {
        let runtime = Handle::try_current().ok()?;
        let mut saver = self.saver();
        if saver.stage == Stage::Late {
            return None;
        }
        if saver.stage == Stage::Idle {
            saver.stage = Stage::Saving;
            drop(saver);
            let mut task = Box::pin(Task { pool: self.clone(), done: false }.run());
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

/// The one task that saves for a pool.
struct Task {
    pool: Pool,
    done: bool,
}

/// Where a runtime is shut down in the middle, another one's task can take over.
impl Drop for Task {
    fn drop(&mut self) {
        if !self.done {
            self.put_back();
            // Dropping the waiters tells them.
            *self.pool.saver() = Saver::default();
        }
    }
}

impl Task {
    async fn run(mut self) {
        let mut backoff = BACKOFF.0;
        loop {
            // Taken before the outcomes are, so that nobody is told of a save that came too early.
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

    /// Whether there is nothing left to do. From then on another task may begin.
    fn is_done(&mut self) -> bool {
        let mut saver = self.pool.saver();
        self.done = saver.waiters.is_empty() && !self.pool.has_unsaved();
        saver.stage = if self.done { Stage::Idle } else { Stage::Saving };
        self.done
    }

    /// Saves what there is, and tells those who wait; whether it worked.
    async fn save_batch(&self, mut waiters: Waiters) -> bool {
        let pool = &self.pool;
        let now = pool.now();
        let outcomes = pool.with_state(|state, _| state.start_saving(&pool.0.answers, now));
        let count = outcomes.len();
        let result =
            if outcomes.is_empty() { Ok(()) } else { self.record(outcomes, &mut waiters).await };
        match result {
            Ok(()) => pool.with_state(|state, _| {
                state.saved();
                if !state.journal.is_urgent() {
                    pool.0.unsaved.store(false, Ordering::Release);
                }
            }),
            Err(_) => self.put_back(),
        }
        match result {
            Ok(()) if count == 0 => {}
            Ok(()) => pool.emit(&Event::Saved { outcomes: count }),
            Err(ref error) => pool.emit(&Event::SaveFailed { error: &error.to_string() }),
        }
        waiters.tell(&result);
        result.is_ok()
    }

    async fn record(&self, outcomes: Vec<Outcome>, waiters: &mut Waiters) -> Result<(), VaultError> {
        let (vault, key) = (self.pool.vault(), self.pool.key().clone());
        let mut recording = std::pin::pin!(vault::record(vault, key, outcomes));
        // One that answers at once needs no timer.
        if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(recording.as_mut().poll(cx))).await {
            return result;
        }
        match within(PATIENCE, &mut recording).await {
            Ok(result) => result,
            Err(_) => {
                let error = "the vault takes more than a second; it is waited for in the background";
                self.pool.emit(&Event::SaveFailed { error });
                waiters.responses.clear();
                self.stop_waiting();
                recording.await
            }
        }
    }

    /// From now on no response waits, until the vault works again. Dropping its waiter tells it. What ends the
    /// pause.
    fn stop_waiting(&self) -> Arc<Notify> {
        let mut saver = self.pool.saver();
        saver.stage = Stage::Late;
        saver.waiters.responses.clear();
        saver.hurry.clone()
    }

    /// Keeps what was on its way into the vault for another try.
    fn put_back(&self) {
        self.pool.with_state(|state, _| state.journal.put_back());
    }
}
