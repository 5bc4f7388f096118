//! Who is to blame for a refusal: the credential or the request. The response to another credential decides.

use http::StatusCode;

use super::context::HistoryCell;
use super::driver::Driver;
use super::jobs::Jobs;
use super::response_class::ResponseClass;
use super::sends::Sends;
use crate::pool::{Lease, Pool, SlotIndex, Suspect};

impl<S, B, R, M: Sends<B, R>> Driver<S, B, R, M> {
    /// Records that the credential has failed for good for this request. Returns whether this run rotates; a rotate
    /// layer outside does so on its own. A vendor's verdict puts the credential out of use at once, so only a token
    /// that nobody knew to have expired makes a suspect.
    pub(super) fn fail(&mut self, lease: &Lease, class: ResponseClass, status: StatusCode) -> bool {
        let own = self.sent.as_ref().map(|sent| (sent.began, sent.numbers())).unwrap_or_default();
        let mut history = self.history();
        history.failed.push(lease.slot());
        if let Some(refusal) = class.refusal().filter(|_| !history.was_known_to_have_expired(lease)) {
            let is_renewed = history.was_renewed(lease);
            let (began, numbers) =
                history.latest.as_ref().map_or(own, |latest| (latest.began, latest.numbers()));
            let is_pinned = history.options.pin.is_some();
            let suspect = Suspect { lease: lease.clone(), began, numbers, refusal, status, is_pinned };
            history.suspects.push(suspect);
            drop(history);
            if is_renewed {
                self.pool().set_refused_fresh(lease, refusal);
            }
        } else {
            drop(history);
        }
        self.is_rotator()
    }

    /// Records that the credential could not be renewed, for which neither it nor the request is to blame: it is not a
    /// suspect. Returns the same as [`fail`](Self::fail).
    pub(super) fn pass_over(&mut self, lease: &Lease) -> bool {
        self.history().failed.push(lease.slot());
        self.is_rotator()
    }

    fn is_rotator(&self) -> bool {
        self.stack_jobs().has(Jobs::ROTATE) && !self.outside.has(Jobs::ROTATE)
    }

    /// Ends the request: suspects that were not compared with another credential go behind the others.
    pub(super) fn leave_suspects(&mut self) {
        let Some(mut history) = self.history.lock_if_any() else { return };
        if self.is_outermost && !history.suspects.is_empty() {
            let suspects = std::mem::take(&mut history.suspects);
            drop(history);
            self.shared.pool.record_suspects(&suspects);
        }
    }
}

/// Judges the suspects by the response to this credential, which may convict those that were refused before.
pub(super) fn judge_suspects(
    pool: &Pool,
    slot: SlotIndex,
    history: &mut HistoryCell,
    class: ResponseClass,
    status: StatusCode,
) {
    if !matches!(class, ResponseClass::Good | ResponseClass::Other) {
        return;
    }
    let Some(mut history) = history.lock_if_any() else { return };
    if class == ResponseClass::Good {
        history.suspects.retain(|suspect| suspect.lease.slot() != slot);
    }
    let is_convicted = |suspect: &mut Suspect| {
        suspect.lease.slot() != slot && suspect.refusal.is_credentials_fault(status)
    };
    let convicted: Vec<_> = history.suspects.extract_if(.., is_convicted).collect();
    let scope = history.options.scope.clone();
    drop(history);
    pool.cool_down_refused(&convicted, scope.as_ref());
}
