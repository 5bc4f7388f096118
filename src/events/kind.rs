//! What can happen.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Account;
use crate::clock::Timestamp;
use crate::counters::seconds;
use crate::credential::{CredentialId, PoolKey};
use crate::rate_limit::Window;
use crate::standing::{Quota, Reason, Scope};
use crate::vault::Damage;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// An attempt got a response.
    Attempt {
        /// The credential that it used.
        account: Account,
        /// The response's status.
        #[serde(with = "status")]
        status: StatusCode,
        /// The time until the head of the response arrived.
        #[serde(with = "seconds")]
        elapsed: Duration,
    },
    /// A credential cools down.
    CooledDown {
        /// The credential.
        account: Account,
        /// The first moment at which it may be picked again.
        until: Timestamp,
        /// The time from now until then.
        #[serde(with = "seconds")]
        wait: Duration,
        /// The reason.
        reason: Reason,
        /// The scope of the cooldown, or `None` if it is for the whole account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<Scope>,
    },
    /// The upstream serves no more of a credential's requests at once than are in flight. Others wait, or use the next
    /// credential.
    CapLowered {
        /// The credential.
        account: Account,
        /// How many requests it may have in flight from now on.
        most: u32,
        /// For how long.
        #[serde(with = "seconds")]
        wait: Duration,
    },
    /// A credential was refused, and the same request could not compare it with another. Requests prefer the others until
    /// it succeeds again.
    Suspected {
        /// The credential.
        account: Account,
        /// Whether the request was [pinned](crate::Pin) to it, so that no other could be asked.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pinned: bool,
    },
    /// A success has ended a credential's cooldown, or cleared its failures.
    Recovered {
        /// The credential.
        account: Account,
    },
    /// A response has said what is left of its account's limits. Of a busy account, a few responses each second are read.
    Allowance {
        /// The credential.
        account: Account,
        /// The limits that it has named.
        windows: Arc<[Window]>,
    },
    /// The request is sent again with another credential.
    Rotated {
        /// The credential before.
        from: Account,
        /// The credential now.
        to: Account,
        /// The reason.
        reason: RotationReason,
    },
    /// The request is not sent again with another credential, although one is ready, because its body can be sent only
    /// once. [`ReplayLayer`](crate::ReplayLayer) records a body as it is sent.
    SentOnce {
        /// The credential that was limited or refused.
        account: Account,
    },
    /// The request waits for a short limit to end, and is then sent again.
    Waiting {
        /// The credential whose limit it is.
        account: Account,
        /// How long.
        #[serde(with = "seconds")]
        wait: Duration,
    },
    /// The request is sent again after a network error.
    Repeated {
        /// The credential that it uses, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<Account>,
    },
    /// A credential has a new secret.
    Refreshed {
        /// The credential, with its new generation.
        account: Account,
    },
    /// A refresh has failed.
    RefreshFailed {
        /// The credential.
        account: Account,
        /// The error's text.
        error: Arc<str>,
    },
    /// A refreshed secret could not be saved yet. Nobody uses it until a later try succeeds.
    SecretNotSaved {
        /// The credential.
        account: Account,
        /// The error's text.
        error: Arc<str>,
    },
    /// The vault had an older secret of this credential than the pool, usually because somebody has restored a backup. The
    /// newer secret is stored in the vault again.
    OlderVault {
        /// The credential, with the generation that its secret has there now.
        account: Account,
    },
    /// Only a new sign-in, or another key, helps this credential.
    NeedsSignIn {
        /// The credential.
        account: Account,
        /// The vendor's reason.
        reason: Arc<str>,
    },
    /// This credential's account is out of money, or has reached a limit set by its owner, and the vendor states no time.
    /// It is out of use until a person acts.
    Spent {
        /// The credential.
        account: Account,
        /// The vendor's reason.
        reason: Arc<str>,
    },
    /// A person has taken a credential out of use, through this pool.
    Paused {
        /// The credential.
        account: Account,
    },
    /// A person has put a credential back to use, through this pool.
    Resumed {
        /// The credential.
        account: Account,
    },
    /// A person has cleared a credential's cooldowns and failures.
    Reset {
        /// The credential.
        account: Account,
    },
    /// A person has given a credential another place in the order in which requests take a pool's credentials.
    Moved {
        /// The credential.
        account: Account,
        /// Its tier, if that was set; `None` also if it is the default tier of its kind again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tier: Option<u8>,
        /// Its place in its tier, counted from 1, if that was set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<u32>,
    },
    /// A person has set the quota that a credential takes from.
    QuotaSet {
        /// The credential.
        account: Account,
        /// The quota; `None` is the one that its vendor names, or else its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quota: Option<Quota>,
    },
    /// A person has given a credential another label. No pool emits this; it is for histories, as are those up to
    /// [`Answered`](Self::Answered).
    Renamed {
        /// The credential, with its new label.
        account: Account,
        /// Its label before.
        before: Arc<str>,
    },
    /// A person has signed in to an account, or has stored its key.
    SignedIn {
        /// The credential.
        account: Account,
    },
    /// A person has removed a credential. Its label is not told any more, since it may be an email address.
    Removed {
        /// The pool that it belonged to.
        #[serde(flatten)]
        pool: PoolKey,
        /// Its id.
        id: CredentialId,
    },
    /// An account has answered requests. A history has this in place of each [attempt](Self::Attempt).
    Answered {
        /// The credential.
        account: Account,
        /// The status of the responses.
        #[serde(with = "status")]
        status: StatusCode,
        /// How many responses with this status there were since the last time that this was told.
        requests: u64,
    },
    /// Recorded outcomes have been saved to the vault.
    Saved {
        /// The number of outcomes.
        outcomes: usize,
    },
    /// Recorded outcomes could not be saved yet. They are tried again; no response fails because of it.
    SaveFailed {
        /// The error's text.
        error: Arc<str>,
        /// Whether what keeps the vault's records can't be reached:
        /// [`VaultError::Unreachable`](crate::vault::VaultError::Unreachable). The vault's backend logs that once, however often
        /// this event comes.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unreachable: bool,
    },
    /// A record of the vault can't be used; the others can.
    Damaged {
        /// The record, its damage, and the way out.
        damage: Arc<Damage>,
    },
    /// Events are lost, since their reader was too slow, or since they could not be written. An [`EventStream`](super::EventStream) says this
    /// in place of the oldest that were not read yet, and a history in place of those that it does not have.
    Lost {
        /// How many.
        events: u64,
    },
}

