//! Events as lines of a log.

use tracing::field::Empty;
use tracing::{debug, info, warn};

use super::Event;
use crate::credential::Metadata;

/// The target of all events.
pub(crate) const TARGET: &str = "tower_credentials::event";

/// One line, with the account's fields first. Text is recorded as a string, so that the formatter escapes it.
macro_rules! line {
    ($level:ident, $credential:expr, $name:literal $(, $($fields:tt)*)?) => {{
        let Metadata { id, pool, label, generation, .. } = $credential;
        $level!(
            target: TARGET,
            provider = pool.provider(),
            namespace = pool.namespace(),
            account = &**label,
            id = %id,
            generation = generation.get(),
            $($($fields)*,)?
            $name
        )
    }};
}

impl Event<'_> {
    /// Emits the event to `tracing`: problems as warnings, changes as information, and the rest for debugging.
    pub(super) fn log(&self) {
        match self {
            Event::Attempt { credential, status, elapsed } => {
                line!(debug, credential, "attempt", status = status.as_u16(), elapsed = debug(elapsed));
            }
            Event::CooledDown { credential, wait, reason, scope, .. } => {
                let scope = scope.map(crate::standing::Scope::as_str);
                line!(
                    info,
                    credential,
                    "cooled down",
                    wait = debug(wait),
                    reason = debug(reason),
                    scope
                );
            }
            Event::CapLowered { credential, most, wait } => {
                line!(info, credential, "cap lowered", most, wait = debug(wait));
            }
            Event::Suspected { credential } => line!(info, credential, "suspected"),
            Event::Recovered { credential } => line!(info, credential, "recovered"),
            Event::Allowance { credential, windows } => {
                line!(debug, credential, "allowance", windows = debug(windows));
            }
            Event::Rotated { from, to, reason } => {
                line!(info, to, "rotated", from = &*from.label, reason = debug(reason));
            }
            Event::SentOnce { credential } => line!(info, credential, "sent once"),
            Event::Waiting { credential, wait } => {
                line!(info, credential, "waiting", wait = debug(wait));
            }
            Event::Repeated { credential: Some(credential) } => line!(info, credential, "repeated"),
            Event::Repeated { credential: None } => info!(target: TARGET, account = Empty, "repeated"),
            Event::Refreshed { credential } => line!(info, credential, "refreshed"),
            Event::RefreshFailed { credential, error } => {
                line!(warn, credential, "refresh failed", error = *error);
            }
            Event::SecretNotSaved { credential, error } => {
                line!(warn, credential, "secret not saved", error = *error);
            }
            Event::OlderVault { credential } => line!(warn, credential, "older vault"),
            Event::NeedsSignIn { credential, reason } => {
                line!(warn, credential, "needs sign-in", reason = *reason);
            }
            Event::Spent { credential, reason } => line!(warn, credential, "spent", reason = *reason),
            Event::Paused { credential } => line!(info, credential, "paused"),
            Event::Resumed { credential } => line!(info, credential, "resumed"),
            Event::Saved { outcomes } => debug!(target: TARGET, outcomes, "saved"),
            Event::SaveFailed { error } => warn!(target: TARGET, error = *error, "save failed"),
            Event::Damaged { damage } => {
                let (record, reason) = (&*damage.record, &*damage.reason);
                warn!(target: TARGET, record, reason, "damaged");
            }
        }
    }
}
