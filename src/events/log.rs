//! Events as lines of a log.

use std::num::{NonZeroU32, NonZeroU64};

use tracing::field::Empty;
use tracing::{debug, info, warn};

use super::{Account, Event, EventKind};
use crate::standing::Scope;

/// The target of all events.
pub(crate) const TARGET: &str = "tower_credentials::event";

/// One line, with the account's fields first. Text is recorded as a string, so that the formatter escapes it.
macro_rules! line {
    ($level:ident, $of:expr, $account:expr, $name:literal $(, $($fields:tt)*)?) => {{
        let Account { id, pool, label, generation } = $account;
        let Event { request, attempt, .. } = $of;
        $level!(
            target: TARGET,
            provider = pool.provider(),
            namespace = pool.namespace(),
            account = &**label,
            id = %id,
            generation = generation.get(),
            request = request.map(NonZeroU64::get),
            attempt = attempt.map(NonZeroU32::get),
            $($($fields)*,)?
            $name
        )
    }};
}

impl Event {
    /// Emits an event to `tracing` whose trouble is logged already.
    pub(super) fn log_for_debugging(&self) {
        debug!(target: TARGET, event = debug(&self.kind), "trouble goes on");
    }

    /// Emits the event to `tracing`: problems as warnings, changes as information, and the rest for debugging.
    pub(super) fn log(&self) {
        match &self.kind {
            EventKind::Attempt { account, status, elapsed } => {
                let attempt = self.attempt;
                line!(
                    debug,
                    self,
                    account,
                    "attempt",
                    http.response.status_code = status.as_u16(),
                    http.request.resend_count =
                        attempt.map(|attempt| attempt.get() - 1).filter(|resends| *resends > 0),
                    elapsed = debug(elapsed)
                );
            }
            EventKind::CooledDown { account, wait, reason, scope, .. } => {
                let scope = scope.as_ref().map(Scope::as_str);
                line!(
                    info,
                    self,
                    account,
                    "cooled down",
                    wait = debug(wait),
                    reason = debug(reason),
                    scope
                );
            }
            EventKind::CapLowered { account, most, wait } => {
                line!(info, self, account, "cap lowered", most, wait = debug(wait));
            }
            EventKind::Suspected { account, pinned } => {
                line!(info, self, account, "suspected", pinned = pinned.then_some(true));
            }
            EventKind::Recovered { account } => line!(info, self, account, "recovered"),
            EventKind::Allowance { account, windows } => {
                line!(debug, self, account, "allowance", windows = debug(windows));
            }
            EventKind::Rotated { from, to, reason } => {
                line!(info, self, to, "rotated", from = &*from.label, reason = debug(reason));
            }
            EventKind::SentOnce { account } => line!(info, self, account, "sent once"),
            EventKind::Waiting { account, wait } => {
                line!(info, self, account, "waiting", wait = debug(wait));
            }
            EventKind::Repeated { account: Some(account) } => line!(info, self, account, "repeated"),
            EventKind::Repeated { account: None } => info!(target: TARGET, account = Empty, "repeated"),
            EventKind::Refreshed { account } => line!(info, self, account, "refreshed"),
            EventKind::RefreshFailed { account, error } => {
                line!(warn, self, account, "refresh failed", error = &**error);
            }
            EventKind::SecretNotSaved { account, error } => {
                line!(warn, self, account, "secret not saved", error = &**error);
            }
            EventKind::OlderVault { account } => line!(warn, self, account, "older vault"),
            EventKind::NeedsSignIn { account, reason } => {
                line!(warn, self, account, "needs sign-in", reason = &**reason);
            }
            EventKind::Spent { account, reason } => {
                line!(warn, self, account, "spent", reason = &**reason)
            }
            EventKind::Paused { account } => line!(info, self, account, "paused"),
            EventKind::Resumed { account } => line!(info, self, account, "resumed"),
            EventKind::Reset { account } => line!(info, self, account, "reset"),
            EventKind::Moved { account, tier, place } => {
                line!(info, self, account, "moved", tier, place);
            }
            EventKind::QuotaSet { account, quota } => {
                line!(info, self, account, "quota set", quota = debug(quota));
            }
            // No pool emits these.
            EventKind::Renamed { .. }
            | EventKind::SignedIn { .. }
            | EventKind::Removed { .. }
            | EventKind::Answered { .. }
            | EventKind::Lost { .. } => {}
            EventKind::Saved { outcomes } => debug!(target: TARGET, outcomes, "saved"),
            EventKind::SaveFailed { error, .. } => {
                warn!(target: TARGET, error = &**error, "save failed");
            }
            EventKind::Damaged { damage } => {
                let (record, reason) = (&*damage.record, &*damage.reason);
                warn!(target: TARGET, record, reason, "damaged");
            }
        }
    }
}
