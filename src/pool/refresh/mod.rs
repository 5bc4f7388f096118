//! Renewing a secret: once, however many requests ask, and saved before anyone uses it.

mod ahead;
mod exchange;
mod refresher;

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::{Lease, Pool};

pub(crate) use ahead::{Renewal, lapses_at};
pub use refresher::{RefreshError, Refresher};

/// A refresh that a request waits for: what to use now, or `None` where it did not help.
#[derive(Debug)]
pub(crate) enum Refreshing {
    Done(Option<Lease>),
    Waiting(oneshot::Receiver<Option<Lease>>),
}

impl Future for Refreshing {
    type Output = Option<Lease>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Lease>> {
        match self.get_mut() {
            Self::Done(lease) => Poll::Ready(lease.take()),
            Self::Waiting(receiver) => Pin::new(receiver).poll(cx).map(Result::unwrap_or_default),
        }
    }
}

/// How far a credential's refresh is.
#[derive(Debug, Default)]
pub(crate) enum RefreshStage {
    #[default]
    Idle,
    /// Under way; these wait for it.
    Running(Vec<oneshot::Sender<Option<Lease>>>),
    /// It takes too long, or the new secret can't be saved yet: nobody is made to wait for it, and none
    /// exchanges again.
    Late,
}

impl Pool {
    /// Renews the secret that this lease has, unless that is done or being done already, or has failed a
    /// moment ago. With `saves`, the vendor's verdict is saved.
    pub(crate) fn refresh(&self, lease: &Lease, refresher: &Refresher, saves: bool) -> Refreshing {
        let (sender, receiver) = oneshot::channel();
        let now = self.now();
        let is_first = self.with_book(|book, _| {
            let slot = &mut book.slots[lease.slot()];
            if slot.lease.credential().generation > lease.credential().generation {
                return Err(Some(slot.lease.clone()));
            }
            match &mut slot.refresh {
                RefreshStage::Late => Err(None),
                RefreshStage::Running(waiters) => {
                    waiters.push(sender);
                    Ok(false)
                }
                RefreshStage::Idle if slot.renewal.is_held_off(now) => Err(None),
                idle @ RefreshStage::Idle => {
                    *idle = RefreshStage::Running(vec![sender]);
                    Ok(true)
                }
            }
        });
        match is_first {
            Err(known) => return Refreshing::Done(known),
            Ok(false) => {}
            Ok(true) => exchange::start(self.clone(), lease.clone(), refresher.clone(), saves),
        }
        Refreshing::Waiting(receiver)
    }
}
