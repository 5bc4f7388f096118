//! Renewing or creating tokens before a request is sent with them.

use http::Request;

use super::driver::Driver;
use super::sends::Sends;
use super::steps::Rotation;
use super::wait::{Blocked, Wait};
use crate::error::Error;
use crate::pool::{Lease, Picked, Refreshed, Refresher, Refreshing};

impl<S, B, R, M: Sends<B, R>> Driver<S, B, R, M> {
    /// Ensures that the credential has a token that is not known to have expired. Returns what the request has to wait
    /// for.
    #[inline]
    pub(super) fn ensure_token(&mut self) -> Result<Option<Blocked>, Error> {
        match &self.sent {
            Some(sent) if sent.is_expired || sent.lease.lacks_token() => self.renew_or_pass_over(),
            _ => Ok(None),
        }
    }

    #[cold]
    fn renew_or_pass_over(&mut self) -> Result<Option<Blocked>, Error> {
        if let Some(refreshing) = self.renew_expired() {
            return Ok(Some(Blocked::OnRefresh(refreshing)));
        }
        match &self.sent {
            Some(sent) if sent.lease.lacks_token() => {
                let lease = sent.lease.clone();
                self.pass_over_missing(&lease)
            }
            _ => Ok(None),
        }
    }

    /// Begins to renew an expired token before it is sent. A refusal would cost an attempt, or the whole
    /// request if its body can't be sent again.
    fn renew_expired(&mut self) -> Option<Refreshing> {
        let sent = self.sent.as_ref().filter(|sent| sent.is_expired)?;
        let lease = sent.lease.clone();
        let refresher = self.renewer(&lease)?;
        Some(self.refresh(&lease, &refresher))
    }

    /// Uses the new secret that the request has waited for. If there is none, the old one is sent: the clock may be
    /// wrong.
    pub(super) fn renewed(
        &mut self,
        refreshed: Refreshed,
        request: &mut Request<B>,
    ) -> Result<(), Error> {
        let Some(sent) = &mut self.sent else { return Ok(()) };
        match refreshed {
            Refreshed::NoHelp | Refreshed::Unavailable => Ok(()),
            Refreshed::New(lease) => {
                sent.lease = lease.clone();
                if let Some(latest) = &mut self.history().latest {
                    latest.lease = lease;
                }
                // A layer outside has written the old secret.
                if self.written { self.write(request, false, true) } else { Ok(()) }
            }
        }
    }

    /// Returns the refresher that renews this lease before it is sent. Only this run's own renews an expired token, which
    /// may still be good, as clocks are wrong. If there is no token, any refresher that the pool knows will do: its layer
    /// may be further in, where it would be too late to take another account.
    fn renewer(&self, lease: &Lease) -> Option<Refresher> {
        let own = self.refresh_options().map(|options| options.refresher.clone());
        own.filter(|refresher| refresher.renews(lease))
            .or_else(|| if lease.lacks_token() { self.pool().renewer(lease) } else { None })
    }

    /// Takes another credential, with which nothing has been sent yet, in place of one that has no token and can get
    /// none now.
    fn pass_over_missing(&mut self, missing: &Lease) -> Result<Option<Blocked>, Error> {
        self.end_use();
        let Self { shared, history, sent, .. } = self;
        let (pool, Some(sent)) = (&shared.pool, sent) else { return Ok(None) };
        let mut history = history.lock(None);
        history.record_unsent(missing);
        let began = pool.logical_time();
        let may_take = |slot| !history.tried.contains(&slot);
        let (lease, permit, is_expired) = match pool.pick_next(may_take, &history.options) {
            (Picked::Lease { lease, expired, .. }, permit) => (lease, permit, expired),
            (Picked::Pending(wakeup), _) => {
                return Ok(Some(Blocked::OnCredential(Wait::new(wakeup, pool))));
            }
            (Picked::None, _) => {
                let credential = missing.credential();
                let (pool, label) = (credential.pool.clone(), credential.label.clone());
                return Err(Error::NoToken { pool, label });
            }
        };
        history.permit = permit;
        history.record_try(&lease);
        let next = shared.attempt((sent.request, sent.number), lease, began, is_expired);
        if let Some(latest) = &mut history.latest {
            *latest = next.clone();
        }
        *sent = next;
        drop(history);
        self.is_unsent = true;
        self.ensure_token()
    }

    /// Rotates to a credential that has no token yet, which is created first. If that fails or is not possible, the
    /// credential counts as tried.
    #[cold]
    pub(super) fn rotate_to_missing(&mut self, lease: &Lease) -> Rotation {
        if !self.history().was_refreshed(lease.slot())
            && let Some(refresher) = self.renewer(lease)
        {
            return Rotation::Blocked(Blocked::OnRefresh(self.refresh(lease, &refresher)));
        }
        self.history().record_unsent(lease);
        self.rotate()
    }
}
