//! The rules of a run: whether to keep a copy of a request, and what to do about a response.

use std::time::Duration;

use http::StatusCode;

use super::driver::Driver;
use super::jobs::{Jobs, LayerOptions};
use super::response_class::ResponseClass;
use super::sends::Sends;
use crate::events::EventKind;
use crate::pool::{Lease, Refresher, Refusal};

/// What to do about a response.
pub(super) enum Decision {
    Return,
    /// Renew this lease's secret, and send again with it.
    Refresh(Lease, Refresher),
    /// Send again with another credential.
    Rotate,
    /// Send again with the same credential, after this time.
    Wait(Lease, Duration),
}

impl<S, B, R, M: Sends<B, R>> Driver<S, B, R, M> {
    /// Whether the request may be sent again, as far as is known before it is sent.
    #[inline]
    pub(super) fn may_send_again(&mut self) -> bool {
        let Self { shared, history, sent: Some(sent), .. } = self else { return false };
        let LayerOptions { rotate, refresh, .. } = &shared.run.options;
        if rotate.is_none() && refresh.is_none() {
            return false;
        }
        let mut budget = rotate.as_ref().and_then(|rotate| rotate.max_attempts);
        let mut is_pinned = false;
        if let Some(mut history) = history.lock_if_any() {
            match rotate {
                Some(_) => history.budget = budget,
                None => budget = history.budget,
            }
            is_pinned = history.options.pin.is_some();
        }
        let has_others = shared.pool.size() > 1 && budget.is_none_or(|budget| budget.get() > 1);
        let may_rotate = has_others && !is_pinned;
        rotate.as_ref().is_some_and(|rotate| may_rotate || rotate.repeats())
            || refresh
                .as_ref()
                .is_some_and(|refresh| may_rotate || refresh.refresher.renews(&sent.lease))
    }

    /// Decides what this run does about a response.
    pub(super) fn decide(&mut self, class: ResponseClass, status: StatusCode) -> Decision {
        if !class.needs_action() {
            return Decision::Return;
        }
        self.rotation_reason = class.rotation_reason();
        let Some(lease) = self.latest().map(|sent| sent.lease) else { return Decision::Return };
        if class.is_refusal() && !self.history().failed.contains(&lease.slot()) {
            return self.decide_refusal(class, status, lease);
        }
        if !self.jobs.has(Jobs::ROTATE) {
            return Decision::Return;
        }
        match self.worth_waiting(class, &lease) {
            Some(pause) => Decision::Wait(lease, pause),
            None => Decision::Rotate,
        }
    }

    /// Decides about a refusal of a credential that has not failed for good yet.
    fn decide_refusal(&mut self, class: ResponseClass, status: StatusCode, lease: Lease) -> Decision {
        if class.refusal() == Some(Refusal::Unauthorized) {
            self.pool().warn_of_no_refresher(&lease);
        }
        if !self.jobs.has(Jobs::REFRESH) {
            // A refresh layer outside decides.
            let is_refreshed_outside = self.stack_jobs().has(Jobs::REFRESH);
            let is_ours = self.jobs.has(Jobs::ROTATE) && !is_refreshed_outside;
            let rotates = is_ours && self.fail(&lease, class, status);
            return if rotates { Decision::Rotate } else { Decision::Return };
        }
        let refresher = self.refresh_options().map(|options| options.refresher.clone());
        match refresher.filter(|refresher| self.refresh_may_help(class, &lease, refresher)) {
            Some(refresher) => Decision::Refresh(lease, refresher),
            None if self.fail(&lease, class, status) => Decision::Rotate,
            None => Decision::Return,
        }
    }

    /// Emits [`EventKind::SentOnce`] if another credential is ready: the request's body can't be sent again, so its response
    /// is a limit or a refusal.
    pub(super) fn emit_sent_once(&mut self) {
        let (scope, is_pinned) = {
            let history = self.history();
            (history.options.scope.clone(), history.options.pin.is_some())
        };
        let (pool, now) = (self.pool(), self.pool().now());
        let is_ready = pool.next_ready(scope.as_ref()).is_some_and(|(at, _)| at <= now);
        if is_ready
            && !is_pinned
            && pool.size() > 1
            && let Some(latest) = self.latest()
        {
            let account = latest.lease.credential().into();
            self.pool().emit(latest.numbers(), EventKind::SentOnce { account });
        }
    }

    fn refresh_may_help(&mut self, class: ResponseClass, lease: &Lease, refresher: &Refresher) -> bool {
        class.refusal().is_some_and(|refusal| {
            !self.history().was_refreshed(lease.slot())
                && (refresher.renews(lease) || self.pool().has_newer(lease))
                && !self.pool().was_refused_fresh(lease, refusal)
        })
    }

    /// Returns how long to wait for the limit to end, if the options allow that.
    fn worth_waiting(&mut self, class: ResponseClass, lease: &Lease) -> Option<Duration> {
        let wait_up_to = self.rotate_options()?.wait_up_to?;
        let (waited, is_second) = match &self.retries {
            Some(retries) => (retries.waited, retries.waited_for.contains(&lease.slot())),
            None => (Duration::ZERO, false),
        };
        if class != ResponseClass::Limited || is_second {
            return None;
        }
        let bound = wait_up_to.checked_sub(waited)?;
        let scope = self.history.scope();
        let pause = self.pool().cooling_for(lease, scope.as_ref());
        // A limit that has ended is no reason to ask the same account again at once.
        (pause > Duration::ZERO && pause <= bound).then_some(pause)
    }
}
