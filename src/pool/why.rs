//! Why the next request takes one credential, and not another.

use serde::{Deserialize, Serialize};

use super::{Mode, Pool};
use crate::clock::Timestamp;
use crate::credential::{CredentialId, Metadata};
use crate::standing::{Cooldown, Health, Scope};

/// Whether the next request takes a credential, and what keeps it from that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The credential.
    pub credential: Metadata,
    /// Whether the next request takes it. That may be one that cools down, if all do and
    /// [the soonest is tried](crate::WhenAllCoolingDown::TrySoonest).
    pub is_next: bool,
    /// Whether requests can take it, and why not.
    #[serde(flatten)]
    pub availability: Availability,
    /// If it cools down: the account that has met the limit, if that is another one with which it
    /// [shares a quota](crate::standing::Standing::shared_quota).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub met_by: Option<CredentialId>,
}

/// Whether requests can take a credential, and why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Availability {
    /// They can.
    Ready {
        /// Which one is taken before it, and why; `None` if it is the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        behind: Option<Behind>,
    },
    /// It serves as many requests as it may at once.
    AtCap {
        /// How many it serves.
        in_flight: u32,
        /// How many it may serve. Fewer than [`max_in_flight`](crate::PoolBuilder::max_in_flight) if its vendor has
        /// turned requests away, and 0 while it turns all away; 1 while a request tries whether a long cooldown is over.
        most: u32,
        /// Until when that is so at most, if it is not by [`max_in_flight`](crate::PoolBuilder::max_in_flight).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// It cools down.
    CoolingDown {
        /// Until when, and because of which response. Of several cooldowns that hold the requests up, the last to end.
        cooldown: Cooldown,
    },
    /// A person has paused it.
    Paused,
    /// Its vendor has refused it, and only a person can change that.
    OutOfUse {
        /// Why, and because of which response. Never [`Health::Good`].
        health: Health,
    },
    /// The pool's mode leaves out its kind.
    LeftOut {
        /// The mode.
        mode: Mode,
    },
}

/// The credential that is taken before a ready one, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Behind {
    /// The one that the next request takes.
    pub id: CredentialId,
    /// What decides between the two.
    pub by: Precedence,
}

/// What decides which of two ready credentials is taken first. Earlier ones come before later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Precedence {
    /// A lower [tier](crate::standing::Standing::tier).
    Tier,
    /// The other one is a suspect: it was refused, and has not been compared with another one since.
    Suspicion,
    /// The rank that the pool's [policy](crate::policy::Policy) gives.
    Policy,
    /// The pool's order.
    Order,
}

impl Pool {
    /// Returns for each credential whether the next request of this scope takes it, and if not, why. They are in the
    /// order in which requests take them; the one that the next request takes, if any, is the first.
    ///
    /// The picks' own rules decide, so this is what happens. It changes nothing, and is about requests without a
    /// [pin](crate::Pin) and an [affinity](crate::Affinity). [`ModelScopeLayer`](crate::ModelScopeLayer) makes a scope of
    /// a model's name.
    ///
    /// ```
    /// use tower_credentials::provider::GenericProvider;
    /// use tower_credentials::vault::{MemoryVault, VaultExt};
    /// use tower_credentials::{Availability, Credential, Pool, PoolKey, Secret};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let vault = MemoryVault::new();
    /// for (label, key) in [("work", "sk-1"), ("spare", "sk-2")] {
    ///     vault.put(Credential::new(PoolKey::new("example"), label, Secret::api_key(key))).await?;
    /// }
    /// let pool = Pool::builder(GenericProvider::bearer("example"), vault).open().await?;
    /// let work = &pool.why(None)[0];
    /// assert!(work.is_next && work.availability == Availability::Ready { behind: None });
    /// pool.pause(work.credential.id).await?;
    /// let why = pool.why(None);
    /// assert_eq!((&*why[0].credential.label, &why[1].availability), ("spare", &Availability::Paused));
    /// # Ok::<(), tower_credentials::BoxError>(()) })?;
    /// # Ok::<(), tower_credentials::BoxError>(())
    /// ```
    pub fn why(&self, scope: Option<&Scope>) -> Vec<Explanation> {
        let now = self.now();
        self.with_state(|state, config| state.why(scope, config, now))
    }
}
