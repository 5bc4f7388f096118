//! The rules for every run: what to keep for, and what to do about a response.

use std::time::Duration;

use super::driver::Driver;
use super::jobs::{Jobs, Roles};
use super::response_class::ResponseClass;
use super::sends::Sends;
use crate::events::Event;
use crate::pool::{Lease, Refresher};

/// What to do about a response.
pub(super) enum Decision {
    Return,
    /// Renew this lease's secret, and send again with it.
    Refresh(Lease, Refresher),
    /// Send again with another credential.
    Rotate,
    /// Send again with the same one, after a while.
    Wait(Lease, Duration),
}

impl<S, B, R, M: Sends<B, R>> Driver<S, B, R, M> {
    /// Whether the request may be sent again, as far as that can be told before it is sent.
    #[inline]
    pub(super) fn may_send_again(&mut self) -> bool {
        let Self { shared, history, sent: Some(sent), .. } = self else { return false };
        let Jobs { rotate, refresh, .. } = &shared.run.jobs;
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
        rotate.as_ref().is_some_and(|rotate| may_rotate || rotate.repeats_itself())
            || refresh
                .as_ref()
                .is_some_and(|refresh| may_rotate || refresh.refresher.renews(&sent.lease))
    }

    /// What this run does about a response.
    pub(super) fn decide(&mut self, class: ResponseClass) -> Decision {
        if !class.needs_action() {
            return Decision::Return;
        }
        let Some(lease) = self.latest().map(|sent| sent.lease) else { return Decision::Return };
        if class.is_refusal() && !self.history().failed.contains(&lease.slot()) {
            return self.decide_refusal(class, lease);
        }
        if !self.roles.has(Roles::ROTATE) {
            return Decision::Return;
        }
        match self.worth_waiting(class, &lease) {
            Some(pause) => Decision::Wait(lease, pause),
            None => Decision::Rotate,
        }
    }

    /// The credential was refused, and has not failed for good yet.
    fn decide_refusal(&mut self, class: ResponseClass, lease: Lease) -> Decision {
        if !self.roles.has(Roles::REFRESH) {
            // A refresh layer outside takes it.
            let is_taken = self.stack_roles().has(Roles::REFRESH);
            let is_ours = self.roles.has(Roles::ROTATE) && !is_taken;
            let rotates = is_ours && self.fail(&lease, class);
            return if rotates { Decision::Rotate } else { Decision::Return };
        }
        let refresher = self.refresh_options().map(|options| options.refresher.clone());
        match refresher.filter(|refresher| self.refresh_may_help(class, &lease, refresher)) {
            Some(refresher) => Decision::Refresh(lease, refresher),
            None if self.fail(&lease, class) => Decision::Rotate,
            None => Decision::Return,
        }
    }

    /// The request is answered by a limit or a refusal though another credential is ready, since its body can't be sent
    /// again.
    pub(super) fn tell_sent_once(&mut self) {
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
            self.pool().emit(&Event::SentOnce { credential: latest.lease.credential() });
        }
    }

    fn refresh_may_help(&mut self, class: ResponseClass, lease: &Lease, refresher: &Refresher) -> bool {
        class.refusal().is_some_and(|refusal| {
            !self.history().was_refreshed(lease.slot())
                && (refresher.renews(lease) || self.pool().has_newer(lease))
                && !self.pool().was_refused_fresh(lease, refusal)
        })
    }

    /// How long to wait for the limit to end, if that is worth it.
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
        // A deadline that has passed is no reason to ask the same account at once again.
        (pause > Duration::ZERO && pause <= bound).then_some(pause)
    }
}
