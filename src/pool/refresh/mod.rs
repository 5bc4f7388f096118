//! Renewing a secret: once, however many requests ask, and saved before anyone uses it.

mod ahead;
mod close;
mod exchange;
mod known;
mod put_back;
mod refresher;
mod trouble;

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::{Lease, Pool};
use crate::clock::Timestamp;

pub(crate) use ahead::{Renewal, lapses_at};
pub use close::Unfinished;
pub(in crate::pool) use refresher::KnownRefresher;
pub use refresher::{RefreshError, Refresher};
pub(crate) use trouble::HoldOff;

/// What a refresh has come to, for a request that needs it.
#[derive(Clone, Debug)]
pub(crate) enum Refreshed {
    /// This is to be used now.
    New(Lease),
    /// The vendor has not renewed the secret, or not in time.
    NoHelp,
    /// Nobody has asked the vendor, or nobody can save what it has answered: the credential is not to blame.
    Unavailable,
}

/// A refresh that a request waits for.
#[derive(Debug)]
pub(crate) enum Refreshing {
    Done(Refreshed),
    Waiting(oneshot::Receiver<Refreshed>),
}

impl Future for Refreshing {
    type Output = Refreshed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Refreshed> {
        match self.get_mut() {
            Self::Done(refreshed) => Poll::Ready(refreshed.clone()),
            // Dropped without a word, its runtime is shutting down.
            Self::Waiting(receiver) => {
                Pin::new(receiver).poll(cx).map(|told| told.unwrap_or(Refreshed::Unavailable))
            }
        }
    }
}

/// How far a credential's refresh is.
#[derive(Debug, Default)]
pub(crate) enum RefreshStage {
    #[default]
    Idle,
    Running(Running),
}

/// A refresh that is under way.
#[derive(Debug, Default)]
pub(crate) struct Running {
    /// These wait for it.
    waiters: Vec<oneshot::Sender<Refreshed>>,
    /// Set where it takes too long, or the new secret can't be saved yet: nobody is made to wait for it but is
    /// told this, and none exchanges again.
    late: Option<Refreshed>,
    /// Since when the refresh token is presented: to cut it off now may lose the new one.
    presented_at: Option<Timestamp>,
}

impl Pool {
    /// Renews the secret that this lease has, unless that is done or being done already, or has failed a
    /// moment ago. With `saves`, the vendor's verdict is saved.
    pub(crate) fn refresh(&self, lease: &Lease, refresher: &Refresher, saves: bool) -> Refreshing {
        let (sender, receiver) = oneshot::channel();
        let mut lease = lease.clone();
        let is_first = self.with_state(|state, _| {
            let slot = &mut state.slots[lease.slot()];
            if slot.lease.credential().generation > lease.credential().generation {
                if !slot.lease.lacks_token() {
                    return Err(Refreshed::New(slot.lease.clone()));
                }
                lease = slot.lease.clone();
            }
            match &mut slot.refresh {
                RefreshStage::Running(Running { late: Some(told), .. }) => Err(told.clone()),
                RefreshStage::Running(running) => {
                    running.waiters.push(sender);
                    Ok(false)
                }
                RefreshStage::Idle if self.is_closing() => Err(Refreshed::Unavailable),
                idle @ RefreshStage::Idle => match slot.renewal.held_off() {
                    Some(told) => Err(told),
                    None => {
                        let running = Running { waiters: vec![sender], ..Running::default() };
                        *idle = RefreshStage::Running(running);
                        Ok(true)
                    }
                },
            }
        });
        match is_first {
            Err(known) => return Refreshing::Done(known),
            Ok(false) => {}
            Ok(true) => exchange::start(self.clone(), lease, refresher.clone(), saves),
        }
        Refreshing::Waiting(receiver)
    }
}
