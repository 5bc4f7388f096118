//! Why tokens could not be renewed, for messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tower_credentials::CredentialId;
use tower_credentials::events::{Event, EventKind};

use crate::ending;
use crate::failure::in_settings;

/// Why accounts have no new token, from a pool's events.
#[derive(Clone, Default)]
pub(crate) struct Renewals(Arc<Mutex<HashMap<CredentialId, String>>>);

impl Renewals {
    /// Returns an observer of a pool's events, which also says what the program waits for.
    pub(crate) fn observer(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let this = self.clone();
        move |event| {
            ending::tell(event);
            this.note(event);
        }
    }

    fn note(&self, event: &Event) {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.kind {
            EventKind::RefreshFailed { account, error } => {
                failed.insert(account.id, in_settings(error.to_string()));
            }
            EventKind::SecretNotSaved { account, error } => {
                let reason = format!("it was renewed, and the new token could not be saved: {error}");
                failed.insert(account.id, reason);
            }
            EventKind::Refreshed { account } => {
                failed.remove(&account.id);
            }
            _ => {}
        }
    }

    /// Why this account has no new token.
    pub(crate) fn failure(&self, id: CredentialId) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

/// Returns an observer that passes events to both.
pub(crate) fn both(
    one: impl Fn(&Event) + Send + Sync + 'static,
    other: impl Fn(&Event) + Send + Sync + 'static,
) -> impl Fn(&Event) + Send + Sync + 'static {
    move |event| {
        one(event);
        other(event);
    }
}
