//! Renewing a secret: once, however many requests ask, and saved before anyone uses it.

mod ahead;
mod close;
mod exchange;
mod failure;
mod known;
mod presenting;
mod put_back;
mod refresher;
mod renewal;
mod stage;

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::{Lease, Pool};

pub use close::Unfinished;
pub(in crate::pool) use refresher::KnownRefresher;
pub use refresher::{RefreshError, Refresher};
pub(crate) use renewal::{HoldOff, Renewal, lapses_at};
pub(crate) use stage::{RefreshStage, Refreshed};

use stage::Running;

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
            // If the sender is dropped without a result, its runtime is shutting down.
            Self::Waiting(receiver) => {
                Pin::new(receiver).poll(cx).map(|result| result.unwrap_or(Refreshed::Unavailable))
            }
        }
    }
}

impl Pool {
    /// Renews this lease's secret, unless that has been done, is under way, or has failed a moment ago. With `saves`,
    /// the vendor's verdict is saved.
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
                RefreshStage::Running(Running { overdue: Some(result), .. }) => Err(result.clone()),
                RefreshStage::Running(running) => {
                    running.waiters.push(sender);
                    Ok(false)
                }
                RefreshStage::Idle if self.is_closing() => Err(Refreshed::Unavailable),
                idle @ RefreshStage::Idle => match slot.renewal.held_off() {
                    Some(result) => Err(result),
                    None => {
                        let running = Running { waiters: vec![sender], ..Running::default() };
                        *idle = RefreshStage::Running(running);
                        Ok(true)
                    }
                },
            }
        });
        match is_first {
            Err(result) => return Refreshing::Done(result),
            Ok(false) => {}
            Ok(true) => exchange::start(self.clone(), lease, refresher.clone(), saves),
        }
        Refreshing::Waiting(receiver)
    }
}
