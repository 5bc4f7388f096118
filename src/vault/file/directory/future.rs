//! The future of the backend's response.

use std::future::Future;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, Sleep, sleep_until};

use super::super::attempt::{Attempt, Turn, attempt, attempt_with, held};
use super::super::claim::Claim;
use super::super::queue::Ticket;
use super::{Directory, Pauses, Response, finished};
use crate::vault::fair_lock::FairLockFuture;
use crate::vault::seal::Sealed;
use crate::vault::{VaultError, VaultRequest};

pin_project! {
    /// The future of a [`Directory`]'s response. If it is dropped while it waits, nothing is changed; work that has begun is
    /// finished.
    pub(in crate::vault) struct DirectoryFuture {
        directory: Directory,
        patience: Duration,
        // Set when it first has to wait.
        deadline: Option<Instant>,
        pauses: Pauses,
        #[pin]
        state: State,
    }
}

pin_project! {
    #[project = StateProj]
    #[allow(clippy::large_enum_variant, reason = "there is one for each call, and a box would cost more")]
    enum State {
        /// Waits in the queue of this process.
        Queued {
            waiting: Option<(FairLockFuture<Claim>, VaultRequest<Sealed>)>,
            #[pin]
            timer: Option<Sleep>,
        },
        /// Waits for the thread.
        Working { work: JoinHandle<Attempt> },
        /// Another process holds a lock: waits for it, and before the next attempt.
        Resting { rest: Option<Rest>, #[pin] timer: Sleep },
    }
}

#[allow(clippy::large_enum_variant, reason = "it is short-lived, and a box would cost more")]
enum Rest {
    /// A thread waits for the lock, and then makes the attempt.
    Queued(Ticket<Turn, Attempt>),
    /// No thread does.
    Alone(Turn),
}

/// What comes next.
enum Next {
    Begin(Turn),
    Tried(Attempt),
}

impl DirectoryFuture {
    pub(super) fn new(directory: Directory, request: VaultRequest<Sealed>) -> Self {
        let patience = match request {
            VaultRequest::LeaseRefresh { .. } | VaultRequest::LeaseClient { .. } => {
                directory.patience.lease
            }
            _ => directory.patience.lock,
        };
        let state = match Claim::of(&request) {
            Some(claim) => {
                State::Queued { waiting: Some((directory.locks.lock(claim), request)), timer: None }
            }
            None => {
                let store = directory.store.clone();
                State::Working { work: spawn_blocking(move || attempt(&store, request, None, None)) }
            }
        };
        Self { directory, patience, deadline: None, pauses: Pauses::default(), state }
    }
}

/// Waits for the lock of the file at `path`. Returns when to try again without it, too.
fn rest(
    directory: &Directory,
    path: PathBuf,
    turn: Turn,
    deadline: Instant,
    pauses: &mut Pauses,
) -> (Rest, Instant) {
    if !pauses.are_long() {
        return (Rest::Alone(turn), pauses.next(deadline));
    }
    let (store, file) = (directory.store.clone(), path.clone());
    let work = move |turn, granted| attempt_with(&store, turn, &file, granted);
    match directory.queues.wait(&path, turn, work) {
        Ok(ticket) => (Rest::Queued(ticket), pauses.queued(deadline)),
        Err(turn) => (Rest::Alone(turn), pauses.next(deadline)),
    }
}

impl Future for DirectoryFuture {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Queued { waiting, mut timer } => {
                    let Some((lock, _)) = waiting else { return Poll::Pending };
                    match Pin::new(lock).poll(cx) {
                        Poll::Ready(guard) => {
                            let Some((_, request)) = waiting.take() else { return Poll::Pending };
                            Next::Begin((request, guard))
                        }
                        Poll::Pending => {
                            if timer.is_none() {
                                let deadline = Instant::now() + *this.patience;
                                *this.deadline = Some(deadline);
                                timer.set(Some(sleep_until(deadline)));
                            }
                            if let Some(timer) = timer.as_mut().as_pin_mut() {
                                ready!(timer.poll(cx));
                            }
                            let Some((_, request)) = waiting.take() else { return Poll::Pending };
                            let store = &this.directory.store;
                            let path = Claim::of(&request).map(|claim| store.lock_path(&claim));
                            let holder = Some(std::process::id());
                            let path = path.unwrap_or_default();
                            let error = VaultError::Locked { path, holder, waited: *this.patience };
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                StateProj::Working { work } => {
                    let tried = ready!(Pin::new(work).poll(cx));
                    Next::Tried(finished(tried, this.directory.store.root())?)
                }
                StateProj::Resting { rest, timer } => {
                    let tried = match rest {
                        Some(Rest::Queued(ticket)) => ticket.poll(cx),
                        _ => Poll::Pending,
                    };
                    if let Poll::Ready(tried) = tried {
                        Next::Tried(tried.unwrap_or_else(|panic| resume_unwind(panic)))
                    } else {
                        ready!(timer.poll(cx));
                        match rest.take() {
                            Some(Rest::Queued(ticket)) => match ticket.withdraw() {
                                Ok(turn) => Next::Begin(turn),
                                // The attempt is being made.
                                Err(ticket) => {
                                    *rest = Some(Rest::Queued(ticket));
                                    return Poll::Pending;
                                }
                            },
                            Some(Rest::Alone(turn)) => Next::Begin(turn),
                            None => return Poll::Pending,
                        }
                    }
                }
            };
            let state = match next {
                Next::Begin((request, guard)) => {
                    let store = this.directory.store.clone();
                    let work = spawn_blocking(move || attempt(&store, request, Some(guard), None));
                    State::Working { work }
                }
                Next::Tried(Attempt::Done(response)) => return Poll::Ready(response),
                Next::Tried(Attempt::Busy(busy, turn)) => {
                    let now = Instant::now();
                    let deadline = *this.deadline.get_or_insert(now + *this.patience);
                    if now >= deadline {
                        return Poll::Ready(Err(held(busy.path, *this.patience)));
                    }
                    let (rest, until) = rest(this.directory, busy.path, turn, deadline, this.pauses);
                    State::Resting { rest: Some(rest), timer: sleep_until(until) }
                }
            };
            this.state.set(state);
        }
    }
}
