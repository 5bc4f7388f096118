//! The live counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Counters, CredentialCounters, Durations, RefreshCounts, RotationCounts};
use crate::credential::CredentialId;
use crate::events::RotationReason;
use crate::vault::VaultError;

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    Limited,
    Refused,
    OutOfUse,
    Other,
    Failed,
    Cancelled,
}

const OUTCOMES: usize = 7;

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshOutcome {
    Renewed,
    Adopted,
    Rejected,
    Failed,
}

/// The counters of one credential.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    attempts: AtomicU64,
    outcomes: [AtomicU64; OUTCOMES],
    rotations: [AtomicU64; 5],
    refreshes: [AtomicU64; 4],
}

impl Stats {
    #[inline]
    pub(crate) fn attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what became of an attempt.
    #[inline]
    pub(crate) fn outcome(&self, outcome: Outcome) {
        // A snapshot that has this one has its attempt, too.
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Release);
    }

    pub(crate) fn rotation(&self, reason: RotationReason) {
        self.rotations[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refresh(&self, outcome: RefreshOutcome) {
        self.refreshes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, id: CredentialId, cooling: Duration) -> CredentialCounters {
        let relaxed = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [succeeded, limited, refused, out_of_use, other, failed, cancelled] =
            self.outcomes.each_ref().map(|counter| counter.load(Ordering::Acquire));
        let attempts = relaxed(&self.attempts);
        let ended = succeeded + limited + refused + out_of_use + other + failed + cancelled;
        let rotations = self.rotations.each_ref().map(relaxed);
        let refreshes = self.refreshes.each_ref().map(relaxed);
        CredentialCounters {
            id,
            attempts,
            in_flight: attempts.saturating_sub(ended),
            succeeded,
            limited,
            refused,
            out_of_use,
            other,
            failed,
            cancelled,
            rotations: RotationCounts {
                limited: rotations[RotationReason::Limited as usize],
                refused: rotations[RotationReason::Refused as usize],
                out_of_use: rotations[RotationReason::OutOfUse as usize],
                no_token: rotations[RotationReason::NoToken as usize],
                overloaded: rotations[RotationReason::Overloaded as usize],
            },
            refreshes: RefreshCounts {
                renewed: refreshes[RefreshOutcome::Renewed as usize],
                adopted: refreshes[RefreshOutcome::Adopted as usize],
                rejected: refreshes[RefreshOutcome::Rejected as usize],
                failed: refreshes[RefreshOutcome::Failed as usize],
            },
            cooling,
        }
    }
}

/// The counters of a pool that belong to no credential.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Attempts beyond each request's first, so that a request that goes well increments one counter, not two.
    repeats: AtomicU64,
    durations: super::durations::Histogram,
    vault_errors: VaultErrors,
}

/// How many requests to the vault have failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct VaultErrors(Arc<AtomicU64>);

impl VaultErrors {
    #[cold]
    pub(crate) fn count(&self, error: &VaultError) {
        if error.is_of_the_vault() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Tally {
    pub(crate) fn new(vault_errors: VaultErrors) -> Self {
        Self { vault_errors, ..Self::default() }
    }

    pub(crate) fn repeat(&self) {
        // A snapshot that has this one has its attempt, too.
        self.repeats.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn duration(&self, elapsed: Duration) {
        self.durations.record(elapsed);
    }

    pub(crate) fn read(&self, credentials: impl FnOnce() -> Vec<CredentialCounters>) -> Counters {
        // Read first: each of them has its attempt counted before.
        let repeats = self.repeats.load(Ordering::Acquire);
        let durations: Durations = self.durations.read();
        let credentials = credentials();
        let sum = |count: fn(&CredentialCounters) -> u64| credentials.iter().map(count).sum::<u64>();
        let attempts = sum(|credential| credential.attempts);
        Counters {
            requests: attempts.saturating_sub(repeats),
            attempts,
            rotations: sum(|credential| credential.rotations.total()),
            refreshes: sum(|credential| credential.refreshes.renewed),
            vault_errors: self.vault_errors.0.load(Ordering::Relaxed),
            credentials,
            durations,
        }
    }
}
