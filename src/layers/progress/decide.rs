//! What to do about an answer, or about none: the rules of refreshing, rotating, waiting and repeating.

use std::time::{Duration, Instant};

use http::Response;
use tokio::time::Sleep;
use tower::retry::backoff::Backoff;

use super::{Later, Progress};
use crate::BoxError;
use crate::events::{Event, Tally};
use crate::layers::answer::Answer;
use crate::layers::context::{Roles, State};
use crate::layers::duty::{Bodies, sealed};
use crate::layers::next_ready::NextReady;
use crate::pool::{Lease, Picked, Refresher};

/// What to do about an answer.
pub(in crate::layers) enum Decision {
    Return,
    /// Renew this lease's secret, and send again with it.
    Refresh(Lease, Refresher),
    /// Send again with another credential.
    Rotate,
    /// Send again with the same one, after a while.
    Wait(Lease, Duration),
}

/// What came of looking for another credential.
pub(in crate::layers) enum Rotation {
    Send,
    Later(Later),
    UsedUp,
}

impl<S, D: sealed::Duty, K> Progress<S, D, K> {
    /// The lease that the answer is about. Where a layer further in may have sent again, the context
    /// has the latest; else it is the one that this layer sent.
    fn answered_by(&self, state: &State) -> Option<Lease> {
        let resends = Roles::ROTATE.with(Roles::REFRESH);
        let inside = self.part.context.roles().without(self.part.outside).without(self.roles);
        let carried = self.part.carried.as_ref().filter(|_| !inside.intersects(resends));
        carried.or(state.lease.as_ref()).cloned()
    }

    /// What to do about an answer: this layer's part of the rules that all share.
    pub(in crate::layers) fn decide(&self, answer: Answer) -> Decision {
        if !answer.needs_action() {
            return Decision::Return;
        }
        let mut state = self.part.context.state();
        let Some(lease) = self.answered_by(&state) else { return Decision::Return };
        let slot = lease.slot();
        let is_refused = answer.is_refusal();
        let has_failed = state.failed.contains(&slot);
        if self.roles.has(Roles::REFRESH) && is_refused && !has_failed {
            if let Some(refresh) = self.shared.refresh()
                && answer != Answer::Insufficient
                && !state.refreshed.contains(&slot)
                && (lease.is_refreshable() || self.pool().has_newer(&lease))
                && !(answer == Answer::Forbidden && self.pool().is_forbidden(&lease))
            {
                state.refreshed.push(slot);
                return Decision::Refresh(lease, refresh.refresher.clone());
            }
            return self.fail(&mut state, &lease, answer);
        }
        if !self.roles.has(Roles::ROTATE) {
            return Decision::Return;
        }
        if is_refused && !has_failed {
            // A refresh layer outside takes it.
            let is_taken = self.part.context.roles().has(Roles::REFRESH);
            return if is_taken { Decision::Return } else { self.fail(&mut state, &lease, answer) };
        }
        if answer == Answer::Limited
            && let Some(pause) = self.worth_waiting(&lease, &state)
        {
            return Decision::Wait(lease, pause);
        }
        Decision::Rotate
    }

    /// The credential has failed for good, as far as this request goes.
    pub(in crate::layers) fn give_up(&self, lease: &Lease) -> Decision {
        self.fail(&mut self.part.context.state(), lease, Answer::Refused)
    }

    fn fail(&self, state: &mut State, lease: &Lease, answer: Answer) -> Decision {
        state.failed.push(lease.slot());
        if answer == Answer::Forbidden && state.refreshed.contains(&lease.slot()) {
            self.pool().set_forbidden(lease);
        }
        if answer != Answer::Insufficient {
            self.part.context.set_taught();
            self.pool().refused(lease, state.began);
        }
        let rotate_is_inside =
            self.part.context.roles().has(Roles::ROTATE) && !self.part.outside.has(Roles::ROTATE);
        if rotate_is_inside { Decision::Rotate } else { Decision::Return }
    }

    /// How long to wait for the limit to end, where that is worth it.
    fn worth_waiting(&self, lease: &Lease, state: &State) -> Option<Duration> {
        let rare = self.rare.as_deref();
        if rare.is_some_and(|rare| rare.waited_for.contains(&lease.slot())) {
            return None;
        }
        let waited = rare.map_or(Duration::ZERO, |rare| rare.waited);
        let bound = self.shared.rotate()?.wait_up_to?.checked_sub(waited)?;
        let pause = self.pool().cooling_for(lease, state.wish.scope.as_ref());
        // A deadline that has passed is no reason to ask the same account at once again.
        (pause > Duration::ZERO && pause <= bound).then_some(pause)
    }

    /// Looks for another credential, and takes it.
    pub(in crate::layers) fn rotate<B, R>(&mut self) -> Rotation
    where
        D: Bodies<B, R, Kept = K>,
    {
        let pool = &self.shared.pool;
        let mut guard = self.part.context.state();
        let state = &mut *guard;
        let budget = state.budget.unwrap_or_else(|| pool.size());
        if state.tried.len() >= usize::try_from(budget).unwrap_or(usize::MAX) {
            return Rotation::UsedUp;
        }
        // Before another one is waited for.
        state.permit = None;
        let tick = pool.tick();
        match pool.pick_next(&state.tried, &state.wish) {
            (Picked::None, _) => Rotation::UsedUp,
            (Picked::Later { until, change }, _) => Rotation::Later(Later { until, change }),
            // Only now: what is still being sent of the body may be cut short by it, and a response that
            // is returned may end with that.
            (Picked::Lease { .. }, _) if !D::take_over(&self.body) => Rotation::UsedUp,
            (Picked::Lease { lease, .. }, permit) => {
                let before = state.lease.clone();
                state.permit = permit;
                drop(guard);
                self.take(lease.clone(), tick);
                Tally::add(&self.pool().tally().rotations);
                if let Some(before) = before {
                    let (from, to) = (before.credential(), lease.credential());
                    self.pool().emit(&Event::Rotated { from, to });
                }
                Rotation::Send
            }
        }
    }

    /// Marks the last response of a pool that is used up.
    pub(in crate::layers) fn mark_used_up<R>(&self, response: &mut Response<R>) {
        let state = self.part.context.state();
        if let Some(at) = self.pool().next_ready(state.wish.scope.as_ref()) {
            response.extensions_mut().insert(NextReady::new(at, self.pool().now()));
        }
    }

    /// How long to wait before sending again after a network error, where that is to be done.
    pub(in crate::layers) fn repeat<B, R>(&mut self, error: &BoxError) -> Option<Sleep>
    where
        D: Bodies<B, R, Kept = K>,
    {
        // One that has only just learnt whom it could drive leaves it to them.
        if !self.roles.has(Roles::ROTATE) {
            return None;
        }
        let network = &self.shared.rotate()?.network;
        if !D::is_kept(&self.body) || !network.is_worth(error) {
            return None;
        }
        let rare = self.rare.get_or_insert_default();
        if rare.repeats >= network.allows() || !D::take_over(&self.body) {
            return None;
        }
        rare.repeats += 1;
        let pause = rare.backoff.get_or_insert_with(|| network.start()).next_backoff();
        let lease = {
            let mut state = self.part.context.state();
            state.attempt += 1;
            state.started = self.shared.pool.is_observed().then(Instant::now);
            self.part.attempt = state.attempt;
            self.part.carried.clone().or_else(|| state.lease.clone())
        };
        Tally::add(&self.pool().tally().repeats);
        self.pool().emit(&Event::Repeated { credential: lease.as_ref().map(Lease::credential) });
        Some(pause)
    }
}
