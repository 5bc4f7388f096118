//! Events of pools and layers, for people, tests and metrics. An event contains no secret.
//!
//! A pool passes each event to the function that was given to [`PoolBuilder::on_event`](crate::PoolBuilder::on_event), and
//! to `tracing`, with the target `tower_credentials::event`:
//!
//! | Level | Messages |
//! |---|---|
//! | `WARN` | Problems that a person should know about: `refresh failed`, `secret not saved`, `older vault`, `needs sign-in`, `spent`, `save failed`, `damaged`. |
//! | `INFO` | Changes of accounts and requests: `cooled down`, `suspected`, `recovered`, `rotated`, `sent once`, `waiting`, `repeated`, `refreshed`, `paused`, `resumed`. |
//! | `DEBUG` | `attempt`, for each response, `allowance` and `saved`. |
//!
//! The account's fields are `provider`, `namespace`, `account` (its label), `id` and `generation`. Other fields have the
//! names that they have in [`Event`]. Choose with a filter such as `tower_credentials=info`, which includes the vault's
//! warnings, too.

mod log;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::credential::Metadata;
use crate::rate_limit::Window;
use crate::standing::{Reason, Scope};
use crate::vault::Damage;

/// Something that a pool or a layer did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An attempt got a response.
    Attempt {
        /// The credential that it used.
        credential: &'a Metadata,
        /// The response's status.
        status: StatusCode,
        /// The time until the head of the response arrived.
        elapsed: Duration,
    },
    /// A credential cools down.
    CooledDown {
        /// The credential.
        credential: &'a Metadata,
        /// The first moment at which it may be picked again.
        until: Timestamp,
        /// The time from now until then.
        wait: Duration,
        /// The reason.
        reason: Reason,
        /// The scope of the cooldown, or `None` if it is for the whole account.
        scope: Option<&'a Scope>,
    },
    /// The upstream serves no more of a credential's requests at once than are in flight. Others wait, or use the next
    /// credential.
    CapLowered {
        /// The credential.
        credential: &'a Metadata,
        /// How many requests it may have in flight from now on.
        most: u32,
        /// For how long.
        wait: Duration,
    },
    /// A credential was refused, and the same request could not compare it with another. Requests prefer the others until
    /// it succeeds again.
    Suspected {
        /// The credential.
        credential: &'a Metadata,
    },
    /// A success has ended a credential's cooldown, or cleared its failures.
    Recovered {
        /// The credential.
        credential: &'a Metadata,
    },
    /// A response has said what is left of its account's limits. Of a busy account, a few responses each second are read.
    Allowance {
        /// The credential.
        credential: &'a Metadata,
        /// The limits that it has named.
        windows: &'a [Window],
    },
    /// The request is sent again with another credential.
    Rotated {
        /// The credential before.
        from: &'a Metadata,
        /// The credential now.
        to: &'a Metadata,
        /// The reason.
        reason: RotationReason,
    },
    /// The request is not sent again with another credential, although one is ready, because its body can be sent only
    /// once. [`ReplayLayer`](crate::ReplayLayer) records a body as it is sent.
    SentOnce {
        /// The credential that was limited or refused.
        credential: &'a Metadata,
    },
    /// The request waits for a short limit to end, and is then sent again.
    Waiting {
        /// The credential whose limit it is.
        credential: &'a Metadata,
        /// How long.
        wait: Duration,
    },
    /// The request is sent again after a network error.
    Repeated {
        /// The credential that it uses, if that is known.
        credential: Option<&'a Metadata>,
    },
    /// A credential has a new secret.
    Refreshed {
        /// The credential, with its new generation.
        credential: &'a Metadata,
    },
    /// A refresh has failed.
    RefreshFailed {
        /// The credential.
        credential: &'a Metadata,
        /// The error's text.
        error: &'a str,
    },
    /// A refreshed secret could not be saved yet. Nobody uses it until a later try succeeds.
    SecretNotSaved {
        /// The credential.
        credential: &'a Metadata,
        /// The error's text.
        error: &'a str,
    },
    /// The vault had an older secret of this credential than the pool, usually because somebody has restored a backup. The
    /// newer secret is stored in the vault again.
    OlderVault {
        /// The credential, with the generation that its secret has there now.
        credential: &'a Metadata,
    },
    /// Only a new sign-in, or another key, helps this credential.
    NeedsSignIn {
        /// The credential.
        credential: &'a Metadata,
        /// The vendor's reason.
        reason: &'a str,
    },
    /// This credential's account is out of money, or has reached a limit set by its owner, and the vendor states no time.
    /// It is out of use until a person acts.
    Spent {
        /// The credential.
        credential: &'a Metadata,
        /// The vendor's reason.
        reason: &'a str,
    },
    /// A person has taken a credential out of use, through this pool.
    Paused {
        /// The credential.
        credential: &'a Metadata,
    },
    /// A person has put a credential back to use, through this pool.
    Resumed {
        /// The credential.
        credential: &'a Metadata,
    },
    /// Recorded outcomes have been saved to the vault.
    Saved {
        /// The number of outcomes.
        outcomes: usize,
    },
    /// Recorded outcomes could not be saved yet. They are tried again; no response fails because of it.
    SaveFailed {
        /// The error's text.
        error: &'a str,
    },
    /// A record of the vault can't be used; the others can.
    Damaged {
        /// The record, its damage, and the way out.
        damage: &'a Damage,
    },
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
}

/// Where a pool's events go.
#[derive(Clone, Default)]
pub(crate) struct Observer(Option<Arc<Observe>>);

type Observe = dyn Fn(&Event<'_>) + Send + Sync;

impl Observer {
    pub(crate) fn new(observe: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observe)))
    }

    /// Whether each attempt is observed. If not, what only that event needs is not computed.
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some() || tracing::enabled!(target: log::TARGET, tracing::Level::DEBUG)
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        event.log();
        if let Some(observe) = &self.0 {
            observe(event);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer(set)" } else { "Observer(none)" })
    }
}
