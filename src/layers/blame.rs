//! Who is to blame for a refusal: a request's suspects, until another credential's answer tells.

use http::StatusCode;

use super::context::HistoryCell;
use super::driver::Driver;
use super::jobs::Roles;
use super::response_class::ResponseClass;
use super::sends::Sends;
use crate::pool::{Lease, Pool, SlotIndex, Suspect};

impl<S, B, R, M: Sends<B, R>> Driver<S, B, R, M> {
    /// The credential has failed for good, as far as this request goes. Returns whether this run rotates; a
    /// rotate layer outside does so by itself. A verdict of the vendor's puts the credential out of use where it is
    /// made, so only a token that nobody knew to have expired makes a suspect.
    pub(super) fn fail(&mut self, lease: &Lease, class: ResponseClass) -> bool {
        let own = self.sent.as_ref().map(|sent| sent.began).unwrap_or_default();
        let mut history = self.history();
        history.failed.push(lease.slot());
        if let Some(refusal) = class.refusal().filter(|_| !history.was_known_to_have_expired(lease)) {
            let is_renewed = history.was_renewed(lease);
            let began = history.latest.as_ref().map_or(own, |latest| latest.began);
            history.suspects.push(Suspect { lease: lease.clone(), began, refusal });
            drop(history);
            if is_renewed {
                self.pool().set_refused_fresh(lease, refusal);
            }
        } else {
            drop(history);
        }
        self.rotates_itself()
    }

    /// The credential could not be renewed, by no fault of its own or of the request: it is no suspect. Returns as
    /// [`fail`](Self::fail) does.
    pub(super) fn pass_over(&mut self, lease: &Lease) -> bool {
        self.history().failed.push(lease.slot());
        self.rotates_itself()
    }

    fn rotates_itself(&self) -> bool {
        self.stack_roles().has(Roles::ROTATE) && !self.outside.has(Roles::ROTATE)
    }

    /// The request is over: suspects that were compared with nobody go behind the others.
    pub(super) fn leave_suspects(&mut self) {
        let Some(mut history) = self.history.lock_if_any() else { return };
        if self.is_outermost && !history.suspects.is_empty() {
            let suspects = std::mem::take(&mut history.suspects);
            drop(history);
            self.shared.pool.record_suspects(&suspects);
        }
    }
}

/// This credential was answered with this status, which may convict those that were refused before.
pub(super) fn compare(
    pool: &Pool,
    slot: SlotIndex,
    history: &mut HistoryCell,
    class: ResponseClass,
    answer: StatusCode,
) {
    if !matches!(class, ResponseClass::Good | ResponseClass::Other) {
        return;
    }
    let Some(mut history) = history.lock_if_any() else { return };
    if class == ResponseClass::Good {
        history.suspects.retain(|suspect| suspect.lease.slot() != slot);
    }
    let is_convicted = |suspect: &mut Suspect| {
        suspect.lease.slot() != slot && suspect.refusal.is_credentials_fault(answer)
    };
    let convicted: Vec<_> = history.suspects.extract_if(.., is_convicted).collect();
    let scope = history.options.scope.clone();
    drop(history);
    pool.cool_down_refused(&convicted, scope.as_ref());
}
