//! What happened: for a person's eyes, a test or a metric. Nothing in an event is secret.
//!
//! A pool tells of each event to the function that [`PoolBuilder::on_event`](crate::PoolBuilder::on_event) was given, and to
//! `tracing`, with the target `tower_credentials::event`:
//!
//! | Level | What |
//! |---|---|
//! | `WARN` | Trouble that a person should know of: `refresh failed`, `secret not saved`, `older vault`, `needs sign-in`, `spent`, `save failed`, `damaged`. |
//! | `INFO` | What became of accounts and requests: `cooled down`, `suspected`, `recovered`, `rotated`, `sent once`, `waiting`, `repeated`, `refreshed`, `paused`, `resumed`. |
//! | `DEBUG` | `attempt`, for each answer, and `saved`. |
//!
//! These words are the message. The account's fields are `provider`, `namespace`, `account` (its label), `id` and
//! `generation`; others have their names from the [`Event`]. A filter such as `tower_credentials=info` chooses; it takes in
//! what the vault warns of, too.

mod log;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use crate::clock::Timestamp;
use crate::credential::Metadata;
use crate::standing::{Reason, Scope};
use crate::vault::Damage;

/// Something that a pool or a layer did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An attempt was answered.
    Attempt {
        /// By which credential it was made.
        credential: &'a Metadata,
        /// What the upstream said.
        status: StatusCode,
        /// How long it took until the response's head was there.
        elapsed: Duration,
    },
    /// A credential cools down.
    CooledDown {
        /// Which.
        credential: &'a Metadata,
        /// The first moment at which it may be picked again.
        until: Timestamp,
        /// How far that is from now.
        wait: Duration,
        /// Why.
        reason: Reason,
        /// What the cooldown is limited to.
        scope: Option<&'a Scope>,
    },
    /// The upstream serves no more of a credential's requests at once than it has. Others wait, or go to the next.
    CapLowered {
        /// Which credential's.
        credential: &'a Metadata,
        /// How many requests it has at once from now on.
        most: u32,
        /// For how long.
        wait: Duration,
    },
    /// A credential was refused, and there was none to compare it with in the same request. Requests take the others
    /// first until it is answered well.
    Suspected {
        /// Which.
        credential: &'a Metadata,
    },
    /// A success has ended a credential's cooldown, or forgiven its failures.
    Recovered {
        /// Which.
        credential: &'a Metadata,
    },
    /// The request is sent again with another credential.
    Rotated {
        /// The one before.
        from: &'a Metadata,
        /// The one now.
        to: &'a Metadata,
    },
    /// The request is not sent again with another credential, though one is ready: its body can be sent once only.
    /// [`ReplayLayer`](crate::ReplayLayer) records a body as it is sent.
    SentOnce {
        /// The one that has answered by a limit or a refusal.
        credential: &'a Metadata,
    },
    /// The request waits for a short limit to end, and is then sent again.
    Waiting {
        /// For which credential.
        credential: &'a Metadata,
        /// How long.
        wait: Duration,
    },
    /// The request is sent again after a network error.
    Repeated {
        /// With which credential, where one is known.
        credential: Option<&'a Metadata>,
    },
    /// A credential has a new secret.
    Refreshed {
        /// Which, with its new generation.
        credential: &'a Metadata,
    },
    /// A refresh has failed.
    RefreshFailed {
        /// Which credential's.
        credential: &'a Metadata,
        /// Why.
        error: &'a str,
    },
    /// A refreshed secret could not be saved yet; it is tried again, and used meanwhile by nobody.
    SecretNotSaved {
        /// Which credential's.
        credential: &'a Metadata,
        /// Why.
        error: &'a str,
    },
    /// The vault had an older secret of this credential than the pool: somebody has put an older vault in its place,
    /// mostly a backup. The newer one is stored in it again.
    OlderVault {
        /// Which, with the generation that its secret has there now.
        credential: &'a Metadata,
    },
    /// Only a new sign-in, or another key, helps this credential.
    NeedsSignIn {
        /// Which.
        credential: &'a Metadata,
        /// The vendor's reason.
        reason: &'a str,
    },
    /// This credential's account is out of money, or has reached a bound of its owner's, and the vendor names no
    /// time: it is out of use until a person acts.
    Spent {
        /// Which.
        credential: &'a Metadata,
        /// The vendor's reason.
        reason: &'a str,
    },
    /// A person has taken a credential out of use, by this pool.
    Paused {
        /// Which.
        credential: &'a Metadata,
    },
    /// A person has put a credential to use again, by this pool.
    Resumed {
        /// Which.
        credential: &'a Metadata,
    },
    /// What was learnt is in the vault.
    Saved {
        /// How many outcomes.
        outcomes: usize,
    },
    /// What was learnt could not be saved yet; it is tried again. No response fails for it.
    SaveFailed {
        /// Why.
        error: &'a str,
    },
    /// A record of the vault can't be used; the others can.
    Damaged {
        /// Which record, what is wrong with it, and the way out.
        damage: &'a Damage,
    },
}

/// Where a pool's events go.
#[derive(Clone, Default)]
pub(crate) struct Observer(Option<Arc<Observe>>);

type Observe = dyn Fn(&Event<'_>) + Send + Sync;

impl Observer {
    pub(crate) fn new(observe: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observe)))
    }

    /// Whether anybody looks at each attempt; what only that needs is not worked out otherwise.
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

/// How often things happened since the pool was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests of callers' that got a credential.
    pub requests: u64,
    /// Times one of them was sent: the requests, and each time one was sent again.
    pub attempts: u64,
    /// Times one was sent again with another credential.
    pub rotations: u64,
    /// Secrets that were renewed.
    pub refreshes: u64,
}

/// The counters while they count.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: AtomicU64,
    /// Attempts beyond each request's first: a request that goes well counts once, not twice.
    pub(crate) repeats: AtomicU64,
    pub(crate) rotations: AtomicU64,
    pub(crate) refreshes: AtomicU64,
}

impl Tally {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let requests = read(&self.requests);
        Counters {
            requests,
            attempts: requests + read(&self.repeats),
            rotations: read(&self.rotations),
            refreshes: read(&self.refreshes),
        }
    }
}
