//! What a pool has done since it was opened, in numbers, from [`Pool::counters`](crate::Pool::counters).
//!
//! Counters only grow. A snapshot is consistent: at any moment, a credential's attempts are the sum of what became of
//! them and of those that are in flight, or more by those that have changed while the snapshot was taken. All of it is
//! [serde](https://docs.rs/serde)'s to serialize.
//!
//! They are for any system of metrics: read them when it asks. The examples `prometheus` and `opentelemetry` do. With the
//! feature `metrics`, a pool publishes them through the crate `metrics` itself.

mod durations;
mod stats;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::credential::CredentialId;

pub use durations::Durations;
pub(crate) use stats::{Outcome, RefreshOutcome, Stats, Tally, VaultErrors};

/// What a pool has done since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counters {
    /// Callers' requests that were sent.
    pub requests: u64,
    /// How often these requests were sent, including each time that one was sent again.
    pub attempts: u64,
    /// How often a request was sent again with another credential.
    pub rotations: u64,
    /// Secrets that this process has renewed.
    pub refreshes: u64,
    /// Requests of the pool to its vault that have failed by the vault's own fault: it can't be read, written or locked.
    pub vault_errors: u64,
    /// The same for each credential, in the order in which the pool has first seen them. One that was removed from the
    /// vault stays, so that sums never fall.
    pub credentials: Vec<CredentialCounters>,
    /// How long attempts took. Empty unless [`time_attempts`](crate::PoolBuilder::time_attempts) is set.
    pub durations: Durations,
}

/// A value's name in metrics, and how to read its count.
type Named = (&'static str, fn(&CredentialCounters) -> u64);

/// What became of attempts.
pub(crate) const OUTCOMES: [Named; 7] = [
    ("succeeded", |of| of.succeeded),
    ("limited", |of| of.limited),
    ("refused", |of| of.refused),
    ("out_of_use", |of| of.out_of_use),
    ("other", |of| of.other),
    ("failed", |of| of.failed),
    ("cancelled", |of| of.cancelled),
];

/// Why requests went on to another credential.
pub(crate) const ROTATIONS: [Named; 5] = [
    ("limited", |of| of.rotations.limited),
    ("refused", |of| of.rotations.refused),
    ("out_of_use", |of| of.rotations.out_of_use),
    ("no_token", |of| of.rotations.no_token),
    ("overloaded", |of| of.rotations.overloaded),
];

/// How renewals ended.
pub(crate) const REFRESHES: [Named; 4] = [
    ("renewed", |of| of.refreshes.renewed),
    ("adopted", |of| of.refreshes.adopted),
    ("rejected", |of| of.refreshes.rejected),
    ("failed", |of| of.refreshes.failed),
];

impl Counters {
    /// Returns how many attempts of all credentials had which outcome, by the names of the fields of
    /// [`CredentialCounters`]. For exporters of metrics.
    pub fn attempts_by_outcome(&self) -> [(&'static str, u64); 7] {
        self.sums(OUTCOMES)
    }

    /// Returns how many rotations of all credentials had which reason, by the names of the fields of [`RotationCounts`].
    pub fn rotations_by_reason(&self) -> [(&'static str, u64); 5] {
        self.sums(ROTATIONS)
    }

    /// Returns how many renewals of all credentials had which outcome, by the names of the fields of [`RefreshCounts`].
    pub fn refreshes_by_outcome(&self) -> [(&'static str, u64); 4] {
        self.sums(REFRESHES)
    }

    fn sums<const N: usize>(&self, named: [Named; N]) -> [(&'static str, u64); N] {
        named.map(|(name, read)| (name, self.credentials.iter().map(read).sum()))
    }
}

/// What a pool has done with one credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CredentialCounters {
    /// The credential.
    pub id: CredentialId,
    /// How often a request was sent with it.
    pub attempts: u64,
    /// Requests whose response has not arrived yet.
    pub in_flight: u64,
    /// Successful responses.
    pub succeeded: u64,
    /// Responses that said that the account has reached a limit.
    pub limited: u64,
    /// Responses that refused the credential, or this request with it (401, 403).
    pub refused: u64,
    /// Responses that put the account out of use: it is spent or stopped, or its key was revoked.
    pub out_of_use: u64,
    /// Responses that said nothing about the account, such as 404 or 500.
    pub other: u64,
    /// Attempts that ended with an error of the service below, such as a network error.
    pub failed: u64,
    /// Attempts that the caller dropped before they had a response.
    pub cancelled: u64,
    /// How often a request went on from it to another credential, by reason.
    pub rotations: RotationCounts,
    /// Its renewals, by outcome.
    pub refreshes: RefreshCounts,
    /// How long it has cooled down for all requests, up to now. Serialized in seconds.
    #[serde(with = "seconds")]
    pub cooling: Duration,
}

/// Rotations by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RotationCounts {
    /// The account had reached a limit.
    pub limited: u64,
    /// The credential was refused.
    pub refused: u64,
    /// The account was put out of use.
    pub out_of_use: u64,
    /// No token could be had for it in time.
    pub no_token: u64,
    /// The server was too busy.
    pub overloaded: u64,
}

impl RotationCounts {
    /// Returns their sum.
    pub fn total(&self) -> u64 {
        self.limited + self.refused + self.out_of_use + self.no_token + self.overloaded
    }
}

/// Renewals by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefreshCounts {
    /// This process has renewed the secret.
    pub renewed: u64,
    /// Another process had renewed it meanwhile, and its secret was adopted.
    pub adopted: u64,
    /// The vendor has rejected the refresh token.
    pub rejected: u64,
    /// Other failures, such as one of the network or of the vault.
    pub failed: u64,
}

/// A duration as a number of seconds.
pub(crate) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(value.as_secs_f64())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