impl EventKind {
    /// Returns the accounts that it is about. Of a removed one only the id is known.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        let (one, other) = match self {
            Self::Attempt { account, .. }
            | Self::CooledDown { account, .. }
            | Self::CapLowered { account, .. }
            | Self::Suspected { account, .. }
            | Self::Recovered { account }
            | Self::Allowance { account, .. }
            | Self::SentOnce { account }
            | Self::Waiting { account, .. }
            | Self::Repeated { account: Some(account) }
            | Self::Refreshed { account }
            | Self::RefreshFailed { account, .. }
            | Self::SecretNotSaved { account, .. }
            | Self::OlderVault { account }
            | Self::NeedsSignIn { account, .. }
            | Self::Spent { account, .. }
            | Self::Paused { account }
            | Self::Resumed { account }
            | Self::Reset { account }
            | Self::Moved { account, .. }
            | Self::QuotaSet { account, .. }
            | Self::Renamed { account, .. }
            | Self::SignedIn { account }
            | Self::Answered { account, .. } => (Some(account), None),
            Self::Rotated { from, to, .. } => (Some(from), Some(to)),
            Self::Repeated { account: None }
            | Self::Removed { .. }
            | Self::Saved { .. }
            | Self::SaveFailed { .. }
            | Self::Damaged { .. }
            | Self::Lost { .. } => (None, None),
        };
        one.into_iter().chain(other)
    }

    /// Returns its name, as it is serialized.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Attempt { .. } => "attempt",
            Self::CooledDown { .. } => "cooled_down",
            Self::CapLowered { .. } => "cap_lowered",
            Self::Suspected { .. } => "suspected",
            Self::Recovered { .. } => "recovered",
            Self::Allowance { .. } => "allowance",
            Self::Rotated { .. } => "rotated",
            Self::SentOnce { .. } => "sent_once",
            Self::Waiting { .. } => "waiting",
            Self::Repeated { .. } => "repeated",
            Self::Refreshed { .. } => "refreshed",
            Self::RefreshFailed { .. } => "refresh_failed",
            Self::SecretNotSaved { .. } => "secret_not_saved",
            Self::OlderVault { .. } => "older_vault",
            Self::NeedsSignIn { .. } => "needs_sign_in",
            Self::Spent { .. } => "spent",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Reset { .. } => "reset",
            Self::Moved { .. } => "moved",
            Self::QuotaSet { .. } => "quota_set",
            Self::Renamed { .. } => "renamed",
            Self::SignedIn { .. } => "signed_in",
            Self::Removed { .. } => "removed",
            Self::Answered { .. } => "answered",
            Self::Saved { .. } => "saved",
            Self::SaveFailed { .. } => "save_failed",
            Self::Damaged { .. } => "damaged",
            Self::Lost { .. } => "lost",
        }
    }
}

/// Why a request is sent again with another credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RotationReason {
    /// The account has reached a limit.
    Limited,
    /// The credential was refused (401, 403), and a refresh did not help.
    Refused,
    /// The account was put out of use: it is spent, or its key was revoked.
    OutOfUse,
    /// No token could be had for the credential in time.
    NoToken,
    /// The server was too busy, and the pool [sends such requests on](crate::PoolBuilder::rotate_overloads).
    Overloaded,
}

/// A status as a number.
mod status {
    use http::StatusCode;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        value: &StatusCode,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(value.as_u16())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<StatusCode, D::Error> {
        StatusCode::from_u16(u16::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
